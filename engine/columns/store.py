"""The files that hold old rows: blocks of bytes under ``XDG_CACHE_HOME``, only ever appended to.

A file is its creator's while it holds the ``flock``; others read what an index says of it. Where the file system refuses
locks, it is its creator's because it was made exclusively, and nobody else ever writes to it. A file without an index
(``NAME.json`` beside ``NAME.cols``) is scratch space, removed by whoever closes it or, after a kill, by the next opener.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import time
import weakref
import zlib
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine import paths

FORMAT = 2
DATA, INDEX, TEMPORARY = ".cols", ".json", ".tmp"
# What all the caches may take together, and what must stay free on their disk (bytes).
TOTAL_BYTES = 2 << 30
SPARE_BYTES = 1 << 30
_YOUNG_SECONDS = 120.0
# Without locks nobody can tell whether a file is in use: one that was not touched for so long is not.
_STALE_SECONDS = 24 * 3600.0
# Arrays that one system call takes (IOV_MAX is 1024).
_MOST_PARTS = 512


def folder() -> Path:
    """Where the files are; made if need be. Raises ``OSError``."""
    found = paths.cache_dir() / "columns"
    found.mkdir(mode=0o700, parents=True, exist_ok=True)
    return found


def key(path: Path) -> str:
    """The name of an event file's cache: by device and inode, so that a moved run keeps it. Raises ``OSError``."""
    info = path.stat()
    return hashlib.sha256(f"{FORMAT}:{info.st_dev}:{info.st_ino}".encode()).hexdigest()[:32]


class DataFile:
    """One file of blocks. ``owned``: this object alone may append to it."""

    def __init__(self, path: Path, fd: int, *, owned: bool) -> None:
        self.path, self.fd, self.owned = path, fd, owned
        self.end = os.fstat(fd).st_size
        self._close = weakref.finalize(self, _release, path, fd, owned, os.getpid())

    @classmethod
    def create(cls, name: str) -> DataFile:
        """A new file of this caller's own. Raises ``OSError``, also where the disk is short."""
        tidy()
        path = folder() / f"{name}-{os.getpid()}-{secrets.token_hex(4)}{DATA}"
        room = os.statvfs(path.parent)
        if room.f_bavail * room.f_frsize < SPARE_BYTES:
            raise OSError("too little space is left for a cache")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        return cls(path, fd, owned=_lock(fd) is not False)

    @classmethod
    def open(cls, path: Path) -> DataFile:
        """A file that somebody made; owned if nobody else has it and it can be written. Raises ``OSError``."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            return cls(path, os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), owned=False)
        return cls(path, fd, owned=_lock(fd) is True)

    def append(self, parts: Sequence[array[Any]]) -> int:
        """Write arrays at the end, one behind the other; returns where. Raises ``OSError``, also for a full disk."""
        start, size = self.end, sum(len(part) * part.itemsize for part in parts)
        done = 0
        for first in range(0, len(parts), _MOST_PARTS):
            done += os.pwritev(self.fd, parts[first : first + _MOST_PARTS], start + done)
        if done != size:
            raise OSError("short write")
        self.end = start + size
        return start

    def read(self, code: str, offset: int, count: int) -> array[Any]:
        """So many numbers from there. Raises ``OSError`` if they are not there any more."""
        found: array[Any] = array(code, bytes(count * array(code).itemsize))
        if os.preadv(self.fd, [found], offset) != count * found.itemsize:
            raise OSError("the file of old rows was cut off")
        return found

    @property
    def named(self) -> bool:
        """Whether the file can still be found under its name."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self.fd))
        except OSError:
            return False


