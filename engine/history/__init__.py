"""Runs on disk: one summary a run for lists, from whatever tool left it."""

from engine.history.readers import prints, read_record, read_summary
from engine.history.scan import find_path, find_run, gather, scan
from engine.history.summary import RunSummary, summarise

__all__ = [
    "RunSummary",
    "find_path",
    "find_run",
    "gather",
    "prints",
    "read_record",
    "read_summary",
    "scan",
    "summarise",
]
