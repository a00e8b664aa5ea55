"""What is known of a run at one moment: frozen, with clean texts, ready to be put into words."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import status as states
from engine.rundir import RunDir
from engine.snapshot import Phase, RunFollower, RunView
from engine.status import RunState
from engine.text import clean
from engine.view import Notice
from tui.watch.alarms import Alarms
from tui.watch.curves import Curves
from tui.watch.machine import Machine, real
from tui.watch.signs import Sign

LAST_VALUES = (
    "loss", "learning_rate", "grad_norm", "samples_per_second", "tokens_per_second", "num_tokens", "step_seconds",
    "gpu_memory_peak", "gpu_memory_allocated", "gpu_memory_reserved", "host_memory",
)  # fmt: skip
# Settings that decide how many steps a run has.
LENGTHS = frozenset({"num_train_epochs", "max_steps", "batch_size", "gradient_accumulation_steps"})


@dataclass(frozen=True, slots=True)
class Control:
    """A request to the run: when it was asked for or answered, and how it ended (empty: not answered yet)."""

    verb: str
    time: float
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at this moment. All texts are clean."""

    path: Path
    problem: str = ""
    name: str = ""
    base_model: str = ""
    state: RunState = field(default_factory=lambda: RunState(states.UNKNOWN))
    reason: str = ""
    host: str = ""
    step: int = 0
    expected_step: int = 0
    total_steps: int | None = None
    epoch: float | None = None
    epochs: float | None = None
    started: float | None = None
    ended: float | None = None
    last_event: float | None = None
    remaining: float | None = None
    remaining_at: float | None = None
    median_step: float | None = None
    phase: Phase = field(default_factory=Phase)
    notice: tuple[float, str, str] | None = None
    notice_kind: str = ""
    notices: int = 0
    alarm: tuple[int, str, str] | None = None
    nonfinite_text: str = ""
    control: Control | None = None
    waiting: tuple[str, ...] = ()
    values: dict[str, float | None] = field(default_factory=dict)
    best_loss: float | None = None
    best_step: int | None = None
    eval_loss: float | None = None
    best_eval: float | None = None
    nonfinite_loss: int = 0
    checkpoints: int = 0
    last_checkpoint: int | None = None
    machine: Machine = field(default_factory=Machine)
    signs: tuple[Sign, ...] = ()
    has_adapter: bool = False
    attempt: int = 1
    resumed_step: int | None = None
    # An attempt after an end that has not done a step yet: ``step`` is the one that it goes on after.
    before_first_step: bool = False
    seconds_before: float = 0.0
    queue_position: int | None = None
    waits_for: str = ""
    damaged: int = 0
    # The record has not been read to its end: what was read last is not the present.
    reading: bool = False


