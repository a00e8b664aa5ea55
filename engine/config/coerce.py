"""Turns the text of flags, form fields and YAML into the types of the schema, before pydantic checks them."""

from __future__ import annotations

import json
from typing import Any

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}
TEXT_MARK = " | "


def auto_or_flag(value: Any) -> Any:
    """``auto`` stays; the usual words for yes and no become booleans; all else is left for the schema to refuse."""
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        return word
    return value


def empty_is_none(value: Any) -> Any:
    """An empty text, or the words none and null, mean: not set."""
    if isinstance(value, str) and value.strip().lower() in {"", "none", "null"}:
        return None
    return value


def word_or_list(value: Any) -> Any:
    """``a, b`` becomes a list; ``all-linear`` stays a word; empty becomes ``None``."""
    if isinstance(value, str):
        words = [word.strip() for word in value.split(",") if word.strip()]
        if words == ["all-linear"]:
            return "all-linear"
        return None if not words or [word.lower() for word in words] in (["none"], ["null"]) else words
    return value


def files(value: Any) -> Any:
    """A list of files becomes one text with commas between; empty becomes ``None``."""
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ",".join(item.strip() for item in value)
    return empty_is_none(value)


def text_list(value: Any) -> Any:
    """One text, several with `` | `` between, or a JSON list; empty becomes ``None``. A list's own texts stay whole."""
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in {"", "none", "null"}:
            return None
        if text.startswith("["):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                pass  # a text that begins so
        if isinstance(value, str):
            value = text.split(TEXT_MARK)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return [item.strip() for item in value if item.strip()] or None
    return value


def joined_texts(texts: list[str]) -> str:
    """Texts as one would type them: what :func:`text_list` reads back."""
    mark = TEXT_MARK.strip()
    if any(mark in text or "\n" in text or text.startswith("[") for text in texts) or (
        len(texts) == 1 and texts[0].lower() in {"none", "null"}
    ):
        return json.dumps(texts, ensure_ascii=False)
    return TEXT_MARK.join(texts)


def auto_or_int_list(value: Any) -> Any:
    """``auto``, one number or numbers with commas."""
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]
    if isinstance(value, str):
        word = value.strip().lower()
        if word in {"", "auto"}:
            return "auto"
        parts = [part.strip() for part in word.split(",") if part.strip()]
        return [int(part) if part.isdecimal() and len(part) < 20 else part for part in parts]
    if isinstance(value, list):  # Python takes True for 1
        return [str(part) if isinstance(part, bool) else part for part in value]
    return value
