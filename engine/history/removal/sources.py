"""What a run was made from, as far as it lies in the run's own directory: data and models that no removal takes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.history.removal import layouts
from engine.history.summary import RunSummary
from engine.paths import expand
from engine.rundir import read_json

_WORDS = {
    "train_path": "is the training data",
    "eval_path": "is the evaluation data",
    "base_model": "is the base model",
}
BESIDE = "is a whole model beside the adapter, perhaps the one that it was trained on"
Identity = tuple[int, int]


def sources(path: Path, record: dict[str, Any], names: Iterable[str], *, everything: bool) -> dict[Identity, str]:
    """Identity and reason of what stays; ``record`` is ``run.json``, ``names`` are those in the run's directory."""
    found: dict[Identity, str] = {}
    here, itself = os.lstat(path), False
    for setting, value in _named(record):
        why = _WORDS.get(setting, "is data" if setting.startswith("data ") else f"is what the setting {setting} names")
        for look in (os.lstat, os.stat):
            try:
                info = look(path / expand(value))
            except (OSError, RuntimeError, ValueError):
                continue
            if os.path.samestat(info, here):
                itself = itself or setting == "base_model"
            else:
                found.setdefault((info.st_dev, info.st_ino), f"{why} of this run")
    # No trainer of adapters writes a whole model beside them; whoever trains in a model's directory has one there.
    whole = set(names)
    beside = "adapter_config.json" in whole and any(layouts.is_weights(name) for name in whole) and not everything
    for name in whole:
        if (layouts.is_weights(name) and (itself or beside)) or (itself and layouts.is_model_file(name)):
            info = os.lstat(path / name)
            found.setdefault((info.st_dev, info.st_ino), f"{_WORDS['base_model']} of this run" if itself else BESIDE)
    return found


def foreign_record(path: Path, summary: RunSummary | None) -> dict[str, Any]:
    """What another tool's small records say of data and base model, in the shape of ``run.json``."""
    found: dict[str, Any] = {}
    for name, keys in (("args.json", {"model": "base_model", "dataset": "train_path"}),
                       ("adapter_config.json", {"base_model_name_or_path": "base_model"})):  # fmt: skip
        record = read_json(path / name) or {}
        for key, setting in keys.items():
            value = record.get(key)
            texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
            for number, text in enumerate(text for text in texts if isinstance(text, str)):
                found[setting if not number else f"{setting} {number + 1}"] = text
    if summary is not None and summary.base_model:
        found.setdefault("base_model", summary.base_model)
    return {"config": found}


def _named(record: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """Settings and data of a run that may be paths."""
    config, data = record.get("config"), record.get("data")
    named = dict(config) if isinstance(config, dict) else {}
    for part, value in data.items() if isinstance(data, dict) else ():
        if isinstance(value, dict):
            named[f"data {part}"] = value.get("path")
            several = value.get("files")
            for number, file in enumerate(several if isinstance(several, list) else ()):
                named[f"data {part} {number + 1}"] = file.get("path") if isinstance(file, dict) else None
    for setting, value in named.items():
        if setting != "output_dir" and isinstance(value, str) and value and "\0" not in value:
            yield str(setting), value
