"""All charts of the live screen: which are shown, which is chosen, and what the reader is asked for them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.events import Click
from textual.message import Message

from tui.glyphs import glyphs
from tui.watch import charts, places, say
from tui.watch.facts import Facts
from tui.watch.feed import WatchUpdate
from tui.watch.query import CurveQuery, Metric
from tui.watch.sight import Sight
from tui.widgets.chart import Chart
from tui.widgets.chart.ticks import KINDS

# Between two pictures of a run that makes steps, if no tick comes first.
TICK_SECONDS = 0.95
# While a long record is being read, the charts show its progress this often; each time costs a whole repaint.
CATCH_UP_SECONDS = 0.5
SMOOTHING = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


class ChartDeck(Sight):
    """The charts in one container: a grid of four, or the chosen one alone."""

    DEFAULT_CSS = """
    ChartDeck {
        width: 1fr; height: 1fr; layout: vertical; grid-size: 2 2; grid-gutter: 1 3;
    }
    """

    class FullAsked(Message):
        """The chosen chart is to fill the screen, or not any more."""

    @dataclass
    class Wanted(Message):
        """Other points, or the values under the cursor: a question for the feed."""

        query: CurveQuery

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.charts = charts.make()
        self.further = charts.make_further()
        self.shown = self.charts
        self.selected = 0
        self.grid = False
        self.smooth: float | None = None
        self.sketch = False
        self.smoothing, self.page = 1.0, 0
        self._number = 0
        self._metrics: tuple[Metric, ...] = ()
        self._flushed = 0.0
        self._facts: Facts | None = None
        self._reset = self._superseded = False

    def compose(self) -> ComposeResult:
        """The charts."""
        yield from self.charts
        yield from self.further

    def on_mount(self) -> None:
        """The first chart is the chosen one."""
        self._show_page()

    # -- data -------------------------------------------------------------------------------------------------------

    def take(self, update: WatchUpdate) -> None:
        """New points; nothing is painted yet."""
        self._take_metrics(update.metrics)
        self._axes, self.smooth = update.axes, update.smooth
        if update.query.number != self._number:
            return  # an answer to what nobody wants to know any more
        self._last_x = update.last_x
        self.sketch = update.sketch
        if update.reset:
            self._reset = True
            for chart in self.shown:
                charts.clear(chart, update)
        charts.feed(self.shown, update)
        self._superseded |= update.reset
        if update.query.axis != self._drawn:
            self._turn(update.query)
        if self._superseded and update.caught_up:
            self._superseded = False
            self._clamp()
        if update.reading is not None and self.cursor is not None:
            self._answer = update.reading
            self._mark()
        elif update.reset and self.cursor is not None:
            self._ask()
        self._follow()

    def _take_metrics(self, metrics: tuple[Metric, ...]) -> None:
        """The run logs other figures than before: a page of them may be another one."""
        if not metrics or metrics == self._metrics:
            return
        before, self._metrics = charts.pages(self._metrics), metrics
        after = charts.pages(metrics)
        if self.page and before[self.page - 1 : self.page] != after[self.page - 1 : self.page]:
            self.page = min(self.page, len(after))
            self._show_page()
            self._want()

    def paint(self, facts: Facts, *, ready: bool, fit: bool = False) -> None:
        """Paint what is new; ``fit`` lays out anew for what is there (it is all read, or the run has ended).

        Of a run whose steps come fast it waits for the next tick, so that a cell which several steps change is sent
        once, with the values.
        """
        now = time.monotonic()
        self._facts = facts
        if not (fit or self._reset) and now - self._flushed < (TICK_SECONDS if ready else CATCH_UP_SECONDS):
            return
        self._flushed = now
        for chart in self.shown:
            charts.set_span(chart, facts, fit=fit, last_x=self._last_x)
            chart.flush(legend=fit or self._reset)
        self._reset = False

    def tick(self) -> None:
        """Once a second: new points, and values in legends."""
        self._flushed = time.monotonic()
        for chart in self.shown:
            if self._facts is not None:
                charts.set_span(chart, self._facts, fit=False, last_x=self._last_x)
            chart.flush()

    def on_resize(self) -> None:
        """Another width may show a little more of a window."""
        if self.window is not None:
            self.call_after_refresh(self._apply_window)

    # -- which charts -----------------------------------------------------------------------------------------------

    def choose(self, index: int) -> None:
        """Choose a chart of those that are shown, by its place."""
        if not 0 <= index < len(self.shown):
            return
        self.selected = index
        changed = self._arrange()
        for chart in (*self.charts, *self.further):
            chart.select(chart is self.shown[index])
        if changed:
            self.call_after_refresh(self.tick)  # one that was hidden has not been painted for a while

    def set_grid(self, grid: bool) -> None:
        """All charts of the page side by side, or the chosen one alone."""
        if grid != self.grid:
            self.grid = grid
            self.styles.layout = "grid" if grid else "vertical"
        self._arrange()

    def _arrange(self) -> bool:
        # By hand and not by a class: a class has the style sheet match all of a chart's parts anew, 10 ms a chart.
        grid, changed = self.grid, False
        for chart in (*self.charts, *self.further):
            shown = chart in self.shown if grid else chart is self.shown[self.selected]
            if chart.display != shown:
                chart.display, changed = shown, True
        return changed

    def choose_next(self, by: int = 1) -> None:
        """Choose the next chart."""
        self.choose((self.selected + by) % len(self.shown))

    def more(self) -> str:
        """Turn to the next page of charts: the four, then what else the run logs; says what is shown."""
        pages = charts.pages(self._metrics)
        if not pages:
            return "this run logs nothing further"
        self.page = (self.page + 1) % (len(pages) + 1)
        self._show_page()
        self._want()
        if not self.page:
            return "the four charts again"
        titles = ", ".join(metric.title for metric in pages[self.page - 1])
        return f"more charts, {self.page} of {len(pages)}: {titles}"

    def _show_page(self) -> None:
        self.shown = self.charts
        if self.page:
            page = charts.pages(self._metrics)[self.page - 1]
            self.shown = self.further[: len(page)]
            for number, (chart, metric) in enumerate(zip(self.shown, page, strict=True), 1):
                chart.show_model(charts.model_of(metric, str(number)))
                chart.model.set_kind(KINDS[self._drawn])
        few = len(self.shown) <= 2
        self.styles.grid_size_columns, self.styles.grid_size_rows = (1, len(self.shown)) if few else (2, 2)
        self.choose(min(self.selected, len(self.shown) - 1))
        self._mark()

    # -- curves -----------------------------------------------------------------------------------------------------

    def smooth_more(self, by: int) -> str:
        """Smooth more, or less; says how much."""
        place = SMOOTHING.index(self.smoothing) + by
        self.smoothing = SMOOTHING[max(0, min(place, len(SMOOTHING) - 1))]
        self._want()
        return f"smoothing {say.factor(self.smoothing)}"

    def toggle_log(self) -> str:
        """Logarithmic or linear y axis of the chosen chart; says which."""
        chart = self.shown[self.selected]
        chart.set_log(not chart.model.y.log)
        return f"{chart.model.title}: {'logarithmic' if chart.model.y.log else 'linear'} axis"

    def status(self) -> str:
        """What differs from the usual picture, in short words; empty if nothing does."""
        parts = ["a sketch: still reading"] if self.sketch else []
        if self.window is not None:
            exact = KINDS[self._drawn].exact
            last = self.window[1] - 1 if self._last_x is None else min(self.window[1] - 1, self._last_x)
            parts.append(f"zoom {exact(self.window[0])}{glyphs().dash}{exact(max(self.window[0], last))}")
        if self.axis != places.STEP:
            parts.append(f"x {self.axis}")
        if self.smoothing != 1.0:
            parts.append(f"smoothing {say.factor(self.smoothing)}")
        if self.page:
            parts.append(f"more charts {self.page}/{len(charts.pages(self._metrics))}")
        return f" {glyphs().dot} ".join(parts)

    # -- questions --------------------------------------------------------------------------------------------------

    def _want(self) -> None:
        """Ask for other points."""
        self._number += 1
        self._ask()

    def _ask(self) -> None:
        keys = charts.keys(charts.pages(self._metrics)[self.page - 1]) if self.page else None
        query = CurveQuery(self._number, self.axis, self.window, self.smoothing, keys, self.cursor, self._drawn)
        self.post_message(self.Wanted(query))

    def on_click(self, event: Click) -> None:
        """A click chooses a chart; on the chosen one it fills the screen with it."""
        if isinstance(event.widget, Chart) and event.widget in self.shown:
            index = self.shown.index(event.widget)
            if index == self.selected:
                self.post_message(self.FullAsked())
            else:
                self.choose(index)
