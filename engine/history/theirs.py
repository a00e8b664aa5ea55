"""What other tools' settings mean by ours: units, words and choices, one rule a setting.

A rule returns the value, ``None`` if the run does not tell, or a :class:`No` with the reason why what it tells cannot be
taken over. Whether a value is in range is not asked here; the schema does that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engine.history.record import RunRecord
from engine.paths import expand
from engine.text import clean

_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}
_MODULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_HUB_CACHE = re.compile(r"models--([^/]+?)--([^/]+)/snapshots/[0-9a-f]+/?$")
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"}
_ATTENTION = {"fa2": "flash_attention_2", "flash_attn": "flash_attention_2", "flash_attn_2": "flash_attention_2",
              "fa3": "flash_attention_3", "flash_attn_3": "flash_attention_3", "flash_attention": "flash_attention_2",
              "disabled": "eager", "off": "eager", "true": "flash_attention_2"}  # fmt: skip
_OPTIMIZERS = {"adamw_bnb_8bit": "adamw_8bit", "paged_adamw": "paged_adamw_32bit"}


class No:
    """A value that cannot be taken over, and why."""

    def __init__(self, value: Any, why: str) -> None:
        self.value, self.why = value, why


class Told:
    """What a run tells, under our names and under its tool's, and notes to whoever takes it over."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.remarks: list[str] = []

    def get(self, *names: str) -> Any:
        """The first of these that is told; a name of ours and the same name of theirs are both looked up."""
        for name in names:
            for table in (self.record.settings, self.record.other):
                value = table.get(name)
                if value is not None and value != "":
                    return value
        return None

    def word(self, *names: str) -> str:
        """The same as a word in small letters, without the class of an enumeration before it."""
        value = self.get(*names)
        return "" if value is None else _word(value)

    def flag(self, *names: str) -> bool | None:
        """The same as yes or no; ``None`` if it is neither."""
        word = self.word(*names)
        return True if word in _TRUE else False if word in _FALSE else None

    def number(self, *names: str) -> float | None:
        """The same as a finite number."""
        return _number(self.get(*names))

    @property
    def steps(self) -> int | None:
        """All steps of the training."""
        return self.record.summary.total_steps or None

    @property
    def is_lora(self) -> bool:
        """Whether the run trained an adapter that we can train, too, as far as it is known."""
        kind = self.word("peft_type", "adapter", "finetuning_type", "tuner_type", "train_type", "sft_type")
        return kind in ("", "lora", "qlora") and self.flag("use_peft") is not False


def _word(value: Any) -> str:
    text = str(value).strip()
    head, dot, tail = text.rpartition(".")
    return (tail if dot and head.isidentifier() and tail.isidentifier() else text).lower()


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def base_model(told: Told) -> Any:
    """The model's name; one in the hub's cache by its id."""
    name = told.get("base_model")
    if name is None:
        name = told.record.summary.base_model
    if not isinstance(name, str) or not name.strip():
        return None
    name = name.strip()
    if name.startswith(("/", "~", "./", "../")) or name[1:3] == ":\\":
        if _is_there(name, directory=True):
            return name
        cached = _HUB_CACHE.search(name)
        if cached:
            return f"{cached[1]}/{cached[2]}"
        told.remarks.append(f"base_model: {clean(name, 200)} is not on this machine")
    elif "bnb-4bit" in name.lower():
        told.remarks.append(f"base_model: {clean(name, 200)} is quantised to 4 bits already")
    return name


def dtype(told: Told) -> Any:
    """The number format, from its name or from the flags for mixed precision."""
    word = told.word("dtype", "torch_dtype")
    if word:
        return _DTYPES.get(word, word)
    for flag, name in (("bf16", "bfloat16"), ("fp16", "float16"), ("pure_bf16", "bfloat16")):
        if told.flag(flag):
            return name
    return "auto" if told.word("bf16") == "auto" else None


def _bits(told: Told) -> float | None:
    return told.number("quantization_bit", "quant_bits", "bits")


