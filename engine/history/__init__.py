"""Runs on disk: one summary a run for lists, from whatever tool left it."""

from engine.history.scan import find_run, scan
from engine.history.summary import RunSummary, summarise

__all__ = ["RunSummary", "find_run", "scan", "summarise"]
