"""What stands for the curves of a chart: the character of each cell, joints, and the entries of the legend."""

from __future__ import annotations

from collections.abc import Callable, Collection

from tui.widgets.chart.axes import XScale
from tui.widgets.chart.glyphs import ChartGlyphs
from tui.widgets.chart.raster import DOT_COLUMNS, GAP
from tui.widgets.chart.series import CLOUD, DASHED, LINE, POINTS, Series

BLANK = (" ", "text")


def compose(curves: Collection[Series], glyphs: ChartGlyphs, row: int, cell: int, rows: int) -> tuple[str, str]:
    """The one character of a cell and its colour: edge marks over points over lines over clouds."""
    best = BLANK
    rank = 0
    for series in curves:
        layer = series.layer
        if row == 0 and layer.above[cell]:
            return glyphs.above, "edge"
        if row == rows - 1 and layer.below[cell]:
            return glyphs.below, "edge"
        mask = layer.masks[row][cell]
        if not mask:
            continue
        if series.style == POINTS and not series.dense:
            best, rank = (glyphs.point, series.colour), 3
        elif series.style == DASHED and rank <= 2:
            if cell % 2 == 0:
                best, rank = (glyphs.cell(mask, DASHED), series.colour), 2
        elif series.style != CLOUD and rank <= 2:
            best, rank = (glyphs.cell(mask, LINE), series.colour), 2
        elif series.style == CLOUD and rank <= 1:
            best, rank = (glyphs.cell(mask, CLOUD), series.colour), 1
    return best


def connector(series: Series, x: XScale) -> Callable[[int, int], bool] | None:
    """Whether two dot columns of a curve are joined; ``None`` where none are."""
    if series.style == CLOUD or (series.style == POINTS and not series.dense):
        return None
    bad = series.columns.bad
    reach = GAP * series.spacing * x.dots / x.points

    def connect(a: int, b: int) -> bool:
        return (b - a == 1 or b - a <= reach) and 1 not in bad[a : b + 1]

    return connect


def settle(curves: Collection[Series]) -> bool:
    """Decide what holds for whole curves; returns whether anything changed."""
    changed = False
    for series in curves:
        dense = series.style == POINTS and series.crowded
        spacing = series.buckets.spacing()
        if dense != series.dense or not 0.5 < series.spacing / spacing < 2.0:
            series.dense, series.spacing, changed = dense, spacing, True
    return changed


def bad_cells(curves: Collection[Series]) -> set[int]:
    """The cell columns at which a value is not finite."""
    return {c // DOT_COLUMNS for s in curves for c, bad in enumerate(s.columns.bad) if bad}


def off_scale(curves: Collection[Series]) -> float | None:
    """The highest value, if one is beyond the upper edge."""
    above = [s.buckets.max_y for s in curves if 1 in s.layer.above]
    return max(above, default=None)


def legend(
    curves: Collection[Series], glyphs: ChartGlyphs, readings: dict[str, float] | None
) -> list[tuple[str, str, str, float | None]]:
    """Name, sign, colour and value of each curve with points: the value under the cursor, else the newest."""
    return [
        (
            series.label,
            series.sign(glyphs),
            series.colour,
            series.buckets.last_y if readings is None else readings.get(series.key),
        )
        for series in curves
        if series.buckets.count
    ]
