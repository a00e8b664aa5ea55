"""From columns of minima and maxima to dots: braille masks of two by four dots a cell, one layer a series."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from tui.widgets.chart.axes import XScale, YScale
from tui.widgets.chart.buckets import INF, Buckets

DOT_ROWS = 4
DOT_COLUMNS = 2
# A pause of more than this many usual distances between points is shown as a gap.
GAP = 3.0
# Spans that hold no dots: no value, or one that lies beyond the axis (marked at its edge).
EMPTY = (-1, -1)
OFF_AXIS = (-2, -2)
EPSILON = 1e-9

_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
# Mask of a vertical run of dots within one cell: [dot column][first dot][last dot].
_RUNS = [[[sum(_BITS[x][first : last + 1]) for last in range(4)] for first in range(4)] for x in range(2)]


@dataclass(slots=True)
class Columns:
    """One series, one entry a dot column: the minimum and maximum of its points, and whether one was not finite."""

    lo: array[float] = field(default_factory=lambda: array("d"))
    hi: array[float] = field(default_factory=lambda: array("d"))
    bad: bytearray = field(default_factory=bytearray)

    def resize(self, count: int) -> None:
        """Start anew with empty columns."""
        self.lo = array("d", [INF]) * count
        self.hi = array("d", [-INF]) * count
        self.bad = bytearray(count)

    def read(self, buckets: Buckets, scale: XScale, first: int, last: int) -> None:
        """Fill the columns ``first`` to ``last`` from the buckets."""
        lo, hi, bad = self.lo, self.hi, self.bad
        shift = scale.origin - buckets.origin
        for column in range(max(0, first), min(last, len(lo) - 1) + 1):
            start, end = scale.bounds(column)
            if end > start:
                lo[column], hi[column], bad[column] = buckets.span(max(0, start + shift), max(0, end + shift))


class Layer:
    """The dots of one series on a grid of cells; spans are (top, bottom) in dot rows, counted from the top."""

    def __init__(self, rows: int, cells: int) -> None:
        self.rows = rows
        self.cells = cells
        self.masks = [bytearray(cells) for _ in range(rows)]
        self.above = bytearray(cells)
        self.below = bytearray(cells)
        width = cells * DOT_COLUMNS
        # What the values cover, and the same with the strokes that join neighbours.
        self._spans: list[tuple[int, int]] = [EMPTY] * width
        self.tops: array[int] = array("i", [-1]) * width
        self.bottoms: array[int] = array("i", [-1]) * width

    def trace(
        self,
        columns: Columns,
        y: YScale,
        first: int,
        connect: Callable[[int, int], bool] | None,
        *,
        thin: bool = False,
    ) -> int:
        """Place the columns from ``first`` on; ``connect`` says whether a line joins two of them (none: never);
        ``thin`` draws only the middle of each.

        Returns the first column that may look different.
        """
        first -= first % DOT_COLUMNS
        self._place(columns, y, first, thin)
        start = self._previous(first)
        spans, tops, bottoms = self._spans, self.tops, self.bottoms
        for column in range(start, len(spans)):
            top, bottom = spans[column]
            tops[column], bottoms[column] = (top, bottom) if top >= 0 else (-1, -1)
        if connect is None:
            return start
        before = self._previous(start)
        for column in range(start, len(spans)):
            top = spans[column][0]
            if top == -1:
                continue
            if before < column and top >= 0 and spans[before][0] >= 0 and connect(before, column):
                self._join(before, column)
            before = column
        return start

    def paint(self, first_cell: int, last_cell: int) -> None:
        """Set the masks of these cell columns from the spans."""
        for line in self.masks:
            line[first_cell : last_cell + 1] = bytes(last_cell - first_cell + 1)
        for column in range(first_cell * DOT_COLUMNS, min((last_cell + 1) * DOT_COLUMNS, len(self.tops))):
            top, bottom = self.tops[column], self.bottoms[column]
            if top < 0:
                continue
            cell, x = divmod(column, DOT_COLUMNS)
            runs = _RUNS[x]
            for row in range(top >> 2, (bottom >> 2) + 1):
                start = top - row * 4 if row == top >> 2 else 0
                end = bottom - row * 4 if row == bottom >> 2 else 3
                self.masks[row][cell] |= runs[start][end]

    def _place(self, columns: Columns, y: YScale, first: int, thin: bool) -> None:
        height = self.rows * DOT_ROWS - 1
        cell = first // DOT_COLUMNS
        self.above[cell:] = bytes(len(self.above) - cell)
        self.below[cell:] = bytes(len(self.below) - cell)
        for column in range(first, min(len(columns.lo), len(self._spans))):
            lo, hi = columns.lo[column], columns.hi[column]
            if hi < lo:
                self._spans[column] = EMPTY
                continue
            if thin:
                lo = hi = (lo + hi) / 2
            top, bottom = y.position(hi), y.position(lo)
            if top > 1.0 + EPSILON:
                self.above[column // DOT_COLUMNS] = 1
            if bottom < -EPSILON:
                self.below[column // DOT_COLUMNS] = 1
            off = bottom > 1.0 + EPSILON or top < -EPSILON
            self._spans[column] = OFF_AXIS if off else (_dot(top, height), _dot(bottom, height))

    def _previous(self, column: int) -> int:
        for candidate in range(column - 1, -1, -1):
            if self._spans[candidate] != EMPTY:
                return candidate
        return column

    def _join(self, a: int, b: int) -> None:
        tops, bottoms = self.tops, self.bottoms
        (top_a, bottom_a), (top_b, bottom_b) = self._spans[a], self._spans[b]
        if b - a > 1:
            start = (top_a + bottom_a) / 2
            slope = ((top_b + bottom_b) / 2 - start) / (b - a)
            for column in range(a, b + 1):
                left = start + slope * max(0.0, column - a - 0.5)
                right = start + slope * min(b - a, column - a + 0.5)
                top = round(min(left, right))
                bottom = max(top, round(max(left, right)) - (abs(slope) >= 1.0))
                tops[column] = top if tops[column] < 0 else min(tops[column], top)
                bottoms[column] = max(bottoms[column], bottom)
        elif bottom_a < top_b - 1:
            middle = (bottom_a + top_b) // 2
            bottoms[a], tops[b] = max(bottoms[a], middle), min(tops[b], middle + 1)
        elif bottom_b < top_a - 1:
            middle = (bottom_b + top_a) // 2
            tops[a], bottoms[b] = min(tops[a], middle + 1), max(bottoms[b], middle)


def _dot(position: float, height: int) -> int:
    return height - round(min(1.0, max(0.0, position)) * height)
