"""All charts of the live screen: which are shown, which is chosen, and what keys do to them."""

from __future__ import annotations

import time

from textual.app import ComposeResult
from textual.containers import Container
from textual.events import Click
from textual.message import Message

from tui.watch import charts
from tui.watch.curves import SMOOTH_LOSS
from tui.watch.facts import Facts
from tui.watch.feed import WatchUpdate
from tui.widgets.chart import Chart

# While a long record is being read, the charts show its progress this often; each time costs a whole repaint.
CATCH_UP_SECONDS = 0.5


class ChartDeck(Container):
    """The charts in one container: a grid of four, or the chosen one alone."""

    DEFAULT_CSS = """
    ChartDeck {
        width: 1fr; height: 1fr; layout: vertical;
        & Chart { display: none; }
        & Chart.-selected { display: block; }
        &.-grid { layout: grid; grid-size: 2 2; grid-gutter: 1 3; }
        &.-grid Chart { display: block; }
    }
    """

    class FullAsked(Message):
        """The chosen chart is to fill the screen, or not any more."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.charts = charts.make()
        self.selected = 0
        self.smooth: float | None = None
        self._flushed = 0.0

    def compose(self) -> ComposeResult:
        """The charts."""
        yield from self.charts

    def on_mount(self) -> None:
        """The first chart is the chosen one."""
        self.choose(0)

    # -- data -------------------------------------------------------------------------------------------------------

    def take(self, update: WatchUpdate) -> None:
        """New points; nothing is painted yet."""
        if update.reset:
            for chart in self.charts:
                chart.clear()
        charts.feed(self.charts, update)
        smooth = update.curves.get(SMOOTH_LOSS)
        if smooth is not None and smooth.ys[-1] == smooth.ys[-1]:
            self.smooth = smooth.ys[-1]

    def paint(self, facts: Facts, *, ready: bool, fit: bool = False) -> None:
        """Paint what is new; ``fit`` lays out anew for what is there (it is all read, or the run has ended)."""
        now = time.monotonic()
        if not ready and now - self._flushed < CATCH_UP_SECONDS:
            return
        self._flushed = now
        for chart in self.charts:
            charts.set_span(chart, facts, fit=fit)
            chart.flush(legend=fit)

    def tick(self) -> None:
        """Once a second: values in legends."""
        for chart in self.charts:
            chart.flush()

    # -- keys -------------------------------------------------------------------------------------------------------

    def choose(self, index: int) -> None:
        """Choose a chart of those that are shown, by its place."""
        self.selected = index % len(self.charts)
        for position, chart in enumerate(self.charts):
            chart.set_class(position == self.selected, "-selected")
            chart.select(position == self.selected)

    def choose_next(self, by: int = 1) -> None:
        """Choose the next chart."""
        self.choose(self.selected + by)

    def toggle_log(self) -> None:
        """Logarithmic or linear loss."""
        chart = self.charts[0]
        chart.set_log(not chart.model.y.log)

    def on_click(self, event: Click) -> None:
        """A click chooses a chart; on the chosen one it fills the screen with it."""
        if isinstance(event.widget, Chart) and event.widget in self.charts:
            index = self.charts.index(event.widget)
            if index == self.selected:
                self.post_message(self.FullAsked())
            else:
                self.choose(index)
