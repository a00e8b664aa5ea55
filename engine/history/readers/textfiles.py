"""Files of others, read without trust: regular files only, so many bytes and no more, and no link out of the run."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

# What is read whole. Larger files are read at both ends.
MAX_WHOLE = 64 * 1024 * 1024
HEAD = 256 * 1024
TAIL = 4 * 1024 * 1024
_LFS = b"version https://git-lfs"
_ANNEX = b"/annex/objects/"


@dataclass(slots=True)
class Found:
    """The bytes of a file. ``tail`` holds its end if only both ends were read; ``problem`` says what is wrong with it.

    ``mtime`` is 0 and ``data`` empty where nothing could be read.
    """

    data: bytes = b""
    tail: bytes = b""
    size: int = 0
    mtime: float = 0.0
    problem: str = ""

    @property
    def partial(self) -> bool:
        """Whether the middle of the file was left out."""
        return bool(self.tail)


def read(
    path: Path | str, *, within: Path | str | None = None, limit: int = MAX_WHOLE, tail: int = TAIL
) -> Found | None:
    """What a file holds, ``None`` if there is none. Never raises for what stands on the disk.

    A link is followed only to a regular file below ``within``. Above ``limit`` its beginning is read, and ``tail`` bytes of its end.
    """
    try:
        fd = _open(path, within)
    except FileNotFoundError:
        return None
    except ValueError as error:  # a NUL in the name, or a link that leads away
        return Found(problem=str(error))
    except OSError as error:
        return Found(problem=f"cannot be read: {(error.strerror or str(error)).lower()}")
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            return Found(problem="is no regular file")
        found = Found(size=info.st_size, mtime=info.st_mtime)
        if info.st_size > limit:
            found.data, found.tail = _take(fd, 0, HEAD), _take(fd, info.st_size - min(tail, info.st_size - HEAD), tail)
            found.problem = f"is too large ({_size(info.st_size)}): only its two ends were read"
        else:
            found.data = _take(fd, 0, limit + 1)
        return _judged(found)
    except OSError as error:
        return Found(problem=f"cannot be read: {(error.strerror or str(error)).lower()}")
    finally:
        os.close(fd)


def _open(path: Path | str, within: Path | str | None) -> int:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        return os.open(path, flags | os.O_NOFOLLOW)
    except OSError as error:
        if not os.path.islink(path):
            raise
        if within is None:
            raise ValueError("is a link") from error
    target, home = os.path.realpath(path), os.path.realpath(within)
    if not os.path.lexists(target):
        raise ValueError("is a link to nothing")
    if os.path.commonpath([target, home]) != home and not _is_blob(target, home):
        raise ValueError("is a link that leads out of the run")
    return os.open(target, flags | os.O_NOFOLLOW)


def _is_blob(target: str, home: str) -> bool:
    """Whether a link is one of the hub's cache, where a snapshot's files stand in ``blobs`` beside ``snapshots``."""
    snapshots, store = os.path.split(os.path.dirname(home))[1], os.path.dirname(os.path.dirname(home))
    return snapshots == "snapshots" and os.path.dirname(target) == os.path.join(store, "blobs")


def _take(fd: int, offset: int, most: int) -> bytes:
    pieces = []
    while most > 0:
        piece = os.pread(fd, min(most, 1 << 22), offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
        most -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _judged(found: Found) -> Found:
    """Pointers that stand where contents should be, and other encodings."""
    head = found.data[:200]
    if head.startswith(_LFS):
        return Found(size=found.size, mtime=found.mtime, problem="is a Git LFS pointer, its contents are elsewhere")
    if found.size < 1024 and _ANNEX in head and not head.lstrip().startswith((b"{", b"[")):
        return Found(size=found.size, mtime=found.mtime, problem="is a git-annex pointer, its contents are elsewhere")
    if head.startswith(b"\xef\xbb\xbf"):
        found.data = found.data[3:]
    elif head.startswith((b"\xff\xfe", b"\xfe\xff")) and not found.tail:
        found.data = found.data.decode("utf-16", "replace").encode()
    if found.size and not found.data.strip(b"\0 \r\n\t") and not found.tail:
        found.data, found.problem = b"", "holds nothing but empty bytes"
    elif not found.size:
        found.problem = "is empty"
    return found


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
