"""Readers of run directories, ours and those of other tools; nothing in a directory makes them raise.

``engine.history.readers`` itself is light: what reads is loaded at the first call.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from engine.rundir import META

if TYPE_CHECKING:
    from engine.history.record import RunRecord
    from engine.history.summary import RunSummary

_FAULTS = (OSError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError, MemoryError)


def read_summary(path: Path) -> RunSummary | None:
    """The row of one run directory, whatever tool left it; ``None`` if there is no directory."""
    from engine.history.readers import foreign, own

    path = Path(os.path.abspath(path))
    if not _is_directory(path):
        return None
    try:
        found = own.summary(path) if _is_own(path) else None
        return found if found is not None else foreign.summary(path)
    except _FAULTS as error:
        return _unreadable(path, error)


def read_record(path: Path) -> RunRecord | None:
    """Everything that one run directory tells; ``None`` if there is no directory."""
    from engine.history.readers import own, whole
    from engine.history.record import RunRecord

    path = Path(os.path.abspath(path))
    if not _is_directory(path):
        return None
    try:
        found = own.record(path) if _is_own(path) else None
        return found if found is not None else whole.record(path)
    except _FAULTS as error:
        return RunRecord(_unreadable(path, error))


def prints(path: Path) -> tuple[object, ...]:
    """Names, inodes, sizes and times of what a summary is read from: another print, another summary."""
    from engine.history.readers.place import fingerprint

    return fingerprint(Path(path))


def _is_own(path: Path) -> bool:
    """Whether a record of ours stands there, and no link to another's."""
    return _is_directory(path / META) and not os.path.islink(path / META)


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _unreadable(path: Path, error: BaseException) -> RunSummary:
    """What nobody thought of costs this run its row, not the list."""
    from engine.history.summary import RunSummary

    problem = f"cannot be read: {type(error).__name__}: {error}"[:500]
    return RunSummary(path.name, str(path), path.name, "unknown", "unknown", problems=[problem])
