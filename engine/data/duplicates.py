"""Rows that stand in data more than once, found with sixteen bytes a row.

What is kept of a large file after its check lies in an unnamed temporary file, so that a report costs little memory; it is
gone with the report. Hashes are those of this process: they can be compared within it only.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import IO

_PARTS = 64
_WORD = 8
MAX_ROWS = 16_000_000
# Up to so many rows (1 MB) stay in memory.
_KEPT_ROWS = 65_536
_LINE = 0xFFFFFFFF


class Duplicates:
    """Hashes of a file's rows with their places (the number of the row in the upper half, its line in the lower)."""

    def __init__(self) -> None:
        self._hashes = [array("q") for _ in range(_PARTS)]
        self._lines = [array("q") for _ in range(_PARTS)]
        self._file: IO[bytes] | None = None
        self._at: list[tuple[int, int]] = []  # offset and number of rows of each part in the temporary file
        self.rows = 0

    def add(self, digest: int, line: int) -> None:
        """One row."""
        if self.rows < MAX_ROWS:
            self.rows += 1
            part = digest % _PARTS
            self._hashes[part].append(digest)
            self._lines[part].append(line)

    def found(self, first: int) -> tuple[int, list[tuple[int, int]]]:
        """How many rows repeat an earlier one, and of the ``first`` of them their place and that of the earlier one."""
        count, pairs = 0, []
        for number in range(_PARTS):
            hashes, lines = self.part(number)
            if len(set(hashes)) == len(hashes):
                continue
            seen: dict[int, int] = {}
            for digest, line in zip(hashes, lines, strict=True):
                earlier = seen.setdefault(digest, line)
                if earlier != line:
                    count += 1
                    pairs.append((line, earlier))
            pairs = sorted(pairs)[:first]
        return count, pairs

    def part(self, number: int) -> tuple[array[int], array[int]]:
        """Hashes and places of one part of the rows, in the file's order; equal rows are in the same part."""
        if self._file is None:
            return self._hashes[number], self._lines[number]
        offset, rows = self._at[number]
        out = array("q"), array("q")
        for which, values in enumerate(out):
            values.frombytes(os.pread(self._file.fileno(), rows * _WORD, offset + which * rows * _WORD))
        return out

    def settle(self) -> None:
        """No more rows will be added: those of a large file go to the disk, where there is room for them."""
        if self._file is not None or self.rows <= _KEPT_ROWS:
            return
        try:
            file = tempfile.TemporaryFile(prefix="tunedeck-")  # noqa: SIM115 - closed when the report goes
            for hashes, lines in zip(self._hashes, self._lines, strict=True):
                self._at.append((file.tell(), len(hashes)))
                hashes.tofile(file)
                lines.tofile(file)
            file.flush()
        except OSError:  # no room: they stay in memory
            self._at.clear()
            return
        self._file = file
        self._hashes, self._lines = [], []


@dataclass(frozen=True, slots=True)
class Repeat:
    """A row that stands elsewhere as well: numbers of both files, and both lines."""

    file: int
    line: int
    earlier_file: int
    earlier_line: int


def across(
    files: Sequence[Duplicates], first: int, tick: Callable[[], None] = lambda: None
) -> tuple[int, list[Repeat]]:
    """How many rows also stand in an earlier file, and the ``first`` of them. ``tick`` is called on the way; it may raise."""
    return _repeats(files, 0, first, tick, grows=True)


def shared(
    earlier: Sequence[Duplicates], later: Sequence[Duplicates], first: int, tick: Callable[[], None] = lambda: None
) -> tuple[int, list[Repeat]]:
    """How many rows of ``later`` also stand in ``earlier``; files are numbered within the two."""
    count, found = _repeats([*earlier, *later], len(earlier), first, tick, grows=False)
    return count, [Repeat(r.file - len(earlier), r.line, r.earlier_file, r.earlier_line) for r in found]


def _repeats(files: Sequence[Duplicates], start: int, first: int, tick: Callable[[], None], *,
             grows: bool) -> tuple[int, list[Repeat]]:  # fmt: skip
    """Part by part: rows of the files from ``start`` on that are in one before (``grows``), or in one before ``start``."""
    count = 0
    firsts: list[tuple[int, int, int]] = []
    for number in range(_PARTS):
        tick()
        known: set[int] = set()
        for at, file in enumerate(files):
            hashes, places = file.part(number)
            if at >= start and known:
                hits = [(at, place, digest) for digest, place in zip(hashes, places, strict=True) if digest in known]
                count += len(hits)
                firsts = nsmallest(first, [*firsts, *hits])
            if at < start or grows:
                known.update(hashes)
    return count, [_repeat(files, *hit) for hit in firsts]


def _repeat(files: Sequence[Duplicates], at: int, place: int, digest: int) -> Repeat:
    """A row and the first one that says the same."""
    for number, file in enumerate(files):
        hashes, places = file.part(digest % _PARTS)
        if digest in hashes:
            return Repeat(at, place & _LINE, number, places[hashes.index(digest)] & _LINE)
    raise AssertionError("a row that repeats another has one that it repeats")