def load_in_4bit(told: Told) -> Any:
    """Whether the base was quantised to 4 bits, by whichever name."""
    found = told.flag("load_in_4bit", "quantization_config.load_in_4bit", "bnb_config.load_in_4bit", "use_4bit")
    if found is not None:
        return found
    if _bits(told) == 4:
        method = told.word("quantization_method", "quant_method") or "bnb"
        return True if method in ("bnb", "bitsandbytes") else No(method, "is another way to quantise")
    return True if told.word("adapter") == "qlora" else False if _bits(told) is not None else None


def load_in_8bit(told: Told) -> Any:
    """Whether the base was quantised to 8 bits, by whichever name."""
    found = told.flag("load_in_8bit", "quantization_config.load_in_8bit", "bnb_config.load_in_8bit", "use_8bit")
    return found if found is not None or _bits(told) is None else _bits(told) == 8


def attn_implementation(told: Told) -> Any:
    """How attention was computed."""
    word = told.word("attn_implementation", "attn_impl", "flash_attn")
    if word:
        return _ATTENTION.get(word, word)
    if told.flag("flash_attention", "use_flash_attn", "use_flash_attention_2"):
        return "flash_attention_2"
    return "sdpa" if told.flag("sdp_attention") else "eager" if told.flag("eager_attention") else None


def _file(told: Told, name: str, what: str, *others: str) -> Any:
    path = told.get(name, *others)
    if isinstance(path, list) and len(path) == 1:
        path = path[0]
    if path is None and name == "train_path":
        path = told.record.summary.dataset
    if path is None:
        return None
    if isinstance(path, str) and path.lower().endswith((".jsonl", ".json")) and _is_there(path, directory=False):
        return path
    shown = ", ".join(map(str, path)) if isinstance(path, list) else str(path)
    return No(clean(shown, 200), f"is no file of chats on this machine; {what}")


def train_path(told: Told) -> Any:
    """The data, if they are a file that stands here."""
    return _file(told, "train_path", "name the file to learn from", "dataset")


def eval_path(told: Told) -> Any:
    """The data of the evaluations, if they are a file that stands here."""
    return _file(told, "eval_path", "name the file to measure on", "eval_dataset", "val_dataset", "test_datasets")


def eval_fraction(told: Told) -> Any:
    """The held-out share; a count of rows is none."""
    value = told.number("eval_fraction", "val_size", "val_set_size", "split_dataset_ratio", "dataset_test_ratio")
    if value is None or value == 0:
        return None
    return value if 0 < value < 1 else No(value, "is a number of rows, not a share")


def assistant_only_loss(told: Told) -> Any:
    """Whether only answers were learned from."""
    for name, inverted in (("assistant_only_loss", False), ("train_on_inputs", True), ("train_on_prompt", True)):
        found = told.flag(name)
        if found is not None:
            return found is not inverted
    loss = told.word("loss_scale")
    return (
        {"default": True, "all": False}.get(loss)
        if loss in ("", "default", "all")
        else No(loss, "is a scale of its own")
    )


def packing(told: Told) -> Any:
    """Whether several chats shared a row."""
    return told.flag("packing", "sample_packing", "neat_packing")


def target_modules(told: Told) -> Any:
    """The layers: names or all-linear; a pattern is not taken for a name."""
    value = told.get("target_modules", "lora_target_modules", "lora_target")
    if value is None:
        return "all-linear" if told.flag("lora_target_linear") else None
    if isinstance(value, str):
        if _word(value) in ("all-linear", "all", "all_linear"):
            return "all-linear"
        if not re.fullmatch(r"[A-Za-z0-9_.,\s\-]+", value):
            return No(value, "is a pattern; here layers are named, or all-linear")
        value = value.split(",")
    if not isinstance(value, list | tuple | set):
        return No(value, "is no list of layers")
    names = [str(name).strip() for name in value if str(name).strip()]
    if [_word(name) for name in names] in (["all-linear"], ["all"], ["all_linear"]):
        return "all-linear"
    wrong = [name for name in names if not _MODULE.fullmatch(name)]
    if wrong or any(_word(name) in ("all-linear", "all-embedding", "all-norm", "all-router") for name in names):
        return No(", ".join(wrong or names), "is more than names of layers")
    return names or None


