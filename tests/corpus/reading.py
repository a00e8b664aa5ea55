"""Reads the whole corpus once, and sees everything that is done meanwhile."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.history import readers
from engine.history.record import RunRecord
from engine.history.summary import RunSummary
from tests.corpus.case import Case


@dataclass
class Readings:
    """The corpus and what was read of it."""

    folder: Path
    cases: list[Case]
    rows: dict[str, RunSummary | None] = field(default_factory=dict)
    records: dict[str, RunRecord | None] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    misdeeds: list[str] = field(default_factory=list)
    before: dict[str, tuple[int, ...]] = field(default_factory=dict)
    after: dict[str, tuple[int, ...]] = field(default_factory=dict)


def listing(folder: Path) -> dict[str, tuple[int, ...]]:
    """Everything below a folder, links not followed, by what tells a change of it (ctime: any)."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files, "."):
            entry = os.lstat(os.path.join(place, name))
            found[os.path.join(place, name)] = (
                entry.st_ino,
                entry.st_size,
                entry.st_mode,
                entry.st_mtime_ns,
                entry.st_ctime_ns,
            )
    return found


_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_ACTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate", "os.utime",
         "os.setxattr", "os.removexattr", "shutil.", "subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "socket.",
         "pickle.find_class", "exec", "ctypes.")  # fmt: skip
_watched: Readings | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched is None:
        return
    if event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & _WRITING and not str(path).startswith("/dev/null"):
            _watched.misdeeds.append(f"opened for writing: {path!r}")
    elif event == "import" and arguments[0] in ("torch", "numpy", "transformers", "sitecustomize"):
        _watched.misdeeds.append(f"imported: {arguments[0]}")
    elif event.startswith(_ACTS) and event != "exec":
        _watched.misdeeds.append(f"{event}: {str(arguments)[:200]}")


def _too_long(*_: object) -> None:
    raise AssertionError("reading does not end")


class Watched:
    """While it is entered, what is done is noted in ``readings.misdeeds``."""

    def __init__(self, readings: Readings) -> None:
        self.readings = readings

    def __enter__(self) -> Readings:
        global _watched
        sys.addaudithook(_audit)
        _watched = self.readings
        return self.readings

    def __exit__(self, *_: object) -> None:
        global _watched
        _watched = None


def read_all(folder: Path, cases: list[Case]) -> Readings:
    """Every case once as a row and once whole."""
    found = Readings(folder, cases)
    readers.read_summary(cases[0].path), readers.read_record(cases[0].path)  # imports are no misdeeds
    found.before = listing(folder)
    former = signal.signal(signal.SIGALRM, _too_long)
    try:
        with Watched(found):
            for case in cases:
                signal.alarm(60)
                began = time.process_time()
                found.rows[case.name] = readers.read_summary(case.path)
                found.records[case.name] = readers.read_record(case.path)
                found.seconds[case.name] = time.process_time() - began
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)
    found.after = listing(folder)
    return found
