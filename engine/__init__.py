"""The engine of tunedeck: configuration, runs on disk, supervision, training. Knows nothing of the screen."""

__version__ = "0.1.0"
