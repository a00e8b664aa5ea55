"""Minimum and maximum of a series in a bounded number of buckets: no spike is ever lost, however long the run.

A bucket covers ``width`` whole x values; ``width`` doubles whenever the buckets would exceed the capacity. An empty
bucket holds ``lo = +inf, hi = -inf``, so that ``min`` and ``max`` over a slice need no special case.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Collection, Sequence

INF = math.inf
# 16 buckets a dot column at 1,024 dot columns, the widest terminal we serve exactly.
CAPACITY = 1 << 14
_BULK = 64


class Buckets:
    """Streaming min/max of (x, y) points; x are whole numbers; those before ``origin`` count as it."""

    def __init__(self, origin: int = 0, capacity: int = CAPACITY) -> None:
        self.origin = origin
        self.capacity = capacity
        self.width = 1
        self.lo: array[float] = array("d")
        self.hi: array[float] = array("d")
        self.bad = bytearray()
        self.count = 0
        self.first_x: int | None = None
        self.last_x: int | None = None
        self.last_y: float | None = None
        self.max_y: float = -INF
        self._dirty: tuple[int, int] | None = None

    def append(self, x: int, y: float) -> None:
        """Add one point; a ``y`` that is not finite is remembered as a mark, never as a value."""
        self._seen(x, x, y, 1)
        self._reserve(x)
        self._put(max(0, x - self.origin) // self.width, y)

    def extend(self, xs: Sequence[int], ys: Sequence[float], nonfinite: Collection[int] | None = None) -> None:
        """Add many points in rising order of x.

        With ``nonfinite``, only NaNs at these x are real ones; the others say "no value here" and are skipped.
        """
        if not xs:
            return
        if len(xs) < _BULK or xs[0] < self.origin:
            for x, y in zip(xs, ys, strict=True):
                if nonfinite is None or y == y or x in nonfinite:
                    self.append(x, y)
            return
        if nonfinite is not None and not math.isfinite(sum(ys)):
            self._extend_sparse(xs, ys, nonfinite)
        else:
            self._extend_dense(xs, ys)

    def reserve(self, last_x: int) -> None:
        """Take the width that points up to ``last_x`` will need at once: halving on the way costs time."""
        self._reserve(last_x)

    def spacing(self) -> float:
        """The usual distance between two points."""
        if self.count < 2 or self.first_x is None or self.last_x is None:
            return 1.0
        return max(1.0, (self.last_x - self.first_x) / (self.count - 1))

    def take_dirty(self) -> tuple[int, int] | None:
        """The first and last x touched since the last call, ``None`` if there is nothing new."""
        dirty, self._dirty = self._dirty, None
        return dirty

    def span(self, first: int, end: int) -> tuple[float, float, bool]:
        """Minimum, maximum and whether there was a value that is not finite, of ``first <= x - origin < end``.

        Exact where both are multiples of ``width``.
        """
        a, b = first // self.width, -(-end // self.width)
        lo = self.lo[a:b]
        if not lo:
            return INF, -INF, False
        return min(lo), max(self.hi[a:b]), 1 in self.bad[a:b]

    def _extend_sparse(self, xs: Sequence[int], ys: Sequence[float], nonfinite: Collection[int]) -> None:
        keep = [i for i, y in enumerate(ys) if y == y or xs[i] in nonfinite]
        if len(keep) == len(xs):
            self._extend_dense(xs, ys)
        elif keep:
            self._extend_dense(array("q", [xs[i] for i in keep]), array("d", [ys[i] for i in keep]))

    def _extend_dense(self, xs: Sequence[int], ys: Sequence[float]) -> None:
        self._seen(xs[0], xs[-1], ys[-1], len(xs))
        self._reserve(xs[-1])
        if self.width > 1 and math.isfinite(sum(ys)):
            self._extend_finite(xs, ys)
            return
        origin, width, position, size = self.origin, self.width, 0, len(xs)
        while position < size:
            bucket = (xs[position] - origin) // width
            end = position + 1 if width == 1 else bisect_left(xs, origin + (bucket + 1) * width, position)
            end = max(end, position + 1)
            if end - position == 1:
                self._put(bucket, ys[position])
            else:
                self._put_many(bucket, ys[position:end])
            position = end

    def _extend_finite(self, xs: Sequence[int], ys: Sequence[float]) -> None:
        """What the loop above does, for wide buckets and nothing to look out for: a million points in 0.1 s."""
        origin, width, lows, highs = self.origin, self.width, self.lo, self.hi
        position, size, top = 0, len(xs), self.max_y
        while position < size:
            bucket = (xs[position] - origin) // width
            beyond = origin + (bucket + 1) * width
            # Where there is a point at every x the end of the bucket is known without a search.
            end = position + beyond - xs[position]
            if end > size or xs[end - 1] != beyond - 1 or (end < size and xs[end] < beyond):
                end = bisect_left(xs, beyond, position)
            chunk = ys[position:end]
            low, high = min(chunk), max(chunk)
            if low < lows[bucket]:
                lows[bucket] = low
            if high > highs[bucket]:
                highs[bucket] = high
            if high > top:
                top = high
            position = end
        self.max_y = top

    def _put(self, bucket: int, y: float) -> None:
        if math.isfinite(y):
            if y < self.lo[bucket]:
                self.lo[bucket] = y
            if y > self.hi[bucket]:
                self.hi[bucket] = y
            if y > self.max_y:
                self.max_y = y
        else:
            self.bad[bucket] = 1

    def _put_many(self, bucket: int, chunk: Sequence[float]) -> None:
        if not math.isfinite(sum(chunk)):  # a NaN poisons min and max
            for y in chunk:
                self._put(bucket, y)
            return
        self._put(bucket, min(chunk))
        self._put(bucket, max(chunk))

    def _seen(self, first: int, last: int, y: float, count: int) -> None:
        self.count += count
        if self.first_x is None or first < self.first_x:
            self.first_x = first
        if self.last_x is None or last >= self.last_x:
            self.last_x, self.last_y = last, y
        low, high = self._dirty or (first, last)
        self._dirty = (min(low, first), max(high, last))

    def _reserve(self, x: int) -> None:
        position = max(0, x - self.origin)
        while position // self.width >= self.capacity:
            self._halve()
        missing = position // self.width + 1 - len(self.lo)
        if missing > 0:
            self.lo.extend([INF] * missing)
            self.hi.extend([-INF] * missing)
            self.bad.extend(bytes(missing))

    def _halve(self) -> None:
        if len(self.lo) % 2:
            self.lo.append(INF)
            self.hi.append(-INF)
            self.bad.append(0)
        self.lo = array("d", map(min, self.lo[::2], self.lo[1::2]))
        self.hi = array("d", map(max, self.hi[::2], self.hi[1::2]))
        self.bad = bytearray(map(max, self.bad[::2], self.bad[1::2])) if self.bad else bytearray()
        self.width *= 2
