"""What a model directory tells without loading it: its configuration, weights, tokenizer and chat template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson

from engine import templates, tensorfiles
from engine.errors import InputError, Problem
from engine.models.weights import plain
from engine.paths import expand
from engine.rundir import read_json
from engine.templates import reading
from engine.text import clean

_SHOWN = 5
# What is read of a model beside its weights, its vocabulary and its template; only the first must be there.
_READ = ("config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_LARGEST = 64 * 2**20


def check_model_directory(
    path: Path, target_modules: list[str] | str, rank: int = 0
) -> tuple[list[Problem], list[Problem]]:
    """Errors and warnings of a local base model; reads headers and small JSON files only. ``rank`` is the adapter's.

    Its chat template is another question: see :func:`check_template`.
    """
    errors: list[Problem] = []

    def bad(message: str, hint: str, file: Path | None = None, line: int | None = None) -> None:
        errors.append(Problem("bad-model", message, hint, setting="base_model", file=str(file or path), line=line))

    if not path.exists():
        bad("does not exist", "Give a model directory or a hub id")
        return errors, []
    if not path.is_dir():
        bad("is a file, not a model directory", "Give the directory that holds config.json and the weights")
        return errors, []
    if (path / "adapter_config.json").is_file():
        if not (path / "config.json").is_file():
            bad("holds an adapter, not a base model", "Give the base model it was trained on")
            return errors, []
        bad("stands beside a whole model: transformers would load the model that it names, and put the adapter into it",
            "Move the adapter's files into a folder of their own", path / "adapter_config.json")  # fmt: skip
    for name in no_files(path)[:_SHOWN]:
        bad(
            "is no regular file, and whoever reads it may wait for ever", "Give a complete model directory", path / name
        )
    config = _objects(path, bad)
    shapes = _weights(path, bad)
    _tokenizer(path, bad)
    if not shapes or not isinstance(target_modules, list):
        return errors, []
    # A tied head has no tensor of its own, and some models keep theirs under another name.
    tied = (config or {}).get("tie_word_embeddings") is not False
    headed = tied or any(name.count(".") == 1 and name.endswith(".weight") for name in shapes)
    errors += _unknown_targets(set(shapes), [name for name in target_modules if not (headed and name == "lm_head")])
    packed = (config or {}).get("quantization_config") is not None
    return errors, [] if errors or packed else _too_wide(shapes, target_modules, rank)


def _objects(path: Path, bad: Any) -> dict[str, Any] | None:
    """Each small file of JSON must be an object that Python's reader takes, as transformers reads them; returns config.json."""
    for name in _READ:
        why, line = _fault(path / name)
        if why and (name != "config.json" or (path / name).is_file()):
            bad(f"{name} is damaged: {why}", "Download it again from where the model is from", path / name, line)
        elif why:
            what = "is damaged" if (path / name).exists() else "is missing"
            bad(f"config.json {what}", "Give a complete model directory", path / name)
    return read_json(path / "config.json")


def _fault(path: Path) -> tuple[str, int | None]:
    """Why a file is no JSON object, and in which line; empty where it is one, or one that need not be there."""
    if not path.is_file():
        return ("it is no file", None) if path.name == "config.json" else ("", None)
    try:
        data = path.read_bytes() if path.stat().st_size <= _LARGEST else None
    except OSError as error:
        return f"it cannot be read ({error.strerror})", None
    if data is None:
        return "it is larger than any such file", None
    try:
        value = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        return "it is not UTF-8 text", data.count(b"\n", 0, error.start) + 1
    except json.JSONDecodeError as error:
        return f"broken JSON ({clean(error.msg, 100)})", error.lineno
    except (ValueError, RecursionError):
        return "it is nested too deeply", 1
    return ("", None) if isinstance(value, dict) else ("it is no JSON object", 1)


def no_files(path: Path) -> list[str]:
    """Pipes, sockets and devices in a directory."""
    try:
        return sorted(
            entry.name for entry in path.iterdir() if entry.exists() and not entry.is_file() and not entry.is_dir()
        )
    except OSError:
        return []


def _weights(path: Path, bad: Any) -> dict[str, list[int]]:
    """Names and shapes of the tensors, empty where they cannot be told."""
    index = path / "model.safetensors.index.json"
    single = path / "model.safetensors"
    if index.is_file():
        record = read_json(index)
        weight_map = record.get("weight_map") if record else None
        if not isinstance(weight_map, dict) or not weight_map:
            bad("is damaged", "Download the model again", index)
            return {}
        found = _shards(path, index, weight_map, bad)
        if found and not isinstance((record or {}).get("metadata"), dict):
            bad("lacks metadata, which whoever loads the weights looks for", 'Add "metadata": {}', index)
        return found
    if single.is_file():
        header, why = tensorfiles.tensors(single)
        if header is None:
            bad(why, "Download the model again", single)
        return _shapes(header or {})
    if list(path.glob("pytorch_model*.bin")):
        bad("has weights only as pickle (pytorch_model.bin), which is never loaded",
            "Convert them: model.save_pretrained(…) writes safetensors")  # fmt: skip
    else:
        bad("holds no weights (model.safetensors)", "Give a complete model directory")
    return {}


