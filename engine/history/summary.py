"""One row of the runs list: everything ``tunedeck runs --json`` tells, read from two small files."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine import status as states
from engine.events import number
from engine.rundir import RunDir
from engine.snapshot import RunFollower
from engine.status import RunState


@dataclass(slots=True)
class RunSummary:
    """One run. Unknown is ``None``; times are Unix seconds; texts are untrusted."""

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

    @property
    def live(self) -> bool:
        """Whether the run has not ended."""
        return self.state in states.LIVE

    def as_dict(self) -> dict[str, Any]:
        """All fields, for ``--json``."""
        return asdict(self)


def summarise(path: Path, *, with_size: bool = False) -> RunSummary | None:
    """The summary of the tunedeck run at ``path``; ``None`` if there is none."""
    rundir = RunDir(path)
    if not rundir.meta.is_dir():
        return None
    run = rundir.read_run()
    status = rundir.read_status() or {}
    live = str(status.get("state")) in states.LIVE or not status
    state = states.infer(status or None, locked=live and rundir.locked)
    problems = [] if run is not None else ["run.json is missing or damaged"]
    run = run or {}
    if not status:
        problems.append("status.json is missing or damaged")
    notes = rundir.read_notes()
    summary = RunSummary(
        id=str(run.get("id") or path.name),
        path=str(rundir.path),
        name=str(notes.get("name") or run.get("name") or path.name),
        tool="tunedeck",
        state=state.state,
        base_model=_text((run.get("config") or {}).get("base_model")) if isinstance(run.get("config"), dict) else None,
        created=number(run.get("created")),
        problems=problems,
    )
    _progress(summary, status, state)
    if state.state == states.LOST or not status:
        _from_events(summary, rundir.path)
    if with_size:
        summary.bytes = directory_bytes(rundir.path)
    return summary


def _progress(summary: RunSummary, status: dict[str, Any], state: RunState) -> None:
    for name in ("step", "total_steps", "points"):
        value = status.get(name)
        setattr(summary, name, value if isinstance(value, int) else None)
    for name in ("last_loss", "best_loss", "last_eval_loss", "best_eval_loss", "started", "ended"):
        setattr(summary, name, number(status.get(name)))
    summary.reason, summary.resumable = state.reason, state.resumable
    summary.host, summary.here, summary.heard = state.host or None, state.here, state.heard
    summary.stalled = bool(status.get("stalled")) and state.state == states.RUNNING


def _from_events(summary: RunSummary, path: Path) -> None:
    """What a supervisor that died could not write down."""
    view = RunFollower(path).read_all()
    if view.state.state != states.UNKNOWN:
        summary.state, summary.reason = view.state.state, view.state.reason
    if len(view.steps):
        summary.step, summary.total_steps, summary.points = view.step, view.total_steps, len(view.steps)
        summary.last_loss, summary.best_loss = view.steps.last("loss"), view.steps.best("loss")
    if len(view.evals):
        summary.last_eval_loss, summary.best_eval_loss = (
            view.evals.last("eval_loss"),
            view.evals.best("eval_loss"),
        )
    summary.ended = summary.ended or view.last_event


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
    return value if isinstance(value, str) else None
