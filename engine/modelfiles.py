"""What a model directory tells without loading it: its configuration, weights, tokenizer and chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from engine import templates
from engine.checkpoints import safetensors_complete, safetensors_header
from engine.errors import InputError, Problem
from engine.rundir import read_json
from engine.templates import reading
from engine.text import clean


def check_model_directory(path: Path, target_modules: list[str] | str) -> tuple[list[Problem], list[Problem]]:
    """Errors and warnings of a local base model; reads headers and small JSON files only.

    Its chat template is another question: see :func:`check_template`.
    """
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
    for name in no_files(path):
        bad(
            "is no regular file, and whoever reads it may wait for ever", "Give a complete model directory", path / name
        )
    config = read_json(path / "config.json")
    if config is None:
        what = "is damaged" if (path / "config.json").exists() else "is missing"
        bad(f"config.json {what}", "Give a complete model directory", path / "config.json")
    names = _weights(path, bad)
    _tokenizer(path, bad)
    if names and isinstance(target_modules, list):
        tied = (config or {}).get("tie_word_embeddings") is not False  # then the head has no tensor of its own
        errors += _unknown_targets(names, [name for name in target_modules if not (tied and name == "lm_head")])
    return errors, []


def no_files(path: Path) -> list[str]:
    """Pipes, sockets and devices in a directory."""
    try:
        return sorted(
            entry.name for entry in path.iterdir() if entry.exists() and not entry.is_file() and not entry.is_dir()
        )
    except OSError:
        return []


def _weights(path: Path, bad: Any) -> set[str]:
    """Names of the tensors, empty where they cannot be told."""
    index = path / "model.safetensors.index.json"
    single = path / "model.safetensors"
    if index.is_file():
        record = read_json(index)
        weight_map = record.get("weight_map") if record else None
        if not isinstance(weight_map, dict) or not weight_map:
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


def check_template(folder: Path | None, chosen: str | None, *, chats: bool = True) -> list[Problem]:
    """What is wrong with the chat template that a run would render with; see each problem's ``severity``.

    ``folder`` holds the model's files (``None`` where they are not on this machine), ``chosen`` is the value of
    ``chat_template_path``, ``chats`` is false where the data are plain text, which need no template.
    """
    if chosen is not None and chosen.strip():
        try:
            text = templates.text(chosen)
        except InputError as error:
            return error.problems
        return _chosen(folder, chosen, text) if folder is not None and chats else []
    if folder is None or not chats or not reading.has_tokenizer(folder):
        return []
    own = chat_template(folder)
    if own is None:
        return [Problem("no-template", "the model has no chat template, so chats cannot be rendered",
                        templates.advice(folder), setting=templates.SETTING)]  # fmt: skip
    fault = template_fault(own)
    if fault:
        return [Problem("bad-model", f"the chat template cannot be read: {fault}", templates.advice(folder), setting="base_model",
                        file=str(folder))]  # fmt: skip
    return []


def _chosen(folder: Path, chosen: str, text: str) -> list[Problem]:
    """Warnings about a template that was chosen for a model."""
    out = []

    def warn(kind: str, message: str, hint: str) -> None:
        out.append(Problem(kind, message, hint, setting=templates.SETTING, severity="warning"))

    known = next((one for one in templates.known() if one.name == chosen.strip()), None)
    split = templates.lacking(folder, known.tokens if known is not None else templates.tokens_of(text))
    if split:
        one = len(split) == 1
        warn("template-tokens", f"writes {clean(', '.join(split), 120)}, which the model's tokenizer does not know as "
             f"{'a token' if one else 'tokens'} and splits into pieces", templates.advice(folder))  # fmt: skip
    own = chat_template(folder)
    if own is not None and not templates.same(own, text):
        family = templates.family(own)
        named = "" if family == "own" else f" ({family})"
        warn("other-template", f"the model has a chat template of its own{named}, which it was made for; this one takes its place",
             "Leave it empty to keep the model's")  # fmt: skip
    return out


def chat_template(path: Path) -> str | None:
    """The chat template of a model directory (the default one, where there are several)."""
    return templates.own(path)


def template_fault(template: str) -> str:
    """What keeps a chat template from being read, with its line; empty if nothing does."""
    line, why = reading.fault(template)
    return f"line {line}: {why}" if line is not None else why


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
