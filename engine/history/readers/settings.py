"""Settings of other tools under our names; what has none is kept under theirs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from engine.history.readers.numbers import count, flag, number, text

# Names that tell a secret: never read into a record. "tokenizer", "num_tokens", "max_token_length" and the like do not.
_SECRET = re.compile(
    r"(?:^|[_\-.])(?:hub_|hf_|api_|auth_|access_)?token$|passw(?:or)?d|secret|credential|api_?key|access_?key|private_?key|webhook",
    re.IGNORECASE,
)
_HARMLESS = re.compile(
    r"^(?:(?:pad|eos|bos|unk|mask|sep|cls|image|video|audio|special|boi|eoi|response|stop)_token|num_.*)$"
)
_VALUE = re.compile(r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_\-]{20,}|ghp_[A-Za-z0-9]{20,}|gho_[A-Za-z0-9]{20,})\b")
MAX_OTHER = 2000


def is_secret(name: str, value: Any = None) -> bool:
    """Whether a setting must not be shown: by its name, or because its value looks like a key."""
    if isinstance(value, str) and _VALUE.search(value):
        return True
    return bool(_SECRET.search(name)) and not _HARMLESS.match(name)


def _whole(value: Any) -> int | None:
    return count(value)


def _above(value: Any) -> int | None:
    found = count(value)
    return found if found else None


def _real(value: Any) -> float | None:
    found = number(value)
    return found if found is not None and found == found and abs(found) != float("inf") else None


def words(value: Any) -> list[str] | str | None:
    """A list of names, or ``all-linear``."""
    if isinstance(value, str):
        found = value.strip()
        if found in ("all-linear", "all", "ALL", "all_linear"):
            return "all-linear"
        if not found or found.lower() in ("none", "null") or re.search(r"[\\()*^$|\[]", found):
            return found or None  # a pattern is kept as it is
        return [part.strip() for part in found.split(",") if part.strip()]
    if isinstance(value, list | tuple):
        found_words = sorted({item for item in value if isinstance(item, str)})
        if found_words in (["all"], ["ALL"], ["all-linear"]):
            return "all-linear"
        return found_words or None
    return None


def _dtype(value: Any) -> str | None:
    found = text(value)
    if not found:
        return None
    short = found.rpartition(".")[2]
    return {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}.get(short, short)


def _scheduler(value: Any) -> str | None:
    found = text(value)
    return found.rpartition(".")[2].lower() if found and found.startswith("SchedulerType.") else found


def _optim(value: Any) -> str | None:
    found = text(value)
    return found.rpartition(".")[2].lower() if found and found.startswith("OptimizerNames.") else found


def _bias(value: Any) -> str | None:
    return value if isinstance(value, str) and value in ("none", "all", "lora_only") else None


Reading = Callable[[Any], Any]
# Their names, ours, and how the value is read; of several that say the same the first that has a value counts.
_NAMES: tuple[tuple[str, str, Reading], ...] = (
    ("model_name_or_path", "base_model", text), ("base_model_name_or_path", "base_model", text),
    ("base_model", "base_model", text), ("model_id_or_path", "base_model", text), ("model", "base_model", text),
    ("base_model_name", "base_model", text), ("model_name", "base_model", text), ("model_id", "base_model", text),
    ("model_revision", "revision", text), ("revision", "revision", text), ("trust_remote_code", "trust_remote_code", flag),
    ("torch_dtype", "dtype", _dtype), ("dtype", "dtype", _dtype), ("load_in_4bit", "load_in_4bit", flag),
    ("load_in_8bit", "load_in_8bit", flag), ("attn_implementation", "attn_implementation", text),
    ("max_seq_length", "max_seq_length", _above), ("max_seq_len", "max_seq_length", _above),
    ("cutoff_len", "max_seq_length", _above), ("sequence_len", "max_seq_length", _above),
    ("model_max_length", "max_seq_length", _above), ("max_length", "max_seq_length", _above),
    ("assistant_only_loss", "assistant_only_loss", flag), ("packing", "packing", flag), ("sample_packing", "packing", flag),
    ("padding_free", "padding_free", flag),
    ("lora_r", "lora_r", _above), ("lora_rank", "lora_r", _above), ("r", "lora_r", _above), ("lora_alpha", "lora_alpha", _real),
    ("lora_dropout", "lora_dropout", _real), ("lora_dropout_p", "lora_dropout", _real),
    ("lora_target_modules", "target_modules", words), ("lora_target", "target_modules", words),
    ("target_modules", "target_modules", words), ("modules_to_save", "modules_to_save", words),
    ("additional_target", "modules_to_save", words), ("bias", "bias", _bias), ("lora_bias", "bias", _bias),
    ("task_type", "task_type", text), ("use_dora", "use_dora", flag), ("peft_use_dora", "use_dora", flag),
    ("use_rslora", "use_rslora", flag), ("peft_use_rslora", "use_rslora", flag),
    ("num_train_epochs", "num_train_epochs", _real), ("num_epochs", "num_train_epochs", _real),
    ("max_steps", "max_steps", _above), ("training_steps", "max_steps", _above),
    ("per_device_train_batch_size", "batch_size", _above), ("micro_batch_size", "batch_size", _above),
    ("train_batch_size", "batch_size", _above), ("batch_size", "batch_size", _above),
    ("gradient_accumulation_steps", "gradient_accumulation_steps", _above), ("learning_rate", "learning_rate", _real),
    ("lr_scheduler_type", "lr_scheduler_type", _scheduler), ("lr_scheduler", "lr_scheduler_type", _scheduler),
    ("warmup_ratio", "warmup_ratio", _real), ("lr_scheduler_warmup_ratio", "warmup_ratio", _real),
    ("weight_decay", "weight_decay", _real), ("max_grad_norm", "max_grad_norm", _real), ("optim", "optim", _optim),
    ("optimizer", "optim", _optim), ("adam_beta1", "adam_beta1", _real), ("adam_beta2", "adam_beta2", _real),
    ("adam_epsilon", "adam_epsilon", _real), ("neftune_noise_alpha", "neftune_noise_alpha", _real), ("seed", "seed", _whole),
    ("data_seed", "data_seed", _whole), ("eval_steps", "eval_steps", _above),
    ("per_device_eval_batch_size", "per_device_eval_batch_size", _above),
    ("eval_batch_size", "per_device_eval_batch_size", _above), ("load_best_model_at_end", "load_best_model_at_end", flag),
    ("early_stopping_patience", "early_stopping_patience", _above), ("output_dir", "output_dir", text),
    ("run_name", "run_name", text), ("save_steps", "save_steps", _above), ("save_total_limit", "save_total_limit", _above),
    ("logging_steps", "logging_steps", _above), ("gradient_checkpointing", "gradient_checkpointing", flag),
    ("use_liger_kernel", "use_liger_kernel", flag), ("enable_liger_kernel", "use_liger_kernel", flag),
    ("torch_compile", "torch_compile", flag), ("dataloader_num_workers", "dataloader_num_workers", _whole),
    ("val_size", "eval_fraction", _real), ("val_set_size", "eval_fraction", _real),
    ("split_dataset_ratio", "eval_fraction", _real), ("dataset_test_ratio", "eval_fraction", _real),
)  # fmt: skip
_OURS = {theirs: (ours, read) for theirs, ours, read in _NAMES}
_PLACES = {theirs: place for place, (theirs, _, _) in enumerate(_NAMES)}
_NO_SETTING = {"eval_fraction": lambda value: value is None or not 0 < value <= 0.5}


def sort_out(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values that have a name of ours, by that name, and the others flat; secrets are in neither."""
    ours: dict[str, Any] = {}
    ranks: dict[str, int] = {}
    other: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(name, str) or value is None or is_secret(name, value):
            continue
        entry = _OURS.get(name)
        found = entry[1](value) if entry else None
        if entry is None or found is None:
            _flat(other, name, value)
            continue
        place = _PLACES[name]
        refused = _NO_SETTING.get(entry[0])
        if (refused is None or not refused(found)) and place < ranks.get(entry[0], len(_NAMES)):
            ours[entry[0]], ranks[entry[0]] = found, place
    return ours, other


