"""What of the charts is looked at: the axis below them, a stretch of it, and the cursor that reads values."""

from __future__ import annotations

import math
import time

from textual.containers import Container

from tui.watch import places, say
from tui.watch.query import CurveQuery, Reading
from tui.widgets.chart import Chart
from tui.widgets.chart.axes import shown_end
from tui.widgets.chart.model import ChartModel
from tui.widgets.chart.raster import DOT_COLUMNS
from tui.widgets.chart.ticks import KINDS
from tui.widgets.lines import Line

# Nobody wants fewer points than this over a whole chart.
FEWEST = 8
# A key that comes again within this time is held down: its steps grow.
HELD_SECONDS = 0.25
# However fast a held key zooms, the charts are painted no more often than this.
PAINT_SECONDS = 0.04
PAN_SHARE = 4


class Sight(Container):
    """Part of the deck: zoom, place and cursor along the x axis."""

    shown: list[Chart]
    selected: int

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.axis = places.STEP
        # What is drawn now, and the window and the cursor with it, is counted on this axis.
        self._drawn = places.STEP
        self.window: tuple[int, int] | None = None
        self.cursor: int | None = None
        self._axes: tuple[str, ...] = (places.STEP,)
        self._last_x: int | None = None
        self._follows = False
        self._answer: Reading | None = None
        self._moves: tuple[float, int, int] = (0.0, 0, 0)
        self._painted = 0.0
        self._awaits_paint = False

    def _want(self) -> None:
        """Ask for other points."""
        raise NotImplementedError

    def _ask(self) -> None:
        """Ask for the values under the cursor."""
        raise NotImplementedError

    def _model(self) -> ChartModel | None:
        """The chart that keys of the x axis are about: the chosen one, or any that is painted."""
        found = [c.model for c in (self.shown[self.selected], *self.shown) if c.display]
        return next((model for model in found if model.has_points and model.width), None)

    # -- the x axis -------------------------------------------------------------------------------------------------

    @property
    def zoomed(self) -> bool:
        """Whether a part of the x axis is shown."""
        return self.window is not None

    def zoom(self, by: int) -> None:
        """Half as much of the axis for each step in, around the cursor or the newest point; twice as much out."""
        model = self._model()
        if model is None:
            return
        first, end = self._range(model)
        span = end - first
        least = max(4, math.ceil(FEWEST * model.apart))
        wanted = max(min(span, least), span >> by) if by > 0 else span << -by
        if wanted == span:
            return
        if self.cursor is not None and first <= self.cursor < end:
            anchor = self.cursor
        else:
            newest = self._last_x if self._last_x is not None else end - 1
            anchor = newest if first <= newest < end else (first + end) // 2
        # The newest point keeps a little room before it.
        share = min((anchor - first) / span, 0.98 if self.cursor is None else 1.0)
        self._set_window(anchor - round(wanted * share), wanted)

    def pan(self, by: int) -> None:
        """A quarter of what is shown to later or earlier steps; nothing where all is shown."""
        if self.window is not None:
            span = self.window[1] - self.window[0]
            self._set_window(self.window[0] + by * max(1, span // PAN_SHARE), span)

    def whole(self) -> None:
        """The whole run along the x axis again."""
        if self.window is not None:
            self.window = None
            self._apply_window()

    def cycle_x(self) -> str:
        """The next axis that the run has numbers for; says which, and which it has not."""
        without = []
        for axis in places.after(self.axis):
            if axis in self._axes:
                break
            without.append(places.MISSING[axis])
        note = f" (this run records no {' and no '.join(without)})" if without else ""
        if axis != self.axis:
            self.axis = axis
            self._want()
        return f"x: {axis}{note}"

    def _turn(self, query: CurveQuery) -> None:
        """The points of another axis are here: the same steps are looked at, if they have places on it."""
        self._drawn, self.window, self._answer = query.axis, query.window, None
        self.cursor = query.cursor if self.cursor is not None else None
        self._mark()
        if self.window is not None:
            self._apply_window()

    def _set_window(self, first: int, span: int) -> None:
        last = self._last_x if self._last_x is not None else first + span
        first = max(0, min(first, last - span // 8))
        if first == 0 and span > last:
            self.whole()
            return
        self.window = (first, first + span)
        self._apply_window()

    def _apply_window(self) -> None:
        """Show the window with the points that are there, at once; the exact ones are on their way."""
        if self.window is not None:
            widths = [c.model.cells * DOT_COLUMNS for c in self.shown if c.display and c.model.width]
            ends = [shown_end(width, self.window) for width in widths]
            self.window = (self.window[0], max([self.window[1], *ends]))
            self._follows = self._last_x is None or self.window[0] <= self._last_x < self.window[1]
        for chart in self.shown:
            chart.model.set_window(self.window)
        self._want()
        if not self._awaits_paint:
            self._awaits_paint = True
            wait = self._painted + PAINT_SECONDS - time.monotonic()
            if wait > 0:
                self.set_timer(wait, self._paint_window)
            else:
                self.call_later(self._paint_window)

    def _paint_window(self) -> None:
        self._awaits_paint = False
        for chart in self.shown:
            chart.flush(legend=False)
        self._painted = time.monotonic()

    def _range(self, model: ChartModel) -> tuple[int, int]:
        """The first x that is shown, and the first that is not any more."""
        return self.window if self.window is not None else (model.x.origin, model.x.end)

    def _follow(self) -> None:
        """A window that held the newest point moves on with it, by jumps."""
        if self.window is None or not self._follows or self._last_x is None or self._last_x < self.window[1]:
            return
        span = self.window[1] - self.window[0]
        self.window = (self._last_x - span * 3 // 4, self._last_x - span * 3 // 4 + span)
        self._apply_window()

    def _clamp(self) -> None:
        """Steps that were superseded, or are not in the record that stands there now, are not looked at any more."""
        last = self._last_x
        if self.cursor is not None and (last is None or self.cursor > last):
            self.cursor, self._answer = last, None
            self._mark()
        if self.window is not None and (last is None or self.window[0] >= last):
            self.whole()

    # -- the cursor -------------------------------------------------------------------------------------------------

    def move_cursor(self, by: int) -> None:
        """Show the cursor at the newest point in sight; then move it by columns, faster while a key is held."""
        model = self._model()
        if model is None:
            return
        first, end = self._range(model)
        last = max(first, end - 1 if self._last_x is None else self._last_x)
        if self.cursor is None:
            self.cursor = min(last, end - 1)
        else:
            unit = max(1, model.x.points // model.x.dots, round(model.apart))
            moved = self.cursor + by * unit * self._growth(by, model.x.columns)
            self.cursor = max(0, min(moved, last))
            if self.window is not None and not first <= self.cursor < end:
                self.pan(1 if self.cursor >= end else -1)
        self._mark()
        self._ask()

    def drop_cursor(self) -> bool:
        """Take the cursor away; whether there was one."""
        had, self.cursor, self._answer = self.cursor is not None, None, None
        if had:
            self._mark()
            self._ask()
        return had

    def reading(self) -> Line:
        """The x and every shown curve's value under the cursor, the chosen chart's first; empty without a cursor."""
        if self.cursor is None or self._answer is None:
            return []
        models = [chart.model for chart in self.shown]
        return say.reading(self._answer, models.pop(self.selected), models)

    def _growth(self, by: int, columns: int) -> int:
        now = time.monotonic()
        before, direction, count = self._moves
        count = count + 1 if direction == (by > 0) and now - before < HELD_SECONDS else 0
        self._moves = (now, by > 0, count)
        return 1 if count < 6 else min(1 << (count - 2) // 4, max(1, columns // 24))

    def _mark(self) -> None:
        """Draw the cursor, or none, in all charts."""
        answer = self._answer if self.cursor is not None else None
        values = {key: value for key, (value, _) in answer.values.items()} if answer is not None else None
        label = ""
        if self.cursor is not None:
            exact = answer is not None and answer.cursor == self.cursor
            label = KINDS[self._drawn].exact(answer.x if exact and answer is not None else self.cursor)
        for chart in self.shown:
            chart.model.set_cursor(self.cursor, label, values)
            chart.flush()
