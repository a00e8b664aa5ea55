"""One row of the runs list: everything ``tunedeck runs --json`` tells, read from two small files."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine import status as states
from engine.events import last_events, number
from engine.records import is_count, is_time, sane_run, sane_status
from engine.rundir import RunDir
from engine.status import RunState

# A living supervisor writes status.json once a second; events this much younger (seconds) say that it does no more.
_BEHIND = 4.0


@dataclass(slots=True)
class RunSummary:
    """One run. Unknown is ``None``; times are Unix seconds; texts are untrusted.

    ``epoch`` is how many are done, ``seconds`` how long it trained, ``checkpoints`` how many stand, ``modified`` the newest
    time of what was read, ``root`` the folder below which it was found; ``sparkline`` holds at most 32 losses, NaN among them.
    """

    id: str
    path: str
    name: str
    tool: str
    state: str
    base_model: str | None = None
    step: int | None = None
    total_steps: int | None = None
    last_loss: float | None = None
    best_loss: float | None = None
    last_eval_loss: float | None = None
    best_eval_loss: float | None = None
    points: int | None = None
    created: float | None = None
    started: float | None = None
    ended: float | None = None
    bytes: int | None = None
    problems: list[str] = field(default_factory=list)
    reason: str = ""
    stalled: bool = False
    resumable: bool = False
    host: str | None = None
    here: bool = True
    heard: float | None = None
    attempts: int | None = None
    resumed_from: str | None = None
    resumed_step: int | None = None
    queue_position: int | None = None
    waits_for: str | None = None
    seconds_before: float = 0.0
    learning_rate: float | None = None
    lora_r: int | None = None
    lora_alpha: float | None = None
    epoch: float | None = None
    num_train_epochs: float | None = None
    batch_size: int | None = None
    max_seq_length: int | None = None
    dataset: str | None = None
    seconds: float | None = None
    checkpoints: int | None = None
    tags: list[str] = field(default_factory=list)
    modified: float | None = None
    root: str | None = None
    sparkline: list[float] = field(default_factory=list)

    @property
    def live(self) -> bool:
        """Whether the run has not ended."""
        return self.state in states.LIVE

    def as_dict(self) -> dict[str, Any]:
        """All fields, for ``--json``."""
        return asdict(self)


def summarise(path: Path, *, with_size: bool = False) -> RunSummary | None:
    """The summary of the tunedeck run at ``path``; ``None`` if there is none. Never raises for what a record holds."""
    rundir = RunDir(path)
    if not rundir.meta.is_dir():
        return None
    try:
        return _summarise(rundir, with_size=with_size)
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError, OSError) as error:
        # What nobody thought of costs this run its row, not the list.
        problem = f"its record cannot be read: {type(error).__name__}: {error}"
        return RunSummary(path.name, str(rundir.path), path.name, "tunedeck", states.UNKNOWN, problems=[problem[:500]])


def _summarise(rundir: RunDir, *, with_size: bool) -> RunSummary:
    from engine.snapshot import odd_values  # lists come from the index, and need none of it
    from engine.view import RunView

    recorded_run, recorded_status = rundir.read_run(), rundir.read_status()
    run, odd_run = sane_run(recorded_run)
    status, odd_status = sane_status(recorded_status)
    problems = []
    for name, record, odd in (("run.json", recorded_run, odd_run), ("status.json", recorded_status, odd_status)):
        if record is None or (not record and name == "status.json"):
            problems.append(f"{name} is missing or damaged")
        elif odd:
            problems.append(odd_values(name, odd))
    live = str(status.get("state")) in states.LIVE or not status
    state = states.infer(status or None, locked=rundir.lock_state if live else None)
    notes = rundir.read_notes()
    view = RunView(rundir.path, run=run, status=status, state=state)
    summary = RunSummary(
        id=_text(run.get("id")) or rundir.path.name,
        path=str(rundir.path),
        name=_text(notes.get("name")) or _text(run.get("name")) or rundir.path.name,
        tool="tunedeck",
        state=state.state,
        base_model=_text(view.config.get("base_model")),
        created=number(run.get("created")),
        problems=problems,
        attempts=view.attempt_number,
        resumed_from=view.resumed_from,
        resumed_step=view.resumed_step,
        queue_position=view.queue_position,
        waits_for=view.waits_for or None,
        seconds_before=view.seconds_before,
    )
    _progress(summary, status, state)
    if state.state == states.LOST or not status:
        _from_events(summary, rundir.path)
    elif state.live and state.state != states.QUEUED:
        _from_tail(summary, rundir, status)
    if with_size:
        summary.bytes = directory_bytes(rundir.path)
    return summary


def _progress(summary: RunSummary, status: dict[str, Any], state: RunState) -> None:
    for name in ("step", "total_steps", "points"):
        setattr(summary, name, status.get(name))
    for name in ("last_loss", "best_loss", "last_eval_loss", "best_eval_loss", "started", "ended"):
        setattr(summary, name, number(status.get(name)))
    summary.reason, summary.resumable = state.reason, state.resumable
    summary.host, summary.here, summary.heard = state.host or None, state.here, state.heard
    summary.stalled = bool(status.get("stalled")) and state.state == states.RUNNING


def _from_tail(summary: RunSummary, rundir: RunDir, status: dict[str, Any]) -> None:
    """The newest step of a run whose supervisor writes no more while its worker goes on."""
    try:
        behind = rundir.events.stat().st_mtime - rundir.status_json.stat().st_mtime
    except OSError:
        return
    if behind < _BEHIND:
        return
    from engine.snapshot import step_of

    events = last_events(rundir.events)
    steps = [event for event in events if event["type"] == "step" and step_of(event) is not None]
    if not steps:
        return
    newest = steps[-1]
    before = summary.step or 0
    summary.step = step_of(newest)
    assert summary.step is not None
    if is_count(newest.get("total_steps")):
        summary.total_steps = newest["total_steps"]
    if summary.points is not None:  # one event a step
        summary.points += max(0, summary.step - before)
    summary.last_loss = number(newest.get("loss"))
    losses = [summary.best_loss, *(number(event.get("loss")) for event in steps)]
    summary.best_loss = min((v for v in losses if v is not None and math.isfinite(v)), default=None)
    evals = [number(event.get("eval_loss")) for event in events if event["type"] == "eval"]
    if evals:
        summary.last_eval_loss = evals[-1]
        found = [summary.best_eval_loss, *evals]
        summary.best_eval_loss = min((v for v in found if v is not None and math.isfinite(v)), default=None)
    if is_time(newest.get("time")):
        summary.heard = max(newest["time"], summary.heard or 0.0)
    if status.get("state") == states.STARTING:  # its supervisor never saw the first step
        summary.state = states.RUNNING


def _from_events(summary: RunSummary, path: Path) -> None:
    """What a supervisor that died could not write down."""
    from engine.snapshot import RunFollower

    view = RunFollower(path).read_all()
    if view.state.state != states.UNKNOWN:
        summary.state, summary.reason = view.state.state, view.state.reason
        summary.resumable, summary.stalled = view.state.resumable, view.state.stalled
    if len(view.steps):
        summary.step, summary.total_steps, summary.points = view.step, view.total_steps, len(view.steps)
        summary.last_loss, summary.best_loss = view.steps.last("loss"), view.steps.best("loss")
    if len(view.evals):
        summary.last_eval_loss, summary.best_eval_loss = (
            view.evals.last("eval_loss"),
            view.evals.best("eval_loss"),
        )
    summary.ended = summary.ended or view.ended or view.last_event


def directory_bytes(path: Path) -> int:
    """Bytes of all regular files below a directory; links are not followed."""
    total = 0
    for folder, _, files in os.walk(path, onerror=lambda _: None):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                pass
    return total


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
