"""JSON as trainers write it: bare NaN and Infinity, torn ends, lines of it; fast where it is strict."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

# A bare word that strict readers refuse, in the place of a value.
_BARE = re.compile(rb"(?<=[\s:\[,])(-?Infinity|-?inf|NaN|nan)(?=[\s,\]}])")
_FLAT = re.compile(rb"\{[^{}]*\}")
_WORDS = (b"NaN", b"Infinity", b"nan", b"inf")
# Rows that are salvaged from a damaged file.
MAX_ROWS = 1_000_000


def loads(data: bytes) -> Any:
    """The value of a JSON text; NaN and infinities may be their names as text. Raises ``ValueError`` if it is damaged."""
    try:
        return orjson.loads(data)
    except ValueError:
        pass
    for quoted in _quoted(data):
        try:
            return orjson.loads(quoted)
        except ValueError:
            continue
    if len(data) > (1 << 24):  # the slow reader is for small oddities
        raise ValueError("damaged")
    try:
        return json.loads(data.decode("utf-8", "replace"))
    except (RecursionError, MemoryError):
        raise ValueError("damaged") from None


def _quoted(data: bytes) -> Iterator[bytes]:
    """The text with bare words in quotes: as Python writes it, which is fast, then wherever they may stand."""
    if any(word in data for word in _WORDS):
        simple = data
        for word in (b"NaN", b"Infinity", b"-Infinity"):
            simple = simple.replace(b": " + word, b': "' + word + b'"')
        yield simple
        yield _BARE.sub(rb'"\1"', data)


def lines(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """The objects of a file of JSON lines, and how many lines were damaged; a torn last one is not counted."""
    texts = data.split(b"\n")
    last = texts.pop()
    rows = _all(texts)
    damaged = 0
    if rows is None:
        rows = []
        for text in texts:
            if text.strip():
                found = _one(text)
                if found is None:
                    damaged += 1
                else:
                    rows.append(found)
    final = _one(last) if last.strip() else None
    if final is not None:
        rows.append(final)
    return rows, damaged


def _all(texts: list[bytes]) -> list[dict[str, Any]] | None:
    """All lines in one go, much faster; ``None`` if any of them is damaged."""
    whole = b"[" + b",".join([text for text in texts if text.strip()]) + b"]"
    try:
        rows = orjson.loads(whole)
    except ValueError:
        for quoted in _quoted(whole):
            try:
                rows = orjson.loads(quoted)
                break
            except ValueError:
                continue
        else:
            return None
    return rows if all(type(row) is dict for row in rows) else None


def _one(text: bytes) -> dict[str, Any] | None:
    try:
        row = loads(text)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def salvage(data: bytes) -> list[dict[str, Any]]:
    """The flat objects in a text that is damaged or has no beginning, in order."""
    rows = []
    for match in _FLAT.finditer(data):
        row = _one(match[0])
        if row:
            rows.append(row)
            if len(rows) >= MAX_ROWS:
                break
    return rows


def keys(data: bytes, names: tuple[str, ...]) -> dict[str, Any]:
    """Values of top-level keys in a damaged text, as far as they are plain."""
    found: dict[str, Any] = {}
    for name in names:
        match = re.search(rb'"%s":\s*("[^"\n]{0,4096}"|[-+.\w]{1,64})' % name.encode(), data)
        if match:
            try:
                found[name] = loads(match[1])
            except ValueError:
                continue
    return found
