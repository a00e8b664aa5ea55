"""A model's sizes, remembered: counting them builds all of its modules, about a second for a large model.

The form and the check before a run have counted them in nearly every case; the run itself then only reads the answer.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import engine
from engine import paths
from engine.models.cache import model_folder
from engine.rundir import read_json, write_atomic

_KEPT = 50
_SETTINGS = ("lora_r", "lora_alpha", "lora_dropout", "target_modules", "modules_to_save", "bias", "task_type", "use_dora",
             "use_rslora", "init_lora_weights", "load_in_4bit", "load_in_8bit")  # fmt: skip


def recall(settings: Mapping[str, Any], *, cuda: bool) -> dict[str, Any] | None:
    """What was counted for this model and adapter with these versions; ``None`` where nothing was."""
    path = _path(settings, cuda)
    found = None if path is None else read_json(path)
    return found["sizes"] if found and isinstance(found.get("sizes"), dict) and found.get("key") == path.stem else None  # type: ignore[union-attr]


def remember(settings: Mapping[str, Any], sizes: dict[str, Any]) -> None:
    """Keep what :func:`engine.worker.inspect.costs.sizes` has counted; a cache that cannot be written costs only time."""
    path = _path(settings, bool(sizes.get("cuda")))
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(path, json.dumps({"key": path.stem, "sizes": sizes}).encode(), durable=False)
        files = sorted(path.parent.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
        for old in files[_KEPT:]:
            old.unlink(missing_ok=True)
    except OSError:
        pass


def _path(settings: Mapping[str, Any], cuda: bool) -> Path | None:
    """The file of an answer; ``None`` for a model with code of its own, or whose configuration is not here."""
    folder = (
        None
        if settings.get("trust_remote_code")
        else model_folder(str(settings["base_model"]), settings.get("revision"))
    )
    try:
        config = None if folder is None else (folder / "config.json").read_bytes()
    except OSError:
        return None
    if config is None:
        return None
    told = [{name: settings.get(name) for name in _SETTINGS}, cuda, engine.__version__,
            *(importlib.metadata.version(name) for name in ("torch", "transformers", "peft"))]  # fmt: skip
    try:
        told.append(hashlib.sha256(Path(__file__).with_name("inspect").joinpath("costs.py").read_bytes()).hexdigest())
    except OSError:
        pass  # not installed as files: the version has to do
    key = hashlib.sha256(config + json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
    return paths.cache_dir() / "sizes" / f"{key}.json"
