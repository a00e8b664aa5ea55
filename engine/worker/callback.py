"""``RunCallback``: makes the run of any Transformers or TRL trainer visible, live and in the history.

    from engine.worker.callback import RunCallback
    trainer = SFTTrainer(…, callbacks=[RunCallback()])

It writes one ``step`` event per optimizer step with the true loss of that step, whatever ``logging_steps`` is, and
never ends a run: if something cannot be written, training goes on and the gap is marked in the stream. Only what is
asked for ends training: a stop, and with ``stop_on_nonfinite`` a loss or gradient that is no number.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from engine.errors import TunedeckError
from engine.worker import memory, spoil
from engine.worker.failure import CannotTrain
from engine.worker.figures import StepFigures
from engine.worker.harmless import never_ends_a_run
from engine.worker.health import NONFINITE, Finding, Health
from engine.worker.ownscript import OwnScriptRun
from engine.worker.ranks import CHECKPOINT, EVALUATE, NOT_FINITE, RECORDING, STOP, STOP_NOW, TERMINATED, Ranks
from engine.worker.recorder import Recorder
from engine.worker.requests import Requests
from engine.worker.sampling import Sampler
from engine.worker.tap import EvaluationCut, ForcedLog, StepTap, clear_not_finite, trainer_of

PHASE_SECONDS = 1.0


class RunCallback(TrainerCallback):
    """Add it to ``callbacks``; that is all.

    ``every_step=False`` leaves the host's logging rhythm alone: losses then come only as often as the trainer logs.
    ``output_dir`` and ``name`` default to the trainer's own. ``stop_on_nonfinite=True`` stops training before a step
    whose loss or gradient is no number changes the weights; the run then counts as failed. ``recorder`` is for
    tunedeck's worker, whose supervisor keeps the run's status, and so is ``sampler``; without it the callback keeps the
    whole run directory itself. Of several processes the first one records; requests and stops reach all of them at the
    same step.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str] | None = None,
        *,
        every_step: bool = True,
        name: str | None = None,
        stop_on_nonfinite: bool = False,
        recorder: Recorder | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        self.every_step = every_step
        self.stop_on_nonfinite = stop_on_nonfinite
        self.stop_reason = ""
        self.compiles = False
        """Whether the first step compiles kernels, which can take as long as many others."""
        self._output_dir = output_dir
        self._name = name
        self._given = recorder
        self._sampler = sampler
        self._recorder: Recorder | None = None
        self._own: OwnScriptRun | None = None
        self.complained = False
        self._asked: set[str] = set()
        self._forget()

    def _forget(self) -> None:
        """Begin anew: a second ``train()`` of the same trainer is a run of its own."""
        self.stop_reason = ""
        self._trainer: Any = None
        self._tap: StepTap | None = None
        self._ranks: Ranks | None = None
        self._requests: Requests | None = None
        self._figures: StepFigures | None = None
        self._health = Health()
        self._active = False
        self._guards = False
        self._training = False
        self._agreed: set[str] | None = None
        self._stopping = ""
        self._spoilt_step = 0
        self._last_values: tuple[float | None, float | None] = (None, None)
        self._recorded_step = -1
        self._begun_step = -1
        self._saved_step = -1
        self._forced = ForcedLog()
        self._saving_since = 0.0
        self._last_phase = 0.0
        self._eval_done = 0

    @property
    def step(self) -> int:
        """The last step that was recorded, 0 before the first."""
        return max(0, self._recorded_step)

    # -- beginning and end ------------------------------------------------------------------------------------------

    @never_ends_a_run
    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the record (an own script's run directory too) and hook into the trainer's log."""
        if self._tap is not None:  # the last train() ended by an exception
            self._tap.detach()
        self._forget()
        self._trainer = trainer_of(self)
        self._ranks = Ranks.of(args)
        here = {RECORDING} if state.is_world_process_zero and self._open(args, kwargs.get("model")) else set()
        self._active = RECORDING in (self._ranks.agree(here) if self._ranks is not None else here)
        self._training = True
        # DeepSpeed steps inside of backward: what is no number cannot be kept out there.
        self._guards = self.stop_on_nonfinite and not getattr(self._trainer, "is_deepspeed_enabled", False)
        if (self._active and self.every_step) or self._guards:
            # With the filter on, a NaN loss is logged as the mean of the earlier ones.
            args.logging_nan_inf_filter = False
        self._health = Health(scaled=spoil.gradient_scaler(self._trainer) is not None)
        if self._recorder is None:
            return
        self._requests = Requests(self._recorder, stops_now=self._own is not None)
        self._figures = StepFigures(args, state, self._trainer, kwargs.get("train_dataloader"), self._recorder.run)
        if self.every_step and StepTap.fits(self._trainer):
            self._tap = StepTap(self._trainer, lambda logs: self._record(state, logs))
            self._tap.attach()
        if self.stop_on_nonfinite and not self._guards:
            self._recorder.notice("Stopping at a loss that is no number is not possible with DeepSpeed", "warning")
        self.compiles = self.compiles or bool(getattr(args, "torch_compile", False))
        if self.compiles:
            self._recorder.phase("compiling")  # for the whole first step
        else:
            self._recorder.phase("training", state.global_step, state.max_steps)

    def _open(self, args: Any, model: Any) -> bool:
        """Begin to record; ``False`` if this run cannot be recorded, which is said and no reason not to train."""
        self._recorder = self._given
        if self._given is not None:
            return True
        folder = self._output_dir or args.output_dir
        try:
            self._own = OwnScriptRun.begin(folder, args, model, self._name)
        except (TunedeckError, OSError) as error:
            print(f"tunedeck: this training is not recorded: {error}", file=sys.stderr, flush=True)
            return False
        except Exception:  # other processes wait for this one to go on
            traceback.print_exc()
            return False
        self._recorder = self._own.recorder
        return True

    @never_ends_a_run
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Answer what was asked for and, in an own script, write the end."""
        self._training = False
        if self._tap is not None:
            self._tap.detach()
        self.answer_rest("too late: training has ended")
        for finding in self._health.end():
            self._say(finding)
        spoilt = self._spoilt(args) if self._spoilt_step else ""
        if self._own is not None:
            self._own.end(self.stop_reason, state, failure=spoilt)
            self._own = self._recorder = None
            self._recorded_step, self.stop_reason = -1, ""
            if spoilt:
                print(f"tunedeck: {spoilt}", file=sys.stderr, flush=True)
        elif spoilt and self._given is not None:
            raise CannotTrain(spoilt)

    def answer_rest(self, outcome: str) -> None:
        """Training has ended or failed: requests that were taken and not done are answered with ``outcome``."""
        if self._requests is not None:
            self._requests.answer_rest(outcome)

    def _spoilt(self, args: Any) -> str:
        run_id = (self._recorder.run.read_run() or {}).get("id") if self._recorder is not None else None
        return spoil.reason(
            self._spoilt_step, *self._last_values, spoil.last_good(args.output_dir, self._spoilt_step, run_id)
        )

    # -- steps ------------------------------------------------------------------------------------------------------

    @never_ends_a_run
    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The first step's time begins here, not while a resume skips the data that was seen."""
        if self._begun_step < 0:
            self._begun_step = state.global_step
            if self._figures is not None:
                self._figures.mark()

    @never_ends_a_run
    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Where all processes agree on what to do at the end of this step; a spoilt step is dropped here."""
        here: set[str] = set()
        try:
            if self._guards and not self._spoilt_step and spoil.spoilt(self._trainer, kwargs["optimizer"]):
                here.add(NOT_FINITE)
        except Exception:
            traceback.print_exc()  # the other processes wait for this one all the same
        if self._ranks is not None:
            self._agreed = self._agree(here, state, state.global_step + 1)
        if NOT_FINITE in (here if self._agreed is None else self._agreed):
            self._spoilt_step = state.global_step + 1
            spoil.drop_gradients(self._trainer, kwargs["optimizer"])

    @never_ends_a_run
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Do what was asked for; where the trainer cannot be tapped, have every step logged."""
        if self.compiles and self._recorder is not None and state.global_step == self._begun_step + 1:
            self._recorder.phase("training", state.global_step, state.max_steps)
        if self._active and self.every_step and not StepTap.fits(self._trainer):
            self._forced.ask(control)
        agreed, self._agreed = self._agreed, None
        if agreed is None:
            agreed = self._agree(set(), state, state.global_step)
        self._act(agreed, state, control)
        if control.should_save:
            self._begin_saving(state, control)

    def _agree(self, here: set[str], state: Any, step: int) -> set[str]:
        """What any process wants done at the end of ``step``."""
        try:
            asked, self._asked = self._asked, set()
            here |= asked
            if self._requests is not None:
                here |= self._requests.take(step, last=step >= state.max_steps, can_evaluate=self._can_evaluate())
        except Exception:
            traceback.print_exc()  # the other processes wait for this one all the same
        return self._ranks.agree(here) if self._ranks is not None and (self._active or self._guards) else here

    def _act(self, agreed: set[str], state: Any, control: Any) -> None:
        if NOT_FINITE in agreed and not self._spoilt_step:
            self._spoilt_step = state.global_step
        if self._spoilt_step:
            control.should_training_stop = True
            control.should_save = control.should_evaluate = False
            return
        control.should_evaluate = control.should_evaluate or EVALUATE in agreed
        control.should_save = control.should_save or CHECKPOINT in agreed
        for flag, reason in _STOPS.items():
            if flag in agreed and state.global_step < state.max_steps:
                self.stop_reason = self.stop_reason or reason
                self._stopping = flag if self._stopping != STOP_NOW else STOP_NOW
        if self._stopping:
            control.should_training_stop = True
            control.should_evaluate = EVALUATE in agreed and self._stopping != STOP_NOW
            control.should_save = self._stopping != STOP_NOW and self._saved_step != state.global_step

    @never_ends_a_run
    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A stop at the end of an epoch is one: nothing of a spoilt step is saved, nothing is saved twice."""
        if self._spoilt_step or self._stopping:
            self._act(set(), state, control)
        if control.should_save:
            self._begin_saving(state, control)

    @never_ends_a_run
    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Record what the trainer logs; of steps that were logged only for us, the host's log history keeps none."""
        if not self._active or not logs or "loss" not in logs or any(key.startswith("eval_") for key in logs):
            return
        if self._recorder is not None and state.global_step != self._recorded_step:
            self._record(state, logs)
        if self.every_step:
            clear_not_finite(self._trainer, logs["loss"])
            self._forced.logged(state, logs["loss"])

    def _record(self, state: Any, logs: dict[str, Any]) -> None:
        step = state.global_step
        if step == self._recorded_step or self._recorder is None or self._figures is None:
            return
        self._recorded_step = step
        loss, norm = logs.get("loss"), logs.get("grad_norm")
        self._recorder.write("step", **self._figures.of(state, logs), **memory.usage())
        if self._own is not None:
            self._own.progress(step, state.max_steps, state.epoch, loss)
        self._last_values = loss, norm
        for finding in self._health.look(step, loss, norm):
            self._say(finding)
            if self._guards and finding.kind == NONFINITE and not self._spoilt_step:
                self._asked.add(NOT_FINITE)  # under a gradient scaler, which kept it out of the weights until now

    def _say(self, finding: Finding) -> None:
        if self._recorder is None:
            return
        text = finding.text
        if finding.kind == NONFINITE and finding.level == "error":
            text += "; training stops" if self._guards else "; training goes on"
        self._recorder.notice(text, finding.level, kind=finding.kind, step=finding.step, count=finding.count)

    # -- evaluation and saving ----------------------------------------------------------------------------------------

    @never_ends_a_run
    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Show how far an evaluation is; a stop ends it early where that is safe, else after it."""
        if self._recorder is None:
            return
        self._eval_done += 1
        now = time.monotonic()
        if now - self._last_phase >= PHASE_SECONDS:
            self._last_phase = now
            loader = kwargs.get("eval_dataloader")
            total = len(loader) if loader is not None and hasattr(loader, "__len__") else None
            self._recorder.phase("evaluating", self._eval_done, total)
        if self._training and self._requests is not None:
            cut = self._tap is not None and self._tap.can_cut
            self._take_stops(state, soon=cut)
            if cut and self._asked:
                self._stop_after_evaluation(state, control)
                self._requests.answer(EVALUATE, outcome="refused: a stop was asked for")
                self._back_to_training(state, control)
                raise EvaluationCut

    def _take_stops(self, state: Any, *, soon: bool) -> None:
        """In the middle of an evaluation or answers; those of the last step are cut short, but the run is a whole one."""
        if self._requests is not None:
            step = state.global_step
            outcome = f"stopping after step {step}" if soon else "stopping when the evaluation ends"
            self._asked |= self._requests.take_while_evaluating(step, outcome, last=step >= state.max_steps)

    def _stop_after_evaluation(self, state: Any, control: Any) -> None:
        """Without other processes there is no need to train another step first."""
        if self._training and self._asked and self._ranks is None:
            asked, self._asked = self._asked, set()
            self._act(asked, state, control)

    @never_ends_a_run
    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Record what an evaluation found."""
        if self._recorder is None:
            return
        found = {k: v for k, v in (metrics or {}).items() if isinstance(v, int | float) and k != "epoch"}
        loss = found.get("eval_loss", next((v for k, v in found.items() if k.endswith("_loss")), None))
        if loss is not None:
            self._recorder.write("eval", step=state.global_step, epoch=state.epoch, **found)
            if self._own is not None and "eval_loss" in found:
                self._own.evaluated(loss)
        if self._requests is not None:
            self._requests.answer(EVALUATE, outcome=f"done: eval loss {loss:.4f}" if loss is not None else "done")
        self._sample(state)
        self._stop_after_evaluation(state, control)
        self._back_to_training(state, control)

    @never_ends_a_run
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record a checkpoint."""
        self._saved_step = state.global_step
        if self._recorder is None:
            return
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        seconds = time.perf_counter() - self._saving_since
        size = sum(file.stat().st_size for file in path.iterdir() if file.is_file()) if path.is_dir() else None
        self._recorder.write(
            "checkpoint", step=state.global_step, path=str(path), bytes=size, seconds=round(seconds, 3)
        )
        if self._requests is not None:
            self._requests.answer(CHECKPOINT, outcome=f"done: saved {path.name}")
        if self._own is not None:
            self._own.saved(path.parent)
        if not self._can_evaluate():
            self._sample(state)
            self._stop_after_evaluation(state, control)
        self._back_to_training(state, control)

    def _sample(self, state: Any) -> None:
        """Have the model answer, unless the run is about to end by request; a stop that comes meanwhile ends it."""
        if self._sampler is None or not self._training or self._stopping or self._spoilt_step:
            return

        def stopped() -> bool:
            self._take_stops(state, soon=True)
            return bool(self._asked)

        self._sampler.answer(self._trainer, state.global_step, stopped)

    def _begin_saving(self, state: Any, control: Any) -> None:
        self._saving_since = time.perf_counter()
        if self._recorder is not None and not control.should_evaluate:
            self._recorder.phase("saving", state.global_step, state.max_steps)

    def _back_to_training(self, state: Any, control: Any) -> None:
        self._eval_done = 0
        if self._recorder is None or not self._training:
            return
        if control.should_save:
            self._begin_saving(state, control)
        else:
            self._recorder.phase("training", state.global_step, state.max_steps)
        if self._figures is not None:
            self._figures.mark()

    # -- requests -----------------------------------------------------------------------------------------------------

    def request_stop(self) -> None:
        """SIGTERM has come: ask for a graceful stop, in whichever of several processes this is."""
        self._asked.add(TERMINATED)

    def _can_evaluate(self) -> bool:
        return self._trainer is not None and getattr(self._trainer, "eval_dataset", None) is not None


_STOPS = {STOP_NOW: "stopped at once on request", STOP: "stopped on request", TERMINATED: "stopped by SIGTERM"}
