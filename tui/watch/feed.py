"""Reads one run in a thread and hands the screen frozen updates: facts of this moment, and only the new points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.snapshot import RunFollower
from engine.text import clean
from tui.watch.alarms import Alarms
from tui.watch.curves import Curve, Curves
from tui.watch.facts import Facts, build
from tui.watch.logfile import LogFile

BUDGET_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class WatchUpdate:
    """One message to the screen. ``reset`` says that all points sent before are superseded."""

    facts: Facts
    curves: dict[str, Curve]
    reset: bool
    log: tuple[str, ...] | None
    caught_up: bool


class WatchFeed:
    """Polls a run; lives in one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._follower = RunFollower(path)
        self._log = LogFile(self._follower.rundir.train_log)
        self._sent: WatchUpdate | None = None
        self._forget()

    def poll(self) -> WatchUpdate | None:
        """What is new, ``None`` if nothing is. Never raises for what stands in the files."""
        try:
            self._follower.poll(BUDGET_SECONDS)
            return self._update()
        except Exception as error:  # a record of a shape nobody foresaw must not end the screen
            facts = Facts(
                self.path, problem=clean(f"this run cannot be read: {error}", 300), name=clean(self.path.name)
            )
            if self._sent is not None and self._sent.facts == facts:
                return None
            self._sent = WatchUpdate(facts, {}, False, None, True)
            return self._sent

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
        reset = self._curves.superseded(view)
        if reset:
            self._forget()
        curves = self._curves.new()
        log = self._log.snapshot() if self._log.poll() else None
        self._alarms.follow(view)
        facts = build(self._follower, self._curves, self._alarms)
        caught_up = self._follower.caught_up
        sent = self._sent
        if not (curves or reset or log is not None or sent is None) and (facts, caught_up) == (
            sent.facts,
            sent.caught_up,
        ):
            return None
        self._sent = WatchUpdate(facts, curves, reset, log, caught_up)
        return self._sent

    def _forget(self) -> None:
        self._curves = Curves(self._follower.view)
        self._alarms = Alarms()
