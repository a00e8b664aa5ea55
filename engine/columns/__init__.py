"""Very long event streams, read fast and in bounded memory: a sketch at once, old rows in a file, a cache for next time."""

from __future__ import annotations

from engine.columns.sketching import sketch
from engine.columns.table import MetricTable

__all__ = ["MetricTable", "sketch"]
