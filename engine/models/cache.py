"""The local cache of the hub: where it is, whose models it holds, and in which folder one of them lies."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from engine.paths import expand

_PREFIX = "models--"
_MOST = 20_000
COMMIT = re.compile(r"[0-9a-f]{40}")
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9_][\w.-]{0,95})?", re.ASCII)


def home(env: Mapping[str, str] | None = None) -> Path:
    """The hub's folder of this account, as its own library finds it (``HF_HOME``)."""
    env = os.environ if env is None else env
    base = env.get("XDG_CACHE_HOME") or "~/.cache"
    return _path(env.get("HF_HOME") or os.path.join(base, "huggingface"))


def folder_of_cache(env: Mapping[str, str] | None = None) -> Path:
    """The folder of downloaded models (``HF_HUB_CACHE``)."""
    env = os.environ if env is None else env
    given = env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE")
    return _path(given) if given else home(env) / "hub"


def offline(env: Mapping[str, str] | None = None) -> bool:
    """Whether the hub is switched off (``HF_HUB_OFFLINE``)."""
    env = os.environ if env is None else env
    word = env.get("HF_HUB_OFFLINE") or env.get("TRANSFORMERS_OFFLINE") or ""
    return word.strip().upper() in {"1", "ON", "YES", "TRUE"}


def token_from(env: Mapping[str, str] | None = None) -> str:
    """Where a token for the hub comes from: the name of a variable, a path, or an empty string. Never the token."""
    env = os.environ if env is None else env
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if (env.get(name) or "").strip():
            return name
    file = token_file(env)
    try:
        return str(file) if file.is_file() and file.stat().st_size > 0 else ""
    except OSError:
        return ""


def token_file(env: Mapping[str, str] | None = None) -> Path:
    """Where a login keeps its token."""
    env = os.environ if env is None else env
    given = env.get("HF_TOKEN_PATH")
    return _path(given) if given else home(env) / "token"


def is_name(name: str) -> bool:
    """Whether a text can be the id of a model on the hub."""
    return NAME.fullmatch(name) is not None and "--" not in name and ".." not in name


def repository(name: str) -> Path:
    """The cache's folder of one model."""
    return folder_of_cache() / (_PREFIX + name.replace("/", "--"))


def names() -> list[str]:
    """Hub ids of the models in the cache, sorted."""
    found = []
    try:
        with os.scandir(folder_of_cache()) as entries:
            for number, entry in enumerate(entries):
                if number >= _MOST:
                    break
                if entry.name.startswith(_PREFIX):
                    found.append(entry.name.removeprefix(_PREFIX).replace("--", "/"))
    except (OSError, ValueError, RuntimeError):
        return []
    return sorted(found)


def commit_of(name: str, revision: str | None = None) -> str | None:
    """The commit that a branch, tag or commit of a cached model stands for; ``None`` where it is not in the cache."""
    place, wanted = repository(name), revision or "main"
    if _inside(wanted):
        try:
            with open(os.open(place / "refs" / wanted, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                text = file.read(200).decode("ascii", "replace").strip()
            if _inside(text) and "/" not in text:
                return text
        except (OSError, ValueError):
            pass
    is_commit = revision is not None and _inside(revision) and "/" not in revision
    return revision if is_commit and (place / "snapshots" / str(revision)).is_dir() else None


def snapshot(name: str, revision: str | None = None) -> Path | None:
    """The folder of a cached model's files at a revision."""
    if not is_name(name):
        return None
    commit = commit_of(name, revision)
    try:
        found = repository(name) / "snapshots" / commit if commit else None
        return found if found is not None and found.is_dir() else None
    except (OSError, ValueError):
        return None


def snapshots(name: str) -> list[Path]:
    """All revisions of a model in the cache: that of its main branch first, then the newest."""
    place = repository(name)
    try:
        found = [path for path in sorted((place / "snapshots").iterdir())[:200] if path.is_dir()]
        main = commit_of(name)
        return sorted(found, key=lambda path: (path.name != main, -path.stat().st_mtime))
    except OSError:
        return []


def model_folder(model: str, revision: str | None = None) -> Path | None:
    """Where a model's files lie: its directory, or its snapshot in the cache; ``None`` if it is not on this machine."""
    try:
        folder = expand(model)
        if folder.is_dir():
            return folder
    except (OSError, ValueError, RuntimeError):
        return None
    return snapshot(model, revision)


def _inside(reference: str) -> bool:
    """Whether a name of a revision stays below the folder that it is looked for in."""
    parts = reference.split("/")
    return bool(reference) and "\0" not in reference and not any(part in ("", ".", "..") for part in parts)


def _path(text: str) -> Path:
    try:
        return expand(os.path.expandvars(text))
    except RuntimeError:  # no home folder
        return Path(text)