def build(follower: RunFollower, curves: Curves, alarms: Alarms) -> Facts:
    """The facts of this moment."""
    view, run = follower.view, follower.rundir
    steps = view.steps
    config = view.config
    checkpoint = view.checkpoints[-1] if view.checkpoints else {}
    reading = alarms.is_reading(follower.caught_up)
    goes_on = not reading and _before_first_step(view)
    notice = _notice(view)
    alarms.follow(view)
    machine = alarms.watcher.machine(view)
    remaining = None if reading else _remaining(view, goes_on)
    control = _newest_control(view)
    best_loss, best_step = curves.best or (None, None)
    recorded = _whole(view.status.get("step")) or 0
    return Facts(
        path=run.path,
        problem=_problem(run, view),
        name=clean(view.name or run.path.name, 200),
        base_model=clean(config.get("base_model") or "", 200),
        state=view.state,
        reason=clean(view.state.reason, 500),
        host=clean(view.state.host, 100),
        step=(view.resumed_step or 0) if goes_on else view.step if len(steps) else recorded,
        expected_step=view.step if follower.caught_up else max(view.step, recorded),
        total_steps=_next_total(view) if goes_on else view.total_steps,
        epoch=None if goes_on else view.epoch,
        epochs=real(config.get("num_train_epochs")),
        started=view.started,
        ended=view.ended if view.ended or view.state.live else view.last_event,
        last_event=view.last_event,
        remaining=remaining,
        remaining_at=view.last_event if remaining is not None else None,
        median_step=view.median_step_seconds,
        phase=view.phase,
        notice=(notice.time, clean(notice.level, 20), clean(notice.text, 500)) if notice else None,
        notice_kind=clean(notice.kind, 30) if notice else "",
        notices=view.notices_seen,
        alarm=alarms.newest,
        nonfinite_text=alarms.nonfinite,
        control=_control(control) if control else None,
        waiting=tuple(run.requests()),
        values={} if goes_on else {name: steps.last(name) for name in LAST_VALUES},
        best_loss=best_loss,
        best_step=best_step,
        eval_loss=None if goes_on else view.evals.last("eval_loss"),
        best_eval=curves.best_eval,
        nonfinite_loss=len(steps.nonfinite.get("loss", ())),
        checkpoints=len(view.checkpoints),
        last_checkpoint=_whole(checkpoint.get("step")),
        machine=machine,
        signs=() if reading else alarms.watcher.follow(view, machine, fresh=goes_on),
        has_adapter=not view.state.live and (run.path / "adapter_config.json").is_file(),
        attempt=view.attempt_number,
        resumed_step=view.resumed_step,
        before_first_step=goes_on,
        seconds_before=view.seconds_before,
        queue_position=view.queue_position,
        waits_for=clean(view.waits_for, 300),
        damaged=view.damaged,
        reading=reading,
    )


def _before_first_step(view: RunView) -> bool:
    again = view.attempt_number > 1 or view.resumed_step is not None
    return again and view.state.live and view.step_attempt < view.attempt_number


def _next_total(view: RunView) -> int | None:
    """How many steps the newest attempt will have; ``None`` where its changed settings leave that open."""
    changes = view.attempts[-1].get("changes") if view.attempts else None
    if not isinstance(changes, dict) or not LENGTHS & changes.keys():
        return view.total_steps
    return _whole(view.config.get("max_steps"))


def _remaining(view: RunView, goes_on: bool) -> float | None:
    """Whole seconds: what changes less than that is no news."""
    if view.state.state != states.RUNNING or goes_on or view.state.stalled:
        return None
    left = view.remaining
    return None if left is None else float(round(left))


def _problem(run: RunDir, view: RunView) -> str:
    if not run.path.is_dir():
        return "this directory is gone: it was moved or deleted"
    if not run.meta.is_dir():
        return "no run is recorded in this directory (it has no .tunedeck)"
    if not view.run:
        return "run.json is missing or damaged: the settings of this run are not known"
    if not view.status:
        return "status.json is missing or damaged: the state of this run is not known"
    if view.problems:
        return clean("; ".join(view.problems), 300)
    version = view.run.get("format")
    if isinstance(version, int) and version > 1:
        return f"this run was written by a newer tunedeck (format {version}): what is shown may be incomplete"
    return ""


def _notice(view: RunView) -> Notice | None:
    """The newest notice, but none of an earlier attempt: that one has ended, and its troubles with it."""
    newest = view.notices[-1] if view.notices else None
    begun = view.started if view.attempt_number > 1 else None
    return None if newest is None or (begun is not None and newest.time < begun) else newest


def _newest_control(view: RunView) -> dict[str, Any] | None:
    """The newest answer to a request; one that an earlier attempt gave ("stopping after step 103") says nothing now."""
    newest = view.controls[-1] if view.controls else None
    attempt = _whole(newest.get("attempt")) if newest is not None else None
    return None if attempt is not None and attempt < view.attempt_number else newest


def _control(event: dict[str, Any]) -> Control:
    return Control(
        clean(event.get("request", ""), 30), real(event.get("time")) or 0.0, clean(event.get("outcome", ""), 200)
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
