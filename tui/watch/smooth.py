"""The smoothed curve: an average that follows the last few percent of a run and shrugs at single spikes."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence

# The window grows with the run, so that the curve is as smooth in 200 steps as in 200,000 and its past never changes.
SHARE = 0.03
MIN_WINDOW = 10.0
# A value further off than this many usual deviations counts as that far off: one spike must not bend the curve.
CLIP = 5.0
WARM_UP = 20
# From so many points on the average takes the means of short blocks, at most a sixteenth of its window long: what a
# chart shows is the same, and a million points cost a few hundredths of a second.
LONG = 1 << 14
BLOCKS_IN_WINDOW = 16
BLOCKS = 1024


class Smoother:
    """An exponential average, fed in order; values that are not finite leave it as it is and come out as NaN.

    ``factor`` stretches the usual window.
    """

    def __init__(self, factor: float = 1.0) -> None:
        self.count = 0
        self.value = math.nan
        self.factor = factor
        self._deviation = 0.0

    def feed(self, values: Iterable[float]) -> array[float]:
        """The average after each of these values."""
        out = array("d")
        for value in values:
            out.append(self.take(value) if math.isfinite(value) else math.nan)
        return out

    def take(self, value: float, points: int = 1) -> float:
        """The average after one finite value, or after the mean of so many."""
        self.count += points
        if self.count == points:
            self.value = value
            return value
        weight = max(1.0 / self.count, 2.0 / (self.window + 1.0))
        if points > 1:
            weight = 1.0 - (1.0 - weight) ** points
        change = value - self.value
        size = abs(change)
        if self.count > WARM_UP and self._deviation > 0:
            limit = CLIP * self._deviation
            change = math.copysign(min(size, limit), change)
            size = min(size, 2 * limit)  # a lasting change widens the limit within a few steps
        self._deviation += weight * (size - self._deviation)
        self.value += weight * change
        return self.value

    @property
    def window(self) -> float:
        """How many points the average looks back."""
        return max(2.0, self.factor * max(MIN_WINDOW, SHARE * self.count))

    @property
    def block(self) -> int:
        """How many points are taken together: a power of two."""
        if self.count < LONG:
            return 1
        return 1 << max(0, int(min(self.window / BLOCKS_IN_WINDOW, self.count / BLOCKS)).bit_length() - 1)


class Smoothed:
    """The smoothed curve of one column: its rows and averages, for each point at first and then for each block.

    What it holds does not depend on how the column was cut into pieces.
    """

    def __init__(self, factor: float) -> None:
        self.rows: array[int] = array("q")
        self.values: array[float] = array("d")
        self.fed = 0
        self._smoother = Smoother(factor)
        self._pending: array[float] = array("d")

    @property
    def value(self) -> float:
        """The newest average, NaN before the first value."""
        return self._smoother.value

    def feed(self, values: Sequence[float]) -> None:
        """The next rows of the column; NaN is no value."""
        position, size = 0, len(values)
        smoother, pending = self._smoother, self._pending
        while position < size:
            if smoother.count < LONG:
                part = values[position : position + LONG - smoother.count]
                start = self.fed + position
                self.rows.extend(range(start, start + len(part)))
                self.values.extend(smoother.feed(part))
                position += len(part)
                continue
            block = smoother.block
            part = values[position : position + block - len(pending)]
            pending.extend(part if math.isfinite(sum(part)) else (v for v in part if math.isfinite(v)))
            position += len(part)
            if len(pending) >= block:
                self.rows.append(self.fed + position - 1)
                self.values.append(smoother.take(sum(pending) / block, block))
                del pending[:]
        self.fed += size

    def at(self, row: int) -> float:
        """The average at a row, between two that are known on the line that joins them; NaN where there is none."""
        after = bisect_left(self.rows, row)
        if after >= len(self.rows):
            return self.values[-1] if self.rows else math.nan
        if self.rows[after] == row or after == 0:
            return self.values[after]
        left, right = self.rows[after - 1], self.rows[after]
        share = (row - left) / (right - left)
        return self.values[after - 1] * (1 - share) + self.values[after] * share
