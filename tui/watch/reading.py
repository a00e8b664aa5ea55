"""The values under a cursor, as they stand in the tables; lives in the reader's thread."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace

from engine.snapshot import MetricTable
from tui.watch.curves import Curves
from tui.watch.metrics import smooth_key
from tui.watch.places import Places
from tui.watch.query import CurveQuery, Reading

# A figure that is not logged at every step is looked for this far from the cursor.
REACHES = (1, 32, 2048)
# A stretch of another axis that is shorter than this shows nothing.
LEAST = 4


def read_at(curves: Curves, query: CurveQuery) -> Reading | None:
    """What each shown curve is at the recorded step nearest to the query's cursor; ``None`` without one."""
    steps = curves.view.steps
    if query.cursor is None or not len(steps):
        return None
    places = curves.places(query.axis)
    row = min(places.row(query.cursor), len(steps) - 1)
    x = places.xs(row, row + 1)[0]
    if row:
        before = places.xs(row - 1, row)[0]
        if query.cursor - before < abs(x - query.cursor):
            row, x = row - 1, before
    step = steps.steps[row]
    values: dict[str, tuple[float, int]] = {}
    for name, key, evaluation in curves.shown():
        table = curves.view.evals if evaluation else steps
        near = _nearest(table.steps, step) if evaluation else row
        found = _value(table, name, near)
        if found is not None:
            values[key] = found
        if not evaluation and curves.is_smoothed(name):
            average = curves.smoothed(name).at(row)
            if math.isfinite(average):
                values[smooth_key(name)] = average, step
    return Reading(query.cursor, query.axis, step, x, values)


def translated(curves: Curves, query: CurveQuery) -> CurveQuery:
    """The query with its window and cursor counted on its own axis: the same steps; none where that cannot be."""
    rows = len(curves.view.steps)
    if query.counted_on in ("", query.axis):
        return query
    old, new = curves.places(query.counted_on), curves.places(query.axis)
    cursor, window = query.cursor, query.window
    if cursor is not None:
        row = min(old.row(cursor), rows - 1)
        cursor = new.xs(row, row + 1)[0] if rows else None
    if window is not None:
        window = _window(old, new, rows, window)
    return replace(query, window=window, cursor=cursor, counted_on="")


def _window(old: Places, new: Places, rows: int, window: tuple[int, int]) -> tuple[int, int] | None:
    first, end = old.row(window[0]), old.row(window[1])
    if first >= rows:
        return None
    start, last = new.xs(first, first + 1)[0], new.xs(rows - 1, rows)[0]
    if end < rows:
        stop = new.xs(end, end + 1)[0]
    else:  # room for steps to come keeps its share
        last_before = old.xs(rows - 1, rows)[0]
        share = (window[1] - last_before) / max(1, last_before - window[0])
        stop = last + max(1, round(share * (last - start)))
    return (start, stop) if stop - start >= LEAST else None


def _nearest(steps: Sequence[int], step: int) -> int:
    if not len(steps):
        return 0
    after = bisect_left(steps, step)
    if after == len(steps) or (after and step - steps[after - 1] <= steps[after] - step):
        return after - 1
    return after


def _value(table: MetricTable, name: str, row: int) -> tuple[float, int] | None:
    """The value nearest to a row, and its step; a NaN that was recorded is a value."""
    known = table.nonfinite.get(name, [])
    for reach in REACHES:
        first, end = max(0, row - reach), min(len(table), row + reach + 1)
        steps, values = table.steps[first:end], table.column(name)[first:end]
        if not len(steps):
            return None
        recorded = set(known[bisect_left(known, steps[0]) : bisect_right(known, steps[-1])])
        places = [i for i, value in enumerate(values) if value == value or steps[i] in recorded]
        if places:
            best = min(places, key=lambda i: abs(first + i - row))
            return values[best], steps[best]
    return None
