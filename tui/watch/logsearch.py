"""Looks for a text in a log of any length, a little at a time, from the end to the beginning."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from tui.watch.logrows import BLOCK, Row, alarming, read_block

MOST_MATCHES = 10_000
SPAN = 16  # blocks that are looked through at once


def pattern(text: str) -> re.Pattern[str]:
    """What is searched for: capitals in the text make it case-sensitive."""
    return re.compile(re.escape(text), 0 if text.lower() != text else re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found so far: offsets of rows, the first in the file first.

    ``low`` is how far towards the beginning it has come; ``capped``: there may be more, but no more are counted.
    """

    text: str
    warnings: bool
    ats: tuple[int, ...] = ()
    low: int = 0
    done: bool = False
    capped: bool = False


class Filter:
    """Which rows are wanted; a quick look at a span of bytes tells whether any can be in it."""

    def __init__(self, text: str = "", *, warnings: bool = False) -> None:
        self.text, self.warnings = text, warnings
        self._pattern = pattern(text) if text else None
        word = max(text.split(), key=len, default="")
        self._exact = text.lower() != text or word.lower() == word.upper()
        small = word if self._exact else word.lower()
        plain = word and (self._exact or word.isascii())
        self._word = small.encode("utf-8", "replace") if plain else b""

    def row(self, row: Row) -> bool:
        """Whether a row is wanted."""
        if self.warnings and not row.level:
            return False
        return self._pattern is None or self._pattern.search(row.text) is not None

    def bytes(self, data: bytes, before: bytes = b"") -> bool:
        """Whether rows in these bytes can be wanted; ``before`` is what precedes them."""
        if self.warnings and not (b"Traceback (" in before or alarming(data.lower())):
            return False
        if not self._word or b"\x1b" in data:  # colours may stand within the word
            return True
        return self._word in (data if self._exact else data.lower())

    def rows(self, fd: int, first: int, last: int, size: int) -> Iterator[tuple[int, tuple[Row, ...]]]:
        """The wanted rows of blocks ``first`` to ``last``, with the blocks' numbers, backwards."""
        low = max(0, (first - 1) * BLOCK)
        data = os.pread(fd, min(size, (last + 2) * BLOCK) - low, low)
        own = max(0, first * BLOCK - low)
        if not self.bytes(data[own:], data[:own]):
            return
        for number in range(last, first - 1, -1):
            at = number * BLOCK - low
            if self.bytes(data[at : at + 2 * BLOCK], data[max(0, at - BLOCK) : at]):
                rows = read_block(fd, number, size).rows
                yield number, tuple(row for row in rows if self.row(row))


class Search:
    """One search: goes backwards from where the file ended, and forwards over what is written since."""

    def __init__(self, text: str, size: int, *, warnings: bool) -> None:
        self.text, self.warnings = text, warnings
        self._filter = Filter(text, warnings=warnings)
        # The last block but one may hold a row that still grows.
        self._first = self._forward = max(0, size // BLOCK - 1)
        self._next = self._first - 1
        self._old: deque[int] = deque()
        self._new: list[tuple[int, int]] = []
        self._size = -1
        self._capped = False

    @property
    def done(self) -> bool:
        """Whether the beginning was reached, or enough was found."""
        return self._size >= 0 and (self._next < 0 or self._capped)

    def step(self, fd: int, size: int, seconds: float) -> None:
        """Go on for about so long (raises OSError)."""
        deadline = time.monotonic() + seconds
        self._onwards(fd, size, deadline)
        while not self.done and time.monotonic() < deadline:
            first = max(0, self._next - SPAN + 1)
            for _, rows in self._filter.rows(fd, first, self._next, size):
                self._old.extendleft(row.at for row in reversed(rows))
            self._next = first - 1
            self._capped |= len(self._old) + len(self._new) >= MOST_MATCHES
        while self._old and len(self._old) + len(self._new) > MOST_MATCHES:
            self._old.popleft()

    def _onwards(self, fd: int, size: int, deadline: float) -> None:
        """Look at what was written since the search began; rows that may have grown are looked at again."""
        last = max(0, size - 1) // BLOCK
        while self._size != size and time.monotonic() < deadline:
            to = min(last, self._forward + SPAN - 1)
            blocks = list(self._filter.rows(fd, self._forward, to, size))
            self._new = [found for found in self._new if found[0] < self._forward]
            self._new += [(number, row.at) for number, rows in reversed(blocks) for row in rows]
            if len(self._new) > MOST_MATCHES:
                del self._new[:-MOST_MATCHES]
                self._capped = True
            if to == last:
                self._size = size
            self._forward = max(self._first, to - 1) if to == last else to + 1

    def found(self) -> Found:
        """What was found so far."""
        low = (self._next + 1) * BLOCK
        return Found(self.text, self.warnings, (*self._old, *(at for _, at in self._new)), low, self.done, self._capped)
