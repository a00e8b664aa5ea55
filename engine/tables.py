"""Columns of numbers by optimizer step: what charts draw."""

from __future__ import annotations

import math
from array import array
from typing import Any

from engine.events import number

NAN = math.nan
NOT_METRICS = frozenset({"type", "time", "attempt", "crc", "step", "total_steps"})


class MetricTable:
    """Columns of numbers, one row an optimizer step (or evaluation); missing values are NaN, real NaN too.

    Which of the two a NaN is, is told by :attr:`nonfinite`, the rows whose event said so. ``version`` rises with every
    change, ``rewrites`` only when earlier rows changed (a resume superseded them), so that charts can append.
    """

    def __init__(self) -> None:
        self.steps: array[int] = array("q")
        self.columns: dict[str, array[float]] = {"time": array("d")}
        self.nonfinite: dict[str, list[int]] = {}
        self.version = 0
        self.rewrites = 0

    def __len__(self) -> int:
        return len(self.steps)

    def column(self, name: str) -> array[float]:
        """Values of one metric, as long as the table; an unknown metric is all NaN."""
        known = self.columns.get(name)
        return known if known is not None else array("d", [NAN]) * len(self.steps)

    def has(self, name: str) -> bool:
        """Whether any row has ever named this metric with a number."""
        return name in self.columns

    def append(self, step: int, when: float, values: dict[str, Any]) -> None:
        """Add a row; a step that is not beyond the last one supersedes the rows from it on."""
        self.cut(step)
        row = len(self.steps)
        self.steps.append(step)
        self.columns["time"].append(when)
        for name, raw in values.items():
            if name in NOT_METRICS:
                continue
            value = number(raw)
            if value is None:
                continue
            column = self.columns.get(name)
            if column is None:
                column = self.columns[name] = array("d", [NAN]) * row
            column.append(value)
            if not math.isfinite(value):
                self.nonfinite.setdefault(name, []).append(step)
        for column in self.columns.values():
            if len(column) <= row:
                column.append(NAN)
        self.version += 1

    def last(self, name: str) -> float | None:
        """The newest value of a metric, ``None`` if the newest row has none."""
        column = self.columns.get(name)
        if not column:
            return None
        if math.isnan(column[-1]) and self.steps[-1] not in self.nonfinite.get(name, ()):
            return None
        return column[-1]

    def best(self, name: str) -> float | None:
        """The lowest finite value of a metric."""
        return min((value for value in self.columns.get(name, ()) if math.isfinite(value)), default=None)

    def cut(self, step: int) -> None:
        """Take away the rows from ``step`` on."""
        if not self.steps or self.steps[-1] < step:
            return
        keep = len(self.steps)
        while keep and self.steps[keep - 1] >= step:
            keep -= 1
        del self.steps[keep:]
        for column in self.columns.values():
            del column[keep:]
        for name, found in self.nonfinite.items():
            self.nonfinite[name] = [s for s in found if s < step]
        self.rewrites += 1
        self.version += 1
