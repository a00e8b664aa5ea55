"""Which tool left a directory, told by what only that tool writes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

TUNEDECK, TRL, TRANSFORMERS, LLAMA_FACTORY, SWIFT, AXOLOTL, UNSLOTH, UNKNOWN = (
    "tunedeck", "trl", "transformers", "llama-factory", "ms-swift", "axolotl", "unsloth", "unknown")  # fmt: skip

_UNSLOTH_MODEL = re.compile(r"(?:^|/|models--)unsloth(?:/|--)|unsloth-bnb-4bit", re.IGNORECASE)
_SWIFT_ROWS = frozenset(
    {"memory(GiB)", "train_speed(iter/s)", "train_speed(s/it)", "global_step/max_steps", "token_acc"}
)
_AXOLOTL_ROWS = frozenset({"memory/max_mem_active(gib)", "memory/max_mem_allocated(gib)", "memory/device_mem_reserved(gib)",
                           "memory/max_active (GiB)", "memory/max_allocated (GiB)", "memory/device_reserved (GiB)",
                           "tokens_per_second_per_gpu", "tokens/train_per_sec_per_gpu"})  # fmt: skip
_TRL_ROWS = frozenset({"num_tokens", "mean_token_accuracy", "rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen",
                       "reward", "reward_std", "completion_length", "completions/mean_length", "objective/kl", "nll_loss",
                       "log_odds_ratio", "loss/policy_avg", "eval_rewards/chosen", "frac_reward_zero_std", "kl",
                       "eval_mean_token_accuracy", "eval_num_tokens", "min_reward", "center_rewards_loss"})  # fmt: skip
_FACTORY_ROWS = frozenset({"sft_loss", "odds_ratio_loss"})  # both, of its preference training; TRL names them otherwise
# Settings that only these tools have.
_TRL_SETTINGS = frozenset({"num_generations", "max_prompt_length", "max_completion_length", "dataset_text_field",
                           "assistant_only_loss", "reference_free", "precompute_ref_log_probs", "completion_only_loss"})  # fmt: skip


@dataclass(slots=True)
class Signs:
    """What was seen of a directory."""

    files: frozenset[str] = frozenset()
    rows: list[dict[str, Any]] = field(default_factory=list)
    tags: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    base_model: str | None = None
    swift: bool = False
    factory: bool = False
    axolotl: bool = False
    unsloth: bool = False
    trl: bool = False
    trainer: bool = False
    versions: dict[str, str] = field(default_factory=dict)

    def of_arguments(self, values: dict[str, Any]) -> None:
        """What a trainer's own arguments tell; not asked of a tool's that is built upon it."""
        self.trl |= len(_TRL_SETTINGS & values.keys()) >= 2
        self.unsloth |= any(name.startswith("unsloth_") for name in values)


def guess(signs: Signs) -> str:
    """The tool's name as it is listed; ``unknown`` where nothing tells."""
    keys: set[str] = set()
    for row in (*signs.rows[:8], *signs.rows[-8:]):
        keys |= row.keys()
    if signs.swift or _SWIFT_ROWS & keys:
        return SWIFT
    if signs.factory or signs.tags & {"llama-factory", "llamafactory", "llama_factory"} or keys >= _FACTORY_ROWS:
        return LLAMA_FACTORY
    if (
        signs.axolotl
        or "axolotl" in signs.tags
        or signs.words & {"axolotl version:", "Built with Axolotl"}
        or _AXOLOTL_ROWS & keys
    ):
        return AXOLOTL
    if signs.unsloth or "unsloth" in signs.tags or "unsloth" in signs.words:
        return UNSLOTH
    # TRL's own card has a tag for Unsloth where it took part: without it, no more than the base model is theirs.
    if "trained using [TRL]" in signs.words and "trl" in signs.tags:
        return TRL
    if _UNSLOTH_MODEL.search(signs.base_model or ""):
        return UNSLOTH
    if signs.trl or "trl" in signs.tags or "trl" in signs.versions or _TRL_ROWS & keys:
        return TRL
    return TRANSFORMERS if signs.trainer else UNKNOWN
