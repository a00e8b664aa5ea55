"""A directory of ours inside the run: what is to go is moved there, looked at for the last time, and removed there.

It has mode 0700 and a random name, so nobody but this user can put something else in the place of what was looked at.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from types import TracebackType

from engine.history.removal.handles import exchange, folder, look, person, put_back
from engine.history.removal.layouts import QUARANTINE
from engine.history.removal.records import DIRECTORY, FILE, Entry
from engine.history.removal.survey import quarantined
from engine.rundir import META

# A disk that takes nothing more takes no directory of ours either.
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Replaced(Exception):
    """Something else stands where the planned object was; the text says what became of it."""


class Quarantine:
    """Made in the directory behind ``root`` and taken away in the end; raises ``OSError`` where it cannot be made."""

    def __init__(self, root: int, mount: int) -> None:
        self.name = f"{QUARANTINE}{secrets.token_hex(6)}"
        self._root, self._mount = root, mount
        self._open = contextlib.ExitStack()
        self._fd = -1

    def __enter__(self) -> Quarantine:
        try:
            self._make()
        except OSError as error:
            if error.errno not in _FULL:
                raise
        return self

    def _make(self) -> None:
        os.mkdir(self.name, 0o700, dir_fd=self._root)
        try:
            self._fd = self._open.enter_context(folder(self.name, self._root, self._mount))
            here = os.fstat(self._fd)
            if here.st_uid != os.geteuid() or here.st_mode & 0o077 or os.listdir(self._fd):
                raise OSError("somebody else has put a directory in the place of ours")
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            # Only our own and empty one; after an interruption what is in it goes with the next removal.
            there = look(self.name, self._root)
            if there is not None and self._fd >= 0 and os.path.samestat(there, os.fstat(self._fd)):
                os.rmdir(self.name, dir_fd=self._root)
        self._open.close()

    def remove(self, name: str, at: int, entry: Entry) -> None:
        """Remove the planned object ``name`` of the directory behind ``at``.

        Raises :class:`Replaced` if something else stands there, ``FileNotFoundError`` if nothing does, ``OSError`` if it
        cannot be removed; then it is where it was.
        """
        found = os.stat(name, dir_fd=at, follow_symlinks=False)
        _insist(found, entry)
        inside, there = quarantined(found), self._fd
        if there < 0:  # the disk is full: until the first bytes are free, a random name has to do
            inside, there = f"{self.name}-{inside}", at
        os.rename(name, inside, src_dir_fd=at, dst_dir_fd=there)
        # From here on nobody else can reach it.
        try:
            _insist(os.stat(inside, dir_fd=there, follow_symlinks=False), entry)
            (os.rmdir if entry.kind == DIRECTORY else os.unlink)(inside, dir_fd=there)
        except (Replaced, OSError) as error:
            try:
                back = put_back(inside, there, name, at)
            except OSError:
                back = f"{self.name}/{inside}" if there == self._fd else inside
            if back != name:
                raise Replaced(f"was replaced; what stood there is now called {back}") from error
            raise
        if self._fd < 0:
            with contextlib.suppress(OSError):
                self._make()

    def replace(self, name: str, at: int, inode: int, data: bytes, mode: int) -> None:
        """Give the file ``name`` of the directory behind ``at`` new contents, if it is still the one with ``inode``.

        Raises ``OSError``; then nothing has changed.
        """
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self._fd)
        try:
            with open(fd, "wb") as file:
                os.fchmod(fd, mode)
                file.write(data)
                file.flush()
                os.fsync(fd)
            exchange(name, self._fd, name, at)
            if os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_ino != inode:
                exchange(name, self._fd, name, at)
        finally:
            os.unlink(name, dir_fd=self._fd)


def _insist(found: os.stat_result, entry: Entry) -> None:
    """Raise :class:`Replaced` unless this is the planned object."""
    if (found.st_dev, found.st_ino) != (entry.device, entry.inode) or quarantined(
        found
    ) != f"{entry.kind}-{entry.inode}":
        raise Replaced("was replaced by something else meanwhile")
    if found.st_uid != os.geteuid():
        raise Replaced(f"belongs to {person(found.st_uid)} now")
    changed = (found.st_size, found.st_mtime_ns) != (entry.size, entry.modified)
    # The record's own files change by our hands, too: its lock, for one.
    if entry.kind == FILE and changed and not entry.path.startswith(f"{META}/"):
        raise Replaced("was changed meanwhile")
