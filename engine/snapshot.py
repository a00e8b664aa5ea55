"""From a run directory to what a screen shows: one follower reads, one table holds, a summary fits a list row.

The follower is polled (0.2 to 1 s); it never blocks for long and keeps nothing but columns of numbers and short lists.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine import registry
from engine import status as states
from engine.checkpoints import newest_valid
from engine.columns import cache, remembered
from engine.columns.batch import FEWEST, batch
from engine.columns.store import Store
from engine.events import EventReader, number
from engine.hardware import sensible
from engine.records import is_count, is_time, sane_run, sane_status
from engine.rundir import RunDir
from engine.status import RunState
from engine.tables import NAN, NOT_METRICS, MetricTable
from engine.view import Notice, Phase, RunView

# An attempt beyond this is damage in a stream without checksums; believed, it would hide all others.
MAX_ATTEMPTS = 100_000
# Newest checkpoint events that are kept, in a view: a save at every step must not take the memory.
MAX_CHECKPOINTS = 20_000
# Bytes read at a time: little enough for a thread beside one that draws.
PIECE = 1 << 18
# The metrics that a run's guardian tells in ``status.json``.
TOLD = frozenset({"loss", "epoch", "eval_loss", "step_seconds"})

__all__ = ["NOT_METRICS", "MetricTable", "Notice", "Phase", "RunFollower", "RunView", "tail"]


class RunFollower:
    """Keeps a :class:`RunView` up to date with a run directory; :meth:`poll` returns whether anything changed.

    ``guards`` is for the run's own guardian, whom nothing outside of the run's directory may hold up (a home that does
    not answer): no cache, no inference of the state, and of the rows only what it tells.
    """

    def __init__(self, path: str | Path, *, guards: bool = False) -> None:
        self.rundir = RunDir(path)
        self._guards = guards
        self._in_memory = guards
        self.view = self._empty()
        self._events = EventReader(self.rundir.events)
        self._supervisor = EventReader(self.rundir.supervisor_events)
        self._stamps: dict[str, tuple[int, int] | None] = {}
        self._odd: dict[str, list[str]] = {}
        self._stands: bool | None = None
        self._begun = False
        self._kept = 0  # bytes of the stream that the next opening need not read

    def poll(self, budget_seconds: float = 0.05) -> bool:
        """Read what is new, for about ``budget_seconds``; call again while it is not :attr:`caught_up`."""
        changed = self._records()
        if self.view.steps.store.lost:
            self._in_memory = True  # what was lost once would be lost again
            self._restart()
            self._events.forget()
            self._supervisor.forget()
        elif not self._begun and not self._in_memory:
            self._kept = remembered.recall(self.view, self._events, self._supervisor)
            changed |= self._kept > 0
        self._begun = True
        deadline = time.monotonic() + budget_seconds
        more = True
        while more:
            before = self._events.offset
            events = self._events.poll(PIECE)
            if self._events.restarts:
                self._restart()
            self._apply_all(events)
            changed |= bool(events)
            more = self._events.offset != before and time.monotonic() < deadline
        more = True
        while more:  # at least one piece, however long the other stream is
            before = self._supervisor.offset
            for event in self._supervisor.poll(PIECE):
                changed = True
                self._apply_supervisor(event)
            more = self._supervisor.offset != before and time.monotonic() < deadline
        changed |= self._note_behind()
        changed |= self._infer()
        damaged = sum(stream.damaged for stream in (self._events, self._supervisor))
        if not self.view.state.live:  # nobody will finish a torn last line any more
            damaged += sum(stream.torn and stream.at_end for stream in (self._events, self._supervisor))
        changed |= damaged != self.view.damaged
        self.view.damaged = damaged
        self._keep()
        return changed

    @property
    def caught_up(self) -> bool:
        """Whether both streams have been read to their ends."""
        return self._events.at_end and self._supervisor.at_end

    def _note_behind(self) -> bool:
        """More than the few lines that came this moment."""
        try:
            unread = self.rundir.events.stat().st_size - self._events.offset
        except OSError:
            unread = 0
        before, self.view.behind = self.view.behind, unread > PIECE
        return self.view.behind != before

    def read_all(self) -> RunView:
        """Read to the end, however long it takes; for commands, not for screens."""
        self.poll(1.0)
        while not self.caught_up:
            before = self._events.offset, self._supervisor.offset
            self.poll(1.0)
            if (self._events.offset, self._supervisor.offset) == before:
                break
        return self.view

    def _keep(self) -> None:
        """Write down what is known, for the next opening of a long stream."""
        offset = self._events.offset
        if self._in_memory:
            return
        if cache.is_due(offset, self._kept, growing=self.view.state.live) and self.caught_up:
            remembered.remember(self.view, self._events, self._supervisor)
            self._kept = offset  # where it could not be kept, it is tried again when there is more

    def _empty(self) -> RunView:
        store = Store.in_memory() if self._in_memory else Store(self.rundir.events)  # of both tables: one cache
        only = TOLD if self._guards else None
        return RunView(self.rundir.path, steps=MetricTable(store, only), evals=MetricTable(store, only))

    def _restart(self) -> None:
        old = self.view
        self.view = self._empty()
        self.view.run, self.view.status, self.view.id, self.view.name = old.run, old.status, old.id, old.name
        self.view.problems = old.problems
        # Whoever counts on for an answer must not see the counts fall.
        self.view.controls_seen, self.view.notices_seen = old.controls_seen, old.notices_seen
        self._events.restarts = self._kept = 0

    def _records(self) -> bool:
        changed = False
        view, rundir = self.view, self.rundir
        if self._fresh("run", rundir.run_json):
            record = rundir.read_run()
            run, self._odd["run.json"] = sane_run(record)
            view.run = view.run if record is None else run
            view.id = str(view.run.get("id") or "")
            changed = True
        if self._fresh("status", rundir.status_json):
            record = rundir.read_status()
            status, self._odd["status.json"] = sane_status(record)
            view.status = view.status if record is None else status
            changed = True
        view.problems = [odd_values(name, odd) for name, odd in self._odd.items() if odd]
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

    def _apply_all(self, events: list[dict[str, Any]]) -> None:
        """The same as :meth:`_apply` of each; long rows of step events at once."""
        start = 0
        for place in (*(i for i, event in enumerate(events) if event["type"] != "step"), len(events)):
            self._apply_steps(events[start:place])
            if place < len(events):
                self._apply(events[place])
            start = place + 1

    def _apply_steps(self, events: list[dict[str, Any]]) -> None:
        if len(events) >= FEWEST:
            self._apply(events[0])  # it may begin an attempt
            view, found = self.view, batch(events[1:])
            usual = found is not None and found.attempt == view.step_attempt == view.attempt
            if found is not None and usual and (not len(view.steps) or found.steps[0] > view.steps.steps[-1]):
                view.attempt_row = min(view.attempt_row, len(view.steps))
                view.steps.extend(found.steps, found.columns)
                view.step, view.last_event = found.steps[-1], float(found.columns["time"][-1])
                totals = found.columns.get("total_steps")
                if totals is not None and is_count(totals[-1]) and totals[-1] > 0:
                    view.total_steps = totals[-1]
                return
            events = events[1:]
        for event in events:
            self._apply(event)

    def _apply(self, event: dict[str, Any]) -> None:
        view = self.view
        when = float(event["time"]) if is_time(event.get("time")) else None
        view.last_event = when or view.last_event  # the worker's own: nobody else's are signs of its life
        named = event.get("attempt")
        attempt = named if is_count(named) and 0 < named < MAX_ATTEMPTS else view.attempt
        view.attempt = max(view.attempt, attempt)
        match event["type"]:
            case "step" | "eval" | "checkpoint" | "sample":
                if attempt >= view.step_attempt:  # else: of an attempt that a later one has superseded
                    self._apply_progress(event, attempt, when or NAN)
            case "phase":
                name = str(event.get("name") or "")
                since = view.phase.since if name == view.phase.name else when
                done, total = (number(sensible(event.get(key))) for key in ("done", "total"))
                view.phase = Phase(name, done, total, since)
            case "notice" | "control":
                self._tell(event)
            case "state":
                view.last_state = RunState(str(event.get("state", "")), str(event.get("reason") or ""))
                view.last_state_attempt = attempt

    def _tell(self, event: dict[str, Any]) -> None:
        view = self.view
        if event["type"] == "control":
            view.controls.append(event)
            view.controls_seen += 1
            return
        when = float(event["time"]) if is_time(event.get("time")) else NAN
        level, text, kind = (str(event.get(key) or "") for key in ("level", "text", "kind"))
        view.notices.append(Notice(when, level or "info", text, kind, step_of(event)))
        view.notices_seen += 1

    def _apply_progress(self, event: dict[str, Any], attempt: int, when: float) -> None:
        view, step = self.view, step_of(event)
        match event["type"]:
            case "step" if step is not None:
                if attempt > view.step_attempt:
                    self._supersede(attempt, step)
                view.step = step
                total = event.get("total_steps")
                view.total_steps = total if is_count(total) and total > 0 else view.total_steps
                view.steps.append(step, when, event)
                view.attempt_row = min(view.attempt_row, len(view.steps) - 1)
            case "eval" if step is not None:
                view.evals.append(step, when, event)
            case "checkpoint":
                view.checkpoints.append(event)
                del view.checkpoints[:-MAX_CHECKPOINTS]
            case "sample":
                view.samples.append(event)

    def _supersede(self, attempt: int, step: int) -> None:
        """A later attempt takes its first step: what earlier ones did from there on is history that did not happen."""
        view = self.view
        entry = view.attempts[attempt - 1] if attempt <= len(view.attempts) else {}
        kept = entry.get("step")
        if is_count(kept):  # known even if the very first step event was damaged
            step = min(step, kept + 1)
        view.step_attempt = attempt
        view.steps.cut(step)
        view.evals.cut(step)
        view.checkpoints[:] = [c for c in view.checkpoints if _kept(c, attempt, step)]
        samples = [s for s in view.samples if _kept(s, attempt, step)]
        view.samples.clear()
        view.samples.extend(samples)
        view.attempt_row = len(view.steps)

    def _apply_supervisor(self, event: dict[str, Any]) -> None:
        if event["type"] == "hardware":
            self.view.hardware = event
        elif event["type"] in ("notice", "control"):
            self._tell(event)

    def _infer(self) -> bool:
        view = self.view
        if self._guards:
            return False
        live = str(view.status.get("state")) in states.LIVE or not view.status
        # What has not been read yet may be newer: of a record that is still being read no silence is told.
        silent = states.is_stalled(time.time(), view.last_event, view.median_step_seconds, view.phase.name)
        stalled = live and self._events.at_end and silent
        locked = self.rundir.lock_state if live else None
        state = states.infer(view.status, locked=locked, stalled=stalled)
        begun = view.step_attempt > 0 and view.step_attempt >= view.attempt_number
        if state.state == states.STARTING and state.here and begun:
            state = replace(
                state, state=states.RUNNING, stalled=stalled
            )  # its supervisor was gone before the first step
        if state.state != states.LOST:
            self._stands = None
        else:
            state = self._without_supervisor(state)
        changed = state != view.state
        view.state = state
        return changed

    def _without_supervisor(self, lost: RunState) -> RunState:
        """The end of a run whose record tells of none: remembered elsewhere, or the worker's own last word."""
        view = self.view
        end = registry.recall_end(view.id) if view.id else None
        if end is not None and end.get("attempts") == view.status.get("attempts") and end.get("state") in states.ENDED:
            view.status = sane_status(end)[0]
            return states.infer(view.status)
        if self._stands is None:  # looked up once: nobody writes here any more
            self._stands = newest_valid(view.path) is not None
        word = view.last_state
        if word is None or word.state not in states.ENDED or view.last_state_attempt < view.attempt_number:
            return replace(lost, resumable=self._stands)
        return replace(lost, state=word.state, reason=word.reason, resumable=self._stands)


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


def step_of(event: dict[str, Any]) -> int | None:
    """The step that an event names, ``None`` if it names none that can be."""
    step = event.get("step")
    return step if is_count(step) else None


def odd_values(name: str, keys: list[str]) -> str:
    """The line that says which values of a record were left out."""
    return f"{name} holds values of a wrong kind, which were left out: {', '.join(keys)}"


def _kept(event: dict[str, Any], attempt: int, step: int) -> bool:
    return event.get("attempt") == attempt or (step_of(event) or 0) < step
