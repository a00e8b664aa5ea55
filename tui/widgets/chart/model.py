"""A chart without a screen: points in, lines of styled text out, and which of them changed.

Lines are lists of (text, colour) runs, where a colour is the name of a component class of the widget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

from engine.text import clean
from tui.widgets.chart.axes import XScale, YScale
from tui.widgets.chart.buckets import Buckets
from tui.widgets.chart.frame import Run, axis_line, gutter_labels, header_line, step_line, value_label
from tui.widgets.chart.glyphs import UNICODE, ChartGlyphs
from tui.widgets.chart.raster import DOT_COLUMNS, GAP, Columns, Layer
from tui.widgets.chart.ticks import Formatter, ValueFormatter, number_label, step_label

GUTTER = 8  # six characters of label, a space, the axis
LINE, TREND, CLOUD, POINTS = "line", "trend", "cloud", "points"
MIN_WIDTH, MIN_HEIGHT = GUTTER + 4, 5


@dataclass(slots=True)
class Series:
    """One named curve.

    ``line`` joins its points, ``trend`` is a thin line through the middle of each column (for what is smooth already),
    ``cloud`` shows each point's dot, ``points`` marks each one apart.
    """

    key: str
    label: str
    style: str
    colour: str
    buckets: Buckets
    in_range: bool = True
    columns: Columns = field(default_factory=Columns)
    layer: Layer = field(default_factory=lambda: Layer(0, 0))
    # Points whose marks would touch are drawn as a line; the usual distance of points tells joints from gaps. Both
    # hold for the whole picture: where they change, all of it is drawn anew.
    dense: bool = False
    spacing: float = 1.0


class ChartModel:
    """Series, axes and the picture. Call :meth:`update` after feeding or changing anything."""

    def __init__(
        self,
        title: str,
        *,
        formatter: Formatter = number_label,
        x_formatter: Formatter = step_label,
        zero: bool = False,
        binary: bool = False,
        empty: str = "no points yet",
        value_formatter: ValueFormatter | None = None,
        glyphs: ChartGlyphs = UNICODE,
        origin: int = 0,
    ) -> None:
        self.title = clean(title, 80)
        self.formatter, self.x_formatter = formatter, x_formatter
        self.empty = empty
        self.glyphs = glyphs
        self.origin = origin
        self.total: int | None = None
        self.live = False
        # A key that chooses this chart, shown before its title, and whether it is chosen.
        self.mark, self.selected = "", False
        self.value_formatter = value_formatter or partial(value_label, formatter=formatter, digits=3 if binary else 4)
        self.series: dict[str, Series] = {}
        self.y = YScale(zero=zero, binary=binary)
        self.x = XScale(2, origin)
        self.width = self.height = 0
        self.lines: list[list[Run]] = []
        self._stale = True
        self._cells: list[list[tuple[str, str]]] = []

    # -- data -------------------------------------------------------------------------------------------------------

    def add_series(self, key: str, label: str, style: str = LINE, colour: str = "s1", *, in_range: bool = True) -> None:
        """Declare a curve; later ones are drawn over earlier ones. ``in_range`` series decide the y range."""
        self.series[key] = Series(key, clean(label, 60), style, colour, Buckets(self.origin), in_range)
        self._stale = True

    def append(self, key: str, x: int, y: float) -> None:
        """Add one point; NaN and infinities are marked on the x axis."""
        self.series[key].buckets.append(x, y)

    def extend(
        self, key: str, xs: Sequence[int], ys: Sequence[float], nonfinite: Collection[int] | None = None
    ) -> None:
        """Add points in rising order of x; see :meth:`Buckets.extend` for ``nonfinite``."""
        self.series[key].buckets.extend(xs, ys, nonfinite)

    def clear(self, origin: int | None = None) -> None:
        """Forget all points (a resume superseded them), keep the series."""
        self.origin = self.origin if origin is None else origin
        for series in self.series.values():
            series.buckets = Buckets(self.origin)
        self._stale = True

    def set_span(self, total: int | None, live: bool) -> None:
        """The last x that will ever come, if known, and whether more will come: the axis grows up to it."""
        if live != self.live and not live:
            self._stale = True  # it ended: fit the axis to what there is
        self.total, self.live = total, live

    def set_log(self, log: bool) -> None:
        """Logarithmic or linear y axis."""
        if log != self.y.log:
            self.y.log = log
            self._stale = True

    def invalidate(self) -> None:
        """Fit and draw everything anew at the next update."""
        self._stale = True

    @property
    def has_points(self) -> bool:
        """Whether anything, even a value that is not finite, can be shown."""
        return any(series.buckets.count for series in self.series.values())

    # -- picture ----------------------------------------------------------------------------------------------------

    @property
    def rows(self) -> int:
        """Rows of the plot itself."""
        return self.height - 3

    @property
    def cells(self) -> int:
        """Columns of the plot itself."""
        return self.width - GUTTER

    def resize(self, width: int, height: int) -> None:
        """Lay out for a new size."""
        if (width, height) != (self.width, self.height):
            self.width, self.height = width, height
            self._stale = True

    def update(self, *, legend: bool = True) -> list[int]:
        """Bring the picture up to date; returns the numbers of the lines that changed, rising.

        ``legend=False`` leaves the first line as it is (its values change with every point).
        """
        before = self.lines
        if self.width < MIN_WIDTH or self.height < MIN_HEIGHT:
            self.lines = [[(" " * self.width, "text")] for _ in range(self.height)]
        elif not self.has_points:
            self.lines = self._empty_lines()
            self._stale = True
        else:
            self._draw(legend)
        if len(before) != len(self.lines):
            return list(range(len(self.lines)))
        return [row for row, (old, new) in enumerate(zip(before, self.lines, strict=True)) if old != new]

    def _draw(self, legend: bool) -> None:
        fresh = self._stale
        first = self._columns_changed(fresh)
        if first is None and not legend and not fresh:
            return
        whole = fresh or first == 0
        if first is not None and (self._fit_y(first, fresh) | self._settle()):
            first, whole = 0, True
        if fresh or len(self._cells) != self.rows:
            self._lay_out()
            first, whole = 0, True
        lines = list(self.lines) if not fresh and len(self.lines) == self.height else [[] for _ in range(self.height)]
        if first is not None:
            changed = self._paint(first)
            labels = gutter_labels(self.y, self.rows, self.formatter, self.glyphs) if whole else None
            for row in range(self.rows):
                if labels is not None:
                    lines[row + 1] = labels[row] + _merge(self._cells[row])
                elif row in changed:
                    lines[row + 1] = self.lines[row + 1][:2] + _merge(self._cells[row])
            lines[-2] = axis_line(self.x, self.cells, self._bad_cells(), self.glyphs, self.x_formatter)
            if whole or not lines[-1]:
                lines[-1] = step_line(self.x, self.cells, self.x_formatter)
        if legend or not lines[0]:
            lines[0] = self._header()
        self.lines = lines
        self._stale = False

    def _columns_changed(self, fresh: bool) -> int | None:
        """Read new points into the columns; the first column that changed, ``None`` if none did."""
        dirty = [(series, series.buckets.take_dirty()) for series in self.series.values()]
        last = max((s.buckets.last_x for s in self.series.values() if s.buckets.last_x is not None), default=0)
        width = self.cells * DOT_COLUMNS
        if fresh:
            self.x = XScale(width, self.origin)
            self.x.fit(last, self.total, live=self.live)
        elif self.x.grow(last, self.total):
            fresh = True
        if fresh:
            self._stale = True
            self.y.reset()
            for series in self.series.values():
                series.columns.resize(width)
                series.columns.read(series.buckets, self.x, 0, width - 1)
            return 0
        first: int | None = None
        for series, span in dirty:
            if span is not None:
                start, end = self.x.column(span[0]), self.x.column(span[1])
                series.columns.read(series.buckets, self.x, start, end)
                first = start if first is None else min(first, start)
        return first

    def _fit_y(self, first: int, fresh: bool) -> bool:
        fresh = fresh or self._stale
        lows: list[float] = []
        highs: list[float] = []
        inside = self.y.known and not fresh
        for series in self.series.values():
            if not series.in_range:
                continue
            lo, hi = series.columns.lo, series.columns.hi
            for column in range(first, len(lo)):
                if hi[column] >= lo[column] and inside:
                    inside = self.y.position(lo[column]) >= 0.0 and self.y.position(hi[column]) <= 1.0
            lows.extend(value for value in lo if math.isfinite(value))
            highs.extend(value for value in hi if math.isfinite(value))
        return not inside and self.y.fit(lows, highs, self.rows, fresh=fresh)

    def _lay_out(self) -> None:
        for series in self.series.values():
            series.layer = Layer(self.rows, self.cells)
        self._cells = [[(" ", "text")] * self.cells for _ in range(self.rows)]

    def _paint(self, first: int) -> set[int]:
        """Trace every layer from a dot column on and compose the cells; returns the rows that changed."""
        start = first
        for series in self.series.values():
            start = min(start, self._trace(series, first))
        first_cell = start // DOT_COLUMNS
        for series in self.series.values():
            series.layer.paint(first_cell, self.cells - 1)
        changed: set[int] = set()
        for row in range(self.rows):
            cells = self._cells[row]
            for cell in range(first_cell, self.cells):
                new = self._compose(row, cell)
                if new != cells[cell]:
                    cells[cell] = new
                    changed.add(row)
        return changed

    def _trace(self, series: Series, first: int) -> int:
        thin = series.style == TREND
        return series.layer.trace(series.columns, self.y, first, self._connector(series), thin=thin)

    def _connector(self, series: Series) -> Callable[[int, int], bool] | None:
        if series.style == CLOUD or (series.style == POINTS and not series.dense):
            return None
        bad = series.columns.bad
        reach = GAP * series.spacing * self.x.dots / self.x.points

        def connect(a: int, b: int) -> bool:
            return (b - a == 1 or b - a <= reach) and 1 not in bad[a : b + 1]

        return connect

    def _settle(self) -> bool:
        """Decide what holds for whole curves; returns whether anything changed."""
        changed = False
        for series in self.series.values():
            dense = series.style == POINTS and self._crowded(series)
            spacing = series.buckets.spacing()
            if dense != series.dense or not 0.5 < series.spacing / spacing < 2.0:
                series.dense, series.spacing, changed = dense, spacing, True
        return changed

    def _crowded(self, series: Series) -> bool:
        cells = {c // DOT_COLUMNS for c, hi in enumerate(series.columns.hi) if hi != -math.inf}
        return len(cells) > 12 and len(cells) > (max(cells) - min(cells) + 1) / 2

    def _compose(self, row: int, cell: int) -> tuple[str, str]:
        """The one character of a cell: edge marks over points over lines over clouds."""
        glyphs = self.glyphs
        best: tuple[str, str] = (" ", "text")
        rank = 0
        for series in self.series.values():
            layer = series.layer
            if row == 0 and layer.above[cell]:
                return glyphs.above, "edge"
            if row == self.rows - 1 and layer.below[cell]:
                return glyphs.below, "edge"
            mask = layer.masks[row][cell]
            if not mask:
                continue
            if series.style == POINTS and not series.dense:
                best, rank = (glyphs.point, series.colour), 3
            elif series.style != CLOUD and rank <= 2:
                best, rank = (glyphs.cell(mask, LINE), series.colour), 2
            elif series.style == CLOUD and rank <= 1:
                best, rank = (glyphs.cell(mask, CLOUD), series.colour), 1
        return best

    def _bad_cells(self) -> set[int]:
        return {c // DOT_COLUMNS for s in self.series.values() for c, bad in enumerate(s.columns.bad) if bad}

    def _off_scale(self) -> float | None:
        above = [s.buckets.max_y for s in self.series.values() if 1 in s.layer.above]
        return max(above, default=None)

    def _header(self) -> list[Run]:
        entries = [
            (series.label, self._key_glyph(series), series.colour, series.buckets.last_y)
            for series in self.series.values()
            if series.buckets.count
        ]
        above = self._off_scale()
        return header_line(
            self.title,
            entries,
            self.width,
            self.y,
            self.value_formatter,
            self.glyphs,
            above,
            self.mark,
            self.selected,
        )

    def _key_glyph(self, series: Series) -> str:
        if series.style == POINTS and not series.dense:
            return self.glyphs.point
        return self.glyphs.cloud_key if series.style == CLOUD else self.glyphs.line_key

    def _empty_lines(self) -> list[list[Run]]:
        blank: list[Run] = [(" " * self.width, "text")]
        lines = [list(blank) for _ in range(self.height)]
        lines[0] = self._header()
        text = self.empty[: self.width].center(self.width)
        lines[self.height // 2] = [(text, "muted")]
        return lines


def _merge(cells: Sequence[tuple[str, str]]) -> list[Run]:
    """Join neighbours of one colour; blanks take the colour before them."""
    runs: list[Run] = []
    text, colour = "", "text"
    for char, own in cells:
        if char == " " or own == colour or not text.strip():
            colour = own if char != " " else colour
            text += char
        else:
            runs.append((text, colour))
            text, colour = char, own
    runs.append((text, colour))
    return runs
