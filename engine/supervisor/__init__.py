"""The detached guardian of one run: starts the worker, waits, and writes down how it ended. Never loads torch."""
