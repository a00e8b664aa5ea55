"""``adapter_config.json`` of PEFT, old and new."""

from __future__ import annotations

from typing import Any

from engine.history.readers import jsontext
from engine.history.readers.numbers import text
from engine.history.readers.settings import sort_out
from engine.history.readers.textfiles import Found

NAME = "adapter_config.json"
# One of these stands in every adapter's configuration: PEFT's, its forerunner's, MLX's and those of people's own.
_KEYS = ("peft_type", "base_model_name_or_path", "r", "lora_alpha", "target_modules", "task_type", "model_name", "config",
         "base_model", "lora_parameters", "fine_tune_type", "lora_rank", "rank", "lora_r", "swift_type")  # fmt: skip

_PLAIN = ("base_model_name_or_path", "bias", "lora_alpha", "lora_dropout", "peft_type", "r", "revision", "task_type",
          "use_dora", "use_rslora")  # fmt: skip


def is_adapter(found: Found) -> bool:
    """Whether a file of this name is PEFT's (or of its forerunner); one that cannot be read is taken for it."""
    try:
        config = jsontext.loads(found.data)
    except ValueError:
        return True
    return not isinstance(config, dict) or not config or any(key in config for key in _KEYS)


def read(found: Found) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Settings by our names, all others, and what is wrong with the file (empty if nothing)."""
    if not found.data:
        return {}, {}, found.problem
    problem = found.problem
    try:
        config = jsontext.loads(found.data)
    except ValueError:  # cut off, or written by hand: what its plain lines say
        config, problem = jsontext.keys(found.data, _PLAIN), "is damaged"
    if not isinstance(config, dict):
        return {}, {}, "holds no JSON object"
    adaptive = isinstance(config.get("r"), dict)  # one rank a layer
    if adaptive:
        config = {**config, "r": None}
    if isinstance(config.get("bias"), bool):
        config = {**config, "bias": None}
    plain = config.get("lora_parameters")
    if isinstance(plain, dict) and "rank" in plain:  # MLX
        told = {"lora_r": plain["rank"], "lora_alpha": plain.get("alpha"), "lora_dropout": plain.get("dropout")}
        config = {**told, **config}
    settings, other = sort_out(config)
    settings.pop("output_dir", None)
    start = config.get("init_lora_weights")
    if start is True:
        settings["init_lora_weights"] = "default"
    elif isinstance(start, str):
        settings["init_lora_weights"] = start.lower()
    other.pop("init_lora_weights", None)
    mapping = config.get("auto_mapping")
    if isinstance(mapping, dict) and mapping.get("unsloth_fixed"):
        other["unsloth_fixed"] = True
    kind = text(config.get("peft_type"))
    if kind and kind.upper() != "LORA":
        other["peft_type"] = kind
    else:
        other.pop("peft_type", None)
    return settings, other, problem
