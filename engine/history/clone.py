"""The settings of a run for a new one: what it tells, as ours mean it; what it does not tell is named, never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.config import check, settings
from engine.config.flags import format_value
from engine.history.record import RunRecord
from engine.history.theirs import LORA, RULES, No, Told
from engine.text import clean

# Settings that say where a run stands and what happens around it, not how it trains: no other tool could tell them.
OURS_ALONE = frozenset({"output_dir", "run_name", "notify", "on_end", "share", "gpus", "queue", "worker_python", "report_to",
                        "data_format", "data_fields", "on_bad_rows", "recipe", "max_tokens_per_pass", "max_gpu_memory", "fused_lora",
                        "cuda_graphs",
                        "sample_prompts", "sample_max_new_tokens", "on_nonfinite", "early_stopping_threshold",
                        "num_gpus", "keep_samples_per_update", "fsdp"})  # fmt: skip
_OF_EVALUATION = ("eval_path", "eval_fraction", "eval_steps", "per_device_eval_batch_size", "load_best_model_at_end",
                  "early_stopping_patience")  # fmt: skip
_EVAL_DATA = ("eval_path", "eval_fraction")  # one of them is enough
# What an adapter's own record leaves out if it is off, or did not know when it was written.
_SINCE_LATER = ("modules_to_save", "use_dora", "use_rslora")
_STAND_IN = {"train_path": "unknown.jsonl", "output_dir": "unknown"}


@dataclass(slots=True)
class Clone:
    """``values`` are valid together; ``unknown`` are names of settings that the run does not tell, in the form's order.

    ``remarks`` are lines for people: what could not be taken over and why, what was counted from something else.
    """

    values: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def clone(record: RunRecord) -> Clone:
    """The settings of a run of any tool for the form; never raises for what a record holds."""
    return _of_ours(record) if record.summary.tool == "tunedeck" and record.settings else _of_theirs(record)


def _of_ours(record: RunRecord) -> Clone:
    """Our own record tells all that there was when it was written; a newer setting has its default."""
    result = Clone()
    wanted = {}
    for name, value in record.settings.items():
        if name not in settings():
            result.remarks.append(f"{clean(name, 60)}: is no setting of this version, and is left out")
        elif name != "output_dir":
            wanted[name] = value
    _accept(result, wanted)
    return result


def _of_theirs(record: RunRecord) -> Clone:
    result, told = Clone(), Told(record)
    wanted: dict[str, Any] = {}
    for name, rule in RULES.items():
        if name in LORA and not told.is_lora:
            continue
        value = rule(told)
        if isinstance(value, No):
            result.remarks.append(f"{name}: {_shown(name, value.value)} {value.why}")
        elif value is not None:
            wanted[name] = value
    if not told.is_lora:
        kind = told.word("peft_type", "adapter", "finetuning_type", "tuner_type", "train_type", "sft_type") or "full"
        result.remarks.append(f"it trained no LoRA adapter ({clean(kind, 40)}): the settings of LoRA are not known")
    result.remarks += told.remarks
    _accept(result, wanted)
    _say_more(result, told)
    has_eval = any(name in result.values for name in _EVAL_DATA)
    refused = {remark.partition(":")[0] for remark in result.remarks}
    off = {name for name in RULES if _is_off(name, told) or (has_eval and name in _EVAL_DATA)} - refused
    result.unknown = [name for name in settings() if name in RULES and name not in result.values and name not in off]
    return result


def _accept(result: Clone, wanted: Mapping[str, Any]) -> None:
    """Take over one value after the other, as long as all are valid together; say why one is not."""
    for name in settings():
        if name not in wanted:
            continue
        config, problems = check({**_STAND_IN, **result.values, name: wanted[name]})
        if config is not None and not problems:
            result.values[name] = getattr(config, name)
        else:
            why = problems[0].message if problems else "is not valid"
            result.remarks.append(f"{name}: {_shown(name, wanted[name])} is not taken over: it {clean(why, 200)}")
            result.unknown.append(name)


def _is_off(name: str, told: Told) -> bool:
    """Whether the run tells that an optional setting was not set: empty is then what it means."""
    if name == "max_steps":
        value = told.number("max_steps")
        return value is not None and value <= 0
    if name in _OF_EVALUATION and told.word("eval_strategy", "evaluation_strategy") == "no":
        return True
    if name in _SINCE_LATER and told.record.sources.get("lora_r", "").endswith("adapter_config.json"):
        return True
    if name in ("neftune_noise_alpha", "eval_fraction", "early_stopping_patience", "save_total_limit"):
        value = told.number(name, *(("val_size", "val_set_size") if name == "eval_fraction" else ()))
        return value is not None and value <= 0
    # Nobody sets these without a reason: their empty value is everyone's. And there is only one kind of model here.
    return name in ("revision", "chat_template_path", "data_seed", "task_type")


def _say_more(result: Clone, told: Told) -> None:
    """What is known and has no setting."""
    cards = told.number(
        "world_size", "num_gpus", "n_gpu", "num_processes", "nproc_per_node", "num_devices", "global_world_size"
    )
    if cards and cards > 1:
        size, passes = (result.values.get(name) for name in ("batch_size", "gradient_accumulation_steps"))
        all_of_them = f", {int(size * passes * cards)} samples an update" if size and passes else ""
        result.remarks.append(f"gpus: it trained on {cards:g}{all_of_them}")
    kind = told.word("stage", "rlhf_type", "rl")
    if kind not in ("", "sft"):
        result.remarks.append(
            f"it was no supervised training ({clean(kind, 40)}): what starts here learns from chats alone"
        )
    if "learning_rate" not in result.values:
        rates = [rate for rate in told.record.steps.values("learning_rate") if rate == rate]
        if rates:
            result.remarks.append(f"learning_rate: not told; the highest that was logged is {max(rates):.6g}")


def _shown(name: str, value: Any) -> str:
    try:
        kind = settings()[name].kind if name in settings() else ""
        return clean(format_value(value, kind), 200)
    except (TypeError, ValueError):
        return clean(value, 200)
