"""The smoothed curve: an average that follows the last few percent of a run and shrugs at single spikes."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable

# The window grows with the run, so that the curve is as smooth in 200 steps as in 200,000 and its past never changes.
SHARE = 0.03
MIN_WINDOW = 10.0
# A value further off than this many usual deviations counts as that far off: one spike must not bend the curve.
CLIP = 5.0
WARM_UP = 20


class Smoother:
    """An exponential average, fed in order; values that are not finite leave it as it is and come out as NaN."""

    def __init__(self) -> None:
        self.count = 0
        self.value = math.nan
        self._deviation = 0.0

    def feed(self, values: Iterable[float]) -> array[float]:
        """The average after each of these values."""
        out = array("d")
        for value in values:
            out.append(self._one(value) if math.isfinite(value) else math.nan)
        return out

    def _one(self, value: float) -> float:
        self.count += 1
        if self.count == 1:
            self.value = value
            return value
        weight = max(1.0 / self.count, 2.0 / (max(MIN_WINDOW, SHARE * self.count) + 1.0))
        change = value - self.value
        size = abs(change)
        if self.count > WARM_UP and self._deviation > 0:
            limit = CLIP * self._deviation
            change = math.copysign(min(size, limit), change)
            size = min(size, 2 * limit)  # a lasting change widens the limit within a few steps
        self._deviation += weight * (size - self._deviation)
        self.value += weight * change
        return self.value
