"""A chart without a screen: points in, lines of styled text out, and which of them changed.

Lines are lists of (text, colour) runs, where a colour is the name of a component class of the widget.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import partial

from engine.text import clean
from tui.widgets.chart import marks
from tui.widgets.chart.axes import LIVE_SPAN, MIN_COLUMNS_FOR_OUTLIERS, XScale, YScale
from tui.widgets.chart.buckets import Buckets
from tui.widgets.chart.frame import Run, axis_line, gutter_labels, header_line, merge, step_line, value_label
from tui.widgets.chart.glyphs import UNICODE, ChartGlyphs
from tui.widgets.chart.raster import DOT_COLUMNS, Layer
from tui.widgets.chart.series import CLOUD, DASHED, LINE, POINTS, TREND, Series
from tui.widgets.chart.ticks import STEPS, Formatter, ValueFormatter, XKind, number_label

__all__ = ["CLOUD", "DASHED", "GUTTER", "LINE", "POINTS", "TREND", "ChartModel", "Series"]

GUTTER = 8  # six characters of label, a space, the axis
# Who zooms in wants to see what is there: a spike is an outlier among more columns than these only.
FEW_WHEN_ZOOMED = 100
MIN_WIDTH, MIN_HEIGHT = GUTTER + 4, 5


class ChartModel:
    """Series, axes and the picture. Call :meth:`update` after feeding or changing anything."""

    def __init__(
        self,
        title: str,
        *,
        formatter: Formatter = number_label,
        kind: XKind = STEPS,
        zero: bool = False,
        binary: bool = False,
        empty: str = "no points yet",
        value_formatter: ValueFormatter | None = None,
        glyphs: ChartGlyphs = UNICODE,
        origin: int = 0,
    ) -> None:
        self.title = clean(title, 80)
        self.formatter, self.kind = formatter, kind
        self.empty = empty
        self.glyphs = glyphs
        self.origin = origin
        self.total: int | None = None
        self.live = False
        self.ahead = 0
        # A key that chooses this chart, shown before its title, and whether it is chosen.
        self.mark, self.selected = "", False
        self.value_formatter = value_formatter or partial(value_label, formatter=formatter, digits=3 if binary else 4)
        # A part of the x axis (first x, end), or all of it; a mark at an x, what is said of it, and values there.
        self.window: tuple[int, int] | None = None
        self.cursor: int | None = None
        self.cursor_label = ""
        self.readings: dict[str, float] | None = None
        self.series: dict[str, Series] = {}
        self.y = YScale(zero=zero, binary=binary)
        self.x = XScale(2, origin)
        self.width = self.height = 0
        self.lines: list[list[Run]] = []
        self._stale = True
        self._cells: list[list[tuple[str, str]]] = []
        self._marked: tuple[int | None, str] = (None, "")

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

    def adopt(self, key: str, buckets: Buckets) -> None:
        """Take all points of a curve at once; the buckets are the chart's from now on."""
        self.series[key].buckets = buckets
        self._stale = True

    def clear(self, origin: int | None = None) -> None:
        """Forget all points (a resume superseded them), keep the series."""
        self.origin = self.origin if origin is None else origin
        for series in self.series.values():
            series.buckets = Buckets(self.origin)
        self._stale = True

    def set_span(self, total: int | None, live: bool, ahead: int = 0) -> None:
        """The last x that will ever come, if known, and whether more will come: the axis grows up to it.

        ``ahead`` is for how much more each jump of the axis has to last at least.
        """
        if live != self.live and not live:
            self._stale = True  # it ended: fit the axis to what there is
        self.total, self.live, self.ahead = total, live, ahead

    def set_log(self, log: bool) -> None:
        """Logarithmic or linear y axis."""
        if log != self.y.log:
            self.y.log = log
            self._stale = True

    def set_window(self, window: tuple[int, int] | None) -> None:
        """Show a part of the x axis (first x, end), or all of it."""
        if window != self.window:
            self.window = window
            self._stale = True

    def set_kind(self, kind: XKind) -> None:
        """What stands along the x axis; the points are to be given anew."""
        if kind is not self.kind:
            self.kind = kind
            self._stale = True

    def set_cursor(self, x: int | None, label: str = "", readings: dict[str, float] | None = None) -> None:
        """A mark at this x, or none; with readings the legend tells these values in place of the newest."""
        self.cursor, self.cursor_label, self.readings = x, label, readings

    def restyle(self, key: str, style: str, colour: str) -> None:
        """Draw a curve in another way."""
        series = self.series[key]
        if (style, colour) != (series.style, series.colour):
            series.style, series.colour = style, colour
            self._stale = True

    def invalidate(self) -> None:
        """Fit and draw everything anew at the next update."""
        self._stale = True

    @property
    def has_points(self) -> bool:
        """Whether anything, even a value that is not finite, can be shown."""
        return any(series.buckets.count for series in self.series.values())

    @property
    def apart(self) -> float:
        """The usual distance of two points, of the curve that has most of them."""
        return min((s.buckets.spacing() for s in self.series.values() if s.buckets.count > 1), default=1.0)

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
        if first is not None and (self._fit_y(first, fresh) | marks.settle(self.series.values())):
            first, whole = 0, True
        if fresh or len(self._cells) != self.rows:
            self._lay_out()
            first, whole = 0, True
        lines = list(self.lines) if not fresh and len(self.lines) == self.height else [[] for _ in range(self.height)]
        changed = self._paint(first) if first is not None else set()
        marked = (self._cursor_cell(), self.cursor_label)
        moved, self._marked = marked != self._marked, marked
        if whole:
            labels = gutter_labels(self.y, self.rows, self.formatter, self.glyphs)
        else:
            labels = [line[:2] for line in self.lines[1 : self.rows + 1]]
        for row in range(self.rows) if whole or moved else changed:
            lines[row + 1] = labels[row] + merge(self._row(row))
        cell, label = marked
        if first is not None or moved:
            bad = marks.bad_cells(self.series.values())
            lines[-2] = axis_line(self.x, self.cells, bad, self.glyphs, self.kind, cell)
        if whole or moved or not lines[-1]:
            lines[-1] = step_line(self.x, self.cells, self.kind, cell, label)
        if legend or not lines[0]:
            lines[0] = self._header()
        self.lines = lines
        self._stale = False

    def _cursor_cell(self) -> int | None:
        """The cell column of the cursor, if it is in sight."""
        if self.cursor is None or self.cursor < self.x.origin:
            return None
        cell = self.x.column(self.cursor) // DOT_COLUMNS
        return cell if cell < self.cells else None

    def _row(self, row: int) -> list[tuple[str, str]]:
        """The cells of a row, with the cursor where nothing else stands."""
        cells, marked = self._cells[row], self._marked[0]
        if marked is None or cells[marked][0] != " ":
            return cells
        return [*cells[:marked], (self.glyphs.cursor, "cursor"), *cells[marked + 1 :]]

    def _columns_changed(self, fresh: bool) -> int | None:
        """Read new points into the columns; the first column that changed, ``None`` if none did."""
        dirty = [(series, series.buckets.take_dirty()) for series in self.series.values()]
        last = max((s.buckets.last_x for s in self.series.values() if s.buckets.last_x is not None), default=0)
        width = self.cells * DOT_COLUMNS
        if fresh:
            self._fit_x(last)
        elif self.window is None and self.x.grow(last, self.total, self.ahead):
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
                if start < width:  # a zoomed chart may get points that are out of sight
                    series.columns.read(series.buckets, self.x, start, end)
                    first = start if first is None else min(first, start)
        return first

    def _fit_x(self, last: int) -> None:
        width = self.cells * DOT_COLUMNS
        if self.window is not None:
            self.x = XScale(width, self.window[0])
            self.x.show(self.window[1])
            return
        span = LIVE_SPAN if self.kind is STEPS else math.ceil(LIVE_SPAN * self.apart)
        self.x = XScale(width, self.origin, span)
        self.x.fit(last, self.total, live=self.live)

    def _fit_y(self, first: int, fresh: bool) -> bool:
        fresh = fresh or self._stale
        self.y.few = MIN_COLUMNS_FOR_OUTLIERS if self.window is None else FEW_WHEN_ZOOMED
        lows: list[float] = []
        highs: list[float] = []
        also: list[float] = []
        inside = self.y.known and not fresh
        for series in self.series.values():
            lo, hi = series.columns.lo, series.columns.hi
            for column in range(first, len(lo)):
                if hi[column] >= lo[column] and inside:
                    inside = self.y.position(lo[column]) >= 0.0 and self.y.position(hi[column]) <= 1.0
            finite = [low for low in lo if math.isfinite(low)], [high for high in hi if math.isfinite(high)]
            if series.in_range:
                lows += finite[0]
                highs += finite[1]
            elif finite[0]:  # a smoothed curve is seen whole
                also += min(finite[0]), max(finite[1])
        return not inside and self.y.fit(lows, highs, self.rows, fresh=fresh, also=also)

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
        curves, rows, glyphs = list(self.series.values()), self.rows, self.glyphs
        for row in range(self.rows):
            cells = self._cells[row]
            edge = row in (0, self.rows - 1)
            dots = 0
            for series in self.series.values():
                dots |= int.from_bytes(series.layer.masks[row], "little")
            used = dots.to_bytes(self.cells, "little")
            for cell in range(first_cell, self.cells):
                new = marks.compose(curves, glyphs, row, cell, rows) if edge or used[cell] else marks.BLANK
                if new != cells[cell]:
                    cells[cell] = new
                    changed.add(row)
        return changed

    def _trace(self, series: Series, first: int) -> int:
        thin = series.style == TREND
        return series.layer.trace(series.columns, self.y, first, marks.connector(series, self.x), thin=thin)

    def _header(self) -> list[Run]:
        curves = self.series.values()
        return header_line(
            self.title,
            marks.legend(curves, self.glyphs, self.readings),
            self.width,
            self.y,
            self.value_formatter,
            self.glyphs,
            marks.off_scale(curves),
            self.mark,
            self.selected,
        )

    def _empty_lines(self) -> list[list[Run]]:
        blank: list[Run] = [(" " * self.width, "text")]
        lines = [list(blank) for _ in range(self.height)]
        lines[0] = self._header()
        text = self.empty[: self.width].center(self.width)
        lines[self.height // 2] = [(text, "muted")]
        return lines
