"""The charts of a run that is read whole: those of the live screen, laid out for what this run logged."""

from __future__ import annotations

from tui.history.tables import LOSS, RATE, SPEED, Layout
from tui.watch import charts
from tui.watch.deck import ChartDeck
from tui.watch.feed import WatchUpdate
from tui.watch.query import CurveQuery, Metric
from tui.widgets.chart import Chart

NOTHING = "nothing was logged"


class HistoryDeck(ChartDeck):
    """The first page shows what there is, not what a live run of ours would have."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._keys: tuple[str, ...] | None = None

    def suit(self, layout: Layout) -> None:
        """Take the charts that this run has something for."""
        own: dict[object, Chart] = dict(zip((LOSS, RATE, SPEED, "memory"), self.charts, strict=False))
        free = [chart for key, chart in own.items() if key not in layout.first]
        chosen: list[Chart] = []
        for metric in layout.first:
            chart = own.get(metric) or free.pop(0)
            if metric not in own and isinstance(metric, Metric):
                chart.show_model(charts.model_of(metric, ""))
            chart.model.empty = NOTHING
            chosen.append(chart)
        for chart in free:
            chart.display = False
        self.charts, self._keys = chosen, layout.keys
        self._show_page()

    def _show_page(self) -> None:
        super()._show_page()
        for chart in self.shown:
            chart.model.mark = ""  # numbers are the keys of pages here
            chart.model.invalidate()

    def show_update(self, update: WatchUpdate) -> None:
        """New points, painted at once."""
        self.take(update)
        self.paint(update.facts, ready=True, fit=True)

    def ask_again(self) -> None:
        """The directory was read again: all points anew."""
        self._want()

    @property
    def shows_points(self) -> bool:
        """Whether any chart of the page has something to show."""
        return any(chart.model.has_points for chart in self.shown)

    def _ask(self) -> None:
        keys = charts.keys(charts.pages(self._metrics)[self.page - 1]) if self.page else self._keys
        query = CurveQuery(self._number, self.axis, self.window, self.smoothing, keys, self.cursor, self._drawn)
        self.post_message(self.Wanted(query))
