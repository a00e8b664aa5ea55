"""Reads one run in a thread and hands the screen frozen updates: facts of this moment, and only the new points."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.columns import sketch
from engine.snapshot import RunFollower, RunView
from engine.text import clean
from tui.watch import metrics, places
from tui.watch.alarms import Alarms
from tui.watch.curves import Curve, Curves
from tui.watch.facts import Facts, build
from tui.watch.logfile import LogAsk, LogFile, LogView
from tui.watch.query import CurveQuery, Metric, Reading
from tui.watch.reading import read_at, translated

BUDGET_SECONDS = 0.05
FIRST_QUERY = CurveQuery()
# How often a reader that waits for the screen looks whether it is to end.
LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class WatchUpdate:
    """One message to the screen. ``reset`` says that all points sent before are superseded.

    The points answer ``query``; those of a ``sketch`` are a first picture of a long record that is still being read.
    ``metrics`` are the figures that the run logs beyond those of the four charts, ``axes`` the x axes it has numbers
    for, ``last_x`` where the newest step stands on the query's axis, ``smooth`` the newest smoothed loss.
    """

    facts: Facts
    curves: dict[str, Curve]
    reset: bool
    log: LogView | None
    caught_up: bool
    sketch: bool = False
    query: CurveQuery = FIRST_QUERY
    reading: Reading | None = None
    metrics: tuple[Metric, ...] = ()
    axes: tuple[str, ...] = (places.STEP,)
    last_x: int | None = None
    smooth: float | None = None


class WatchFeed:
    """Polls a run; lives in one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._follower = RunFollower(path)
        self._log = LogFile(self._follower.rundir.train_log)
        self._taken = threading.Event()
        self._taken.set()
        self._sent: WatchUpdate | None = None
        self._asked: CurveQuery | None = None
        self._query = CurveQuery()
        self._sketched: bool | None = None
        self._again = True
        self._failed = self._log_again = False
        self._columns: tuple[int, int] = (-1, -1)
        self._metrics: tuple[Metric, ...] = ()
        self._axes: tuple[str, ...] = (places.STEP,)
        self._forget()

    def ask(self, query: CurveQuery) -> None:
        """Give the points of this query from now on: the next poll begins with all of them. From any thread.

        Of several questions only the last is answered.
        """
        self._asked = query

    def poll(self) -> WatchUpdate | None:
        """What is new, ``None`` if nothing is. Never raises for what stands in the files."""
        try:
            self._failed = False
            first = self._sketch() if self._sketched is None else None
            if first is not None:
                return first
            self._follower.poll(0.0 if self._asked is not None else BUDGET_SECONDS)
            return self._update()
        except Exception as error:  # a record of a shape nobody foresaw must not end the screen
            return self._fail(error)

    def _fail(self, error: Exception) -> WatchUpdate | None:
        """Say it, and give all points again once the run can be read: some may have been lost on their way."""
        self._failed = True
        self._sketched = bool(self._sketched)
        self._curves, self._again = Curves(self._follower.view, self._query), True
        self._log_again = True
        if self._asked is None and self._query.cursor is not None:
            self._asked = self._query
        facts = Facts(self.path, problem=clean(f"this run cannot be read: {error}", 300), name=clean(self.path.name))
        sent = self._sent
        if sent is not None and sent.facts == facts:
            return None
        empty = sent or WatchUpdate(facts, {}, False, None, True, query=self._query)
        self._sent = replace(empty, facts=facts, curves={}, reset=False, log=None, caught_up=True, reading=None)
        return self._sent

    def hand_over(self, post: Callable[[], object], stopped: Callable[[], bool]) -> None:
        """Post an update once the one before was taken, in the reader's thread.

        An app that stands still (a shell is open) has one update waiting and not a heap of them; what is new meanwhile
        stays in the files until then.
        """
        while not self._taken.wait(LOOK_SECONDS):
            if stopped():
                return
        self._taken.clear()
        post()

    def taken(self) -> None:
        """The screen took what was posted. From any thread."""
        self._taken.set()

    def log_ask(self, ask: LogAsk) -> None:
        """Ask for a part of the log or a search, from any thread; the next updates' ``log`` answers."""
        self._log.ask(ask)

    @property
    def log_busy(self) -> bool:
        """Whether the log's reader has not done yet what it was asked for: poll again at once."""
        return self._log.busy and not self._failed

    @property
    def live(self) -> bool:
        """Whether more is to come soon."""
        return self._sent is None or self._sent.facts.state.live or not self._sent.caught_up

    @property
    def values(self) -> dict[str, Any]:
        """The run's settings, for a clone."""
        config = self._follower.view.run.get("config")
        return dict(config) if isinstance(config, dict) else {}

    def _update(self) -> WatchUpdate | None:
        view = self._follower.view
        if self._curves.superseded(view):
            self._forget()
        reading = self._take_question()
        caught_up = self._follower.caught_up
        # The sketch stays on the screen until all of the real rows can take its place.
        held = bool(self._sketched) and not caught_up
        curves = {} if held else self._curves.new(self._superseded)
        reset = self._again and not held
        if not held:
            self._again, self._sketched = False, False
        log = self._log.poll() or (self._log.view if self._log_again else None)
        self._alarms.follow(view)
        facts = build(self._follower, self._curves, self._alarms)
        sent = self._sent
        if not (curves or reset or reading or log is not None or sent is None) and (facts, caught_up) == (
            sent.facts,
            sent.caught_up,
        ):
            return None
        self._sent = self._complete(WatchUpdate(facts, curves, reset, log, caught_up, held, self._query, reading))
        self._log_again = False
        return self._sent

    def _superseded(self) -> bool:
        """Whether other points are wanted by now."""
        asked = self._asked
        return asked is not None and asked.number != self._query.number

    def _take_question(self) -> Reading | None:
        """Turn to what was asked for last; the values under its cursor, if it has one."""
        query, self._asked = self._asked, None
        if query is None:
            return None
        query = translated(self._curves, query)
        if query.number != self._query.number:
            self._again = True
            self._curves.aim(query)
        elif query.window is not None:
            query = replace(query, window=self._query.window)
        self._query = query
        return read_at(self._curves, query)

    def _complete(self, update: WatchUpdate) -> WatchUpdate:
        """With what the screen must know of the tables."""
        view = self._follower.view
        columns = (len(view.steps.names()), len(view.evals.names()))
        if columns != self._columns or not self._axes[1:]:
            self._columns = columns
            self._metrics, self._axes = metrics.further(view.steps, view.evals), places.available(view)
        rows = len(view.steps)
        last = self._curves.places(self._query.axis).xs(rows - 1, rows)[0] if rows else None
        return replace(update, metrics=self._metrics, axes=self._axes, last_x=last, smooth=self._curves.smooth)

    def _sketch(self) -> WatchUpdate | None:
        """A first picture of a long record, before any of it is read."""
        table = sketch(self._follower.rundir.events)
        self._sketched = table is not None
        if table is None:
            return None
        self._follower.poll(0.0)
        curves = Curves(RunView(self.path, steps=table), self._query)
        facts = build(self._follower, self._curves, self._alarms)
        update = WatchUpdate(facts, curves.new(), True, None, False, True, self._query, last_x=table.steps[-1])
        self._sent = replace(update, smooth=curves.smooth)
        return self._sent

    def _forget(self) -> None:
        self._again = True
        self._curves = Curves(self._follower.view, self._query)
        self._alarms = Alarms()
