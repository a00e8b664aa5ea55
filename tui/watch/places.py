"""Where a row stands along the x axis: its step, epoch, tokens or the working time; lives in the reader's thread."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from engine.snapshot import RunView

STEP, EPOCH, TOKENS, TIME = AXES = ("step", "epoch", "tokens", "time")
# Whole numbers stand on the axis: millionths of an epoch, milliseconds.
UNITS = {STEP: 1, EPOCH: 1_000_000, TOKENS: 1, TIME: 1000}
COLUMNS = {EPOCH: "epoch", TOKENS: "num_tokens", TIME: "time"}
# What is said where a run does not record it.
MISSING = {EPOCH: "epochs", TOKENS: "tokens", TIME: "times"}
# The state is remembered at every so many rows: enough to begin anywhere, and little memory.
EVERY = 256
_LIMIT = 2.0**60

_State = tuple[float, float]


def after(axis: str) -> list[str]:
    """The other axes, from the next one on, and at last this one again."""
    place = AXES.index(axis) + 1
    return [*AXES[place:], *AXES[:place]]


def available(view: RunView) -> tuple[str, ...]:
    """The axes that this run has numbers for."""
    found = [STEP]
    for axis, column in COLUMNS.items():
        if view.steps.has(column) and (axis != TIME or view.steps.last("time") is not None):
            found.append(axis)
    return tuple(found)


class Places:
    """The x of every row, never falling; a row that lacks it stands where the one before it does."""

    def __init__(self, view: RunView, axis: str = STEP) -> None:
        self.axis = axis
        self._view = view
        self._table = view.steps
        self._known = 0
        self._state: _State = (0.0, math.nan)
        self._index: list[_State] = []
        self._breaks: set[int] = set()

    def xs(self, first: int, end: int) -> Sequence[int]:
        """Those of the rows from ``first`` up to ``end``."""
        if self.axis == STEP:
            return self._table.steps[first:end]
        self._advance(first)
        if first == self._known:
            return self._go_on(end)
        self._advance(end)
        start = first - first % EVERY
        found, _ = self._compute(start, end, self._index[start // EVERY])
        return found[first - start :]

    def row(self, x: int) -> int:
        """The first row at or beyond an x; the number of rows if there is none."""
        if self.axis == STEP:
            return bisect_left(self._table.steps, x)
        rows = len(self._table)
        self._advance(rows)
        block = bisect_left(self._index, (float(x), -math.inf)) - 1
        if block < 0:
            return 0
        start = block * EVERY
        found, _ = self._compute(start, min(rows, start + EVERY), self._index[block])
        return start + bisect_left(found, x)

    def of_step(self, step: int) -> int:
        """The x of a step, whether or not it has a row of its own."""
        if self.axis == STEP:
            return step
        row = bisect_right(self._table.steps, step) - 1
        return self.xs(row, row + 1)[0] if row >= 0 else 0

    def _advance(self, end: int) -> None:
        if end > self._known:
            self._go_on(end)

    def _go_on(self, end: int) -> array[int]:
        self._note_breaks()
        out: array[int] = array("q")
        while self._known < end:
            if self._known % EVERY == 0:
                self._index.append(self._state)
            stop = min(end, self._known - self._known % EVERY + EVERY)
            part, self._state = self._compute(self._known, stop, self._state)
            out += part
            self._known = stop
        return out

    def _note_breaks(self) -> None:
        """The rows that begin a later attempt: the pause before them was no work."""
        if self.axis != TIME:
            return
        for entry in self._view.attempts[1:]:
            step = entry.get("step")
            if isinstance(step, int) and not isinstance(step, bool) and abs(step) < 1 << 62:
                self._breaks.add(bisect_left(self._table.steps, step + 1))

    def _compute(self, first: int, end: int, state: _State) -> tuple[array[int], _State]:
        """The xs of some rows, from the state before the first of them."""
        column = self._table.column(COLUMNS[self.axis])[first:end]
        if self.axis == TIME:
            return self._times(first, column, state)
        unit = UNITS[self.axis]
        x, when = state
        out: array[int] = array("q")
        for value in column:
            value *= unit
            if x < value < _LIMIT:
                x = value
            out.append(int(x + 0.5))
        return out, (x, when)

    def _times(self, first: int, column: Sequence[float], state: _State) -> tuple[array[int], _State]:
        x, when = state
        out: array[int] = array("q")
        for row, value in enumerate(column, first):
            if math.isfinite(value):
                if when != when or row in self._breaks:
                    x += self._step_seconds(row) * 1000.0
                else:
                    x = min(_LIMIT, x + max(0.0, value - when) * 1000.0)
                when = value
            out.append(int(x))
        return out, (x, when)

    def _step_seconds(self, row: int) -> float:
        value = self._table.column("step_seconds")[row]
        return min(value, 1e6) if math.isfinite(value) and value > 0 else 0.0
