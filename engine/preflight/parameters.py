"""How many parameters a run trains, and the sizes of its model: counted by PEFT itself, in the inspector, without weights."""

from __future__ import annotations

import importlib.util
from typing import Any

from engine.hardware import Gpu
from engine.inspecting import Inspector
from engine.models.quantised import there

_WAIT_SECONDS = 300.0


def costs(inspector: Inspector, config: dict[str, Any], gpu: Gpu | None, *, chats: bool) -> dict[str, Any]:
    """Trainable and other parameters, sizes of the model, and what each ``auto`` chooses on the machine.

    Raises :class:`engine.inspecting.InspectError`.
    """
    return inspector.ask("costs", timeout=_WAIT_SECONDS, settings=config, machine=machine(gpu), chats=chats)


def machine(gpu: Gpu | None) -> dict[str, Any]:
    """What the choices of ``auto`` depend on, as the worker will find it."""
    facts: dict[str, Any] = {"cuda": gpu is not None, "liger": importlib.util.find_spec("liger_kernel") is not None,
                             "bitsandbytes": can_quantise()}  # fmt: skip
    if gpu is not None:
        capability = gpu.capability or (0, 0)
        facts.update(gpu_name=gpu.name, capability=capability, bf16=capability >= (8, 0), memory_total=gpu.memory_total,
                     memory_free=gpu.memory_free, triton=there("triton"), varlen=there("torch.nn.attention.varlen"))  # fmt: skip
    return facts


def can_quantise() -> bool:
    """Whether the package is there that quantises base weights."""
    return importlib.util.find_spec("bitsandbytes") is not None
