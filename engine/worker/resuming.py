"""Goes on from a checkpoint as a person means it: the trainer restores its state, what the settings changed is applied."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.checkpoints import checkpoints, verify
from engine.worker.failure import CannotTrain

_RESTORED_FROM_SETTINGS = ("betas", "eps", "weight_decay", "momentum")


def starting_point(record: dict[str, Any], attempt: int) -> Path | None:
    """The checkpoint that this attempt goes on from, verified by its hashes; ``None`` from the beginning."""
    entries = [e for e in record.get("attempts") or [] if isinstance(e, dict) and e.get("attempt") == attempt]
    source = entries[-1].get("checkpoint") if entries else None
    if not source:
        return None
    path = Path(source)
    found = next((c for c in checkpoints(path.parent) if c.path.name == path.name), None)
    problem = f"{path} is gone" if found is None else found.problem or verify(found)
    if problem:
        raise CannotTrain(f"cannot go on from {path.name}: {problem}")
    return path


def chosen_before(record: dict[str, Any], attempt: int) -> int | None:
    """``gradient_accumulation_steps`` that this attempt has to keep to, since its checkpoint was trained by them."""
    entries = [e for e in record.get("attempts") or [] if isinstance(e, dict) and e.get("attempt") == attempt]
    found = entries[-1].get("gradient_accumulation_steps") if entries else None
    return found if isinstance(found, int) and found > 0 else None


def train(trainer: Any, checkpoint: Path | None, say: Callable[[str, str], object]) -> None:
    """Train from the beginning, or on from a checkpoint; one that has all steps already is only loaded.

    ``say`` takes a text and its level, for what the person who watches should know.
    """
    if checkpoint is None:
        trainer.train()
        return
    _reapply_settings_after_loading(trainer)
    dataloader = trainer.get_train_dataloader()
    *_, max_steps = trainer.set_initial_training_values(trainer.args, dataloader)
    state = _state(checkpoint)
    if state.global_step >= max_steps:
        _only_load(trainer, checkpoint, state, max_steps, say)
        return
    _check_position(trainer, dataloader, state, checkpoint)
    _follow_settings(trainer, checkpoint, say)
    _restore_patience(trainer, state)
    trainer.train(resume_from_checkpoint=str(checkpoint))


def _restore_patience(trainer: Any, state: Any) -> None:
    """How often in a row the eval loss had not improved: transformers saves it, and forgets it on resume."""
    for callback in trainer.callback_handler.callbacks:
        saved = (state.stateful_callbacks or {}).get("EarlyStoppingCallback")
        if type(callback).__name__ == "EarlyStoppingCallback" and isinstance(saved, dict):
            callback.early_stopping_patience_counter = int(saved["attributes"]["early_stopping_patience_counter"])


def _check_position(trainer: Any, dataloader: Any, state: Any, checkpoint: Path) -> None:
    """The checkpoint's epoch must be where its step stands in today's data; the last update of an epoch may be short."""
    if not state.epoch:
        return
    steps_per_epoch = max(1, int(trainer.set_initial_training_values(trainer.args, dataloader)[1]))
    passes, batches = trainer.args.gradient_accumulation_steps, len(dataloader)
    epochs, rest = divmod(state.global_step, steps_per_epoch)
    if abs(state.epoch - epochs - rest * passes / batches) * batches / passes > 0.5:
        raise CannotTrain(f"{checkpoint.name} stands at epoch {state.epoch:.4g}, and {state.global_step} updates are "
                          f"{epochs + rest * passes / batches:.4g} epochs of the data as they are now, so its position in them "
                          "is lost; give the old data, or start a new run")  # fmt: skip


def _follow_settings(trainer: Any, checkpoint: Path, say: Callable[[str, str], object]) -> None:
    """The restored state remembers the old rhythm of saves, and paths of before a move: set both right once it is loaded."""
    from transformers import TrainerCallback

    class Restored(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            state.compute_steps(args, state.max_steps)
            _find_best(state, checkpoint, say)

    trainer.add_callback(Restored())


def _find_best(state: Any, checkpoint: Path, say: Callable[[str, str], object]) -> None:
    """Where the best checkpoint stands now; if it is gone, the best is sought anew."""
    if not state.best_global_step or (state.best_model_checkpoint and os.path.isdir(state.best_model_checkpoint)):
        return
    beside = checkpoint.parent / f"checkpoint-{state.best_global_step}"
    if beside.is_dir():
        state.best_model_checkpoint = str(beside)
        return
    text = f"The best checkpoint so far (step {state.best_global_step}) is gone: the best from here on will be saved"
    say(text, "warning")
    state.best_model_checkpoint = state.best_metric = state.best_global_step = None


def _state(checkpoint: Path) -> Any:
    from transformers.trainer_callback import TrainerState

    return TrainerState.load_from_json(os.path.join(checkpoint, "trainer_state.json"))


def _only_load(trainer: Any, checkpoint: Path, state: Any, max_steps: int, say: Callable[[str, str], object]) -> None:
    """All steps were done, the end was not: bring the weights back so that they can be saved."""
    trainer._load_from_checkpoint(str(checkpoint))
    trainer.state = state
    state.max_steps = max_steps
    if (
        trainer.args.load_best_model_at_end
        and state.best_model_checkpoint
        and os.path.isdir(state.best_model_checkpoint)
    ):
        trainer._load_best_model()


def _reapply_settings_after_loading(trainer: Any) -> None:
    """Loading restores the old learning rate, its schedule's base and the optimizer's constants; give the settings back.

    The schedule is a function of the step (transformers' ``get_scheduler``), so the rate at the restored step is the new
    base times the new function's value there: more epochs stretch it, a new rate scales it. Where nothing was changed
    this computes the very numbers that were loaded.
    """
    original = trainer._load_optimizer_and_scheduler

    def load(checkpoint: str | None) -> None:
        groups = trainer.optimizer.param_groups
        wanted = [{key: group[key] for key in _RESTORED_FROM_SETTINGS if key in group} for group in groups]
        original(checkpoint)
        if checkpoint is None:
            return
        for group, settings in zip(trainer.optimizer.param_groups, wanted, strict=True):
            group.update(settings)
        _reschedule(trainer.lr_scheduler, trainer.optimizer, trainer.args.learning_rate)

    trainer._load_optimizer_and_scheduler = load


def _reschedule(scheduler: Any, optimizer: Any, learning_rate: float) -> None:
    functions = getattr(scheduler, "lr_lambdas", None)
    if functions is None:
        return
    scheduler.base_lrs = [learning_rate] * len(scheduler.base_lrs)
    rates = [
        base * function(scheduler.last_epoch) for base, function in zip(scheduler.base_lrs, functions, strict=True)
    ]
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["initial_lr"] = learning_rate
        group["lr"] = rate
    scheduler._last_lr = rates
