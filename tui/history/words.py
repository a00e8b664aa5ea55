"""Small words of the pages: a label and what is known, or that it is unknown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len

from engine.text import clean
from tui import format as fmt
from tui.glyphs import glyphs
from tui.watch.answertext import wrapped
from tui.widgets.lines import Line, length

LABEL = 11
UNKNOWN: Line = [("unknown", "muted")]


def dot() -> str:
    """What stands between two facts of one line."""
    return f" {glyphs().dot} "


def row(label: str, value: Line, width: int = LABEL) -> Line:
    """A label and its value."""
    return [(fmt.fit(label, width), "muted"), *(value or UNKNOWN)]


def rows(label: str, parts: Sequence[Line], width: int) -> list[Line]:
    """A label and its facts, in as many lines as they need; none of them are unknown."""
    lines: list[Line] = []
    for part in filter(None, parts):
        if lines and length(lines[-1]) + length(part) + len(dot()) <= width:
            lines[-1] = [*lines[-1], (dot(), "muted"), *part]
        else:
            lines.append(row("" if lines else label, list(part)))
    return lines or [row(label, [])]


def text(value: Any, colour: str = "text", limit: int = 300) -> Line:
    """A text that came from a file; nothing is unknown."""
    words = fmt.cells(clean(value, limit)).strip() if value is not None else ""
    return [(words, colour)] if words else []


def figure(label: str, value: str) -> Line:
    """A short figure with its name behind it."""
    return [(value, "value"), (f" {label}", "muted")] if value else []


def number(value: float | None, digits: int = 4) -> Line:
    """A number; what is not finite is an error, what is not there unknown."""
    if value is None:
        return []
    return [(fmt.number(value, digits) if math.isfinite(value) else fmt.loss(value), tone(value))]


def loss(value: float | None) -> Line:
    """A loss."""
    return [(fmt.loss(value), tone(value))] if value is not None else []


def tone(value: float | None) -> str:
    """The colour of a number."""
    return "value" if value is None or math.isfinite(value) else "error"


def paragraph(words: str, width: int, colour: str = "text", first: Line | None = None, indent: int = 0) -> list[Line]:
    """A cleaned text in as many lines as it needs; ``first`` stands before it, the others are indented as far."""
    before = first or []
    used = max(indent, sum(cell_len(part) for part, _ in before))
    lines = wrapped(words, max(8, width - used))
    return [[*(before if not at else [(" " * used, "text")]), (line, colour)] for at, line in enumerate(lines)]


def title(words: str, note: str = "") -> Line:
    """A heading within a page."""
    return [(words, "title"), *([(f"  {note}", "muted")] if note else [])]


def count(amount: int, what: str) -> str:
    """So many of something."""
    return f"{amount:,} {what}{'' if amount == 1 else 's'}"
