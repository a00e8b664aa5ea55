"""From raw values to a :class:`RunConfig`, with errors that name the setting and say what to do."""

from __future__ import annotations

import difflib
import os
import reprlib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from engine.config.schema import RunConfig, settings
from engine.data.options import wrong_field
from engine.errors import InputError, Problem
from engine.paths import expand
from engine.text import clean

# A whole number that is larger is a slip, and no file format holds it.
_MOST = 10**12
# Smaller numbers are 0 where they are computed with.
_LEAST = 1.2e-38
_POLYNOMIAL_END = 1e-7
_SHOWN = 20
_PATHS = ("base_model", "train_path", "eval_path", "output_dir", "worker_python")
# Where transformers can report to.
_REPORTERS = ("tensorboard", "wandb", "mlflow", "trackio", "comet_ml", "neptune", "clearml", "codecarbon", "dagshub", "dvclive",
              "swanlab", "azure_ml", "flyte", "kubeflow", "all", "none")  # fmt: skip


def parse(values: Mapping[str, Any]) -> RunConfig:
    """Validate raw values (texts are fine).

    Raises :class:`InputError` with one problem per wrong setting, unknown names with the nearest known one.
    """
    config, problems = check(values)
    if config is None or problems:
        raise InputError(problems)
    return config


def check(values: Mapping[str, Any]) -> tuple[RunConfig | None, list[Problem]]:
    """Like :func:`parse`, but returns the problems instead of raising (for a form that checks as one types)."""
    strange = [str(key) for key in values if key not in settings()]
    problems = [_unknown(key) for key in strange[:_SHOWN]]
    if len(strange) > _SHOWN:
        text = f"{len(strange):,} names are no settings; the first {_SHOWN} are shown"
        problems.append(Problem("unknown-setting", text, "Take them out", setting=clean(strange[_SHOWN], 60)))
    known = {key: value for key, value in values.items() if key in settings()}
    config: RunConfig | None = None
    # Python and pydantic take True for 1; a person who wrote `lora_r: yes` did not mean 1.
    flags_for_numbers = [
        n for n, v in known.items() if isinstance(v, bool) and settings()[n].kind in ("integer", "number")
    ]
    problems += [_explain(name, known[name]) for name in flags_for_numbers]
    try:
        config = RunConfig.model_validate(known)
    except ValidationError as error:
        problems += _from_pydantic(error, known)
    if config is not None:
        problems += _contradictions(config)
    return (None if problems else config), problems


# What other tools call a setting, where spelling alone would not find it.
_ALIASES = {
    "lr": "learning_rate", "epochs": "num_train_epochs", "model": "base_model", "model_name_or_path": "base_model",
    "rank": "lora_r", "r": "lora_r", "alpha": "lora_alpha", "dropout": "lora_dropout", "dataset": "train_path",
    "data": "train_path", "max_length": "max_seq_length", "cutoff_len": "max_seq_length", "output": "output_dir",
    "per_device_train_batch_size": "batch_size", "optimizer": "optim", "scheduler": "lr_scheduler_type",
    "quantization": "load_in_4bit", "warmup": "warmup_ratio", "clip": "max_grad_norm", "name": "run_name",
    "attention": "attn_implementation", "template": "chat_template_path", "use_liger": "use_liger_kernel",
    "chat_template": "chat_template_path",
}  # fmt: skip


def _unknown(key: str) -> Problem:
    word = key.strip().lower().replace("-", "_")
    near = [_ALIASES[word]] if word in _ALIASES else difflib.get_close_matches(word, settings(), n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]}?" if near else "See the settings table in the README"
    # A name of nothing but what is not shown is told as Python writes it.
    shown = clean(key, 60) if clean(key, 60).strip() else clean(ascii(key), 60)
    return Problem("unknown-setting", f"there is no setting {clean(key, 60)!r}", hint, setting=shown)


def _from_pydantic(error: ValidationError, values: Mapping[str, Any]) -> list[Problem]:
    by_setting: dict[str, Problem] = {}
    for item in error.errors(include_url=False):
        name = str(item["loc"][0]) if item["loc"] else ""
        if name in by_setting:
            continue
        if item["type"] == "missing" or (values.get(name) is None and name in settings() and settings()[name].required):
            by_setting[name] = Problem("missing-setting", "is required", settings()[name].help, setting=name)
        else:
            by_setting[name] = _explain(name, values.get(name))
    return list(by_setting.values())


def _explain(name: str, value: Any) -> Problem:
    info = settings()[name]
    expected = {
        "integer": "a whole number",
        "number": "a number",
        "flag": "true or false",
        "choice": "one of these words",
        "list": "names with commas",
        "texts": "texts with | between, a list of texts, or a .txt or .jsonl file",
    }.get(info.kind, "text")
    if name == "gpus":
        expected = "auto or GPU indices with commas, like 0,1"
    elif info.range_text and info.kind in {"integer", "number"}:
        expected += f", {info.range_text}"
        expected += f" {info.unit}" if info.unit else ""
    elif info.kind == "list" and info.choices:
        expected = f"some of {info.range_text}"
    elif info.kind == "choice" or info.allows_auto:
        expected = f"one of {info.range_text}"
    shown = clean(reprlib.repr(value) if not isinstance(value, str) else f"'{value}'", 80)
    hint = ""
    if info.kind == "choice" and isinstance(value, str):
        near = difflib.get_close_matches(value, info.choices, n=1)
        hint = f"Did you mean {near[0]}?" if near else ""
    return Problem("bad-setting", f"must be {expected}, not {shown}", hint, setting=name)


