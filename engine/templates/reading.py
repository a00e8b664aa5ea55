"""Reads chat templates and the control tokens of tokenizers from a model's files, without any heavy library."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import orjson

# Every tokenizer.json seen begins with its added tokens; the vocabulary after them is not read.
_HEAD_BYTES = 4 * 2**20
_LARGEST_CONFIG = 64 * 2**20
_LARGEST_TEMPLATE = 1_100_000  # more than is taken for one


def own(folder: Path) -> str | None:
    """The chat template of a model directory (the default one, where there are several)."""
    for file in (folder / "chat_template.jinja", folder / "additional_chat_templates" / "default.jinja"):
        try:
            text = _text(file) if file.is_file() else ""
        except (OSError, UnicodeDecodeError):
            continue
        if text.strip():
            return text
    for file in (folder / "chat_template.json", folder / "tokenizer_config.json"):
        template = _json(file).get("chat_template")
        if isinstance(template, str) and template.strip():
            return template
        if isinstance(template, list):
            named = {t.get("name"): t.get("template") for t in template if isinstance(t, dict)}
            found = named.get("default") or next(iter(named.values()), None)
            if isinstance(found, str):
                return found
    return None


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds the files of a tokenizer."""
    names = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "tekken.json")
    return any((folder / name).is_file() for name in names)


def fault(template: str) -> tuple[int | None, str]:
    """What keeps a chat template from being read, with its line; an empty text if nothing does."""
    from engine.templates import parsing  # jinja is loaded by those who have a template

    return parsing.unreadable(template)


def _text(file: Path) -> str:
    """Of a file that is far too large for a template the beginning, which is enough to see that."""
    with file.open(encoding="utf-8-sig") as stream:
        return stream.read(_LARGEST_TEMPLATE)


def control_tokens(folder: Path) -> frozenset[str] | None:
    """The tokens that the tokenizer never splits; ``None`` where its files do not tell them."""
    found: set[str] = set()
    told = False
    for listed in (_added(folder / "tokenizer.json"), _decoder(_json(folder / "tokenizer_config.json"))):
        if listed is not None:
            told = True
            found |= listed
    more = _json(folder / "added_tokens.json")
    found |= {word for word in more if isinstance(word, str)}
    return frozenset(found) if told or more else None


def model_facts(folder: Path) -> tuple[str, int]:
    """``model_type`` and the size of the vocabulary from config.json; empty and 0 where they are not told."""
    config = _json(folder / "config.json")
    text = config.get("text_config")
    size = config.get("vocab_size") or (text.get("vocab_size") if isinstance(text, dict) else None)
    kind = config.get("model_type")
    return kind if isinstance(kind, str) else "", size if isinstance(size, int) else 0


def _added(file: Path) -> set[str] | None:
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    start = re.search(r'"added_tokens"\s*:\s*(?=\[)', head)
    if start is None:
        return None
    try:
        listed, _ = json.JSONDecoder().raw_decode(head, start.end())
    except (ValueError, RecursionError):
        return None
    return {item["content"] for item in listed if isinstance(item, dict) and isinstance(item.get("content"), str)}


def _decoder(config: dict[str, Any]) -> set[str] | None:
    listed = config.get("added_tokens_decoder")
    if not isinstance(listed, dict):
        return None
    items = (item.get("content") for item in listed.values() if isinstance(item, dict))
    return {item for item in items if isinstance(item, str)}


def _json(file: Path) -> dict[str, Any]:
    try:
        status = file.stat()
        usual = stat.S_ISREG(status.st_mode) and status.st_size <= _LARGEST_CONFIG  # a pipe would be waited for
        value = orjson.loads(file.read_bytes()) if usual else None
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
