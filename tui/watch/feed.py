"""Reads one run in a thread and hands the screen frozen updates: facts of this moment, and only the new points."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import status as states
from engine.snapshot import MetricTable, Phase, RunFollower
from engine.status import RunState
from engine.text import clean
from tui.watch.alarms import Alarms
from tui.watch.logfile import LogFile
from tui.watch.smooth import Smoother

# Curve keys: metrics by their event names, and what is computed here.
SMOOTH_LOSS, SMOOTH_RATE = "loss_smooth", "rate_smooth"
STEP_CURVES = ("loss", "learning_rate", "samples_per_second")
GPU_CURVES = ("gpu_memory_allocated", "gpu_memory_reserved")
HOST_CURVE = "host_memory"
LAST_VALUES = (
    "loss", "learning_rate", "grad_norm", "samples_per_second", "tokens_per_second", "num_tokens", "step_seconds",
    "gpu_memory_peak", "gpu_memory_allocated", "gpu_memory_reserved", "host_memory",
)  # fmt: skip
BUDGET_SECONDS = 0.05
# Settings that decide how many steps a run has.
LENGTHS = frozenset({"num_train_epochs", "max_steps", "batch_size", "gradient_accumulation_steps"})


@dataclass(frozen=True, slots=True)
class Curve:
    """New points of one curve; NaNs whose x is not in ``nonfinite`` mean "no value here"."""

    xs: array[int]
    ys: array[float]
    nonfinite: frozenset[int] = frozenset()


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
    median_step: float | None = None
    phase: Phase = field(default_factory=Phase)
    notice: tuple[float, str, str] | None = None
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
    gpus: tuple[dict[str, Any], ...] = ()
    has_adapter: bool = False
    attempt: int = 1
    resumed_step: int | None = None
    # An attempt after an end that has not done a step yet: ``step`` is the one that it goes on after.
    before_first_step: bool = False
    seconds_before: float = 0.0
    queue_position: int | None = None
    waits_for: str = ""
    damaged: int = 0


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

    # -- curves -----------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._view = self._follower.view
        self._rows = self._eval_rows = 0
        self._rewrites = (self._view.steps.rewrites, self._view.evals.rewrites)
        self._smooth_loss, self._smooth_rate = Smoother(), Smoother()
        self._best: tuple[float, int] | None = None
        self._best_eval: float | None = None
        self._alarms = Alarms()

    def _update(self) -> WatchUpdate | None:
        view = self._follower.view
        reset = view is not self._view or (view.steps.rewrites, view.evals.rewrites) != self._rewrites
        if reset:
            self._forget()
        curves = dict(self._new_points())
        log = self._log.snapshot() if self._log.poll() else None
        facts = self._facts()
        caught_up = self._follower.caught_up
        sent = self._sent
        if not (curves or reset or log is not None or sent is None) and (facts, caught_up) == (
            sent.facts,
            sent.caught_up,
        ):
            return None
        self._sent = WatchUpdate(facts, curves, reset, log, caught_up)
        return self._sent

    def _new_points(self) -> Iterator[tuple[str, Curve]]:
        view = self._view
        steps, evals = view.steps, view.evals
        if len(steps) > self._rows:
            first, self._rows = self._rows, len(steps)
            names = STEP_CURVES + (GPU_CURVES if any(map(steps.has, GPU_CURVES)) else (HOST_CURVE,))
            for name in names:
                if steps.has(name):
                    curve = _slice(steps, name, first)
                    yield name, curve
                    if name == "loss":
                        self._note_best(curve)
                        yield SMOOTH_LOSS, Curve(curve.xs, self._smooth_loss.feed(curve.ys), curve.nonfinite)
                    elif name == "samples_per_second":
                        yield SMOOTH_RATE, Curve(curve.xs, self._smooth_rate.feed(curve.ys), curve.nonfinite)
        if len(evals) > self._eval_rows:
            first, self._eval_rows = self._eval_rows, len(evals)
            if evals.has("eval_loss"):
                yield "eval_loss", _slice(evals, "eval_loss", first)
                self._best_eval = evals.best("eval_loss")

    def _note_best(self, curve: Curve) -> None:
        for x, y in zip(curve.xs, curve.ys, strict=True):
            if math.isfinite(y) and (self._best is None or y < self._best[0]):
                self._best = (y, x)

    # -- facts ------------------------------------------------------------------------------------------------------

    def _facts(self) -> Facts:
        view, run = self._view, self._follower.rundir
        steps = view.steps
        config = self.values
        checkpoint = view.checkpoints[-1] if view.checkpoints else {}
        notice = view.notices[-1] if view.notices else None
        self._alarms.follow(view)
        control = view.controls[-1] if view.controls else None
        best_loss, best_step = self._best or (None, None)
        recorded = _whole(view.status.get("step")) or 0
        goes_on = self._before_first_step()
        return Facts(
            path=run.path,
            problem=self._problem(),
            name=clean(view.name or run.path.name, 200),
            base_model=clean(config.get("base_model") or "", 200),
            state=view.state,
            reason=clean(view.state.reason, 500),
            host=clean(view.state.host, 100),
            step=(view.resumed_step or 0) if goes_on else view.step if len(steps) else recorded,
            expected_step=view.step if self._follower.caught_up else max(view.step, recorded),
            total_steps=self._next_total() if goes_on else view.total_steps,
            epoch=None if goes_on else view.epoch,
            epochs=_real(config.get("num_train_epochs")),
            started=view.started,
            ended=view.ended if view.ended or view.state.live else view.last_event,
            last_event=view.last_event,
            remaining=view.remaining
            if view.state.state == states.RUNNING and not (goes_on or view.state.stalled)
            else None,
            median_step=view.median_step_seconds,
            phase=view.phase,
            notice=(notice.time, clean(notice.level, 20), clean(notice.text, 500)) if notice else None,
            notices=view.notices_seen,
            alarm=self._alarms.newest,
            nonfinite_text=self._alarms.nonfinite,
            control=_control(control) if control else None,
            waiting=tuple(run.requests()),
            values={} if goes_on else {name: steps.last(name) for name in LAST_VALUES},
            best_loss=best_loss,
            best_step=best_step,
            eval_loss=None if goes_on else view.evals.last("eval_loss"),
            best_eval=self._best_eval,
            nonfinite_loss=len(steps.nonfinite.get("loss", ())),
            checkpoints=len(view.checkpoints),
            last_checkpoint=_whole(checkpoint.get("step")),
            gpus=_gpus(view.hardware),
            has_adapter=not view.state.live and (run.path / "adapter_config.json").is_file(),
            attempt=view.attempt_number,
            resumed_step=view.resumed_step,
            before_first_step=goes_on,
            seconds_before=view.seconds_before,
            queue_position=view.queue_position,
            waits_for=clean(view.waits_for, 300),
            damaged=view.damaged,
        )

    def _before_first_step(self) -> bool:
        view = self._view
        again = view.attempt_number > 1 or view.resumed_step is not None
        return again and view.state.live and self._follower.caught_up and view.step_attempt < view.attempt_number

    def _next_total(self) -> int | None:
        """How many steps the newest attempt will have; ``None`` where its changed settings leave that open."""
        changes = self._view.attempts[-1].get("changes") if self._view.attempts else None
        if not isinstance(changes, dict) or not LENGTHS & changes.keys():
            return self._view.total_steps
        return _whole(self.values.get("max_steps"))

    def _problem(self) -> str:
        run = self._follower.rundir
        if not run.path.is_dir():
            return "this directory is gone: it was moved or deleted"
        if not run.meta.is_dir():
            return "no run is recorded in this directory (it has no .tunedeck)"
        if not self._view.run:
            return "run.json is missing or damaged: the settings of this run are not known"
        if not self._view.status:
            return "status.json is missing or damaged: the state of this run is not known"
        if self._view.problems:
            return clean("; ".join(self._view.problems), 300)
        version = self._view.run.get("format")
        if isinstance(version, int) and version > 1:
            return f"this run was written by a newer tunedeck (format {version}): what is shown may be incomplete"
        return ""


def _slice(table: MetricTable, name: str, first: int) -> Curve:
    xs, ys = table.steps[first:], table.column(name)[first:]
    start = xs[0]
    return Curve(xs, ys, frozenset(x for x in _tail(table.nonfinite.get(name, []), start)))


def _tail(steps: list[int], start: int) -> Iterator[int]:
    for step in reversed(steps):
        if step < start:
            return
        yield step


def _control(event: dict[str, Any]) -> Control:
    return Control(
        clean(event.get("request", ""), 30), _real(event.get("time")) or 0.0, clean(event.get("outcome", ""), 200)
    )


def _gpus(hardware: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    cards = hardware.get("gpus")
    return tuple(card for card in cards if isinstance(card, dict))[:16] if isinstance(cards, list) else ()


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _real(value: Any) -> float | None:
    return (
        float(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        else None
    )
