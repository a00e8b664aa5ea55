"""What a model directory tells without loading it: its configuration, weights, tokenizer and chat template."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson

from engine.checkpoints import safetensors_complete, safetensors_header
from engine.errors import Problem
from engine.rundir import read_json
from engine.text import clean


def check_model_directory(path: Path, target_modules: list[str] | str) -> tuple[list[Problem], list[Problem]]:
    """Errors and warnings of a local base model; reads headers and small JSON files only."""
    errors: list[Problem] = []

    def bad(message: str, hint: str, file: Path | None = None) -> None:
        errors.append(Problem("bad-model", message, hint, setting="base_model", file=str(file or path)))

    if not path.exists():
        bad("does not exist", "Give a model directory or a hub id")
        return errors, []
    if not path.is_dir():
        bad("is a file, not a model directory", "Give the directory that holds config.json and the weights")
        return errors, []
    if (path / "adapter_config.json").is_file() and not (path / "config.json").is_file():
        bad("holds an adapter, not a base model", "Give the base model it was trained on")
        return errors, []
    config = read_json(path / "config.json")
    if config is None:
        what = "is damaged" if (path / "config.json").exists() else "is missing"
        bad(f"config.json {what}", "Give a complete model directory", path / "config.json")
    names = _weights(path, bad)
    _tokenizer(path, bad)
    if names and isinstance(target_modules, list):
        errors += _unknown_targets(names, target_modules)
    return errors, []


def _weights(path: Path, bad: Any) -> set[str]:
    """Names of the tensors, empty where they cannot be told."""
    index = path / "model.safetensors.index.json"
    single = path / "model.safetensors"
    if index.is_file():
        record = read_json(index)
        weight_map = record.get("weight_map") if record else None
        if not isinstance(weight_map, dict):
            bad("is damaged", "Download the model again", index)
            return set()
        for shard in sorted({str(name) for name in weight_map.values()}):
            if not (path / shard).is_file():
                bad(f"the weights file {clean(shard, 100)} is missing", "Download the model again")
                return set()
            if not safetensors_complete(path / shard):
                bad("is damaged or cut short", "Download the model again", path / shard)
                return set()
        return set(weight_map)
    if single.is_file():
        if not safetensors_complete(single):
            bad("is damaged or cut short", "Download the model again", single)
            return set()
        return set(safetensors_header(single) or {})
    if list(path.glob("pytorch_model*.bin")):
        bad("has weights only as pickle (pytorch_model.bin), which is never loaded",
            "Convert them: model.save_pretrained(…) writes safetensors")  # fmt: skip
    else:
        bad("holds no weights (model.safetensors)", "Give a complete model directory")
    return set()


def _tokenizer(path: Path, bad: Any) -> None:
    if not any((path / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")):
        bad("holds no tokenizer", "Copy the tokenizer files of the model into it")
        return
    if (path / "tokenizer.json").is_file() and not _is_json(path / "tokenizer.json"):
        bad("is damaged", "Download the model again", path / "tokenizer.json")
        return
    template = chat_template(path)
    if template is not None:
        fault = template_fault(template)
        if fault:
            bad(f"the chat template cannot be read: {fault}", "Take the template of the model's family")
    else:
        bad("has no chat template, so chats cannot be rendered",
            "Put the model family's template into chat_template.jinja")  # fmt: skip


def chat_template(path: Path) -> str | None:
    """The chat template of a model directory (the default one, where there are several)."""
    for file in (path / "chat_template.jinja", path / "additional_chat_templates" / "default.jinja"):
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if text.strip():
            return text
    for file in (path / "chat_template.json", path / "tokenizer_config.json"):
        template = (read_json(file) or {}).get("chat_template")
        if isinstance(template, str) and template.strip():
            return template
        if isinstance(template, list):
            named = {t.get("name"): t.get("template") for t in template if isinstance(t, dict)}
            found = named.get("default") or next(iter(named.values()), None)
            if isinstance(found, str):
                return found
    return None


def template_fault(template: str) -> str:
    """What keeps a chat template from being read, with its line; empty if nothing does."""
    import jinja2

    # A tag of transformers that jinja does not know; it marks what the assistant says.
    plain = re.sub(r"\{%-?\s*(end)?generation\s*-?%\}", "", template)
    try:
        jinja2.Environment(extensions=["jinja2.ext.loopcontrols"], autoescape=False).parse(plain)
    except jinja2.TemplateSyntaxError as error:
        return clean(f"line {error.lineno}: {error.message}", 200)
    except (RecursionError, ValueError):
        return "it is no template"
    return ""


def _is_json(path: Path) -> bool:
    try:
        return isinstance(orjson.loads(path.read_bytes()), dict)
    except (OSError, ValueError):
        return False


def _unknown_targets(names: set[str], target_modules: list[str]) -> list[Problem]:
    modules = {part for name in names for part in name.split(".")[:-1]}
    paths = {name.rpartition(".")[0] for name in names}
    missing = [t for t in target_modules if t not in modules and not any(p.endswith(f".{t}") for p in paths)]
    if not missing:
        return []
    linear = sorted({name.split(".")[-2] for name in names if name.endswith(".weight") and ".layers." in name
                     and "norm" not in name.split(".")[-2]})  # fmt: skip
    hint = f"It has {', '.join(linear[:12])}; or use all-linear" if linear else "Use all-linear"
    shown = clean(", ".join(missing), 100)
    return [
        Problem("unknown-target", f"the model has no layer named {shown}", clean(hint, 300), setting="target_modules")
    ]
