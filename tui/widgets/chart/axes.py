"""Axes that grow in jumps, so that what is already drawn stays where it is.

x: whole points per dot column (or whole dot columns per point in a short run), half as many again at each rescale.
y: a sticky range with round ends that grows when values leave it; a few outliers do not flatten everything else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tui.widgets.chart.buckets import CAPACITY
from tui.widgets.chart.ticks import byte_unit, linear_ticks, log_ticks, nice_step

GROWTH = 1.5
# A live run's first picture leaves room for this many steps; fewer would rescale at every other step.
LIVE_SPAN = 24
OUTLIER_SHARE = 50
OUTLIER_FACTOR = 2.0
MIN_COLUMNS_FOR_OUTLIERS = 12
HEADROOM = 0.25
# A label's tick stands this many dots above the bottom of its row: in its middle.
BASE_DOTS = 2
TINY = 1e-290


class XScale:
    """Which dot column an x belongs to: ``(x - origin) * dots // points``."""

    def __init__(self, columns: int, origin: int = 0, live_span: int = LIVE_SPAN) -> None:
        self.columns = max(2, columns)
        self.origin = origin
        self.live_span = live_span
        self.points = 1
        self.dots = self._most_dots(LIVE_SPAN)

    def column(self, x: int) -> int:
        """The dot column of an x value."""
        return max(0, x - self.origin) * self.dots // self.points

    def bounds(self, column: int) -> tuple[int, int]:
        """The range of ``x - origin`` (first, end) that a dot column covers; empty where points are spread out."""
        return -(-column * self.points // self.dots), -(-(column + 1) * self.points // self.dots)

    @property
    def end(self) -> int:
        """The first x beyond the axis."""
        return self.origin + self.bounds(self.columns - 1)[1]

    def fit(self, last: int, total: int | None = None, *, live: bool = False) -> bool:
        """Choose the finest scale on which ``last`` is seen; a live run gets room to grow, up to ``total``.

        Of a run that has ended ``total`` is its last step, even if it has not been read yet.
        """
        count = last - self.origin + 1
        if total is not None and not live:
            count = max(count, total - self.origin + 1)
        if not live:
            return self.show(self.origin + count)
        count = max(count, self.live_span)
        count = self._limit(math.ceil(count * GROWTH) if count > self.live_span else count, last, total)
        return self._set(max(2, count))

    def show(self, end: int) -> bool:
        """Show from the origin up to ``end``, exactly where the buckets are exact, else at most an eighth more."""
        before = (self.points, self.dots)
        count = max(2, end - self.origin)
        if count <= self.columns:
            self.points, self.dots = count - 1, self.columns - 1
        elif count <= CAPACITY:
            self.points, self.dots = count, self.columns
        else:
            self._set(count)
        return before != (self.points, self.dots)

    def grow(self, last: int, total: int | None = None, ahead: int = 0) -> bool:
        """Make room for ``last``, if it is beyond the axis, by a jump; for at least ``ahead`` more behind it."""
        if self.column(last) < self.columns:
            return False
        wanted = max(last - self.origin + 1 + ahead, math.ceil((self.end - self.origin) * GROWTH))
        return self._set(self._limit(wanted, last, total))

    def _limit(self, wanted: int, last: int, total: int | None) -> int:
        if total is None or last > total:  # it was wrong
            return wanted
        return max(last - self.origin + 1, min(wanted, total - self.origin + 1))

    def _most_dots(self, count: int) -> int:
        return max(1, (self.columns - 1) // max(1, count - 1))

    def _set(self, count: int) -> bool:
        before = (self.points, self.dots)
        if count <= self.columns:
            self.points, self.dots = 1, self._most_dots(count)
        else:
            self.points, self.dots = _whole_buckets(-(-count // self.columns), self.columns), 1
        return before != (self.points, self.dots)


def shown_end(columns: int, window: tuple[int, int]) -> int:
    """The first x beyond what so many dot columns show of a window: its end, or a little more where points are many."""
    scale = XScale(columns, window[0])
    scale.show(window[1])
    return scale.end


def _whole_buckets(value: int, columns: int) -> int:
    """Round up to a multiple of the buckets' width (a power of two): of the axis at most an eighth is then unused."""
    bits = max(4, (CAPACITY // columns).bit_length() - 1)
    shift = max(0, value.bit_length() - bits)
    return -(-value >> shift) << shift


@dataclass(slots=True)
class YScale:
    """The visible range and its ticks; ``low`` and ``high`` are exponents of ten on a logarithmic axis."""

    log: bool = False
    zero: bool = False
    binary: bool = False
    low: float = 0.0
    high: float = 1.0
    step: float = 0.5
    known: bool = False
    # Below so many columns with points nothing counts as an outlier.
    few: int = MIN_COLUMNS_FOR_OUTLIERS

    def fit(
        self,
        lows: Sequence[float],
        highs: Sequence[float],
        rows: int,
        *,
        fresh: bool = False,
        also: Sequence[float] = (),
    ) -> bool:
        """Grow to hold these columns (finite pairs), or start anew with ``fresh``; returns whether anything changed.

        What is ``also`` given (finite values) is never left out as an outlier.
        """
        needed = self._needed(lows, highs, also)
        if needed is None:
            if fresh:  # what the range was may mean something else now: exponents in place of values
                self.low, self.high, self.step, self.known = 0.0, 1.0, 0.5, False
            return False
        low, high = needed
        if self.known and not fresh:
            if low >= self.low - 1e-12 and high <= self.high + 1e-12:
                return False
            room = HEADROOM * (max(high, self.high) - min(low, self.low))
            # Where it grew once it will grow again: a little room saves the next repaint.
            floor = 0.0 if not self.log and low >= 0 else -math.inf
            low = max(floor, low - room) if low < self.low else self.low
            high = high + room if high > self.high else self.high
        before = (self.low, self.high, self.step)
        self._round(low, high, rows)
        self.known = True
        return before != (self.low, self.high, self.step)

    def reset(self) -> None:
        """Forget the range."""
        self.known = False

    def position(self, value: float) -> float:
        """0 at the bottom, 1 at the top; outside for values that the axis does not show."""
        if self.log:
            value = math.log10(value) if value > 0 else -math.inf
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Values that carry a label."""
        if self.log:
            found = log_ticks(self.low, self.high)
            return found if len(found) >= 2 else linear_ticks(10.0**self.low, 10.0**self.high, self.step)
        return linear_ticks(self.low, self.high, self.step)

    def _needed(
        self, lows: Sequence[float], highs: Sequence[float], also: Sequence[float]
    ) -> tuple[float, float] | None:
        if self.log:
            pairs = [(max(lo, hi * 1e-9), hi) for lo, hi in zip(lows, highs, strict=True) if hi > 0]
            lows = [math.log10(lo) for lo, _ in pairs if lo > 0]
            highs = [math.log10(hi) for _, hi in pairs]
            also = [math.log10(value) for value in also if value > 0]
        if not lows or not highs:
            return None
        low, high = robust_range(lows, highs, self.few)
        low, high = min(low, *also) if also else low, max(high, *also) if also else high
        if self.zero and not self.log:
            low, high = min(0.0, low), max(0.0, high)
        return low, high

    def _round(self, low: float, high: float, rows: int) -> None:
        if self.log:
            self._round_log(low, high, max(2, min(8, rows // 3)))
            return
        size = max(abs(low), abs(high))
        if high - low <= max(size * 1e-9, TINY):
            spread = size * 0.1 if size > TINY else 1.0
            low, high = (low if self.zero else low - spread), high + spread
        self.step, self.low, self.high = _even_rows(low, high, max(2, rows), byte_unit(high) if self.binary else 1.0)

    def _round_log(self, low: float, high: float, intervals: int) -> None:
        factors = range(1, 10) if high - low <= 2.0 else (1, 2, 5)
        marks = [k + math.log10(f) for k in range(math.floor(low) - 1, math.ceil(high) + 2) for f in factors]
        self.low = max(m for m in marks if m <= low + 1e-9)
        self.high = min(m for m in marks if m >= high - 1e-9)
        if self.high - self.low < 1e-6:
            self.low, self.high = self.low - 0.31, self.high + 0.31
        self.step = nice_step((10.0**self.high - 10.0**self.low) / intervals)


def _even_rows(low: float, high: float, rows: int, unit: float) -> tuple[float, float, float]:
    """Step of the labels and ends of an axis on which they stand on whole rows, evenly, and little is unused."""
    best: tuple[float, float, float, float] | None = None
    for rough in (1.0, 0.5, 0.25, 0.12, 0.06):
        step = nice_step((high - low) * rough, unit)
        for apart in range(rows, 0, -1):
            row = step / apart
            base = (math.floor(low / row + BASE_DOTS / 4 + 1e-9) - BASE_DOTS / 4) * row
            top = base + (rows - 0.25) * row
            if top < high - 1e-9 * row:
                continue
            labels = math.floor(top / step + 1e-9) - math.ceil(base / step - 1e-9) + 1
            worth = (
                (high - low) / (top - base)
                - _UNEASY.get(apart, 0.2)
                - (1.0 if labels < 2 else 0.2 if labels < 3 else 0.0)
            )
            if best is None or worth > best[0]:
                best = worth, step, base, top
            break  # fewer rows apart only waste more
    if best is None:
        return high - low, low, high
    return best[1], best[2], best[3]


# How little one likes labels so many rows apart; two and three are best.
_UNEASY = {1: 0.25, 2: 0.0, 3: 0.0, 4: 0.03, 5: 0.06, 6: 0.1}


def robust_range(
    lows: Sequence[float], highs: Sequence[float], few: int = MIN_COLUMNS_FOR_OUTLIERS
) -> tuple[float, float]:
    """The range that matters: up to 2% of the columns are left out where they would squeeze the others to a third."""
    low, high = min(lows), max(highs)
    count = len(highs)
    if count < few:
        return low, high
    skip = max(1, count // OUTLIER_SHARE)
    inner_high = sorted(highs)[-1 - skip]
    inner_low = sorted(lows)[min(skip, len(lows) - 1)]
    core = inner_high - inner_low
    if core <= 0:
        core = max(abs(inner_high), abs(inner_low)) * 1e-3
    if high - inner_high > OUTLIER_FACTOR * core:
        high = inner_high
    if inner_low - low > OUTLIER_FACTOR * core:
        low = inner_low
    return low, high
