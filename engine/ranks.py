"""How many processes train a run, one for each GPU, and what each of them does of an update. Light: settings only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.errors import Problem
from engine.hardware import Gpu

if TYPE_CHECKING:
    from engine.config import RunConfig


def wanted(gpus: object, num_gpus: object) -> int:
    """How many GPUs, and with them processes, the two settings ask for; 1 unless they ask for more."""
    if isinstance(gpus, list) and gpus:
        return len(gpus)
    return num_gpus if isinstance(num_gpus, int) and not isinstance(num_gpus, bool) and num_gpus > 1 else 1


def count(config: RunConfig) -> int:
    """How many processes train this run."""
    return wanted(config.gpus, config.num_gpus)


def passes(accumulation: int, ranks: int, keeps: bool) -> int:
    """``gradient_accumulation_steps`` of each process: divided where the samples of an update are to stay as they are."""
    return max(1, accumulation // ranks) if keeps else accumulation


def why_whole(config: Mapping[str, Any]) -> str:
    """What keeps a model's layers from being shared out among GPUs, by a run's settings; empty if nothing is known to."""
    if config["load_in_8bit"]:
        return "8-bit weights cannot be taken apart (load_in_4bit can)"
    if config["use_dora"]:
        return "DoRA needs whole layers (use_dora)"
    if config["bias"] != "none":
        return "the layers' own biases would be trained (bias)"
    if config["init_lora_weights"] not in ("default", "gaussian"):
        return f"the adapter would begin from whole layers (init_lora_weights {config['init_lora_weights']})"
    for name in ("modules_to_save", "torch_compile", "activation_offloading"):
        if config[name]:
            return f"it was never tried together with {name}"
    return ""


def of_each(config: RunConfig) -> RunConfig:
    """The settings as each process trains by them."""
    share = passes(config.gradient_accumulation_steps, count(config), config.keep_samples_per_update)
    return config.model_copy(update={"gradient_accumulation_steps": share})


def check(config: RunConfig, cards: list[Gpu]) -> list[Problem]:
    """What speaks against training a run in as many processes as it asks for; ``cards`` are this machine's GPUs."""
    ranks, listed = count(config), config.gpus if isinstance(config.gpus, list) else []
    problems = []
    if listed and isinstance(config.num_gpus, int) and config.num_gpus != len(listed):
        text = f"is {config.num_gpus}, and gpus names {len(listed)}"
        problems.append(
            Problem("contradiction", text, "Leave it empty: each GPU that is named is used", setting="num_gpus")
        )
    if ranks > 1 and not listed and cards:
        from engine.queue import slots

        usable = len(set(slots.wish("auto", cards, os.environ.get("CUDA_VISIBLE_DEVICES"), ranks).slots))
        if ranks > usable:
            text = f"asks for {ranks} GPUs, and this run may use {usable}"
            hint = f"Set it to {usable} or less" if usable else "Leave it empty"
            problems.append(Problem("no-such-gpu", text, hint, setting="num_gpus"))
    accumulation = config.gradient_accumulation_steps
    if config.keep_samples_per_update and accumulation % ranks:
        text = f"cannot divide gradient_accumulation_steps ({accumulation}) by {ranks} GPUs"
        hint = f"Set gradient_accumulation_steps to a multiple of {ranks}, or this to false"
        problems.append(Problem("does-not-divide", text, hint, setting="keep_samples_per_update"))
    if ranks > 1 and config.cuda_graphs is True:
        problems.append(Problem("one-gpu", "cannot be true on several GPUs: recording passes was never tried there",
                                "Set it to auto or false", setting="cuda_graphs"))  # fmt: skip
    if config.fsdp is True:
        text = "there is one process" if ranks <= 1 else why_whole(config.model_dump())
        if text:
            hint = (
                "Set num_gpus to the GPUs that are to share it, or this to auto"
                if ranks <= 1
                else "Set that off, or this to false"
            )
            problems.append(Problem("cannot-share", f"cannot share the model out: {text}", hint, setting="fsdp"))
    if ranks > 1 and not cards:
        hint = "Leave num_gpus empty; several processes without a GPU are for trying out"
        problems.append(Problem("no-gpu", f"{ranks} processes on a CPU are not faster than one", hint, setting="num_gpus",
                                severity="warning"))  # fmt: skip
    return problems
