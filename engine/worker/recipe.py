"""The one place where every ``auto`` is decided, each with its reason, before the model is loaded."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Machine:
    """What the decisions depend on. ``capability`` is CUDA's (major, minor); memory in bytes."""

    cuda: bool
    gpu_name: str = ""
    capability: tuple[int, int] = (0, 0)
    bf16: bool = False
    memory_total: int = 0
    liger: bool = False
    bitsandbytes: bool = False

    @classmethod
    def here(cls) -> Machine:
        """This machine, asked through torch."""
        import torch

        liger = importlib.util.find_spec("liger_kernel") is not None
        bitsandbytes = importlib.util.find_spec("bitsandbytes") is not None
        if not torch.cuda.is_available():
            return cls(cuda=False, liger=liger, bitsandbytes=bitsandbytes)
        properties = torch.cuda.get_device_properties(0)
        capability = (properties.major, properties.minor)
        # Cards before Ampere only emulate bfloat16, slowly.
        return cls(
            True, properties.name, capability, capability >= (8, 0), properties.total_memory, liger, bitsandbytes
        )


@dataclass(slots=True)
class Recipe:
    """Settings with every ``auto`` resolved; ``auto`` maps a setting to what was chosen and why."""

    dtype: str
    attn_implementation: str
    optim: str
    gradient_checkpointing: bool
    use_liger_kernel: bool
    packing: bool
    padding_free: bool
    assistant_only_loss: bool
    cuda: bool
    auto: dict[str, dict[str, Any]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    @property
    def mixed_precision(self) -> dict[str, bool]:
        """``bf16``/``fp16`` of the trainer: computation in the base's dtype, adapters in float32."""
        return {"bf16": self.dtype == "bfloat16", "fp16": self.dtype == "float16"}


def resolve(config: dict[str, Any], machine: Machine, *, marking: str) -> Recipe:
    """Decide every ``auto`` of a run's settings for a machine and a model.

    ``marking`` says how the assistant's turns are told apart; empty, the data are plain text without turns. Chats whose turns
    nothing tells apart are refused before, unless the run is set to learn from everything: ``auto`` is true for all chats.
    """
    auto: dict[str, dict[str, Any]] = {}

    def choose(name: str, value: Any, reason: str) -> Any:
        if config[name] != "auto":
            return config[name]
        auto[name] = {"value": value, "why": reason}
        return value

    dtype = choose("dtype", *_dtype(machine))
    quantised = config["load_in_4bit"] or config["load_in_8bit"]
    packing = choose("packing", False, "packing changes what an update sees; switch it on to go faster")
    padding_free = choose("padding_free", *_padding_free(config, machine, packing))
    recipe = Recipe(
        dtype=dtype,
        attn_implementation=choose("attn_implementation", "sdpa", "works everywhere and masks chats from each other"),
        optim=choose("optim", *_optim(machine, quantised)),
        gradient_checkpointing=choose("gradient_checkpointing", *_checkpointing(machine)),
        use_liger_kernel=choose("use_liger_kernel", *_liger(machine)),
        packing=packing,
        padding_free=padding_free,
        assistant_only_loss=choose("assistant_only_loss", *_assistant_only(marking)),
        cuda=machine.cuda,
        auto=auto,
    )
    if not machine.cuda:
        recipe.notices.append("No GPU was found: training on the CPU in float32, which is slow")
    if marking and config["assistant_only_loss"] is False:
        recipe.notices.append("The loss covers the whole text, the user's turns too: assistant_only_loss is false")
    return recipe


def _dtype(machine: Machine) -> tuple[str, str]:
    if not machine.cuda:
        return "float32", "there is no GPU"
    if machine.bf16:
        return "bfloat16", f"{machine.gpu_name} computes in bfloat16"
    return "float16", f"{machine.gpu_name} has no bfloat16; the adapter itself stays in float32"


def _padding_free(config: dict[str, Any], machine: Machine, packing: bool) -> tuple[bool, str]:
    if packing:
        return True, "packed rows are laid end to end"
    if not machine.cuda:
        return False, "on a CPU padding costs little, and batches stay as they always were"
    if config["batch_size"] == 1:
        return False, "a batch of one has no padding"
    return False, "padded batches give the updates that people know"


def _optim(machine: Machine, quantised: bool) -> tuple[str, str]:
    if not machine.cuda:
        return "adamw_torch", "there is no GPU"
    if machine.bitsandbytes and (quantised or machine.memory_total < 30 * 2**30):
        return "paged_adamw_32bit", "memory is short, and bitsandbytes can page the optimizer out"
    return "adamw_torch_fused", "one kernel for all adapter weights"


def _checkpointing(machine: Machine) -> tuple[bool, str]:
    if machine.cuda:
        return True, "saves GPU memory; switch it off if memory is plenty, steps are then faster"
    return False, "there is no GPU memory to save"


def _liger(machine: Machine) -> tuple[bool, str]:
    if machine.cuda and machine.liger:
        return True, "liger-kernel is installed"
    return False, "there is no GPU" if not machine.cuda else "liger-kernel is not installed"


def _assistant_only(marking: str) -> tuple[bool, str]:
    return (True, marking) if marking else (False, "plain text is learned as it stands")
