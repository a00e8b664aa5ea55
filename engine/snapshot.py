"""From a run directory to what a screen shows: one follower reads, one table holds, a summary fits a list row.

The follower is polled (0.2 to 1 s); it never blocks for long and keeps nothing but columns of numbers and short lists.
"""

from __future__ import annotations

import math
import statistics
import time
from array import array
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine import status as states
from engine.events import EventReader, number
from engine.rundir import RunDir
from engine.status import RunState

NAN = math.nan
NOT_METRICS = frozenset({"type", "time", "attempt", "crc", "step", "total_steps"})


class MetricTable:
    """Columns of numbers, one row an optimizer step (or evaluation); missing values are NaN, real NaN too.

    Which of the two a NaN is, is told by :attr:`nonfinite`, the rows whose event said so. ``version`` rises with every
    change, ``rewrites`` only when earlier rows changed (a resume superseded them), so that charts can append.
    """

    def __init__(self) -> None:
        self.steps: array[int] = array("q")
        self.columns: dict[str, array[float]] = {"time": array("d")}
        self.nonfinite: dict[str, list[int]] = {}
        self.version = 0
        self.rewrites = 0

    def __len__(self) -> int:
        return len(self.steps)

    def column(self, name: str) -> array[float]:
        """Values of one metric, as long as the table; an unknown metric is all NaN."""
        known = self.columns.get(name)
        return known if known is not None else array("d", [NAN]) * len(self.steps)

    def has(self, name: str) -> bool:
        """Whether any row has ever named this metric with a number."""
        return name in self.columns

    def append(self, step: int, when: float, values: dict[str, Any]) -> None:
        """Add a row; a step that is not beyond the last one supersedes the rows from it on."""
        if self.steps and step <= self.steps[-1]:
            self._cut(step)
        row = len(self.steps)
        self.steps.append(step)
        self.columns["time"].append(when)
        for name, raw in values.items():
            if name in NOT_METRICS:
                continue
            value = number(raw)
            if value is None:
                continue
            column = self.columns.get(name)
            if column is None:
                column = self.columns[name] = array("d", [NAN]) * row
            column.append(value)
            if not math.isfinite(value):
                self.nonfinite.setdefault(name, []).append(step)
        for column in self.columns.values():
            if len(column) <= row:
                column.append(NAN)
        self.version += 1

    def last(self, name: str) -> float | None:
        """The newest value of a metric, ``None`` if the newest row has none."""
        column = self.columns.get(name)
        if not column:
            return None
        if math.isnan(column[-1]) and self.steps[-1] not in self.nonfinite.get(name, ()):
            return None
        return column[-1]

    def best(self, name: str) -> float | None:
        """The lowest finite value of a metric."""
        return min((value for value in self.columns.get(name, ()) if math.isfinite(value)), default=None)

    def _cut(self, step: int) -> None:
        keep = len(self.steps)
        while keep and self.steps[keep - 1] >= step:
            keep -= 1
        del self.steps[keep:]
        for column in self.columns.values():
            del column[keep:]
        for name, found in self.nonfinite.items():
            self.nonfinite[name] = [s for s in found if s < step]
        self.rewrites += 1


@dataclass(slots=True)
class Notice:
    """A warning worth showing: ``level`` is info, warning or error; ``text`` is untrusted."""

    time: float
    level: str
    text: str


@dataclass(slots=True)
class Phase:
    """What the worker is doing: loading, tokenising, compiling, training, evaluating or saving."""

    name: str = ""
    done: float | None = None
    total: float | None = None
    since: float | None = None


@dataclass(slots=True)
class RunView:
    """Everything known of one run at this moment. Texts in it are untrusted: clean them before drawing."""

    path: Path
    id: str = ""
    name: str = ""
    run: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    state: RunState = field(default_factory=lambda: RunState(states.UNKNOWN))
    steps: MetricTable = field(default_factory=MetricTable)
    evals: MetricTable = field(default_factory=MetricTable)
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    notices: deque[Notice] = field(default_factory=lambda: deque(maxlen=500))
    controls: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=50))
    phase: Phase = field(default_factory=Phase)
    hardware: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    total_steps: int | None = None
    attempt: int = 1
    step_attempt: int = 0
    last_state: RunState | None = None
    last_state_attempt: int = 0
    last_event: float | None = None
    damaged: int = 0

    @property
    def base_model(self) -> str:
        """The base model's name or path, as configured."""
        return str(self.config.get("base_model") or "")

    @property
    def config(self) -> dict[str, Any]:
        """The recorded settings; empty if there are none that can be read."""
        config = self.run.get("config")
        return config if isinstance(config, dict) else {}

    @property
    def started(self) -> float | None:
        """When training processes were started (Unix seconds)."""
        return _time(self.status.get("started")) or _time(self.run.get("created"))

    @property
    def ended(self) -> float | None:
        """When the run ended, ``None`` while it lives."""
        return _time(self.status.get("ended"))

    @property
    def elapsed(self) -> float | None:
        """Seconds from start to end, or to now."""
        if self.started is None:
            return None
        end = self.ended or (time.time() if self.state.live else self.last_event)
        return max(0.0, end - self.started) if end is not None else None

    @property
    def epoch(self) -> float | None:
        """Epochs done."""
        return self.steps.last("epoch")

    @property
    def median_step_seconds(self) -> float | None:
        """Median seconds of the last 50 steps."""
        recent = [v for v in self.steps.column("step_seconds")[-50:] if math.isfinite(v)]
        return statistics.median(recent) if recent else None

    @property
    def remaining(self) -> float | None:
        """Seconds until the last step at the pace of the recent wall clock (evaluations and saves included)."""
        if not self.state.live or not self.total_steps or len(self.steps) < 2:
            return None
        times = self.steps.columns["time"]
        window = min(len(times), 100)
        pace = (times[-1] - times[-window]) / (window - 1)
        return max(0.0, (self.total_steps - self.step) * pace)


