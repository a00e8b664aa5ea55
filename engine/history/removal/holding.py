"""Holds a run's lock while it is removed, so that nobody starts or resumes it; writes into no file that was there."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import runlock
from engine import status as states
from engine.errors import Problem, RunInUseError
from engine.records import sane_status
from engine.rundir import MAX_RECORD_BYTES, RunDir

LOCK, OWNER = "lock", "lock.owner"


@dataclass(slots=True)
class Hold:
    """The lock in our hands: its descriptor, and the inodes of those of its files that go last of all."""

    fd: int
    files: dict[str, int] = field(default_factory=dict)


def hold(meta: int, run: RunDir, planned: int | None) -> Hold:
    """Take the lock of the run whose record is behind the descriptor ``meta``; ``planned`` is its inode if there is one.

    Raises :class:`RunInUseError` if the run lives or the lock is another one, ``OSError`` if there can be none.
    """
    fd = _open(meta, planned)
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or planned not in (None, info.st_ino):
            raise _in_use(run, "has another lock than the one that was looked at")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            works = True
        except BlockingIOError:
            raise _in_use(run, "is held by a process that is still alive") from None
        except OSError:
            works = False
        now = os.stat(LOCK, dir_fd=meta, follow_symlinks=False)
        if (now.st_dev, now.st_ino) != (info.st_dev, info.st_ino):
            raise _in_use(run, "was taken by somebody else this moment")
        found = Hold(fd, {LOCK: info.st_ino})
        status = sane_status(read(meta, "status.json"))[0]
        if not works:
            _claim(meta, status, run)
            found.files[OWNER] = os.stat(OWNER, dir_fd=meta, follow_symlinks=False).st_ino
        state = states.infer(status or None, locked=False if works else None)
        if state.live and state.here:
            raise _in_use(run, f"is {state.state}")
        return found
    except BaseException:
        os.close(fd)
        raise


def read(meta: int, name: str) -> dict[str, Any] | None:
    """A small record in the directory behind ``meta``; ``None`` if it is missing, damaged, or a link."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=meta)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            value = json.loads(file.read(MAX_RECORD_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _open(meta: int, planned: int | None) -> int:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    if planned is None:
        return os.open(LOCK, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=meta)
    info = os.stat(LOCK, dir_fd=meta, follow_symlinks=False)
    if info.st_ino != planned or not stat.S_ISREG(info.st_mode):
        raise OSError("the run's lock is another one than was looked at")
    return os.open(LOCK, flags, dir_fd=meta)


def _claim(meta: int, status: dict[str, Any], run: RunDir) -> None:
    """Where flock does not work, the record beside the lock says who is here."""
    try:
        # By descriptor, so that no name on the way can be swapped.
        runlock._claim_record(Path(f"/proc/self/fd/{meta}") / LOCK, False, status)
    except runlock.Held:
        raise _in_use(run, "is held by a process that is still alive") from None


def _in_use(run: RunDir, message: str) -> RunInUseError:
    return RunInUseError(Problem("run-in-use", message, "Stop it first, or look again", file=str(run.path)))
