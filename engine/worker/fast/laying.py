"""Puts the fast parts into a trainer that stands: batches end to end, fused adapters, recorded passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.preflight.memory import most_recorded
from engine.worker.dataset import lengths_of
from engine.worker.fast import attention, lora
from engine.worker.fast.batches import EndToEnd, rounded
from engine.worker.fast.step import EndToEndStep, why_not, why_not_recorded

__all__ = ["NAMES", "prepare", "set_up", "why_not"]

# What transformers calls it.
NAMES = {"varlen": attention.NAME}


def prepare(implementation: str) -> str:
    """The name under which transformers knows an ``attn_implementation``; ours is registered."""
    if implementation in NAMES:
        attention.register()
    return NAMES.get(implementation, implementation)


def set_up(trainer: Any, recipe: Any, longest: int, say: Callable[[str], None]) -> None:
    """Have a :class:`engine.worker.trainer.RunTrainer` train by a recipe whose samples lie end to end."""
    seeds = lora.Seeds(trainer.args.device) if lora.can_draw() else None
    if recipe.fused_lora and not lora.fuse(trainer.model, seeds):
        say("fused_lora is off: no layer of this adapter can be computed in one step")
    graphs = bool(recipe.cuda_graphs) and trainer.args.device.type == "cuda"
    reason = why_not_recorded(trainer.model.get_base_model()) if graphs else ""
    if reason:
        say(f"Passes are not recorded as CUDA graphs: {reason}")
    graphs = graphs and not reason
    pad = trainer.processing_class.pad_token_id
    collator = EndToEnd(0 if pad is None else int(pad), recipe.tokens_per_pass, rounded=graphs)
    recorded = _largest(trainer, recipe) if graphs else 0
    trainer.lay_end_to_end(collator, EndToEndStep(trainer, seeds, recorded=recorded, longest=longest, say=say))


def _largest(trainer: Any, recipe: Any) -> int:
    """Tokens of the largest pass that is recorded and can come up."""
    lengths = sorted(lengths_of(trainer.train_dataset).tolist(), reverse=True)
    samples = trainer.args.per_device_train_batch_size
    most = max(lengths[0], min(recipe.tokens_per_pass, sum(lengths[:samples]))) if lengths else 0
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    return min(rounded(most), most_recorded(parameters))
