"""Reads one run for the index: its print first, the rest only if that differs from what is known."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from engine.rundir import META

if TYPE_CHECKING:
    from engine.history.index.rows import Entry
    from engine.history.summary import RunSummary

# What was changed so shortly before it was read (seconds) may change again within the same tick of its clock.
_TICK = 2.0
Words = tuple[str, list[str]]
_NONE: Words = ("", [])


def look(path: Path, known: bytes | None) -> Entry | bool:
    """``True`` if the row of that print is still right, ``False`` if there is no run, or else the row as it is now."""
    from engine.history import readers
    from engine.history.index.rows import Entry, pack

    own = os.path.isdir(path / META)
    words = _NONE if own else _words(path)
    # Before anything is read: what changes meanwhile has another print the next time.
    digest = _digest(readers.prints(path), _folders(path), words)
    if known and digest == known:
        return True
    run = _read(path, own, words)
    if run is None:
        return False
    if run.modified is None or not 0 <= run.modified < time.time() - _TICK:
        digest = b""
    return Entry(str(path), digest, run.live, pack(run))


def reread(path: Path) -> RunSummary | None:
    """One run as it is at this moment, in this process; ``None`` if there is none (any more)."""
    own = os.path.isdir(path / META)
    return _read(path, own, _NONE if own else _words(path))


def _read(path: Path, own: bool, words: Words) -> RunSummary | None:
    from engine.history import readers
    from engine.history.readers.place import total_bytes

    run = readers.read_summary(path)
    if run is None:
        return None
    return replace(
        run,
        name=run.name if own else words[0] or run.name,
        tags=run.tags if own else words[1],
        bytes=total_bytes(path) if run.bytes is None else run.bytes,
        path=str(path),
        sparkline=run.sparkline[:64],
        problems=[problem[:500] for problem in run.problems[:20]],
    )


def _words(path: Path) -> Words:
    """What people wrote on a run of another tool: its name and tags."""
    try:
        from engine.history.notes import foreign

        found = foreign(path)
        return found.name, list(found.tags)
    except (ImportError, OSError, ValueError):
        return _NONE


def _folders(path: Path) -> list[tuple[str, int, int]]:
    """The folders of a run with their times: what comes or goes in them changes its size."""
    found = []
    try:
        found.append(("", 0, os.stat(path).st_mtime_ns))
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    info = entry.stat(follow_symlinks=False)
                    found.append((entry.name, info.st_ino, info.st_mtime_ns))
    except OSError:
        pass
    return sorted(found)[:1000]


def _digest(*parts: object) -> bytes:
    text = repr(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16, key=_code()).digest()


@cache
def _code() -> bytes:
    """A print of the readers themselves: rows that other readers read are read again."""
    from engine import __version__

    folder = Path(__file__).parent.parent
    found = hashlib.blake2b(__version__.encode(), digest_size=16)
    for file in sorted([folder / "summary.py", *folder.glob("readers/*.py"), Path(__file__)]):
        info = file.stat()
        found.update(f"{file.name} {info.st_size} {info.st_mtime_ns}".encode())
    return found.digest()
