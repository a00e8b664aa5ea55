"""What has changed since a checkpoint was made, and which changes a resumed run cannot carry out."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

from engine import status as states
from engine import templates
from engine.config import flags, settings
from engine.errors import InputError, Problem
from engine.models.cache import model_folder
from engine.resume.record import Change, ResumePlan, accumulation_of, mapping
from engine.snapshot import RunView

_NEW_RUN = "Start a new run with it instead"
# Settings that are built into the weights, the optimizer or the order of the data of a checkpoint.
_FIXED = {
    "base_model": "the adapter was trained on the other model",
    "revision": "the adapter was trained on the other revision",
    "lora_r": "the adapter's shape is fixed",
    "lora_alpha": "the trained weights would be scaled anew",
    "use_rslora": "the trained weights would be scaled anew",
    "target_modules": "the adapter's layers are fixed",
    "modules_to_save": "the adapter's layers are fixed",
    "use_dora": "the adapter's kind is fixed",
    "bias": "the trained parameters are fixed",
    "init_lora_weights": "the adapter has long left its start",
    "optim": "the optimizer's state belongs to the other optimizer",
    "seed": "the order of the data and all random numbers go on from the checkpoint",
    "data_seed": "the order of the data goes on from the checkpoint",
    "eval_fraction": "other rows would be held out, and the run may have learned them",
    "data_format": "the rows would be read as others, and its position in the data lost",
    "data_fields": "the rows would be read as others, and its position in the data lost",
    "on_bad_rows": "other rows would be left out, and its position in the data lost",
    "max_seq_length": "other rows would be cut off and left out, and its position in the data lost",
    "assistant_only_loss": "other rows would be left out, and its position in the data lost",
    "packing": "the rows of an epoch would be others, and its position in the data lost",
}
_COMPARED_PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes", "liger_kernel")


def refuse_fixed(result: ResumePlan, record: dict[str, Any]) -> None:
    """Add an error for every changed setting that a checkpoint would silently win over."""
    assert result.config is not None
    if result.checkpoint is None:
        return  # it begins anew: everything may change
    for change in result.changes:
        why = _FIXED.get(change.name)
        if why is None or _is_the_same(change, record):
            continue
        result.errors.append(Problem("fixed-setting", f"cannot be changed from {change.old} to {change.new} when a run goes on: {why}",
                                     _NEW_RUN, setting=change.name))  # fmt: skip
    _refuse_other_template(result)
    new = result.config
    before = _product(record["config"].get("batch_size", settings()["batch_size"].default), accumulation_of(record))
    after = new.batch_size * max(result.accumulation or 0, new.gradient_accumulation_steps)
    if before is not None and before != after:
        result.errors.append(Problem("fixed-setting", f"samples per update must stay {before}, not {after}: the position in the data "
            "is counted in updates", f"Keep batch_size × gradient_accumulation_steps at {before}, or start a new run",
            setting="batch_size"))  # fmt: skip


def _refuse_other_template(result: ResumePlan) -> None:
    """Rows that are rendered otherwise are others, whether another template is named or its file has changed."""
    config, checkpoint, name = result.config, result.checkpoint, templates.SETTING
    assert config is not None and checkpoint is not None
    chosen = config.chat_template_path
    if chosen is None and not any(change.name == name for change in result.changes):
        return
    if result.checked is not None and result.checked.train is not None and result.checked.train.plain_text:
        return
    saved, folder = templates.own(checkpoint.path), model_folder(config.base_model, config.revision)
    try:
        now = templates.text(chosen) if chosen is not None else templates.own(folder) if folder is not None else None
    except InputError:
        return  # it is no template: the check of the settings says so
    if saved is not None and now is not None and not templates.same(saved, now):
        text = "is another chat template than the checkpoint was trained with: the rows would be rendered otherwise"
        hint = f"Set it to {checkpoint.path / 'chat_template.jinja'} to keep that one, or start a new run"
        result.errors.append(Problem("fixed-setting", text, hint, setting=name))


def _is_the_same(change: Change, record: dict[str, Any]) -> bool:
    """Whether a change only writes down what was in force anyway, or names a model that has moved."""
    if change.name == "base_model":
        return Path(change.old).is_absolute() and not Path(change.old).exists()
    auto = record.get("auto")
    chosen = auto.get(change.name) if isinstance(auto, dict) else None
    return isinstance(chosen, dict) and change.old == "auto" and flags.format_value(chosen.get("value")) == change.new


def _product(a: Any, b: Any) -> int | None:
    return a * b if isinstance(a, int) and isinstance(b, int) else None


def compare(result: ResumePlan, record: dict[str, Any]) -> None:
    """Data by hash, packages by version."""
    assert result.config is not None and result.checked is not None
    data = mapping(record.get("data"))
    now = result.checked.data_record()
    for name in ("train", "eval"):
        before, after = mapping(data.get(name)), mapping(now.get(name))
        if before.get("sha256") and after.get("sha256") and before["sha256"] != after["sha256"]:
            old, new = (f"{part.get('rows')} rows, sha256 {str(part['sha256'])[:12]}" for part in (before, after))
            result.changes.append(Change(f"{name} data", old, new))
            if name == "train" and result.checkpoint is not None:
                _changed_data(result, before.get("rows"), after.get("rows"))
    if result.config.worker_python is None:
        versions = mapping(record.get("versions"))
        for package in _COMPARED_PACKAGES:
            was, now_is = versions.get(package), _version(package)
            if isinstance(was, str) and now_is is not None and was.split("+")[0] != now_is.split("+")[0]:
                result.changes.append(Change(f"version of {package}", was, now_is))


def _changed_data(result: ResumePlan, before: Any, after: Any) -> None:
    file = result.config.train_path if result.config else None
    if before != after:
        text = f"has {after} rows now and had {before}: the run's position in the data would be lost"
        hint = "Give the old file, or start a new run"
        result.errors.append(Problem("changed-data", text, hint, setting="train_path", file=file))
        return
    text = "has changed since the checkpoint: the rest of the run learns from the new rows"
    result.warnings.append(Problem("changed-data", text, setting="train_path", file=file, severity="warning"))


def check_length(result: ResumePlan, view: RunView) -> None:
    """Refuse a run that would end before its checkpoint, or that is done already."""
    planned = result.checked.plan if result.checked is not None else None
    if planned is None or result.checkpoint is None:
        return
    total, step = planned.total_steps, result.checkpoint.step
    if result.config and result.config.max_steps and any(c.name == "num_train_epochs" for c in result.changes):
        text = (
            f"would change nothing: the run ends after max_steps ({result.config.max_steps}), whatever the epochs say"
        )
        hint = "Change max_steps, or empty it with --max_steps none"
        result.errors.append(Problem("no-effect", text, hint, setting="num_train_epochs"))
    if total < step:
        result.errors.append(Problem("too-few-steps", f"would end at step {total}, before the checkpoint's step {step}",
            "Raise num_train_epochs or max_steps, or choose an earlier checkpoint",
            setting="max_steps" if result.config and result.config.max_steps else "num_train_epochs"))  # fmt: skip
    elif total == step and view.state.state == states.COMPLETED and not result.as_new:
        result.errors.append(Problem("nothing-to-do", f"all {total} steps are done and the adapter is saved",
            "Raise num_train_epochs or max_steps to go on, or choose an earlier checkpoint",
            setting="max_steps" if result.config and result.config.max_steps else "num_train_epochs"))  # fmt: skip


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
