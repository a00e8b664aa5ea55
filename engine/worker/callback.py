"""``RunCallback``: makes the run of any Transformers or TRL trainer visible, live and in the history.

    from engine.worker.callback import RunCallback
    trainer = SFTTrainer(…, callbacks=[RunCallback()])

It writes one ``step`` event per optimizer step with the true loss of that step, whatever ``logging_steps`` is, and
never ends a run: if something cannot be written, training goes on and the gap is marked in the stream.
"""

from __future__ import annotations

import functools
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from engine.rundir import RunDir
from engine.worker import memory
from engine.worker.ownscript import OwnScriptRun
from engine.worker.recorder import Recorder
from engine.worker.tap import StepTap, trainer_of

PHASE_SECONDS = 1.0
# Two changes within one tick of a file system's clock have one time stamp: look again for this long.
CONTROL_FRESH_SECONDS = 2.0


def _never_ends_a_run(method: Callable[..., Any]) -> Callable[..., Any]:
    """Telemetry must not kill training: an exception in a callback would."""

    @functools.wraps(method)
    def guarded(self: RunCallback, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if not state.is_world_process_zero:
            return control
        try:
            method(self, args, state, control, **kwargs)
        except Exception:
            if not self._complained:
                self._complained = True
                print("tunedeck: this run could not be recorded fully:", file=sys.stderr)
                traceback.print_exc()
        return control

    return guarded


class RunCallback(TrainerCallback):
    """Add it to ``callbacks``; that is all.

    ``every_step=False`` leaves the host's logging rhythm alone: losses then come only as often as the trainer logs.
    ``output_dir`` and ``name`` default to the trainer's own. ``recorder`` is for tunedeck's worker, whose supervisor
    keeps the run's status; without it the callback keeps the whole run directory itself.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str] | None = None,
        *,
        every_step: bool = True,
        name: str | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.every_step = every_step
        self.stop_reason = ""
        self._output_dir = output_dir
        self._name = name
        self._recorder = recorder
        self._own: OwnScriptRun | None = None
        self._trainer: Any = None
        self._tap: StepTap | None = None
        self._forced = False
        self._recorded_step = -1
        self._pending_losses: list[float] = []
        self._tokens_before: float | None = None
        self._mark = time.perf_counter()
        self._saving_since = 0.0
        self._last_phase = 0.0
        self._eval_done = 0
        self._wanted: list[str] = []
        self._control_stamp = -1
        self._control_path = ""
        self._control_fresh_until = 0.0
        self._complained = False

    @property
    def step(self) -> int:
        """The last step that was recorded, 0 before the first."""
        return max(0, self._recorded_step)

    # -- beginning and end ------------------------------------------------------------------------------------------

    @_never_ends_a_run
    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the record (an own script's run directory too) and hook into the trainer's log."""
        if self._recorder is None:
            self._own = OwnScriptRun.begin(self._output_dir or args.output_dir, args, kwargs.get("model"), self._name)
            self._recorder = self._own.recorder
        if self.every_step:
            # With the filter on, a NaN loss is logged as the mean of the earlier ones.
            args.logging_nan_inf_filter = False
            self._trainer = trainer_of(self)
            if StepTap.fits(self._trainer):
                self._tap = StepTap(self._trainer, lambda logs: self._record(args, state, logs))
                self._tap.attach()
        self._recorder.phase("training", state.global_step, state.max_steps)
        self._control_path = str(self._recorder.run.control)
        self._mark = time.perf_counter()

    @_never_ends_a_run
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Answer what was asked for and, in an own script, write the end."""
        self._answer("checkpoint", "evaluate", outcome="too late: training has ended")
        if self._tap is not None:
            self._tap.detach()
        if self._own is not None:
            self._own.end(self.stop_reason, state)
            # A second train() of the same trainer is a run of its own.
            self._own = self._recorder = self._tap = None
            self._recorded_step, self.stop_reason = -1, ""

    # -- steps ------------------------------------------------------------------------------------------------------

    @_never_ends_a_run
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take requests; where the trainer cannot be tapped, have every step logged."""
        self._forced = self.every_step and self._tap is None and not control.should_log
        if self._forced:
            control.should_log = True
        self._take_requests(state, control)
        if control.should_save:
            self._saving_since = time.perf_counter()

    @_never_ends_a_run
    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Record what the trainer logs; of steps that were logged only for us, the host's log history keeps none."""
        if not logs or "loss" not in logs or any(key.startswith("eval_") for key in logs):
            return
        if state.global_step != self._recorded_step:
            self._record(args, state, logs)
        history = state.log_history
        if self._forced and history and history[-1].get("step") == state.global_step:
            history.pop()
            self._pending_losses.append(logs["loss"])
        elif self._pending_losses and history:
            self._pending_losses.append(logs["loss"])
            history[-1]["loss"] = statistics.fmean(self._pending_losses)
            self._pending_losses.clear()

    def _record(self, args: Any, state: Any, logs: dict[str, Any]) -> None:
        assert self._recorder is not None
        step = state.global_step
        if step == self._recorded_step:
            return
        self._recorded_step = step
        now = time.perf_counter()
        seconds = now - self._mark
        self._mark = now
        samples = args.train_batch_size * args.gradient_accumulation_steps * max(1, args.world_size)
        tokens = logs.get("num_tokens", logs.get("num_input_tokens_seen"))
        new_tokens = None if tokens is None or self._tokens_before is None else tokens - self._tokens_before
        if tokens is not None and self._tokens_before is None and step == 1:
            new_tokens = tokens
        self._tokens_before = tokens
        extra = {k: v for k, v in logs.items() if k not in _CORE and isinstance(v, int | float)}
        self._recorder.write(
            "step",
            step=step,
            total_steps=state.max_steps,
            epoch=state.epoch,
            loss=logs.get("loss"),
            learning_rate=logs.get("learning_rate"),
            grad_norm=logs.get("grad_norm"),
            samples_per_second=samples / seconds if seconds > 0 else None,
            tokens_per_second=new_tokens / seconds if new_tokens is not None and seconds > 0 else None,
            num_tokens=tokens,
            step_seconds=seconds,
            **memory.usage(),
            **extra,
        )
        if self._own is not None:
            self._own.progress(step, state.max_steps, state.epoch, logs.get("loss"))

    # -- evaluation and saving ----------------------------------------------------------------------------------------

    @_never_ends_a_run
    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Show how far an evaluation is."""
        if self._recorder is None:
            return
        self._eval_done += 1
        now = time.monotonic()
        if now - self._last_phase >= PHASE_SECONDS:
            self._last_phase = now
            loader = kwargs.get("eval_dataloader")
            total = len(loader) if loader is not None and hasattr(loader, "__len__") else None
            self._recorder.phase("evaluating", self._eval_done, total)

    @_never_ends_a_run
    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Record what an evaluation found."""
        if self._recorder is None:
            return
        values = {k: v for k, v in (metrics or {}).items() if isinstance(v, int | float) and k != "epoch"}
        if "eval_loss" in values:
            self._recorder.write("eval", step=state.global_step, epoch=state.epoch, **values)
            self._answer("evaluate", outcome=f"done: eval loss {values['eval_loss']:.4f}")
            if self._own is not None:
                self._own.evaluated(values["eval_loss"])
        self._back_to_training(state)

    @_never_ends_a_run
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record a checkpoint."""
        if self._recorder is None:
            return
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        seconds = time.perf_counter() - self._saving_since
        size = sum(file.stat().st_size for file in path.iterdir() if file.is_file()) if path.is_dir() else None
        self._recorder.write(
            "checkpoint", step=state.global_step, path=str(path), bytes=size, seconds=round(seconds, 3)
        )
        self._answer("checkpoint", outcome=f"done: saved {path.name}")
        self._back_to_training(state)

    def _back_to_training(self, state: Any) -> None:
        assert self._recorder is not None
        self._eval_done = 0
        self._saving_since = time.perf_counter()
        self._recorder.phase("training", state.global_step, state.max_steps)
        self._mark = time.perf_counter()

    # -- requests -----------------------------------------------------------------------------------------------------

    def request_stop(self, reason: str) -> None:
        """Ask for a graceful stop from inside the process (a signal handler)."""
        self.stop_reason = self.stop_reason or reason

    def _take_requests(self, state: Any, control: Any) -> None:
        assert self._recorder is not None
        run: RunDir = self._recorder.run
        for verb in self._waiting(run):
            if verb == "stop" and run.take(verb):
                self.stop_reason = self.stop_reason or "stopped on request"
                self._recorder.write("control", request="stop", outcome=f"stopping after step {state.global_step}")
            elif verb == "checkpoint" and run.take(verb):
                control.should_save = True
                self._wanted.append(verb)
            elif verb == "evaluate" and run.take(verb):
                if self._can_evaluate():
                    control.should_evaluate = True
                    self._wanted.append(verb)
                else:
                    self._recorder.write("control", request=verb, outcome="refused: there is no evaluation data")
            elif verb == "stop-now" and self._own is not None and run.take(verb):
                self._recorder.write("control", request=verb, outcome="stopping without saving")
                self.stop_reason = "stopped at once on request"
                control.should_training_stop = True
        if self.stop_reason and not control.should_training_stop:
            control.should_training_stop = True
            control.should_save = True

    def _waiting(self, run: RunDir) -> list[str]:
        """The requests that wait; lists the directory only while its time stamp is fresh, since this runs each step."""
        now = time.monotonic()
        try:
            stamp = os.stat(self._control_path).st_mtime_ns
        except OSError:
            return []
        if stamp != self._control_stamp:
            self._control_stamp, self._control_fresh_until = stamp, now + CONTROL_FRESH_SECONDS
        return run.requests() if now < self._control_fresh_until else []

    def _can_evaluate(self) -> bool:
        trainer = self._trainer or trainer_of(self)
        return trainer is not None and getattr(trainer, "eval_dataset", None) is not None

    def _answer(self, *verbs: str, outcome: str) -> None:
        for verb in verbs:
            if verb in self._wanted and self._recorder is not None:
                self._wanted.remove(verb)
                self._recorder.write("control", request=verb, outcome=outcome)


_CORE = frozenset({"loss", "learning_rate", "grad_norm", "epoch", "num_tokens", "num_input_tokens_seen", "step"})
