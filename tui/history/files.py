"""The files of a run's directory with their sizes; links are shown and not followed. For a reader's thread."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# A directory of more entries is cut off there, and says so.
MOST = 20_000
DEEPEST = 16


@dataclass(slots=True)
class Entry:
    """One file or folder by its path below the run; ``bytes`` of a folder are those of all that is in it."""

    path: str
    bytes: int
    modified: float | None
    folder: bool = False
    note: str = ""


@dataclass(slots=True)
class Files:
    """All entries, folders before what is in them; ``trouble`` says what is missing."""

    entries: list[Entry] = field(default_factory=list)
    count: int = 0
    bytes: int = 0
    trouble: str = ""


def read(path: Path, stopped: Callable[[], bool] = lambda: False) -> Files:
    """List a directory; never raises for what stands in it."""
    found = Files()
    _walk(path, "", 0, found, stopped)
    return found


def _walk(folder: Path, before: str, depth: int, found: Files, stopped: Callable[[], bool]) -> int:
    """The bytes of a folder, whose entries are added."""
    try:
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: _order(entry.name))
    except OSError as error:
        found.trouble = found.trouble or f"some cannot be read: {error.strerror or error}"
        return 0
    total = 0
    for entry in entries:
        if stopped():
            return total
        if len(found.entries) >= MOST:
            found.trouble = f"only the first {MOST:,} are listed"
            return total
        try:
            info = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        name = before + os.fsencode(entry.name).decode("utf-8", "replace")
        made = Entry(name, info.st_size, info.st_mtime)
        found.entries.append(made)
        if stat.S_ISDIR(info.st_mode):
            made.folder = True
            made.bytes = 0 if depth >= DEEPEST else _walk(folder / entry.name, name + "/", depth + 1, found, stopped)
        else:
            found.count += 1
            if stat.S_ISLNK(info.st_mode):
                made.note, made.bytes = f"link to {_target(folder / entry.name)}", 0
            elif not stat.S_ISREG(info.st_mode):
                made.note, made.bytes = "no ordinary file", 0
            found.bytes += made.bytes
        total += made.bytes
    return total


def _target(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return "an unknown place"


def _order(name: str) -> tuple[str, int, str]:
    """``checkpoint-9`` stands before ``checkpoint-10``."""
    head, _, number = name.rpartition("-")
    return (head, int(number), name) if number.isdecimal() and len(number) < 18 else (name, -1, name)