def modules_to_save(told: Told) -> Any:
    """Layers that were trained whole."""
    value = told.get("modules_to_save", "additional_target", "lora_modules_to_save")
    return value.split(",") if isinstance(value, str) else value or None


def init_lora_weights(told: Told) -> Any:
    """How the adapter started."""
    if told.flag("pissa_init"):
        return "pissa"
    word = told.word("init_lora_weights", "init_weights")
    if word in _FALSE:
        return No(word, "starts the adapter at random, which is not done here")
    return "default" if word in _TRUE else word or None


def max_steps(told: Told) -> Any:
    """The limit of updates that was set; a trainer's state names all updates, which is another thing."""
    if told.record.sources.get("max_steps", "").endswith("trainer_state.json"):
        return None
    value = told.number("max_steps", "train_steps")
    return value if value is None or value > 0 else None


def lr_scheduler_type(told: Told) -> Any:
    """The schedule."""
    return told.word("lr_scheduler_type", "lr_scheduler") or None


def warmup_ratio(told: Told) -> Any:
    """The share of warm-up; a number of steps, which wins over the share, is counted into one."""
    steps, share = (
        told.number("warmup_steps", "lr_scheduler_warmup_steps"),
        told.number("warmup_ratio", "lr_scheduler_warmup_ratio"),
    )
    if steps is None or (steps == 0 and share is not None):
        return share
    if steps < 1:
        return steps
    if told.steps is None:
        return No(f"{steps:g} steps", "is no share, and how many steps there were in all is not known")
    found = min(1.0, steps / told.steps)
    if math.ceil(told.steps * found) > steps:  # one step too many, by rounding
        found = math.nextafter(found, 0)
    told.remarks.append(f"warmup_ratio: {steps:g} of {told.steps} steps")
    return found


def optim(told: Told) -> Any:
    """The optimizer."""
    word = told.word("optim", "optimizer")
    return _OPTIMIZERS.get(word, word) or None


def _every(told: Told, what: str, *strategies: str) -> Any:
    """Every so many steps, from a number, a share of all steps, or once an epoch."""
    strategy, value = told.word(*strategies), told.number(f"{what}_steps")
    if strategy == "no":
        return None
    if strategy == "epoch":
        epochs = told.number("num_train_epochs", "num_epochs")
        if told.steps is None or not epochs:
            return No("once an epoch", "is no number of steps")
        told.remarks.append(f"{what}_steps: once an epoch, as many steps as it had then")
        return max(1, round(told.steps / epochs))
    if value is not None and 0 < value < 1:
        if told.steps is None:
            return No(f"{value:g}", "is a share of all steps, whose number is not known")
        return max(1, math.ceil(told.steps * value))
    return value if value is None or value > 0 else None


def _seen(told: Told, what: str, value: Any, steps: Iterable[float]) -> Any:
    """A rhythm that only a trainer's state tells, which tells it even where another was in force: is it what was done?"""
    if not isinstance(value, int | float) or not told.record.sources.get(f"{what}_steps", "").endswith(
        "trainer_state.json"
    ):
        return value
    odd = [step for step in steps if step == step and step % value and step != 1 and step != told.record.summary.step]
    return No(f"{value:g}", f"is not what was done: it did so at step {odd[0]:g}") if odd else value


def save_steps(told: Told) -> Any:
    """How often it saved."""
    saved = [checkpoint.step for checkpoint in told.record.checkpoints]
    return _seen(told, "save", _every(told, "save", "save_strategy"), saved)


def logging_steps(told: Told) -> Any:
    """How often it logged."""
    return _seen(told, "logging", _every(told, "logging", "logging_strategy"), told.record.steps.pair("loss")[0])


def eval_steps(told: Told) -> Any:
    """How often it evaluated."""
    every = _every(told, "eval", "eval_strategy", "evaluation_strategy")
    if not len(told.record.evals) and told.record.sources.get("eval_steps", "").endswith("trainer_state.json"):
        return None  # it names a rhythm even where nothing is evaluated
    return _seen(told, "eval", every, told.record.evals.axis("step"))


