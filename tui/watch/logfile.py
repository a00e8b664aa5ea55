"""The tail of a log file, read bit by bit; lines come out clean and ready to draw."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from engine.text import clean

FIRST_READ = 256 * 1024
MAX_READ = 1 << 20
KEEP_LINES = 2000
LINE_LIMIT = 2000
# A progress bar rewrites its line for hours without a newline; only its end matters.
MAX_UNFINISHED = 64 * 1024


class LogFile:
    """The last lines of a growing file. ``version`` rises when they changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: deque[str] = deque(maxlen=KEEP_LINES)
        self.version = 0
        self._offset = -1
        self._inode = -1
        self._rest = b""

    def poll(self) -> bool:
        """Read what is new; returns whether the lines changed."""
        try:
            info = self.path.stat()
        except OSError:
            return False
        if info.st_ino != self._inode or info.st_size < self._offset:
            self._start(info)
        if info.st_size == self._offset:
            return False
        if info.st_size - self._offset > MAX_READ:
            self._offset = info.st_size - FIRST_READ
            self._rest = b""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(MAX_READ)
        except OSError:
            return False
        self._offset += len(data)
        self._split(data)
        self.version += 1
        return True

    def snapshot(self) -> tuple[str, ...]:
        """All lines that are kept, the unfinished last one included."""
        last = self._last_line()
        return (*self.lines, last) if last else tuple(self.lines)

    def _start(self, info: os.stat_result) -> None:
        self._inode = info.st_ino
        self._offset = max(0, info.st_size - FIRST_READ)
        self._rest = b""
        self.lines.clear()

    def _split(self, data: bytes) -> None:
        first, *more = data.split(b"\n")
        if not more:
            self._rest = (self._rest + first)[-MAX_UNFINISHED:]
            return
        self.lines.append(_text(self._rest + first))
        self.lines.extend(_text(line) for line in more[:-1])
        self._rest = more[-1][-MAX_UNFINISHED:]

    def _last_line(self) -> str:
        return _text(self._rest)


def _text(line: bytes) -> str:
    # Cut before cleaning: of a bar that was rewritten a thousand times only the last version is wanted.
    line = line.rstrip(b"\r")
    start = line.rfind(b"\r") + 1
    return clean(line[start:].decode("utf-8", "replace"), LINE_LIMIT).rstrip()
