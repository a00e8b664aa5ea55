"""A run's loss as a few blocks in its row, and how that of a live run grows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tui import format as fmt
from tui.glyphs import glyphs

Part = tuple[str, str]
MOST = 32


def spark(values: Sequence[float], width: int, colour: str = "muted") -> list[Part]:
    """The values in exactly ``width`` cells, the oldest first; one that is no number is a cross in red.

    Heights are of the logarithm where it exists: a loss falls steeply at first, and the rest would lie flat.
    """
    if not values:
        return [(fmt.fit(glyphs().dash, width), "faint")]
    points = condense(values, width)
    finite = [value for value in points if math.isfinite(value)]
    logarithmic = bool(finite) and min(finite) > 0
    heights = [math.log(value) if logarithmic and math.isfinite(value) else value for value in points]
    scale = [value for value in heights if math.isfinite(value)]
    low, high = (min(scale), max(scale)) if scale else (0.0, 0.0)
    parts: list[Part] = []
    for value in heights:
        part = (_block(value, low, high), colour) if math.isfinite(value) else (glyphs().times, "error")
        if parts and parts[-1][1] == part[1]:
            parts[-1] = (parts[-1][0] + part[0], part[1])
        else:
            parts.append(part)
    if len(points) < width:
        parts.append((" " * (width - len(points)), "text"))
    return parts


def _block(value: float, low: float, high: float) -> str:
    levels = glyphs().spark
    span = high - low
    if span <= 0:
        return levels[len(levels) // 2 - 1]
    return levels[min(len(levels) - 1, int((value - low) / span * len(levels)))]


def condense(values: Sequence[float], most: int) -> list[float]:
    """At most so many values: means of neighbours, NaN where one of them is no finite number."""
    count = len(values)
    if count <= most:
        return list(values)
    return [_mean(values[at * count // most : (at + 1) * count // most]) for at in range(most)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if all(map(math.isfinite, values)) else math.nan


class Growing:
    """The curve of a run that is being followed: each look's loss, by stretches of steps that grow with the run.

    It begins with what was known before; its last value is of the stretch that is not over yet, and lives.
    """

    def __init__(self, values: Sequence[float] = (), step: int | None = None) -> None:
        self._begin(values, step or 0)
        self._step: int | None = step

    def _begin(self, values: Sequence[float], step: int) -> None:
        self._closed = list(values)[-MOST:]
        self._every = max(1, step // len(self._closed)) if self._closed else 1
        self._sum, self._count = 0.0, 0

    @property
    def values(self) -> list[float]:
        """At most 33 values, the oldest first."""
        return [*self._closed, self._sum / self._count] if self._count else list(self._closed)

    def add(self, step: int | None, loss: float | None) -> None:
        """The newest step and its loss, as often as they are looked at."""
        if step is None or loss is None or step == self._step:
            return
        if self._step is not None and step < self._step:  # begun again
            self._begin((), 0)
        elif self._count and self._step is not None and step // self._every != self._step // self._every:
            self._closed.append(self._sum / self._count)
            self._sum, self._count = 0.0, 0
            if len(self._closed) > MOST:
                self._closed = condense(self._closed, MOST // 2)
                self._every *= 2
        self._step = step
        self._sum, self._count = self._sum + loss, self._count + 1
