"""How many processes train a run, one for each GPU, and what each of them does of an update. Light: settings only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

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
    if ranks > 1 and not cards:
        hint = "Leave num_gpus empty; several processes without a GPU are for trying out"
        problems.append(Problem("no-gpu", f"{ranks} processes on a CPU are not faster than one", hint, setting="num_gpus",
                                severity="warning"))  # fmt: skip
    return problems
