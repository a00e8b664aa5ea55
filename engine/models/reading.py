"""Reads small files of a model that anybody may have put there: bounded, never a pipe, never a surprise."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

import orjson
import yaml

from engine.tensorfiles import open_unseen

_CONFIG_BYTES, _INDEX_BYTES, _CARD_BYTES = 4 * 2**20, 64 * 2**20, 64 * 2**10
_KEYS = ("license", "license_name")


def read_bytes(path: Path, most: int) -> bytes | None:
    """The contents of a regular file of at most ``most`` bytes; ``None`` for anything else."""
    try:
        with open_unseen(path) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            data = file.read(most + 1)
    except (OSError, ValueError):
        return None
    return data if len(data) <= most else None


def read_object(path: Path, most: int = _CONFIG_BYTES) -> dict[str, Any] | None:
    """A JSON object; ``None`` if it is missing, damaged, too large or too deep."""
    data = read_bytes(path, most)
    try:
        value = orjson.loads(data) if data is not None else None
    except orjson.JSONDecodeError:
        return _lenient(data)
    return value if isinstance(value, dict) else None


def _lenient(data: bytes | None) -> dict[str, Any] | None:
    """Python's own reader takes NaN and Infinity, which real configurations hold."""
    import json

    try:
        value = json.loads(data or b"")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_index(path: Path) -> dict[str, Any] | None:
    """An index of weights, which may be longer than other files."""
    return read_object(path, _INDEX_BYTES)


def is_file(path: Path) -> bool:
    """Whether a regular file stands there; a link to nothing is none."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def licence(path: Path) -> str:
    """The licence that a model card names at its top, raw; empty if it names none."""
    try:
        with open_unseen(path) as file:
            data = file.read(_CARD_BYTES) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    except (OSError, ValueError):
        return ""
    return licence_of(data.decode("utf-8", "replace"))


def licence_of(card: str) -> str:
    """The licence in the text of a model card. Only the lines of its two keys are parsed."""
    lines = card.lstrip("\ufeff").splitlines()
    if not lines or lines[0].strip() != "---":
        return ""
    end = next((at for at, line in enumerate(lines[1:], 1) if line.strip() in ("---", "...")), len(lines))
    return licence_in({key: _value(lines[1:end], key) for key in _KEYS})


def licence_in(front: dict[str, Any]) -> str:
    """The licence of a card's values: the name of an unusual one, else its identifier."""
    name, word = _words(front.get("license_name")), _words(front.get("license"))
    return name if name and word.lower() in ("other", "unknown", "") else word


def _value(lines: list[str], key: str) -> Any:
    """The value of a top-level key, from its own lines alone."""
    start = next((at for at, line in enumerate(lines) if re.match(rf"{key}\s*:", line)), None)
    if start is None:
        return None
    end = start + 1
    while end < len(lines) and end - start < 20 and re.match(r"\s+\S|-\s", lines[end]):
        end += 1
    try:
        found = yaml.safe_load("\n".join(lines[start:end]))
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return found.get(key) if isinstance(found, dict) else None


def _words(value: Any) -> str:
    parts = value if isinstance(value, list) else [value]
    return ", ".join(str(part) for part in parts[:5] if isinstance(part, str | int | float) and str(part).strip())[:200]
