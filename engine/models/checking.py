"""What is wrong with the model of a run, before anything of it is loaded: in its directory, in the local cache, on the hub."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import Problem
from engine.modelfiles import check_model_directory
from engine.models import cache, code, consent, hub, known, quantised, weights
from engine.models.reading import read_object
from engine.paths import expand
from engine.text import clean

if TYPE_CHECKING:
    from engine.config import RunConfig

HUB_SECONDS = 6.0
Problems = tuple[list[Problem], list[Problem]]


def check_directory(config: RunConfig) -> Problems:
    """Errors and warnings of a model that is given as a path."""
    folder = expand(config.base_model)
    errors, warnings = check_model_directory(folder, config.target_modules, config.lora_r)
    return [*errors, *_of_kind(config, folder, errors), *_of_code(config)], warnings


def check_hub_id(config: RunConfig) -> Problems:
    """Errors and warnings of a model of the hub: from the local cache if it is there whole, else the hub is asked."""
    name = config.base_model
    if not cache.is_name(name):
        return [
            _bad("is neither a directory nor a hub id", "Give a directory, or a hub id like Qwen/Qwen2.5-0.5B-Instruct")
        ], []
    folder = cache.snapshot(name, config.revision)
    found = weights.look(folder) if folder is not None else weights.Weights()
    if folder is not None and weights.whole(folder):
        errors, warnings = check_model_directory(folder, config.target_modules, config.lora_r)
        return [*errors, *_of_kind(config, folder, errors), *_of_code(config)], warnings
    if found.kind in ("damaged", "pickle", "gguf", "other"):
        again = (
            f"hf download {name} --force-download" if found.kind == "damaged" else "Take a model with model.safetensors"
        )
        return [_bad(f"{name} in the local hub cache: {found.trouble}", f"Download it again: {again}"
                     if found.kind == "damaged" else again)], []  # fmt: skip
    return _of_the_hub(config, folder, found)


def _of_the_hub(config: RunConfig, folder: Path | None, found: weights.Weights) -> Problems:
    """What the hub says of a model that is not here, or not whole."""
    name, partial = config.base_model, found.kind == "incomplete"
    at = f" at {clean(config.revision, 60)}" if config.revision else ""
    state = f"{name}{at} is not in the local hub cache"
    if folder is not None:
        state = f"{name}{at} is not whole in the local hub cache" + (f": {found.trouble}" if partial else "")
    if cache.offline():
        text = f"{state}, and the hub is switched off (HF_HUB_OFFLINE)"
        return [_bad(text, "Download it first, or give a local directory")], []
    answer = hub.lately(name, config.revision, timeout=HUB_SECONDS)
    if answer.ok:
        errors = (
            [_bad(f"{name}: {answer.trouble}", "Take another model")]
            if answer.trouble and not _elsewhere(config)
            else []
        )
        missing = (answer.bytes - found.bytes) if answer.bytes else None
        errors += _too_little_space(missing) + _of_code(config, answer)
        return errors, [] if errors else [_to_download(state, missing)]
    if answer.kind not in hub.SILENT:
        return [answer.problem()], []
    if partial:
        return [
            _bad(f"{state}, and {answer.message}", "Download the rest when the hub answers, or take another model")
        ], []
    return _of_code(config), [Problem("not-downloaded", f"{state}, and {answer.message}",
        "The run can only start if it can be downloaded then", setting="base_model", severity="warning")]  # fmt: skip


def _of_kind(config: RunConfig, folder: Path, errors: list[Problem]) -> list[Problem]:
    """That it is no causal language model; what another environment's transformers knows is not known here."""
    record = read_object(folder / "config.json")
    if errors or record is None or _elsewhere(config):
        return []
    brought = code.named_in(folder)
    why, hint = quantised.trouble(record)
    trouble = known.trouble(record, brought.auto_map, code=brought.any)
    if trouble:
        file = folder / "config.json" if why else folder
        return [_bad(f"cannot be fine-tuned here: {trouble}", hint or "Take another model", file)]
    name = quantised.method(record)
    setting = "load_in_4bit" if config.load_in_4bit else "load_in_8bit" if config.load_in_8bit else ""
    if name and setting and name != "bitsandbytes":
        text = f"cannot be set for a model that is quantised already ({clean(name, 40)})"
        return [
            Problem("contradiction", text, "Switch it off, or take the model that is not quantised", setting=setting)
        ]
    return []


def _of_code(config: RunConfig, answer: hub.HubAnswer | None = None) -> list[Problem]:
    """That its own code is needed, or not agreed to."""
    said = consent.problem(config)
    if said is not None:
        return [said]
    if answer is None or not answer.code or consent.code_of(config.base_model, config.revision) is not None:
        return []
    if config.trust_remote_code:
        return [consent.not_fetched(config.base_model, answer.commit)]
    return [consent.needed(config.base_model)] if answer.needs_code and not _elsewhere(config) else []


def _elsewhere(config: RunConfig) -> bool:
    return config.worker_python is not None


def _to_download(state: str, missing: int | None) -> Problem:
    size = f"{_size(missing)} will be downloaded" if missing else "it will be downloaded"
    return Problem("not-downloaded", f"{state}: {size}", "This needs the network and may take long", setting="base_model",
                   severity="warning")  # fmt: skip


def _too_little_space(missing: int | None) -> list[Problem]:
    folder = cache.folder_of_cache()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return []
    if missing is None or missing <= free:
        return []
    text = f"{_size(missing)} would be downloaded, and {_size(free)} are free in {clean(folder, 200)}"
    return [Problem("no-space", text, "Free some space, or set HF_HOME to a folder with more", setting="base_model")]


def _size(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if 2 * count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 2**10:.1f} KiB"


def _bad(message: str, hint: str, file: Path | None = None) -> Problem:
    return Problem(
        "bad-model", clean(message, 600), hint, setting="base_model", file=None if file is None else str(file)
    )
