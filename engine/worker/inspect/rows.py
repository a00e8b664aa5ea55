"""Any row of a data file by its number, quickly for the next one and those just seen."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.data import Chat, Reading, numbered_chats

_KEPT_ROWS = 512
_OPEN_FILES = 4
Found = tuple[int, Chat]


class Cursor:
    """Walks through one file; going back further than what is kept begins anew."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self._path, self._reading = path, reading
        self._kept: OrderedDict[int, Found] = OrderedDict()
        self._rows: Iterator[Found] = iter(())
        self._next = -1

    def row(self, number: int, check: Callable[[], None]) -> Found | None:
        """Line and chat of a row, ``None`` past the end; ``check`` is called on the way and may raise."""
        if number in self._kept:
            return self._kept[number]
        if self._next < 0 or number < self._next:
            self.close()
            self._rows, self._next = numbered_chats(self._path, self._reading), 0
        try:
            while self._next <= number:
                check()
                found = next(self._rows, None)
                if found is None:
                    self._next = -1
                    return None
                self._kept[self._next] = found
                self._next += 1
                if len(self._kept) > _KEPT_ROWS:
                    self._kept.popitem(last=False)
        except Exception:
            self._next = -1  # a stream that raised is over
            raise
        return found

    def close(self) -> None:
        """Let go of the file."""
        close = getattr(self._rows, "close", None)
        if close is not None:
            close()
        self._kept.clear()
        self._next = -1


class Files:
    """The cursors of the files that were asked for last; a file that has changed is read anew."""

    def __init__(self) -> None:
        self._cursors: OrderedDict[object, Cursor] = OrderedDict()

    def cursor(self, path: Path, reading: Reading, purpose: str = "") -> Cursor:
        """The cursor of a file, for each purpose one of its own: they walk on without each other.

        Raises ``OSError`` where there is no file.
        """
        info = os.stat(path)
        print_ = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
        key = (str(path), print_, reading.format, tuple(sorted(reading.fields.items())), reading.skip, purpose)
        if key not in self._cursors:
            self._cursors[key] = Cursor(path, reading)
            if len(self._cursors) > _OPEN_FILES:
                self._cursors.popitem(last=False)[1].close()
        self._cursors.move_to_end(key)
        return self._cursors[key]
