"""How long a run will take, from what runs of the same model took on this machine."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine import process, registry
from engine.events import last_events, number
from engine.paths import expand
from engine.rundir import RunDir

_LOOKED_AT, _TAIL, _FEWEST = 200, 256 * 1024, 5
# What changes the work for a token. Lengths and batches do, too, but little beside these.
_ALIKE = ("revision", "dtype", "load_in_4bit", "load_in_8bit", "gradient_checkpointing", "use_liger_kernel",
          "attn_implementation", "torch_compile", "packing", "padding_free", "use_dora", "batch_size", "lora_r", "gpus",
          "num_gpus", "keep_samples_per_update", "fsdp",
          "recipe", "fused_lora", "cuda_graphs")  # fmt: skip


def seconds(config: dict[str, Any], tokens: int, runs: Iterable[Path] | None = None) -> float | None:
    """Seconds of training for so many tokens: the median of measured steps of the newest such run; ``None`` without one."""
    places = [path for _, path in registry.runs()] if runs is None else list(runs)
    here = process.host()
    for path in places[:_LOOKED_AT]:
        record = RunDir(path).read_run() or {}
        settings = record.get("config")
        if record.get("host") != here or not isinstance(settings, dict):
            continue
        if _model(settings.get("base_model")) != _model(config["base_model"]):
            continue
        if any(settings.get(name, config.get(name)) != config.get(name) for name in _ALIKE):
            continue
        rates = [rate for event in last_events(RunDir(path).events, _TAIL) if event.get("type") == "step"
                 and (rate := number(event.get("tokens_per_second"))) is not None and 0 < rate < 1e12]  # fmt: skip
        if len(rates) >= _FEWEST:
            return tokens / statistics.median(rates)
    return None


def _model(name: Any) -> str:
    """A hub id, or where a directory really is: a run records it from the root."""
    try:
        path = expand(str(name))
        return str(path.resolve()) if path.is_dir() else str(name)
    except (OSError, ValueError, RuntimeError):
        return str(name)
