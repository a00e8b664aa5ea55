"""How lengths are spread: quantiles, a histogram, the limit that suits them, and what batches and packing make of them."""

from __future__ import annotations

import math
import random
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

# A suggestion is a whole number of these.
ROUND = 64
# At most 1 row in 200 may be cut, and only where the longest row is more than twice as long as all the others.
ALMOST_ALL, FAR = 0.995, 2.0
_PADDED_ROWS = 60_000


class Bin(NamedTuple):
    """So many rows have from ``low`` on and fewer than ``high`` tokens; ``rest``: it holds all that are longer than usual."""

    low: int
    high: int
    rows: int
    rest: bool = False


class Suggestion(NamedTuple):
    """A ``max_seq_length``, and how many of the rows it still cuts."""

    length: int
    cut: int
    longest: int


class Distribution:
    """How many rows have each length, in tokens. Of a sample, numbers are what it comes to for all rows, and not whole."""

    def __init__(self, counts: Mapping[int, float] | None = None) -> None:
        self._counts = {length: counts[length] for length in sorted(counts)} if counts else {}
        self.rows = sum(self._counts.values())

    def __bool__(self) -> bool:
        return bool(self._counts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Distribution) and self._counts == other._counts

    __hash__ = None  # type: ignore[assignment]

    @property
    def counts(self) -> Mapping[int, float]:
        """Rows by length, the shortest first."""
        return self._counts

    @property
    def longest(self) -> int:
        """Tokens of the longest row; 0 of none."""
        return next(reversed(self._counts), 0)

    @property
    def shortest(self) -> int:
        """Tokens of the shortest row; 0 of none."""
        return next(iter(self._counts), 0)

    @property
    def tokens(self) -> float:
        """Of all rows."""
        return sum(length * count for length, count in self._counts.items())

    def quantile(self, share: float) -> int | None:
        """The smallest length that at least this share of the rows does not exceed; ``None`` of no rows."""
        goal, so_far = share * self.rows - 1e-6, 0.0
        for length, count in self._counts.items():
            so_far += count
            if so_far >= goal:
                return length
        return self.longest if self else None

    def above(self, length: int) -> float:
        """How many rows have more tokens than this."""
        return sum(count for size, count in self._counts.items() if size > length)

    def suggestion(self) -> Suggestion | None:
        """The smallest ``max_seq_length`` that makes sense: a multiple of 64 into which all rows fit.

        A few rows that are far longer than all others do not decide: where the longest has more than twice the tokens of the row
        below which 99.5% of all are, at most 1 row in 200 is cut. Room for such a row costs memory in every batch that it is in
        and says nothing of the rest; that it is cut is said beside the suggestion. Rows that are only somewhat longer than the
        others are never cut by it, as what is cut is lost, and room that few rows need costs next to nothing while batches are
        as long as their own rows.
        """
        usual = self.quantile(ALMOST_ALL)
        if usual is None:
            return None
        fits = self.longest if self.longest <= FAR * usual else usual
        length = max(ROUND, math.ceil(fits / ROUND) * ROUND)
        return Suggestion(length, math.ceil(self.above(length)), self.longest)

    def histogram(self, most: int) -> list[Bin]:
        """At most ``most`` bins of one round width from 0 on; the last holds all that is longer than nearly all rows."""
        if not self or most < 1:
            return []
        usual = self.quantile(ALMOST_ALL) or 1
        top = self.longest if self.longest <= FAR * usual else usual
        width = _round_width(top / most)
        while top // width + 1 + (self.longest > top) > most and most > 1:
            width = _round_width(width * 1.01)
        number = min(top // width + 1, most)
        counts, rest = [0.0] * number, 0.0
        for length, count in self._counts.items():
            place = length // width
            if place < number:
                counts[place] += count
            else:
                rest += count
        bins = [Bin(at * width, (at + 1) * width, round(count)) for at, count in enumerate(counts)]
        return [*bins, Bin(number * width, self.longest + 1, math.ceil(rest), True)] if rest else bins


def _round_width(least: float) -> int:
    """The smallest of 1, 2, 4, 5 and 8 times a power of ten that is no less."""
    power = 1
    while True:
        for step in (1, 2, 4, 5, 8):
            if step * power >= least:
                return step * power
        power *= 10


def padding(lengths: Mapping[int, float], batch: int, seed: int = 0) -> float:
    """The share of a pass over shuffled rows that is padding, when each batch is padded to its longest row.

    Drawn as the trainer draws rows: in random order, whatever their length. Of very many rows some tens of thousands are drawn.
    """
    if batch < 2 or not lengths:
        return 0.0
    drawn, rows = random.Random(seed), sum(lengths.values())
    if rows <= _PADDED_ROWS and all(count == int(count) for count in lengths.values()):
        order = [length for length, count in lengths.items() for _ in range(int(count))]
        # A small set is gone through more often: one order of it says little of the next epoch's.
        passes = max(1, min(50, _PADDED_ROWS // len(order) // 4))
    else:
        order, passes = drawn.choices(list(lengths), list(lengths.values()), k=_PADDED_ROWS), 1
    room = 0
    for _ in range(passes):
        drawn.shuffle(order)
        room += sum(max(part) * len(part) for part in (order[at : at + batch] for at in range(0, len(order), batch)))
    return 1 - passes * sum(order) / room


def packed(lengths: Mapping[int, int] | Sequence[int], limit: int) -> int:
    """How many rows come of packing, as TRL's best fit decreasing does it: the longest first, each where it fits best."""
    counts = lengths if isinstance(lengths, Mapping) else Counter(lengths)
    rooms: dict[int, int] = {}  # how many packed rows have so much room
    sizes: list[int] = []  # the sizes of these rooms in order: at most as many as there are lengths
    made = 0
    for length in sorted(counts, reverse=True):
        for _ in range(int(counts[length])):
            place = bisect_left(sizes, length)
            left = limit - length
            if place < len(sizes):
                size = sizes[place]
                left = size - length
                rooms[size] -= 1
                if not rooms[size]:
                    del sizes[place]
            else:
                made += 1
            if left > 0:
                rooms[left] = rooms.get(left, 0) + 1
                if rooms[left] == 1:
                    insort(sizes, left)
    return made
