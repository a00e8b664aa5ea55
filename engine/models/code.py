"""Which Python code a model brings: what its files name, and the files that would be run."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from engine.models import cache
from engine.models.reading import is_file, read_bytes, read_object
from engine.paths import expand

_MOST_FILES, _MOST_BYTES, _DEPTH, _MOST_FOLDERS = 300, 4 * 2**20, 5, 200
_CONFIGS = ("config.json", "tokenizer_config.json", "generation_config.json", "processor_config.json",
            "preprocessor_config.json", "video_preprocessor_config.json", "image_processor_config.json",
            "feature_extractor_config.json")  # fmt: skip
# With trust, transformers runs this file of any model that has it.
GENERATE = "custom_generate/generate.py"
_REFERENCE = re.compile(r"(?:(?P<other>[^\s]+)--)?(?P<module>[^\s.\\]+)\.(?P<name>\w+)")
_IMPORTS = re.compile(rb"^\s*(?:import\s+\.(\S+)\s*$|from\s+\.(\S+)\s+import)", re.M)


@dataclass(slots=True)
class Found:
    """``auto_map`` joins those of all files; ``others`` are repositories that it names; ``strange`` are references that are none."""

    auto_map: dict[str, Any] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    others: dict[str, set[str]] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)
    generates: bool = False

    @property
    def any(self) -> bool:
        """Whether there is code that could run."""
        return bool(self.modules or self.others or self.strange or self.generates)


def named_in(folder: Path) -> Found:
    """What the files of a model name as its code."""
    found = Found(generates=is_file(folder / GENERATE))
    for name in _CONFIGS:
        record = read_object(folder / name)
        if record is not None:
            add(found, record)
    return found


def add(found: Found, record: Mapping[str, Any]) -> None:
    """Take in every ``auto_map`` of one file, wherever it stands in it."""
    waiting: list[Any] = [record]
    for _ in range(100_000):
        if not waiting:
            return
        part = waiting.pop()
        if isinstance(part, Mapping):
            given = part.get("auto_map")
            if isinstance(given, list):  # how old tokenizers say it
                given = {"AutoTokenizer": given}
            if isinstance(given, Mapping):
                found.auto_map.update(given)
                for value in given.values():
                    for reference in value if isinstance(value, list) else [value]:
                        _reference(found, reference)
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _reference(found: Found, reference: Any) -> None:
    if reference is None:
        return
    match = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    module = match["module"] if match else ""
    parts = module.split("/")
    if match is None or any(part in ("", "..", ".") for part in parts):
        found.strange.append(str(reference)[:200])
    elif match["other"] is not None:
        found.others.setdefault(match["other"], set()).add(f"{module}.py")
    else:
        found.modules.add(f"{module}.py")


@dataclass(frozen=True, slots=True)
class Code:
    """The Python code that a model would run, with consent.

    ``name`` is its hub id or absolute path, ``commit`` that of a snapshot of the hub. ``files`` are names within it (of
    another repository with that before a colon), ``sizes`` their bytes. ``missing`` says what is named but not on this
    machine, or cannot be told: then nothing may run.
    """

    name: str
    commit: str | None
    sha256: str
    files: tuple[str, ...]
    sizes: tuple[int, ...] = ()
    missing: tuple[str, ...] = ()

    def record(self) -> dict[str, str | None]:
        """What ``run.json`` keeps."""
        return {"name": self.name, "commit": self.commit, "sha256": self.sha256}


def code_of(name: str, revision: str | None = None) -> Code | None:
    """The code that a model on this machine brings; ``None`` if it brings none, or is not on this machine."""
    folder = cache.model_folder(name, revision)
    if folder is None:
        return None
    found = named_in(folder)
    local = _is_directory(name)
    if not found.any:
        return None
    parts, missing = list(_python_files(folder)), [f"{text} (no name of a class)" for text in found.strange]
    if not local and is_file(folder / "adapter_config.json"):
        missing.append("adapter_config.json (in place of the model, the one it names would be loaded)")
    missing += _not_there(folder, found.modules | ({GENERATE} if found.generates else set()), parts)
    for other, modules in sorted(found.others.items()):
        parts_there, missing_there = _of_another(other, modules)
        parts += parts_there
        missing += missing_there
    if len(parts) > _MOST_FILES or any(digest is None for _, _, digest in parts):
        missing.append("more code than can be looked at")
    body = orjson.dumps([[file, digest] for file, _, digest in parts] + [sorted(_flat(found.auto_map))])
    title = os.path.realpath(expand(name)) if local else name
    return Code(title, None if local else folder.name, hashlib.sha256(body).hexdigest(), tuple(file for file, _, _ in parts),
                tuple(size for _, size, _ in parts), tuple(missing))  # fmt: skip


def _flat(auto_map: Mapping[str, Any]) -> list[str]:
    return [f"{key}={orjson.dumps(value).decode()}" for key, value in auto_map.items()]


def _is_directory(name: str) -> bool:
    try:
        return expand(name).is_dir()
    except (OSError, ValueError, RuntimeError):
        return False


def _of_another(name: str, modules: set[str]) -> tuple[list[tuple[str, int, str | None]], list[str]]:
    """The code of a repository that a model names; it is always taken from its main branch."""
    # A folder of that name would be taken in its place.
    folder = None if _is_directory(name) else cache.snapshot(name)
    if folder is None:
        return [], [f"the code of {name}"]
    parts = list(_python_files(folder))
    return [(f"{name}@{folder.name[:12]}:{file}", size, digest) for file, size, digest in parts], \
        [f"{name}: {text}" for text in _not_there(folder, modules, parts)]  # fmt: skip


def _not_there(folder: Path, modules: set[str], parts: list[tuple[str, int, str | None]]) -> list[str]:
    """Files that are named, or imported by what is named, and do not lie in the model's folder.

    Imports are found as transformers finds them, which copies those files and fails where one is not there.
    """
    there = {file for file, _, _ in parts}
    waiting, seen = sorted(modules), set(modules)
    missing = []
    while waiting and len(seen) < _MOST_FILES:
        module = waiting.pop()
        if module not in there:
            missing.append(module)
            continue
        for first, second in _IMPORTS.findall(read_bytes(folder / module, _MOST_BYTES) or b""):
            name = (first or second).decode("utf-8", "replace")
            wanted = os.path.normpath(os.path.join(os.path.dirname(module), f"{name}.py"))
            if wanted not in seen:
                seen.add(wanted)
                waiting.append(wanted)
    return sorted(missing)


def _python_files(folder: Path) -> Iterator[tuple[str, int, str | None]]:
    """Every Python file of a model, by name, with its bytes and hash; ``None`` where it cannot be read whole."""
    names: list[str] = []
    folders = 0
    waiting = [("", 0)]
    while waiting and folders < _MOST_FOLDERS:
        place, depth = waiting.pop()
        folders += 1
        try:
            with os.scandir(folder / place) as entries:
                for entry in entries:
                    name = f"{place}{entry.name}"
                    if entry.name.endswith(".py") and len(names) <= _MOST_FILES:
                        names.append(name)
                    elif entry.is_dir(follow_symlinks=False) and depth < _DEPTH and not entry.name.startswith("."):
                        waiting.append((f"{name}/", depth + 1))
        except OSError:
            continue
    for name in sorted(names):
        data = read_bytes(folder / name, _MOST_BYTES)
        if data is None and not is_file(folder / name):
            continue  # a link to nothing, a pipe or a folder: it cannot run, and is missing where it is named
        yield name, len(data or b""), None if data is None else hashlib.sha256(data).hexdigest()