def gradient_checkpointing(told: Told) -> Any:
    """Whether activations were recomputed."""
    off = told.flag("disable_gradient_checkpointing")
    if off is not None:
        return not off
    word = told.word("gradient_checkpointing", "use_gradient_checkpointing")
    return True if word == "unsloth" else word or None


def task_type(told: Told) -> Any:
    """The kind of model."""
    word = told.word("task_type")
    return word.upper() if word else None


def _plain(name: str, *others: str, zero_is_none: bool = False) -> Callable[[Told], Any]:
    def rule(told: Told) -> Any:
        value = told.get(name, *others)
        return None if zero_is_none and _number(value) == 0 else value

    return rule


def _limit(name: str) -> Callable[[Told], Any]:
    """A number that is off at zero and below."""

    def rule(told: Told) -> Any:
        value = told.number(name)
        return None if value is not None and value <= 0 else told.get(name)

    return rule


LORA = ("lora_r", "lora_alpha", "lora_dropout", "target_modules", "modules_to_save", "bias", "use_dora", "use_rslora",
        "init_lora_weights")  # fmt: skip
RULES: Mapping[str, Callable[[Told], Any]] = {
    "base_model": base_model, "revision": _plain("revision", "model_revision"), "trust_remote_code": _plain("trust_remote_code"),
    "dtype": dtype, "load_in_4bit": load_in_4bit, "load_in_8bit": load_in_8bit, "attn_implementation": attn_implementation,
    "chat_template_path": _plain("chat_template_path"),
    "train_path": train_path, "eval_path": eval_path, "eval_fraction": eval_fraction,
    "max_seq_length": _plain("max_seq_length", "cutoff_len", "sequence_len", "max_length"),
    "assistant_only_loss": assistant_only_loss, "packing": packing, "padding_free": _plain("padding_free"),
    "lora_r": _plain("lora_r", "lora_rank", "r"), "lora_alpha": _plain("lora_alpha"),
    "lora_dropout": _plain("lora_dropout", "lora_dropout_p"), "target_modules": target_modules,
    "modules_to_save": modules_to_save, "bias": _plain("bias", "lora_bias", "lora_bias_trainable"), "task_type": task_type,
    "use_dora": _plain("use_dora"), "use_rslora": _plain("use_rslora"), "init_lora_weights": init_lora_weights,
    "num_train_epochs": _plain("num_train_epochs", "num_epochs"), "max_steps": max_steps,
    "batch_size": _plain("batch_size", "per_device_train_batch_size", "micro_batch_size"),
    "gradient_accumulation_steps": _plain("gradient_accumulation_steps"), "learning_rate": _plain("learning_rate"),
    "lr_scheduler_type": lr_scheduler_type, "warmup_ratio": warmup_ratio, "weight_decay": _plain("weight_decay"),
    "max_grad_norm": _plain("max_grad_norm"), "optim": optim, "adam_beta1": _plain("adam_beta1"),
    "adam_beta2": _plain("adam_beta2"), "adam_epsilon": _plain("adam_epsilon"),
    "neftune_noise_alpha": _plain("neftune_noise_alpha", zero_is_none=True), "seed": _plain("seed"),
    "data_seed": _plain("data_seed"), "eval_steps": eval_steps,
    "per_device_eval_batch_size": _plain("per_device_eval_batch_size"),
    "load_best_model_at_end": _plain("load_best_model_at_end"),
    "early_stopping_patience": _limit("early_stopping_patience"), "save_steps": save_steps,
    "save_total_limit": _limit("save_total_limit"), "logging_steps": logging_steps,
    "activation_offloading": _plain("activation_offloading"),
    "gradient_checkpointing": gradient_checkpointing, "use_liger_kernel": _plain("use_liger_kernel", "enable_liger_kernel"),
    "torch_compile": _plain("torch_compile"), "dataloader_num_workers": _plain("dataloader_num_workers"),
}  # fmt: skip


def _is_there(name: str, *, directory: bool) -> bool:
    try:
        path = expand(name)
        return path.is_absolute() and (path.is_dir() if directory else path.is_file())
    except (OSError, ValueError, RuntimeError):
        return False
