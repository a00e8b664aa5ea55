"""Everything that the directory of one run tells, whatever tool left it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.checkpoints import Checkpoint
from engine.history.summary import RunSummary

AXES = ("step", "epoch", "tokens", "time")


class Curves:
    """Logged rows as columns. An axis has one number a row, NaN where it is unknown; a metric only the rows that have it.

    A metric's value may itself be NaN or infinite: that was logged, and is no gap.
    """

    def __init__(self) -> None:
        self._axes: dict[str, array[float]] = {axis: array("d") for axis in AXES}
        self._places: dict[str, array[int]] = {}
        self._values: dict[str, array[float]] = {}

    def __len__(self) -> int:
        return len(self._axes["step"])

    @property
    def names(self) -> tuple[str, ...]:
        """All metrics that have a value, in the order in which they were first seen."""
        return tuple(self._values)

    def add(self, axes: Mapping[str, float | None], metrics: Iterable[tuple[str, float]]) -> None:
        """One more row."""
        place = len(self)
        for axis, column in self._axes.items():
            value = axes.get(axis)
            column.append(math.nan if value is None else value)
        for name, number in metrics:
            if name not in self._values:
                self._places[name], self._values[name] = array("L"), array("d")
            self._places[name].append(place)
            self._values[name].append(number)

    @classmethod
    def of_columns(
        cls,
        axes: Mapping[str, Sequence[float] | None],
        metrics: Mapping[str, Sequence[float]],
        nonfinite: Mapping[str, Collection[int]] | None = None,
    ) -> Curves:
        """The same from whole columns, where NaN is a gap unless ``nonfinite`` lists the row's step."""
        made = cls()
        steps = axes["step"] or ()
        for axis in AXES:
            column = axes.get(axis)
            made._axes[axis] = array("d", column if column is not None else [math.nan] * len(steps))
        for name, column in metrics.items():
            marked = (nonfinite or {}).get(name, ())
            places: Sequence[int] = range(len(column))
            if math.isnan(sum(column)):
                places = [i for i, value in enumerate(column) if value == value or (marked and steps[i] in marked)]
            if places:
                made._places[name] = array("L", places)
                made._values[name] = array("d", column if len(places) == len(column) else [column[i] for i in places])
        return made

    @classmethod
    def of_rows(
        cls,
        axes: Mapping[str, Sequence[float]],
        places: Mapping[str, Sequence[int]],
        values: Mapping[str, Sequence[float]],
    ) -> Curves:
        """The same from columns that were gathered row by row: where a metric has a value, and which."""
        made = cls()
        made._axes = {axis: array("d", axes[axis]) for axis in AXES}
        made._places = {name: array("L", column) for name, column in places.items()}
        made._values = {name: array("d", column) for name, column in values.items()}
        return made

    def axis(self, axis: str) -> array[float]:
        """``step``, ``epoch``, ``tokens`` or ``time`` (Unix seconds, or seconds since the start) of every row."""
        return self._axes[axis]

    def pair(self, name: str, axis: str = "step") -> tuple[array[float], array[float]]:
        """The curve of a metric: x and y of the rows that have both; y may hold NaN and infinities."""
        xs, ys = array("d"), array("d")
        column = self._axes[axis]
        for place, value in zip(self._places.get(name, ()), self._values.get(name, ()), strict=True):
            if not math.isnan(column[place]):
                xs.append(column[place])
                ys.append(value)
        return xs, ys

    def rows(self) -> Iterator[dict[str, float]]:
        """Row for row what was logged: its axes as far as they are known, and its metrics."""
        cursors = dict.fromkeys(self._values, 0)
        for place in range(len(self)):
            row = {axis: column[place] for axis, column in self._axes.items() if not math.isnan(column[place])}
            for name, cursor in cursors.items():
                places = self._places[name]
                if cursor < len(places) and places[cursor] == place:
                    row[name] = self._values[name][cursor]
                    cursors[name] = cursor + 1
            yield row

    def values(self, name: str) -> array[float]:
        """All values of a metric, in order."""
        return self._values.get(name, array("d"))


@dataclass(slots=True)
class RunRecord:
    """One run whole; texts are untrusted.

    ``settings`` are those that have a name of ours, by that name; ``other`` the rest, by the tool's own names; ``sources``
    says from which file a setting was read. ``results`` are what was written at the end (``train_runtime``, …).
    ``log`` is the file that holds the printed lines.
    """

    summary: RunSummary
    settings: dict[str, Any] = field(default_factory=dict)
    other: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    auto: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    results: dict[str, float] = field(default_factory=dict)
    steps: Curves = field(default_factory=Curves)
    evals: Curves = field(default_factory=Curves)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    notices: list[dict[str, Any]] = field(default_factory=list)
    command: str = ""
    log: Path | None = None
