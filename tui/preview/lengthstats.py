"""Adds up how long rows are, as they are measured, and what ``max_seq_length`` does to them."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

# A suggestion is a whole number of these; fewer than 1 row in 200 may be cut, and only where that halves it at least.
ROUND = 64
ALMOST_ALL = 0.995
FAR = 2.0
_REFUSED = 20


@dataclass(frozen=True, slots=True)
class Bin:
    """So many rows have from ``low`` on and fewer than ``high`` tokens; ``rest``: it holds all that are longer than usual."""

    low: int
    high: int
    count: int
    rest: bool = False


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A ``max_seq_length``, and how many of the rows it still cuts."""

    length: int
    cut: int
    longest: int


@dataclass
class LengthStats:
    """Rows are added in their order, file by file. A row that the template refuses has no length."""

    limit: int
    rows: int = 0
    tokens: int = 0
    kept: int = 0
    learned: int = 0
    cut: int = 0
    nothing: int = 0
    refused: int = 0
    refusals: list[dict[str, Any]] = field(default_factory=list)
    complete: bool = False
    _lengths: list[array[int]] = field(default_factory=list)
    _learned: list[array[int]] = field(default_factory=list)
    _counts: Counter[int] = field(default_factory=Counter)

    def add(self, file: int, answer: dict[str, Any]) -> None:
        """One answer of the inspector to ``lengths``."""
        while len(self._lengths) <= file:
            self._lengths.append(array("L"))
            self._learned.append(array("L"))
        refused = {item["row"] for item in answer["refused"]}
        self.refusals += [{"file": file, **item} for item in answer["refused"]][: _REFUSED - len(self.refusals)]
        first = answer["row"]
        for at, (length, learned) in enumerate(zip(answer["lengths"], answer["learned"], strict=True), first):
            self._lengths[file].append(length)
            self._learned[file].append(learned)
            self.rows += 1
            if at in refused:
                self.refused += 1
                continue
            self.tokens += length
            self.kept += min(length, self.limit)
            self.learned += learned
            self.cut += length > self.limit
            self.nothing += learned == 0
            self._counts[length] += 1

    def in_file(self, file: int) -> int:
        """How many rows of a file were measured."""
        return len(self._lengths[file]) if file < len(self._lengths) else 0

    @property
    def measured(self) -> int:
        """Rows that have a length."""
        return self.rows - self.refused

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max(self._counts, default=0)

    @property
    def shortest(self) -> int:
        """Tokens of the shortest row."""
        return min(self._counts, default=0)

    @property
    def mean(self) -> float | None:
        """Tokens of a row on average."""
        return self.tokens / self.measured if self.measured else None

    def quantile(self, share: float) -> int | None:
        """The smallest length that at least this share of the rows does not exceed."""
        if not self.measured:
            return None
        goal, so_far = max(1, math.ceil(share * self.measured - 1e-9)), 0
        for length in sorted(self._counts):
            so_far += self._counts[length]
            if so_far >= goal:
                return length
        return self.longest

    def above(self, length: int) -> int:
        """How many rows have more tokens than this."""
        return sum(count for size, count in self._counts.items() if size > length)

    def histogram(self, most: int) -> list[Bin]:
        """At most ``most`` bins of one round width from 0 on; the last holds all that is longer than nearly all rows."""
        if not self.measured or most < 1:
            return []
        usual = self.quantile(ALMOST_ALL) or 1
        top = self.longest if self.longest <= FAR * usual else usual
        width = _round_width(top / most)
        while top // width + 1 + (self.longest > top) > most and most > 1:
            width = _round_width(width * 1.01)
        number = min(top // width + 1, most)
        counts = [0] * number
        rest = 0
        for length, count in self._counts.items():
            place = length // width
            if place < number:
                counts[place] += count
            else:
                rest += count
        bins = [Bin(at * width, (at + 1) * width, count) for at, count in enumerate(counts)]
        return [*bins, Bin(number * width, self.longest + 1, rest, True)] if rest else bins

    @property
    def suggestion(self) -> Suggestion | None:
        """The smallest sensible ``max_seq_length``: all rows fit, but for a few that are far longer than all others."""
        usual = self.quantile(ALMOST_ALL)
        if usual is None:
            return None
        fits = self.longest if self.longest <= FAR * usual else usual
        length = max(ROUND, math.ceil(fits / ROUND) * ROUND)
        return Suggestion(length, self.above(length), self.longest)

    def next_row(self, kind: str, place: tuple[int, int]) -> tuple[int, int] | None:
        """The next row after ``place`` that is ``cut``, or has ``nothing`` to train; refused ones count as that, too."""
        file, row = place
        for at in range(file, len(self._lengths)):
            lengths, learned = self._lengths[at], self._learned[at]
            for number in range(row + 1 if at == file else 0, len(lengths)):
                if lengths[number] > self.limit if kind == "cut" else learned[number] == 0:
                    return at, number
        return None


def _round_width(least: float) -> int:
    """The smallest of 1, 2, 4, 5 and 8 times a power of ten that is no less."""
    power = 1
    while True:
        for step in (1, 2, 4, 5, 8):
            if step * power >= least:
                return step * power
        power *= 10
