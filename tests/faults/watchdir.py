"""inotify through libc: a trial acts when a file appears, not when a poll happens to see it."""

from __future__ import annotations

import ctypes
import os
import select
import struct
from pathlib import Path

CREATE, MOVED_TO, MODIFY = 0x100, 0x80, 0x2
_EVENT = struct.Struct("iIII")


class Watch:
    """Names of files as they appear below folders; folders that appear are watched at once."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify is not to be had")
        self._folders: dict[int, Path] = {}

    def add(self, folder: Path) -> list[Path]:
        """Watch a folder and those in it; returns what is in it already."""
        number = self._libc.inotify_add_watch(self._fd, os.fsencode(folder), CREATE | MOVED_TO | MODIFY)
        if number < 0:
            return []
        self._folders[number] = folder
        found = []
        for entry in os.scandir(folder):
            path = Path(entry.path)
            found.append(path)
            if entry.is_dir(follow_symlinks=False):
                found += self.add(path)
        return found

    def wait(self, seconds: float) -> list[tuple[Path, int]]:
        """What happened, as (path, mask); empty after ``seconds``."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return []
        data = os.read(self._fd, 1 << 16)
        found: list[tuple[Path, int]] = []
        at = 0
        while at < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, at)
            name = data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
            at += _EVENT.size + length
            folder = self._folders.get(number)
            if folder is None:
                continue
            path = folder / os.fsdecode(name)
            found.append((path, mask))
            if mask & 0x40000000 and mask & (CREATE | MOVED_TO):  # a folder
                found += [(inner, CREATE) for inner in self.add(path)]
        return found

    def close(self) -> None:
        """Stop watching."""
        os.close(self._fd)
