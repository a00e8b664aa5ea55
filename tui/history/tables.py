"""The curves of a record as tables by step, as the charts of the live screen take them; made in a reader's thread."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.columns.store import Store
from engine.tables import MetricTable
from engine.view import RunView
from tui.watch.metrics import further
from tui.watch.query import Metric

if TYPE_CHECKING:
    from engine.history.record import Curves

# Axes of a record by the names that tables have for them.
AXES = (("time", "time"), ("epoch", "epoch"), ("num_tokens", "tokens"))
LOSS = Metric("loss", "loss", "eval_loss")
RATE = Metric("learning rate", "learning_rate")
SPEED = Metric("samples/s", "samples_per_second")
MEMORY = ("gpu_memory_reserved", "gpu_memory_allocated", "host_memory")
FIRST_PAGE = 4
_LARGEST = 2.0**60


@dataclass(slots=True)
class Tables:
    """Both tables of a run. ``counted``: no row had a step, so rows were counted; ``left_out``: rows without one."""

    view: RunView
    counted: bool = False
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """Which charts a run gets: what stands on the first page (``memory`` for that one), and all further metrics."""

    first: tuple[Metric | str, ...]
    further: tuple[Metric, ...] = ()
    keys: tuple[str, ...] = field(default=())


def tables(path: Path, steps: Curves, evals: Curves) -> Tables:
    """Both tables of a record."""
    train, counted, missing = _table(steps)
    evaluated, also_counted, also_missing = _table(evals)
    view = RunView(path, steps=train, evals=evaluated)
    view.step = train.steps[-1] if len(train) else 0
    return Tables(view, counted or (also_counted and not len(train)), missing + also_missing)


def layout(view: RunView) -> Layout:
    """Loss and learning rate first, then speed and memory or whatever else was logged, four on the first page."""
    steps, evals = view.steps, view.evals
    first: list[Metric | str] = [LOSS]
    first += [metric for metric in (RATE, SPEED) if steps.has(metric.train)]
    if any(map(steps.has, MEMORY)):
        first.append("memory")
    others = list(further(steps, evals))
    while len(first) < FIRST_PAGE and others:
        first.append(others.pop(0))
    keys: list[str] = []
    for metric in first:
        keys += MEMORY if isinstance(metric, str) else [key for key in (metric.train, metric.evaluation) if key]
    return Layout(tuple(first), tuple(others), tuple(keys))


def _table(curves: Curves) -> tuple[MetricTable, bool, int]:
    """A table, whether its rows were counted because none has a step, and how many others had to be left out."""
    table = MetricTable(Store.in_memory())
    axis = curves.axis("step")
    if not len(axis):
        return table, False, 0
    if _rising(axis):
        table.extend(array("q", map(int, axis)), _whole_columns(curves))
        return table, False, 0
    counted = not any(map(math.isfinite, axis))
    steps: Sequence[float] = range(1, len(axis) + 1) if counted else axis
    usable = [value for value in steps if math.isfinite(value) and abs(value) < _LARGEST]
    places = {step: place for place, step in enumerate(sorted({int(value) for value in usable}))}
    columns = _counted(curves) if counted else {name: _column(curves, name, places) for name in curves.names}
    for name, of in AXES:
        values = _axis(curves.axis(of), steps, places)
        if values is not None:
            columns[name] = values
    columns.setdefault("time", [None] * len(places))
    table.extend(array("q", places), columns)
    return table, counted, len(axis) - len(usable)


def _rising(axis: array[float]) -> bool:
    """Whether every row has a step, beyond the one before: so it is in nearly all runs, and nothing must be sorted."""
    before = -math.inf
    for value in axis:
        if not (math.isfinite(value) and abs(value) < _LARGEST and int(value) > before):
            return False
        before = int(value)
    return True


def _whole_columns(curves: Curves) -> dict[str, Sequence[Any]]:
    """The columns of a table whose rows are the record's own."""
    rows = len(curves)
    columns: dict[str, Sequence[Any]] = {}
    places: dict[int, int] = {}
    for name in curves.names:
        values: Sequence[Any] = curves.values(name)
        if len(values) < rows:
            places = places or {int(step): place for place, step in enumerate(curves.axis("step"))}
            values = _column(curves, name, places)
        columns[name] = values
    for name, of in AXES:
        axis = curves.axis(of)
        if math.isfinite(sum(axis)):
            columns[name] = axis
        elif any(map(math.isfinite, axis)):
            columns[name] = [value if math.isfinite(value) else None for value in axis]
    columns.setdefault("time", [None] * rows)
    return columns


def _column(curves: Curves, name: str, places: dict[int, int]) -> list[Any]:
    """One metric, a value a step: of several rows of one step the last counts."""
    values: list[Any] = [None] * len(places)
    xs, ys = curves.pair(name)
    for x, value in zip(xs, ys, strict=True):
        place = places.get(int(x)) if math.isfinite(x) and abs(x) < _LARGEST else None
        if place is not None:
            values[place] = value
    return values


def _counted(curves: Curves) -> dict[str, list[Any]]:
    """All metrics, a value a row."""
    columns: dict[str, list[Any]] = {name: [None] * len(curves) for name in curves.names}
    for place, row in enumerate(curves.rows()):
        for name, values in columns.items():
            values[place] = row.get(name)
    return columns


def _axis(axis: Sequence[float], steps: Sequence[float], places: dict[int, int]) -> list[Any] | None:
    """Another axis by step, ``None`` if nothing is known of it."""
    values: list[Any] = [None] * len(places)
    some = False
    for x, step in zip(axis, steps, strict=True):
        if math.isfinite(x) and math.isfinite(step) and abs(step) < _LARGEST:
            values[places[int(step)]] = x
            some = True
    return values if some else None
