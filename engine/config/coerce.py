"""Turns the text of flags, form fields and YAML into the types of the schema, before pydantic checks them."""

from __future__ import annotations

from typing import Any

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}


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


def auto_or_int_list(value: Any) -> Any:
    """``auto``, one number or numbers with commas."""
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]
    if isinstance(value, str):
        word = value.strip().lower()
        if word in {"", "auto"}:
            return "auto"
        parts = [part.strip() for part in word.split(",") if part.strip()]
        return [int(part) if part.isdigit() else part for part in parts]
    return value
