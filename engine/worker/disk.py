"""What a disk has to give, and which of its troubles an exception is about, said in words for people."""

from __future__ import annotations

import errno
import os
import re
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.text import clean

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
TROUBLES = FULL | {errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EFBIG}
PROBE_BYTES = 1024 * 1024
# torch and safetensors say these where the operating system told them why.
_HIDING = re.compile(
    r"PytorchStreamWriter|inline_container|SafetensorError|I/O error|iostream|basic_ios|cannot be opened|unexpected pos",
    re.IGNORECASE,
)
_OS_ERROR = re.compile(r"\bos error (\d{1,3})\b|\[Errno (\d{1,3})\]")
_TEXTS = {os.strerror(number).lower(): number for number in TROUBLES - {errno.EACCES}}


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes and files; of what is free, ``files`` is ``None`` where the file system has no limit of them."""

    bytes: int
    files: int | None = None

    def lacks(self, needed: Room) -> bool:
        """Whether ``needed`` does not fit into this."""
        return self.bytes < needed.bytes or (self.files is not None and self.files < (needed.files or 0))

    def short_of_files(self, needed: Room) -> bool:
        """Whether there is room for the bytes of ``needed``, but not for its files."""
        return self.bytes >= needed.bytes and self.lacks(needed)


def free(directory: Path) -> Room:
    """What this user can still write below a directory (quotas do not show here); raises ``OSError``."""
    found = os.statvfs(directory)
    # A file system that knows no sizes reports zeros.
    size = found.f_bavail * found.f_frsize if found.f_blocks else sys.maxsize
    return Room(size, found.f_favail if found.f_files else None)


def mount_point(directory: Path) -> Path:
    """Where the directory's file system is mounted."""
    path = directory.absolute()
    while not os.path.ismount(path) and path != path.parent:
        path = path.parent
    return path


def probe(directory: Path) -> int | None:
    """The errno that writing here meets now, ``None`` if a small file can be written and flushed."""
    path = directory / f".probe-{os.getpid()}"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return error.errno
    try:
        left = PROBE_BYTES
        while left:
            left -= os.write(fd, bytes(left))
        os.fsync(fd)
    except OSError as error:
        return error.errno
    finally:
        os.close(fd)
        os.unlink(path)
    return None


def trouble(error: BaseException, directory: Path) -> int | None:
    """The errno of the disk trouble behind an exception, ``None`` if it is about something else.

    Where a library hides it, the directory is tried: call this before what was half written is removed.
    """
    hidden = False
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in TROUBLES:
            return one.errno
        text = f"{type(one).__name__} {one}"
        found = _OS_ERROR.search(text)
        if found and int(found[1] or found[2]) in TROUBLES:
            return int(found[1] or found[2])
        number = next((number for words, number in _TEXTS.items() if words in text.lower()), None)
        if number is not None:
            return number
        hidden = hidden or _HIDING.search(text) is not None
    if not hidden:
        return None
    found_now = probe(directory)
    return found_now if found_now in TROUBLES else None


def explain(number: int, what: str, directory: Path, needed: Room | None = None, left: Room | None = None) -> str:
    """A trouble in one line: what could not be written, what is missing, what to do. ``left`` was free at that time."""
    place = clean(mount_point(directory), 120)
    if number in FULL:
        if left is None:
            try:
                left = free(directory)
            except OSError:
                left = Room(0)
        if number == errno.EDQUOT:
            cause = f"disk full: your disk quota on {place} does not suffice for {what}"
        elif needed is None:
            cause = f"disk full: {size_text(left.bytes)} free on {place} did not suffice for {what}"
        elif left.short_of_files(needed):
            cause = f"disk full: {what} needs {needed.files} files (inodes), {left.files} are free on {place}"
        else:
            cause = f"disk full: {what} needs {size_text(needed.bytes)}, {size_text(left.bytes)} are free on {place}"
        return f"{cause}; free space there, then resume"
    if number == errno.EIO:
        return f"the disk reported an error (EIO) as {what} was written on {place}; check the disk, then resume"
    if number == errno.EROFS:
        return f"read-only file system: {what} cannot be written on {place}; make it writable, then resume"
    if number in (errno.EMFILE, errno.ENFILE):
        limit = f" (limit of this process: {resource.getrlimit(resource.RLIMIT_NOFILE)[0]})"
        hint = "raise ulimit -n" if number == errno.EMFILE else "close other programs"
        return (
            f"too many open files{limit if number == errno.EMFILE else ''} as {what} was written; {hint}, then resume"
        )
    if number == errno.EFBIG:
        return f"{what} is larger than files may be on {place} (ulimit -f, or the file system's limit)"
    return f"no permission to write {what} in {clean(directory, 160)}; correct its permissions, then resume"


def size_text(size: float) -> str:
    """Bytes in binary units."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, what caused it, and what it came up in, where it tells nothing itself."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (one.__context__ if _HIDING.search(f"{type(one).__name__} {one}") else None)