def _flat(other: dict[str, Any], name: str, value: Any, depth: int = 0) -> None:
    """Nested values by dotted names; nothing is kept of what is empty or too deep."""
    if len(other) >= MAX_OTHER or is_secret(name, value):
        return
    if isinstance(value, dict):
        if depth < 4:
            for key, item in value.items():
                _flat(other, f"{name}.{key}", item, depth + 1)
    elif isinstance(value, list | tuple):
        plain = [item for item in value if isinstance(item, str | int | float | bool)]
        if plain and len(plain) == len(value) and not any(is_secret("", item) for item in plain):
            other[name] = plain[:200]
        elif value and depth < 4:
            for place, item in enumerate(value[:50]):
                _flat(other, f"{name}.{place}", item, depth + 1)
    elif isinstance(value, str):
        if value.strip():
            other[name] = value[:4096]
    elif isinstance(value, bool | int | float):
        other[name] = value


def data_text(values: Mapping[str, Any]) -> str | None:
    """What was trained on, as text: a data set's name, or the paths of the files."""
    for name in ("dataset", "datasets", "train_dataset", "dataset_name", "train_path", "train_file", "data_path",
                 "train_data", "train_files", "dataset_path"):  # fmt: skip
        found = _data(values.get(name))
        if found:
            return found
    return None


def _data(value: Any) -> str | None:
    if isinstance(value, str):
        return text(value, 500)
    if isinstance(value, dict):
        return _data(value.get("path") or value.get("name"))
    if isinstance(value, list | tuple):
        parts = [part for part in map(_data, value[:20]) if part]
        return ", ".join(parts)[:500] or None
    return None
