"""What models there are on this machine, and what can be said of each before it is loaded."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import registry
from engine.models import cache, code, known, weights
from engine.models.reading import is_file, licence, read_object
from engine.paths import expand
from engine.rundir import RunDir

_DEPTH, _MOST_FOLDERS, _MOST_ENTRIES, _MOST_SECONDS = 3, 20_000, 20_000, 60.0
_RECENT_RUNS = 200
_SKIPPED = {"node_modules", "__pycache__", "site-packages", "dist-packages", "proc", "sys", "dev"}
_CHECKPOINT = re.compile(r"checkpoint-[0-9]+")
_TEMPLATES = (
    "chat_template.jinja",
    "chat_template.json",
    "tokenizer_config.json",
    "additional_chat_templates/default.jinja",
)
_TEMPLATE_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Model:
    """One model on this machine. All text is as it was found; a screen cleans it.

    ``name`` is what ``base_model`` is set to, ``revision`` the commit of a snapshot to which the cache's main branch does
    not point. ``source`` is "hub cache" or "directory". ``parameters`` are exact or unknown, ``bytes`` those of the
    weights, ``used`` is in Unix seconds. ``template`` names the family of the chat template ("own": none that is known).
    ``code``: it brings Python code; ``needs_code``: it cannot be built without. ``trouble`` says why it cannot be tuned.
    """

    name: str
    revision: str | None
    path: Path
    source: str
    parameters: int | None = None
    bytes: int | None = None
    dtype: str = ""
    architecture: str = ""
    model_type: str = ""
    template: str = ""
    licence: str = ""
    code: bool = False
    needs_code: bool = False
    commit: str | None = None
    used: float | None = None
    trouble: str = ""


def look(name: str, revision: str | None = None) -> Model | None:
    """One model by its hub id, from the local cache, or by its path; ``None`` if there is none."""
    try:
        folder = expand(name)
        if folder.is_dir():
            return _model(folder, name, "directory") if is_model(_names(folder), folder) else None
    except (OSError, ValueError, RuntimeError):
        return None
    found = cache.snapshot(name, revision)
    return _of_cache(name, found) if found is not None else None


def places(extra: Iterable[Path] = ()) -> list[Path]:
    """Where people keep models: the current folder, ``models`` in it, beside the models of earlier runs, and ``extra``."""
    found = [*extra, *_current()]
    for number, (_, path) in enumerate(registry.entries()):
        if number >= _RECENT_RUNS:
            break
        config = (RunDir(path).read_run() or {}).get("config")
        base = config.get("base_model") if isinstance(config, dict) else None
        if isinstance(base, str) and base.startswith("/"):
            found.append(Path(base).parent)
    out: dict[str, Path] = {}
    for path in found:
        try:
            # A root of the whole system would be searched for minutes and is nobody's collection of models.
            if path.is_dir() and os.path.realpath(path) != "/":
                out.setdefault(os.path.realpath(path), path)
        except (OSError, ValueError):
            continue
    return list(out.values())


def _current() -> list[Path]:
    try:
        here = Path.cwd()
    except OSError:
        return []
    return [here, here / "models"]


def scan(places: Iterable[Path] = (), cancelled: threading.Event | None = None) -> Iterator[Model]:
    """All models: of the hub cache first, then of directories below the places. None twice; ends early if cancelled."""
    stop = _Stop(cancelled)
    seen: set[str] = set()
    for name in cache.names():
        for snapshot in cache.snapshots(name) if cache.is_name(name) else ():
            if stop.now():
                return
            seen.add(os.path.realpath(snapshot))
            if any(True for _ in _names(snapshot)):
                yield _of_cache(name, snapshot)
    for path in _folders(places, seen, stop):
        yield _model(path, str(path), "directory")


class _Stop:
    """Says when a search has gone on for long enough."""

    def __init__(self, cancelled: threading.Event | None) -> None:
        self._cancelled, self._until = cancelled, time.monotonic() + _MOST_SECONDS

    def now(self) -> bool:
        return (self._cancelled is not None and self._cancelled.is_set()) or time.monotonic() > self._until


def _folders(places: Iterable[Path], seen: set[str], stop: _Stop) -> Iterator[Path]:
    """Folders of models, the nearest first; what lies within a model is part of it."""
    seen.add(os.path.realpath(cache.folder_of_cache()))
    looked = 0
    waiting = [(path, 0) for path in places]
    for path, depth in waiting:  # grows while it is gone through
        if stop.now() or looked >= _MOST_FOLDERS:
            return
        looked += 1
        try:
            real = os.path.realpath(path)
        except (OSError, ValueError):
            continue
        if real in seen:
            continue
        seen.add(real)
        names = _names(path)
        if is_model(names, path):
            if not _CHECKPOINT.fullmatch(path.name):
                yield path
            continue
        if depth < _DEPTH and "pyvenv.cfg" not in names and len(waiting) < 4 * _MOST_FOLDERS:
            waiting += [(path / name, depth + 1) for name in sorted(names) if _worth(path, name, names[name])]


def _worth(path: Path, name: str, folder: bool) -> bool:
    return folder and not name.startswith(".") and name not in _SKIPPED


def _names(path: Path) -> dict[str, bool]:
    """What lies in a folder, and whether it is one itself."""
    found: dict[str, bool] = {}
    try:
        with os.scandir(path) as entries:
            for number, entry in enumerate(entries):
                if number >= _MOST_ENTRIES:
                    break
                try:
                    found[entry.name] = entry.is_dir()
                except OSError:
                    found[entry.name] = False
    except (OSError, ValueError):
        pass
    return found


def is_model(names: dict[str, bool], folder: Path) -> bool:
    """Whether a folder is one of a model or an adapter, going by what lies in it."""
    if "adapter_config.json" in names:
        return True
    if any(name.endswith(".gguf") and not is_folder for name, is_folder in names.items()):
        return True
    if "config.json" not in names:
        return False
    config = read_object(folder / "config.json")
    if config is None:
        return weights.SINGLE in names or weights.INDEX in names
    return ("model_type" in config or "architectures" in config) and "_class_name" not in config


def _of_cache(name: str, snapshot: Path) -> Model:
    """A snapshot of the cache as an entry; only one that the main branch does not point to names its revision."""
    main = cache.commit_of(name) == snapshot.name
    return _model(snapshot, name, "hub cache", None if main else snapshot.name, snapshot.name)


def _model(folder: Path, name: str, source: str, revision: str | None = None, commit: str | None = None) -> Model:
    config = read_object(folder / "config.json") or {}
    brought = code.named_in(folder)
    found = weights.look(folder)
    given = config.get("architectures")
    return Model(
        name=name, revision=revision, path=folder, source=source, commit=commit,
        parameters=weights.parameters_of(found.counts, config) if found.kind == "complete" else None,
        bytes=found.bytes or None, dtype=weights.dtype_of(found.counts, config),
        architecture=str(given[0])[:200] if isinstance(given, list) and given else "",
        model_type=str(config.get("model_type") or "")[:200], template=template_family(folder),
        licence=licence(folder / "README.md"), code=brought.any,
        needs_code=brought.any and known.needs_code(config, tokenizer_config(folder), brought.auto_map),
        used=weights.newest(folder, found.files[:50]), trouble=_trouble(folder, config, brought, found),
    )  # fmt: skip


def _trouble(folder: Path, config: dict[str, Any], brought: code.Found, found: weights.Weights) -> str:
    if not config:
        if is_file(folder / "adapter_config.json"):
            return "an adapter"
        if found.kind == "gguf":
            return found.trouble
        return "config.json is damaged" if os.path.lexists(folder / "config.json") else "config.json is missing"
    kind = known.trouble(config, brought.auto_map, code=brought.any)
    return kind or found.trouble


def tokenizer_config(folder: Path) -> dict[str, Any]:
    """The settings of a model's tokenizer; empty where there are none."""
    return read_object(folder / "tokenizer_config.json", _TEMPLATE_BYTES) or {}


def template_family(folder: Path) -> str:
    """The family of a model's chat template, "own" for an unknown one, empty where it has none."""
    from engine.modelfiles import chat_template

    for name in _TEMPLATES:
        # Whoever reads it trusts that it is a small file.
        if os.path.lexists(folder / name) and not _small(folder / name):
            return ""
    text = chat_template(folder)
    if text is None:
        return ""
    try:
        from engine.templates import family
    except ImportError:
        return "own"
    return family(text) or "own"


def _small(path: Path) -> bool:
    try:
        return is_file(path) and path.stat().st_size <= _TEMPLATE_BYTES
    except OSError:
        return False
