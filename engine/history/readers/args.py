"""The arguments a training was started with: ``training_args.yaml``, ``args.json``, ``llamaboard_config.yaml``."""

from __future__ import annotations

from typing import Any

from engine.history.readers import jsontext, yamltext
from engine.history.readers.numbers import text
from engine.history.readers.textfiles import Found

LLAMA_FACTORY = ("training_args.yaml", "training_args.yml")
BOARD = "llamaboard_config.yaml"
SWIFT = ("args.json", "sft_args.json")
# What only ms-swift's arguments have.
_SWIFT_KEYS = frozenset({"swift_version", "sft_type", "tuner_type", "train_type", "model_info", "model_meta", "template_type",
                         "custom_register_path", "model_id_or_path", "tuner_backend", "rlhf_type"})  # fmt: skip
_FACTORY_KEYS = frozenset(
    {"finetuning_type", "stage", "cutoff_len", "dataset_dir", "overwrite_cache", "do_train", "val_size"}
)
# Of ms-swift's long record: what speaks of the machine or of inference.
_NOISE = frozenset(
    {"model_info", "model_meta", "training_args", "hub_token", "model_kwargs", "task_type", "max_model_len"}
)


def read(found: Found, name: str) -> tuple[dict[str, Any], str]:
    """The arguments as they stand in such a file, under the tool's names, and what is wrong (empty if nothing)."""
    if not found.data or found.partial:
        return {}, found.problem
    if name.endswith(".json"):
        try:
            values = jsontext.loads(found.data)
        except ValueError:
            return {}, "is damaged"
    else:
        values = yamltext.loads(found.data.decode("utf-8", "replace"))
        if not values:
            return {}, "is damaged"
    if not isinstance(values, dict):
        return {}, "holds no JSON object"
    if name == BOARD:
        return _board(values), found.problem
    return (_swift(values) if is_swift(values) else values), found.problem


def is_swift(values: dict[str, Any]) -> bool:
    """Whether arguments are ms-swift's."""
    return "swift_version" in values or len(_SWIFT_KEYS & values.keys()) >= 2


def is_factory(values: dict[str, Any]) -> bool:
    """Whether arguments are LLaMA-Factory's."""
    return len(_FACTORY_KEYS & values.keys()) >= 2 or any(key.startswith(("top.", "train.")) for key in values)


def is_trainer(values: dict[str, Any]) -> bool:
    """Whether arguments are those of Transformers' Trainer."""
    return {"per_device_train_batch_size", "learning_rate", "output_dir", "num_train_epochs"} <= values.keys()


def trains_whole(values: dict[str, Any]) -> bool:
    """Whether all weights were trained: then what the arguments say of an adapter is a default that played no part."""
    kinds = (values.get(name) for name in ("finetuning_type", "train_type", "sft_type", "tuner_type"))
    return any(kind in ("full", "freeze") for kind in kinds)


def _board(values: dict[str, Any]) -> dict[str, Any]:
    """The form of LLaMA-Factory's web page: ``train.learning_rate`` and the like; what belongs to other tabs is left out."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        group, _, rest = name.partition(".")
        if group in ("top", "train") and rest:
            found[rest] = value
    if text(found.get("model_path")):
        found["model_name_or_path"] = found["model_path"]
    if "batch_size" in found:
        found["per_device_train_batch_size"] = found.pop("batch_size")
    extra = found.pop("extra_args", None)
    if isinstance(extra, str) and len(extra) < 10_000:
        try:
            more = jsontext.loads(extra.encode())
        except ValueError:
            more = None
        if isinstance(more, dict):
            found = {**more, **found}
    bits = found.pop("quantization_bit", None)
    if str(bits) in ("4", "8"):
        found[f"load_in_{bits}bit"] = True
    return found


def _swift(values: dict[str, Any]) -> dict[str, Any]:
    nested = values.get("training_args")
    found = {**nested, **values} if isinstance(nested, dict) else dict(values)
    for name in _NOISE:
        found.pop(name, None)
    # In old versions ``model`` is a short name and the path stands elsewhere; ``model_type`` is never a path.
    bits = found.get("quant_bits", found.get("quantization_bit"))
    if str(bits) in ("4", "8"):
        found[f"load_in_{bits}bit"] = True
    if found.get("optimizer") is None and text(found.get("optim")):
        found.pop("optimizer", None)
    return found
