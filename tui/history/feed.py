"""Answers what the charts ask of a run that is read whole; lives in a thread of the page."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from engine import status as states
from engine.status import RunState
from tui.history.tables import MEMORY, RATE, Layout, Tables
from tui.watch import places
from tui.watch.curves import Curves
from tui.watch.facts import Facts
from tui.watch.feed import WatchUpdate
from tui.watch.query import CurveQuery
from tui.watch.reading import read_at, translated

# Curves that are drawn as they are.
PLAIN = frozenset((RATE.train, *MEMORY))
# The first picture is of these; whatever else is shown follows within a moment.
FIRST = ("loss", "eval_loss")


class RecordCurves(Curves):
    """Curves of which only those are smoothed that a chart shows smoothed."""

    def is_smoothed(self, name: str) -> bool:
        """Whether a column of the steps has a smoothed curve beside it now."""
        return super().is_smoothed(name) and name not in PLAIN


class RecordFeed:
    """The points of one record; its methods belong to one thread at a time."""

    def __init__(self, tables: Tables, layout: Layout) -> None:
        view = tables.view
        self.layout = layout
        self._view = view
        self._query = CurveQuery(keys=FIRST)
        self._curves = RecordCurves(view, self._query)
        self._again = True
        self.axes = places.available(view)
        last = max([*view.steps.steps[-1:], *view.evals.steps[-1:]], default=0)
        self.facts = Facts(view.path, state=RunState(states.COMPLETED), step=last, expected_step=last)

    def first(self) -> WatchUpdate:
        """The first picture."""
        return self.answer()

    def answer(self, query: CurveQuery | None = None) -> WatchUpdate:
        """The points that a query wants (all, where they are others than before), and the values under its cursor."""
        if query is not None:
            query = translated(self._curves, query)
            if query.number != self._query.number:
                self._curves.aim(query)
                self._again = True
            elif query.window is not None:
                query = replace(query, window=self._query.window)
            self._query = query
        reset, self._again = self._again, False
        curves = self._curves.new() if reset else {}
        rows = len(self._view.steps)
        last = self._curves.places(self._query.axis).xs(rows - 1, rows)[0] if rows else None
        return WatchUpdate(
            self.facts, curves, reset, None, True, False, self._query, read_at(self._curves, self._query),
            self.layout.further, self.axes, last, self._curves.smooth,
        )  # fmt: skip


class Answerer:
    """A thread that answers the newest question; older ones that were not begun are dropped."""

    def __init__(self, feed: RecordFeed, deliver: Callable[[WatchUpdate], None]) -> None:
        self._feed, self._deliver = feed, deliver
        self._asked: CurveQuery | None = None
        self._wake, self._stopped = threading.Event(), threading.Event()

    def start(self) -> None:
        """Begin, in a thread that never keeps the app from ending."""
        threading.Thread(target=self._run, name="tunedeck-curves", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._wake.set()

    def ask(self, query: CurveQuery) -> None:
        """From any thread."""
        self._asked = query
        self._wake.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.wait()
            self._wake.clear()
            query, self._asked = self._asked, None
            if query is not None and not self._stopped.is_set():
                self._deliver(self._feed.answer(query))
