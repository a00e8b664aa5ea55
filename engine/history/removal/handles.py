"""Directories and names held by descriptors: nothing here follows a link, crosses a mount or trusts a path."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from engine.history.removal.records import DIRECTORY, FILE, LINK, OTHER

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOREPLACE, _EXCHANGE = 1, 2
_libc = ctypes.CDLL(None, use_errno=True)


class Elsewhere(OSError):
    """What was opened is another file system, or the same one mounted there again."""


@contextlib.contextmanager
def folder(name: str | Path, at: int | None = None, mount: int | None = None) -> Iterator[int]:
    """The descriptor of a directory (never of a link's target); raises :class:`Elsewhere` if it is not of ``mount``."""
    fd = os.open(name, _FOLDER, dir_fd=at)
    try:
        if mount is not None and mount_of(fd) != mount:
            raise Elsewhere(errno.EXDEV, "is another file system that is mounted there")
        yield fd
    finally:
        os.close(fd)


def mount_of(fd: int) -> int:
    """The number of the mount that a descriptor is on: a bind mount of the same disk has another. Raises ``OSError``."""
    with open(f"/proc/self/fdinfo/{fd}", "rb", buffering=0) as file:
        for line in file.read(4096).split(b"\n"):
            if line.startswith(b"mnt_id:"):
                return int(line[7:])
    raise OSError(errno.ENOSYS, "this system does not tell mounts apart")


def look(name: str, at: int) -> os.stat_result | None:
    """What the file system says of a name itself; ``None`` if it is not there. Raises ``OSError``."""
    try:
        return os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return None


def kind_of(info: os.stat_result) -> str:
    """``file``, ``directory``, ``link`` or ``other``: a pipe, a socket, a device."""
    mode = info.st_mode
    return FILE if stat.S_ISREG(mode) else DIRECTORY if stat.S_ISDIR(mode) else LINK if stat.S_ISLNK(mode) else OTHER


def put_back(name: str, at: int, wanted: str, to: int) -> str:
    """Move something back to where it was, over nothing; returns under which name it stands. Raises ``OSError``."""
    candidate, count = wanted, 0
    while True:
        try:
            _rename_over_nothing(name, at, candidate, to)
            return candidate
        except FileExistsError:
            count += 1
            candidate = os.fsdecode(os.fsencode(wanted)[:200]) + f".kept-{count}"


def exchange(name: str, at: int, other: str, to: int) -> None:
    """Swap two names in one step. Raises ``OSError``, also where the file system cannot do that."""
    call = getattr(_libc, "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(at, os.fsencode(name), to, os.fsencode(other), _EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), other)


def _rename_over_nothing(name: str, at: int, wanted: str, to: int) -> None:
    call = getattr(_libc, "renameat2", None)
    if call is not None:
        if call(at, os.fsencode(name), to, os.fsencode(wanted), _NOREPLACE) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(number, os.strerror(number), wanted)
    if look(wanted, to) is not None:  # a file system without that call: the best that there is
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), wanted)
    os.rename(name, wanted, src_dir_fd=at, dst_dir_fd=to)


def person(uid: int) -> str:
    """A user's name, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def reason(error: OSError) -> str:
    """Why the system refused something, in words."""
    words = {
        errno.EACCES: "its directory may not be changed",
        errno.EPERM: "the system does not allow it (immutable, or protected by its directory)",
        errno.EROFS: "the file system is read-only",
        errno.EBUSY: "it is in use, perhaps as a place where something is mounted",
        errno.ENOTEMPTY: "something is still in it",
        errno.EEXIST: "something is still in it",
        errno.ELOOP: "a link stands there now",
        errno.ENOTDIR: "it is no directory any more",
        errno.EXDEV: "is another file system that is mounted there",
    }
    return words.get(error.errno or 0) or error.strerror or str(error)