class RunFollower:
    """Keeps a :class:`RunView` up to date with a run directory; :meth:`poll` returns whether anything changed."""

    def __init__(self, path: str | Path) -> None:
        self.rundir = RunDir(path)
        self.view = RunView(self.rundir.path)
        self._events = EventReader(self.rundir.events)
        self._supervisor = EventReader(self.rundir.supervisor_events)
        self._stamps: dict[str, tuple[int, int] | None] = {}

    def poll(self, budget_seconds: float = 0.05) -> bool:
        """Read what is new, for about ``budget_seconds``; call again while it is not :attr:`caught_up`."""
        changed = self._records()
        deadline = time.monotonic() + budget_seconds
        while True:
            events = self._events.poll(1 << 20)
            if self._events.restarts:
                self._restart()
            for event in events:
                self._apply(event)
            changed |= bool(events)
            if not events or time.monotonic() > deadline:
                break
        for event in self._supervisor.poll(1 << 20):
            changed = True
            self._apply_supervisor(event)
        self.view.damaged = self._events.damaged
        return self._infer() or changed

    @property
    def caught_up(self) -> bool:
        """Whether the whole event stream has been read."""
        return self._events.at_end

    def read_all(self) -> RunView:
        """Read to the end, however long it takes; for commands, not for screens."""
        self.poll(1.0)
        while not self.caught_up and self.poll(1.0):
            pass
        return self.view

    def _restart(self) -> None:
        old = self.view
        self.view = RunView(old.path, run=old.run, status=old.status, id=old.id, name=old.name)
        self._events.restarts = 0

    def _records(self) -> bool:
        changed = False
        view, rundir = self.view, self.rundir
        if self._fresh("run", rundir.run_json):
            view.run = rundir.read_run() or view.run
            view.id = str(view.run.get("id") or "")
            changed = True
        if self._fresh("status", rundir.status_json):
            view.status = rundir.read_status() or view.status
            changed = True
        changed |= self._fresh("notes", rundir.notes_json)
        if changed:
            notes = rundir.read_notes()
            view.name = str(notes.get("name") or view.run.get("name") or rundir.path.name)
            total = view.status.get("total_steps")
            if isinstance(total, int) and view.total_steps is None:
                view.total_steps = total
        return changed

    def _fresh(self, key: str, path: Path) -> bool:
        try:
            info = path.stat()
            stamp: tuple[int, int] | None = (info.st_ino, info.st_mtime_ns)
        except OSError:
            stamp = None
        if self._stamps.get(key, (0, 0)) == stamp:
            return False
        self._stamps[key] = stamp
        return True

    def _apply(self, event: dict[str, Any]) -> None:
        view = self.view
        when = _time(event.get("time"))
        view.last_event = when or view.last_event
        if isinstance(event.get("attempt"), int):
            view.attempt = max(view.attempt, event["attempt"])
        match event["type"]:
            case "step" if _step(event) is not None:
                view.step = event["step"]
                total = event.get("total_steps")
                view.total_steps = total if isinstance(total, int) and total > 0 else view.total_steps
                view.steps.append(view.step, when or NAN, event)
                view.step_attempt = view.attempt
            case "eval" if _step(event) is not None:
                view.evals.append(event["step"], when or NAN, event)
            case "checkpoint":
                view.checkpoints.append(event)
            case "phase":
                name = str(event.get("name") or "")
                since = view.phase.since if name == view.phase.name else when
                view.phase = Phase(name, number(event.get("done")), number(event.get("total")), since)
            case "notice":
                view.notices.append(Notice(when or NAN, str(event.get("level", "info")), str(event.get("text", ""))))
            case "control":
                view.controls.append(event)
            case "state":
                view.last_state = RunState(str(event.get("state", "")), str(event.get("reason") or ""))
                view.last_state_attempt = view.attempt

    def _apply_supervisor(self, event: dict[str, Any]) -> None:
        if event["type"] == "hardware":
            self.view.hardware = event
        elif event["type"] in ("notice", "control"):
            self._apply({**event, "time": event.get("time")})

    def _infer(self) -> bool:
        view = self.view
        live = str(view.status.get("state")) in states.LIVE or not view.status
        stalled = live and states.is_stalled(time.time(), view.last_event, view.median_step_seconds, view.phase.name)
        state = states.infer(view.status, locked=live and self.rundir.locked, stalled=stalled)
        if state.state == states.LOST and view.last_state is not None and view.last_state.state in states.ENDED:
            # The supervisor is gone, but the worker's own last word says how it ended.
            state = replace(state, state=view.last_state.state, reason=view.last_state.reason)
        changed = state != view.state
        view.state = state
        return changed


def tail(path: Path, lines: int = 200, max_bytes: int = 256 * 1024) -> list[str]:
    """The last lines of a text file as they stand (untrusted); empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - max_bytes))
            data = file.read(max_bytes)
    except OSError:
        return []
    return data.decode("utf-8", "replace").split("\n")[-lines - 1 :]


def _step(event: dict[str, Any]) -> int | None:
    step = event.get("step")
    return step if isinstance(step, int) and not isinstance(step, bool) and 0 <= step < 2**62 else None


def _time(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