def _unusable(name: str, value: Any) -> tuple[str, str] | None:
    """Why a value of the right kind can be nothing, and what to do; ``None`` if it can."""
    if isinstance(value, int) and abs(value) > _MOST:
        return f"cannot be more than {_MOST:,}", "Give a smaller number"
    if isinstance(value, float) and 0 < abs(value) < _LEAST:
        return f"is less than float32 holds ({_LEAST:g}), and so nothing", "Give a larger number"
    for text in value if isinstance(value, list) else [value]:
        if not isinstance(text, str):
            continue
        try:
            # Names of files may be no text, with what Python puts in its place; they have a check of their own.
            text.encode("utf-8", "surrogateescape" if name in _PATHS else "strict")
        except UnicodeEncodeError:
            return "holds half of a character, which is no text", "Write it anew, in UTF-8"
        if "\0" in text:
            return "holds a zero byte, which no path and no command can", "Write it anew"
        if name in ("base_model", "worker_python", "chat_template_path") and _too_long(text):
            return "is longer than a path or a name can be", "Check it"
        if name in ("output_dir", "worker_python") and text.startswith("~") and str(expand(text)) == text:
            return (
                f"names the home of a user that is not here ({clean(text.split('/')[0], 40)})",
                "Give the path in full",
            )
    if name == "report_to" and isinstance(value, list):
        unknown = [word for word in value if word not in _REPORTERS]
        if unknown:
            near = difflib.get_close_matches(unknown[0], _REPORTERS, n=1)
            what = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(_REPORTERS)}"
            return f"does not know {clean(unknown[0], 60)!r}", what
        if len(set(value)) > 1 and {"all", "none"} & set(value):
            return "cannot name other places beside all or none", "Name the places, or one of these two words"
    return None


def _too_long(text: str) -> bool:
    """Whether Linux takes no such path (``PATH_MAX`` and ``NAME_MAX``, in bytes)."""
    data = os.fsencode(text)
    return len(data) > 4095 or any(len(part) > 255 for part in data.split(b"/"))


def _contradictions(config: RunConfig) -> list[Problem]:
    """What no single setting can see."""
    problems = []

    def add(name: str, message: str, hint: str) -> None:
        problems.append(Problem("contradiction", message, hint, setting=name))

    for name, value in config:
        wrong = _unusable(name, value)
        if wrong is not None:
            add(name, *wrong)
    has_eval = config.eval_path is not None or config.eval_fraction is not None
    if not config.base_model.strip():
        add("base_model", "is empty", "Give a model directory or a hub id")
    if not config.train_path.strip():
        add("train_path", "is empty", "Give a file of chats")
    wrong = wrong_field(config.data_fields)
    if wrong is not None:
        problems.append(Problem("bad-setting", *wrong, setting="data_fields"))
    if not config.output_dir.strip():
        add("output_dir", "is empty", "Give a new directory")
    if config.load_in_4bit and config.load_in_8bit:
        add("load_in_4bit", "cannot be combined with load_in_8bit", "Switch one of them off")
    if config.eval_path is not None and config.eval_fraction is not None:
        add("eval_fraction", "cannot be combined with eval_path", "Empty one of them")
    if config.load_best_model_at_end and not has_eval:
        add("load_best_model_at_end", "needs evaluation data", "Set eval_path or eval_fraction")
    if config.early_stopping_patience is not None and not has_eval:
        add("early_stopping_patience", "needs evaluation data", "Set eval_path or eval_fraction")
    if config.eval_steps is not None and not has_eval:
        add("eval_steps", "needs evaluation data", "Set eval_path or eval_fraction")
    if config.packing is True and config.padding_free is False:
        add(
            "padding_free",
            "cannot be false with packing",
            "Packed rows are always padding-free; set it to auto",
        )
    if config.load_best_model_at_end and config.eval_steps is not None and config.save_steps % config.eval_steps:
        add("save_steps", f"must be a multiple of eval_steps ({config.eval_steps}) to keep the best model",
            "Change one of them")  # fmt: skip
    if isinstance(config.target_modules, list) and not config.target_modules:
        add("target_modules", "is empty", "Name at least one layer, or all-linear")
    both = [name for name in config.modules_to_save or [] if name in config.target_modules]
    if both and isinstance(config.target_modules, list):
        add("modules_to_save", f"names {clean(', '.join(both), 80)}, which target_modules names as well",
            "A layer gets an adapter or is trained whole: take it out of one of them")  # fmt: skip
    if config.lr_scheduler_type == "polynomial" and config.learning_rate <= _POLYNOMIAL_END:
        add("learning_rate", f"must be above {_POLYNOMIAL_END:g}, at which lr_scheduler_type polynomial ends",
            "Raise it, or take another schedule")  # fmt: skip
    if config.init_lora_weights == "orthogonal" and config.lora_r % 2:
        add("lora_r", "must be even where init_lora_weights is orthogonal", f"Set it to {config.lora_r + 1}")
    if isinstance(config.gpus, list) and (
        not config.gpus or len(set(config.gpus)) != len(config.gpus) or min(config.gpus) < 0
    ):
        add("gpus", "must name different GPUs by index", "For example 0 or 0,1; or auto")
    return problems