def _shards(path: Path, index: Path, weight_map: dict[str, Any], bad: Any) -> dict[str, list[int]]:
    """The same of several files: each that an index names must be there, whole, and hold what the index says."""
    held: dict[str, set[str]] = {}
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not plain(shard):
            bad(f"says that {clean(name, 100)} lies in {clean(shard, 100)}, which is no file of the model's folder",
                "Download the model again", index)  # fmt: skip
            return {}
        held.setdefault(shard, set()).add(name)
    found: dict[str, list[int]] = {}
    for shard, names in sorted(held.items()):
        if not (path / shard).is_file():
            bad(f"the weights file {clean(shard, 100)} is missing", "Download the model again")
            return {}
        header, why = tensorfiles.tensors(path / shard)
        missing = sorted(names - set(header)) if header is not None else []
        if missing:
            why = f"lacks {clean(missing[0], 100)}, which the index of the weights says is in it"
        if header is None or why:
            bad(why, "Download the model again", path / shard)
            return {}
        found.update(_shapes(header))
    return found


def _shapes(header: dict[str, dict[str, Any]]) -> dict[str, list[int]]:
    return {name: entry["shape"] for name, entry in header.items()}


def _tokenizer(path: Path, bad: Any) -> None:
    if not any((path / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")):
        bad("holds no tokenizer", "Copy the tokenizer files of the model into it")
        return
    whole = path / "tokenizer.json"
    try:
        value = orjson.loads(whole.read_bytes()) if whole.is_file() else {}
    except (OSError, orjson.JSONDecodeError) as error:
        bad("is damaged", "Download the model again", whole, getattr(error, "lineno", None))
        return
    if not isinstance(value, dict):
        bad("is damaged: it is no JSON object", "Download the model again", whole, 1)


def check_template(folder: Path | None, chosen: str | None, *, chats: bool = True) -> list[Problem]:
    """What is wrong with the chat template that a run would render with; see each problem's ``severity``.

    ``folder`` holds the model's files (``None`` where they are not on this machine), ``chosen`` is the value of
    ``chat_template_path``, ``chats`` is false where the data are plain text, which need no template.
    """
    if chosen is not None and chosen.strip():
        if templates.is_path(chosen) and no_files(expand(chosen.strip())):
            return [Problem("bad-template", "is a directory with pipes or devices, and whoever reads them may wait for ever",
                            "Give a .jinja file, or a directory with a tokenizer", templates.SETTING, chosen)]  # fmt: skip
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


def _unknown_targets(names: set[str], target_modules: list[str]) -> list[Problem]:
    modules = {part for name in names for part in name.split(".")[:-1]}
    paths = {name.rpartition(".")[0] for name in names}
    missing = [
        t for t in target_modules if t not in modules and t not in paths and not any(p.endswith(f".{t}") for p in paths)
    ]
    if not missing:
        return []
    linear = sorted({name.split(".")[-2] for name in names if name.endswith(".weight") and ".layers." in name
                     and "norm" not in name.split(".")[-2]})  # fmt: skip
    hint = f"It has {', '.join(linear[:12])}; or use all-linear" if linear else "Use all-linear"
    shown = clean(", ".join(missing), 100)
    return [
        Problem("unknown-target", f"the model has no layer named {shown}", clean(hint, 300), setting="target_modules")
    ]


def _too_wide(shapes: dict[str, list[int]], target_modules: list[str], rank: int) -> list[Problem]:
    """That a rank is more than the smallest layer can have, whose change has no more than its shorter side."""
    sides: dict[str, int] = {}
    for name, shape in shapes.items():
        layer = name.removesuffix(".weight")
        if name.endswith(".weight") and len(shape) == 2 and any(f".{layer}".endswith(f".{t}") for t in target_modules):
            sides[layer] = min(shape)
    least = min(sides, key=lambda layer: sides[layer], default="")
    if not least or rank <= sides[least]:
        return []
    text = f"is more than {clean(least, 100)} can have, whose shorter side is {sides[least]:,}"
    return [Problem("rank-beyond-layer", text, f"Up to {sides[least]:,} it can learn something more there",
                    setting="lora_r", severity="warning")]  # fmt: skip
