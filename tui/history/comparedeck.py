"""The curves of a comparison under the keyboard: axis, zoom and cursor as on the live screen."""

from __future__ import annotations

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.message import Message

from tui import format as fmt
from tui.history.lettered import COLOURS, CompareChart, LetteredModel
from tui.history.overlay import LETTERS, WEIGHTS, Drawn, Overlay, Wish
from tui.watch.charts import significant
from tui.watch.metrics import title
from tui.watch.sight import Sight
from tui.widgets.chart import DASHED, LINE, TREND
from tui.widgets.chart.ticks import KINDS

# Runs from this one on have dashed lines.
DASHED_FROM = 4


class CompareDeck(Sight):
    """One chart of all runs that are not hidden."""

    DEFAULT_CSS = "CompareDeck { width: 1fr; height: 1fr; }"

    @dataclass
    class Wanted(Message):
        """Other points."""

        wish: Wish

    class Read(Message):
        """The cursor stands elsewhere."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.chart = CompareChart(id="compare-chart")
        self.shown, self.selected = [self.chart], 0
        self.hidden: set[int] = set()
        self.metric, self.by = "loss", "best"
        self.weights = {False: 0.9, True: 0.0}  # of training metrics and of evaluations
        self.evaluated = False
        self.logarithmic = False
        self.overlay: Overlay | None = None

    def compose(self) -> ComposeResult:
        """The chart."""
        yield self.chart

    @property
    def weight(self) -> float:
        """How much all curves are smoothed."""
        return self.weights[self.evaluated]

    @property
    def curves(self) -> list[Drawn]:
        """The curves that are drawn or hidden, a run each."""
        return self.overlay.curves if self.overlay is not None else []

    # -- what is shown ----------------------------------------------------------------------------------------------

    def take(self, overlay: Overlay) -> None:
        """Draw the points of the newest wish."""
        if overlay.wish.metric != self.metric or overlay.wish.axis != self.axis or overlay.wish.weight != self.weight:
            return  # an answer to what nobody wants to know any more
        self.overlay = overlay
        self._axes = overlay.axes
        if overlay.wish.axis != self._drawn:
            self._drawn, self.window, self.cursor = overlay.wish.axis, None, None
        ends = [curve.xs[-1] for place, curve in enumerate(overlay.curves) if curve.xs and place not in self.hidden]
        self._last_x = max(ends, default=None)
        self.hidden &= set(range(len(overlay.curves)))
        self.rebuild()

    def rebuild(self) -> None:
        """Draw all runs that are not hidden."""
        old = self.chart.model
        model = LetteredModel(title(self.metric), kind=KINDS[self._drawn], glyphs=old.glyphs)
        loss = self.metric.endswith("loss")
        model.value_formatter = fmt.loss if loss else significant
        model.empty = "no run has points here"
        window = self.overlay.wish.window if self.overlay is not None else None
        model.origin = window[0] if window is not None else 0
        plain = LINE if not self.weight else TREND
        for place, curve in enumerate(self.curves):
            if place in self.hidden or not curve.xs:
                continue
            style = DASHED if place >= DASHED_FROM else plain
            model.add_series(LETTERS[place], LETTERS[place], style, COLOURS[place])
            model.adopt(LETTERS[place], curve.buckets)
        ends = [curve.xs[-1] for place, curve in enumerate(self.curves) if curve.xs and place not in self.hidden]
        model.set_span(max(1, *ends) if ends else None, False)
        model.set_log(self.logarithmic)
        model.set_window(self.window)
        self.chart.show_model(model)
        self._mark()

    # -- wishes -----------------------------------------------------------------------------------------------------

    @property
    def wish(self) -> Wish:
        """What is wanted now."""
        window = self.window if self.axis == self._drawn else None
        return Wish(self.metric, self.axis, self.weight, window, self.by)

    def _want(self) -> None:
        self.post_message(self.Wanted(self.wish))

    def show_metric(self, metric: str, *, evaluated: bool) -> None:
        """Draw another metric."""
        self.metric, self.evaluated = metric, evaluated
        self._want()

    def rank_by(self, by: str) -> None:
        """Rank in another way."""
        self.by = by
        self._want()

    def smooth_more(self, by: int) -> str:
        """Smooth all curves more, or less; says how much."""
        place = WEIGHTS.index(self.weight) + by
        self.weights[self.evaluated] = WEIGHTS[max(0, min(place, len(WEIGHTS) - 1))]
        self._want()
        return f"smoothing {self.weight:g} for all" if self.weight else "no smoothing"

    def toggle_log(self) -> str:
        """Logarithmic or linear axis; says which."""
        self.logarithmic = not self.logarithmic
        self.chart.set_log(self.logarithmic)
        return f"{'logarithmic' if self.logarithmic else 'linear'} axis"

    def toggle(self, place: int) -> None:
        """Hide or show a run; the last one that is seen stays."""
        seen = [at for at in range(len(self.curves)) if at not in self.hidden]
        if place in self.hidden:
            self.hidden.discard(place)
        elif seen != [place]:
            self.hidden.add(place)
        self.rebuild()

    def show_all(self) -> None:
        """Show all runs again."""
        self.hidden.clear()
        self.rebuild()

    # -- the cursor -------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        self.post_message(self.Read())

    def values(self) -> list[tuple[int, float] | None]:
        """Each run's point at the cursor, or its last one."""
        if self.cursor is None:
            return [(curve.xs[-1], curve.ys[-1]) if curve.xs else None for curve in self.curves]
        return [curve.at(self.cursor) for curve in self.curves]

    def _mark(self) -> None:
        readings = None
        if self.cursor is not None:
            readings = {LETTERS[at]: point[1] for at, point in enumerate(self.values()) if point is not None}
        label = KINDS[self._drawn].exact(self.cursor) if self.cursor is not None else ""
        self.chart.model.set_cursor(self.cursor, label, readings)
        self.chart.flush()
