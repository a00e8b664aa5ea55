"""The index of all runs that were ever found, and the scans that keep it true. Light until something is asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.history.index.reading import reread
    from engine.history.index.scanner import Batch, Scanner
    from engine.history.index.store import Index

__all__ = ["Batch", "Index", "Scanner", "reread"]
_HOMES = {"Index": "store", "Scanner": "scanner", "Batch": "scanner", "reread": "reading"}


def __getattr__(name: str) -> Any:
    # The helper processes come through here, too, and need none of it.
    if name not in _HOMES:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"engine.history.index.{_HOMES[name]}"), name)
