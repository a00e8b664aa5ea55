"""TRL's trainer, saving so that a checkpoint is complete before it counts. Loads torch: for the worker only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from trl import SFTTrainer

from engine.worker import sharding
from engine.worker.checkpointing import FINAL, Keeper
from engine.worker.disk import Room

_SLACK = 1024 * 1024
_FILES = 24
_BYTES_PER_TOKEN = 120
_BYTES_PER_LOG_ROW = 600


class RunTrainer(SFTTrainer):
    """``SFTTrainer`` whose checkpoints and final adapter go through a :class:`Keeper`."""

    def __init__(self, *args: Any, keeper: Keeper, shares_model: bool = False, **kwargs: Any) -> None:
        self.keeper, self.shares_model = keeper, shares_model
        self._stage: str | None = None
        self._laid: Any = None
        self._step: Any = None
        super().__init__(*args, **kwargs)
        self.shared: tuple[int, int] | None = None  # bytes of all weights, and of those that stay in this process
        if shares_model:
            self.shared = sharding.share(
                self.model, self.args.device, filled=getattr(self.model, "is_quantized", False)
            )
        if self.args.should_save:
            keeper.keep_reserve()

    def _move_model_to_device(self, model: Any, device: torch.device) -> None:
        """A model that is shared out comes onto the device in parts, and never whole."""
        if not self.shares_model:
            super()._move_model_to_device(model, device)

    def lay_end_to_end(self, collator: Any, step: Any) -> None:
        """Train on samples laid end to end: ``collator`` makes the batches, ``step`` does an update with one."""
        self._laid, self._step = collator, step

    def get_train_dataloader(self) -> Any:
        """As always, with the collator of training; evaluations keep the padded one."""
        if self._laid is None:
            return super().get_train_dataloader()
        padded = getattr(self, "data_collator")  # noqa: B009 — its type is not declared there
        self.data_collator = self._laid
        try:
            return super().get_train_dataloader()
        finally:
            self.data_collator = padded

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        """Forward and backward of one batch; the loss, still on the device."""
        if self._step is None:
            return super().training_step(model, inputs, num_items_in_batch)
        model.train()
        inputs = self._prepare_inputs(inputs)
        learned = (
            sum(part["targets"].shape[0] for part in inputs["passes"])
            if num_items_in_batch is None
            else num_items_in_batch
        )
        with self.maybe_activation_offload_context:
            return self._step.run(inputs, learned)

    def save_final(self) -> None:
        """Adapter, tokenizer with chat template, and the trainer's state at the root of the output directory."""
        if not self.args.should_save:
            return self._write_final()
        _, needed = self.keeper.need(self._estimate)
        self.keeper.guarded(FINAL, needed, self._write_final, again=self.args.world_size <= 1)
        self.keeper.close()

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """TRL writes it to the root at each checkpoint; here it comes with the final adapter."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        name = f"checkpoint-{self.state.global_step}"
        self._tell_best()
        if not self.args.should_save:
            return self._write_checkpoint(model, trial, name)
        needed, spare = self.keeper.need(self._estimate)
        alone = self.args.world_size <= 1
        self.keeper.guarded(name, needed, lambda: self._write_checkpoint(model, trial, name), spare=spare, again=alone)

    def _write_checkpoint(self, model: Any, trial: Any, name: str) -> None:
        writes, best_before = self.args.should_save, self.state.best_model_checkpoint
        stage = self.keeper.begin(name) if writes else self.keeper.partial / name
        self.accelerator.wait_for_everyone()
        self._stage = str(self.keeper.partial)
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._stage = None
            staged_best = self.state.best_model_checkpoint
            self.state.best_model_checkpoint = self._best_from_now(best_before)
        if writes and staged_best != self.state.best_model_checkpoint:
            # Transformers noted where the best one stands at this moment, not where it will stand.
            self.state.save_to_json(str(stage / "trainer_state.json"))
        finite = self._is_finite()
        self.accelerator.wait_for_everyone()
        if writes:
            self.keeper.finish(stage, self.state.global_step, finite=finite)
            self._tell_best()
            self.keeper.rotate()
        self.accelerator.wait_for_everyone()

    def _get_output_dir(self, trial: Any) -> str:
        return self._stage if self._stage is not None else super()._get_output_dir(trial)

    def _best_from_now(self, before: str | None) -> str | None:
        best = self.state.best_global_step
        if not best:
            return before
        path = os.path.join(self.args.output_dir, f"checkpoint-{best}")
        return path if best == self.state.global_step or os.path.isdir(path) else before

    def _tell_best(self) -> None:
        """The best checkpoint, if it is one of this directory, must not be cleared away."""
        best = self.state.best_model_checkpoint
        self.keeper.best = self.keeper.run.path / Path(best).name if best else None

    def _is_finite(self) -> bool:
        """Whether all that is trained is still finite numbers."""
        return all(bool(torch.isfinite(p.detach()).all()) for p in self.model.parameters() if p.requires_grad)

    def _write_final(self) -> None:
        writes = self.args.should_save
        stage = self.keeper.begin(FINAL) if writes else self.keeper.partial / FINAL
        self.accelerator.wait_for_everyone()
        output_dir = self.args.output_dir
        if writes:
            self.args.output_dir = str(stage)
            try:
                super().create_model_card(model_name=Path(output_dir).name)
            finally:
                self.args.output_dir = output_dir
        self.save_model(str(stage))
        if writes:
            self.state.save_to_json(str(stage / "trainer_state.json"))
            self.keeper.place_final(stage)
        self.accelerator.wait_for_everyone()

    def _estimate(self) -> tuple[Room, Room]:
        """An upper bound of what a checkpoint and the final adapter take."""
        trained = [p for p in self.model.parameters() if p.requires_grad]
        weights = sum(p.numel() * p.element_size() for p in trained)
        states = getattr(self.optimizer, "state", None) or {}
        held = [value for state in states.values() for value in state.values() if isinstance(value, torch.Tensor)]
        optimizer = sum(value.numel() * value.element_size() for value in held)
        if not held:
            optimizer = sum(2 * p.numel() * max(4, p.element_size()) for p in trained)
        tokenizer = _BYTES_PER_TOKEN * len(self.processing_class) if self.processing_class is not None else 0
        small = tokenizer + _BYTES_PER_LOG_ROW * len(self.state.log_history) + _SLACK
        return Room(weights + optimizer + small, _FILES), Room(weights + small, _FILES)