class Store:
    """Where one run's tables put their old rows: a file found in the cache, one of its own, or both, or none yet.

    ``events`` is the stream that the rows come from; without one the file cannot become a cache.
    """

    def __init__(self, events: Path | None = None, base: DataFile | None = None) -> None:
        self.events = events
        self.files: list[DataFile] = [base] if base is not None else []
        self.refused = False  # a disk that is full or broken: rows stay in memory
        self.lost = False  # rows cannot be read any more
        self._texts: tuple[int, int, int, int] | None = None

    @classmethod
    def in_memory(cls) -> Store:
        """One that takes nothing: all rows stay in memory."""
        found = cls()
        found.refused = True
        return found

    def append(self, parts: Sequence[array[Any]]) -> tuple[int, int] | None:
        """Keep these arrays; returns the file's number and the place, or ``None`` where the disk takes nothing."""
        if self.refused:
            return None
        try:
            if not self.files or not self.files[-1].owned:
                self.files.append(DataFile.create(key(self.events) if self.events is not None else "rows"))
            return len(self.files) - 1, self.files[-1].append(parts)
        except OSError:
            self.refused = True
            return None

    def keep(self, text: bytes) -> tuple[int, int, int, int]:
        """Keep bytes; returns file, place, length and checksum, the same again for the same bytes. Raises ``OSError``."""
        size, crc = len(text), zlib.crc32(text)
        if self._texts is None or self._texts[2:] != (size, crc):
            kept = self.append([array("B", text)])
            if kept is None:
                raise OSError("texts cannot be kept")
            self._texts = (*kept, size, crc)
        return self._texts

    def kept(self, place: Sequence[int]) -> bytes:
        """The bytes that :meth:`keep` kept. Raises ``OSError`` or ``ValueError`` if they are not there any more."""
        file, offset, size, crc = place
        text = self.read(file, "B", offset, size).tobytes()
        if zlib.crc32(text) != crc:
            raise ValueError("damaged")
        self._texts = (file, offset, size, crc)
        return text

    def read(self, file: int, code: str, offset: int, count: int) -> array[Any]:
        """So many numbers from there. Raises ``OSError``; :attr:`lost` is set then."""
        try:
            return self.files[file].read(code, offset, count)
        except OSError:
            self.lost = True
            raise


def tidy(total: int = TOTAL_BYTES) -> None:
    """Remove what a killed process left, and the oldest files beyond ``total`` bytes. Never raises."""
    try:
        found = sorted((entry for entry in os.scandir(folder())), key=lambda entry: entry.stat().st_mtime, reverse=True)
        names = {entry.name for entry in found}
        used = 0
        for entry in found:
            info, path = entry.stat(follow_symlinks=False), Path(entry.path)
            age = time.time() - info.st_mtime
            stem, kind = os.path.splitext(entry.name)
            used += info.st_size
            orphan = (kind == DATA and stem + INDEX not in names) or (kind == INDEX and stem + DATA not in names)
            held = is_held(path) if kind == DATA else False
            unused = age > _STALE_SECONDS if held is None else age > _YOUNG_SECONDS and not held
            if (orphan or kind == TEMPORARY) and unused:
                path.unlink(missing_ok=True)
            elif used > total and kind == DATA:
                remove(path)
    except OSError:
        pass


def remove(data: Path) -> None:
    """Take a file and its index away; whoever has it open keeps it until then. Never raises."""
    for path in (data.with_suffix(INDEX), data):
        try:
            path.unlink(missing_ok=True)
        except OSError:
            pass


def is_held(path: Path) -> bool | None:
    """Whether a data file has an owner; ``None`` where there are no locks to tell it. Raises ``OSError``."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        taken = _lock(fd)
        return None if taken is None else not taken
    finally:
        os.close(fd)


def _lock(fd: int) -> bool | None:
    """Whether the lock could be taken: ``False`` if somebody else has it, ``None`` where there are no locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _release(path: Path, fd: int, owned: bool, pid: int) -> None:
    """Close; scratch space goes."""
    try:
        if owned and pid == os.getpid() and not path.with_suffix(INDEX).exists():
            path.unlink(missing_ok=True)
        os.close(fd)
    except OSError:
        pass
