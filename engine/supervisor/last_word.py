"""Writes ``status.json`` whatever the disk does: a run's end must be told even on a full, failing or read-only one."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

from engine import registry
from engine.rundir import RunDir, write_json

RESERVE_BYTES = 256 * 1024
SPARE_DESCRIPTORS = 4
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
SHORT = frozenset({errno.EMFILE, errno.ENFILE})


class LastWord:
    """The pen for one run's status.

    Keeps a little of what may run out: bytes and an inode in ``.tunedeck/reserve``, and file descriptors. Both are given
    up when a write that matters fails for want of them.
    """

    def __init__(self, run: RunDir, mode: int) -> None:
        self.run = run
        self.mode = mode
        self.reserve = run.meta / "reserve"
        self._spares: list[int] = []
        self.trouble = ""
        self._said = ""
        self.keep()

    def keep(self) -> None:
        """Put the reserves back, as far as there is room."""
        try:
            while len(self._spares) < SPARE_DESCRIPTORS:
                self._spares.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            pass
        if self.reserve.exists():
            return
        try:
            fd = os.open(self.reserve, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, RESERVE_BYTES)
            finally:
                os.close(fd)
        except OSError:
            self.free_disk()  # half a reserve is none, and takes what others need

    def free_disk(self) -> bool:
        """Give up the bytes and the inode; whether there were any."""
        try:
            self.reserve.unlink()
        except OSError:
            return False
        return True

    def free_descriptors(self) -> bool:
        """Give up the file descriptors; whether there were any."""
        had = bool(self._spares)
        while self._spares:
            os.close(self._spares.pop())
        return had

    def write(self, status: dict[str, Any], *, matters: bool) -> bool:
        """Replace ``status.json``; one that ``matters`` is flushed, and for it the reserves are given up."""
        error = self._try(status, durable=matters)
        if error is None:
            self._said = ""
            return True
        if not matters:
            self.say(f"status.json could not be written: {error}")
            return False
        # Whatever is missing, one more try each: with the reserves, then without waiting for a disk that cannot flush.
        if (error.errno in FULL and self.free_disk()) or (error.errno in SHORT and self.free_descriptors()):
            error = self._try(status, durable=True)
        if error is not None and self._try(status, durable=False) is None:
            if error.errno not in FULL | SHORT:
                self.say(f"status.json could not be flushed to the disk: {error}")
            error = None
        if error is not None:
            self.say(f"status.json could not be written: {error}")
        return error is None

    def write_end(self, run_id: str, status: dict[str, Any]) -> bool:
        """The last one: what cannot stand in the run's directory is remembered in this account's state directory."""
        self.free_descriptors()
        # Seen at once, then made durable: whoever waits for the end does not wait for the disk.
        self._try(status, durable=False)
        if self.write(status, matters=True):
            registry.forget_end(run_id)
            return True
        kept = registry.remember_end(run_id, status)
        where = "it is remembered in the state directory" if kept else "nor anywhere else"
        self.say(
            f"The end of this run ({status.get('state')}: {status.get('reason')}) could not be written here; {where}"
        )
        return kept

    def close(self) -> None:
        """Give everything back at the end of the run."""
        self.free_disk()
        self.free_descriptors()

    def say(self, text: str) -> None:
        """A line for the log, once; a log that cannot be written ends nothing."""
        if text != self._said:
            self._said = text
            say(text)

    def _try(self, status: dict[str, Any], *, durable: bool) -> OSError | None:
        try:
            write_json(self.run.status_json, status, self.mode, durable=durable)
        except OSError as error:
            self.trouble = reason_of(error, self.run.path)
            return error
        return None


def say(text: str) -> None:
    """A line for the run's log, if it can be written."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass


def reason_of(error: OSError, folder: Path) -> str:
    """Why something could not be started, in words."""
    if error.errno in FULL:
        return f"disk full: free space on the file system of {folder}"
    return str(error.strerror or error)
