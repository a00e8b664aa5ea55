"""Reads every optimizer step's own figures off a trainer whose log says only the mean of several."""

from __future__ import annotations

import contextlib
import math
import statistics
import sys
import traceback
from collections.abc import Callable
from typing import Any


class EvaluationCut(Exception):
    """Ends an evaluation before its end; only where a :class:`StepTap` stands around it."""


class StepTap:
    """Hands the figures of each step to ``record`` (named as in the trainer's log) and leaves the host's log as it is.

    Transformers adds the losses up on the device and calls one method after every step, which logs their mean when it is
    time. The tap stands before that method: it takes the step's loss out, keeps the sum, and puts the sum back for the
    step at which the host logs. Asking the trainer to log every step instead costs ten times as much and changes what
    its log history and reporters see.
    """

    METHOD = "_maybe_log_save_evaluate"

    def __init__(self, trainer: Any, record: Callable[[dict[str, Any]], None]) -> None:
        self._trainer = trainer
        self._record = record
        self._step = trainer.state.global_step
        self._held = 0.0
        self._metric_lengths: dict[str, int] = {}
        self._inside = False

    @classmethod
    def fits(cls, trainer: Any) -> bool:
        """Whether this trainer can be read so: one process, and a version that has the method."""
        return trainer is not None and hasattr(trainer, cls.METHOD) and trainer.args.world_size <= 1

    def attach(self) -> None:
        """Stand before the trainer's method."""
        original = getattr(self._trainer, self.METHOD)

        def tapped(tr_loss: Any, grad_norm: Any, *rest: Any, **named: Any) -> Any:
            try:
                self._take(tr_loss, grad_norm, named.get("learning_rate"))
            except Exception:
                traceback.print_exc()
            self._inside = True
            try:
                return original(tr_loss, grad_norm, *rest, **named)
            except EvaluationCut:
                self._leave_evaluation()
                # What follows an evaluation is done: the save.
                return original(tr_loss, grad_norm, *rest, **named)
            finally:
                self._inside = False

        setattr(self._trainer, self.METHOD, tapped)

    @property
    def can_cut(self) -> bool:
        """Whether an evaluation that runs now is the trainer's own, around which this stands."""
        return self._inside and bool(self._trainer.control.should_evaluate)

    def _leave_evaluation(self) -> None:
        self._trainer.control.should_evaluate = False
        end = getattr(self._trainer.callback_handler.eval_dataloader, "end", None)
        if end is not None:  # accelerate counts the loaders that are being read
            with contextlib.suppress(Exception):
                end()

    def detach(self) -> None:
        """Leave the trainer as it was."""
        self._trainer.__dict__.pop(self.METHOD, None)

    def _take(self, tr_loss: Any, grad_norm: Any, learning_rate: float | None) -> None:
        trainer = self._trainer
        state, control = trainer.state, trainer.control
        if state.global_step != self._step:
            self._step = state.global_step
            loss = tr_loss.item()
            self._held += loss
            tr_loss.zero_()
            rate = trainer._get_learning_rate() if learning_rate is None else learning_rate
            norm = grad_norm.item() if hasattr(grad_norm, "item") else grad_norm
            self._record({"loss": loss, "grad_norm": norm, "learning_rate": rate, **self._fresh_metrics()})
        if control.should_log or control.should_training_stop or state.global_step >= state.max_steps:
            tr_loss += self._held
            self._held = 0.0
        if control.should_log:
            self._metric_lengths.clear()  # the host empties its lists as it logs

    def _fresh_metrics(self) -> dict[str, float]:
        """What TRL collected for its next log since the last step: token counts, accuracy, entropy."""
        collected = (getattr(self._trainer, "_metrics", None) or {}).get("train") or {}
        fresh = {}
        for name, values in collected.items():
            if not isinstance(values, list) or not values:
                continue
            seen = 0 if name == "num_tokens" else self._metric_lengths.get(name, 0)
            new = values[seen:] or values[-1:]
            self._metric_lengths[name] = len(values)
            fresh[name] = sum(new) / len(new)
        return fresh


class ForcedLog:
    """Has every step logged where the trainer cannot be tapped, and keeps the host's log history as it would be."""

    def __init__(self) -> None:
        self._only_for_us = False
        self._losses: list[float] = []

    def ask(self, control: Any) -> None:
        """At the end of a step: have it logged."""
        self._only_for_us = not control.should_log
        control.should_log = True

    def logged(self, state: Any, loss: float) -> None:
        """After a log: of steps that were logged only for us the history keeps none, the others get the mean."""
        history = state.log_history
        if self._only_for_us and history and history[-1].get("step") == state.global_step:
            history.pop()
            self._losses.append(loss)
        elif self._losses and history:
            history[-1]["loss"] = statistics.fmean([*self._losses, loss])
            self._losses.clear()
        self._only_for_us = False


def clear_not_finite(trainer: Any, loss: float) -> None:
    """After a log: the trainer empties its sum of losses by subtracting it, and NaN less NaN is NaN for ever."""
    total = getattr(trainer, "_tr_loss", None)
    if total is not None and not math.isfinite(loss):
        total.zero_()


def trainer_of(callback: Any) -> Any:
    """The trainer that is calling this callback, ``None`` if it cannot be found.

    Transformers hands a callback everything but the trainer itself; it is the caller a few frames up.
    """
    frame = sys._getframe(1)
    for _ in range(12):
        if frame.f_back is None:
            return None
        frame = frame.f_back
        candidate = frame.f_locals.get("self")
        handler = getattr(candidate, "callback_handler", None)
        if handler is not None and callback in getattr(handler, "callbacks", ()) and hasattr(candidate, "args"):
            return candidate
    return None
