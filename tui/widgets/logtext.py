"""Rows of a log as lines of a screen: cut sideways or wrapped, with matches marked."""

from __future__ import annotations

import re
from functools import lru_cache

from rich.cells import cell_len

from tui.glyphs import glyphs
from tui.watch.logrows import ERROR, PLAIN, Row
from tui.widgets.lines import Line, length

MARGIN = 2
_COLOURS = ("muted", "warning", "error")


@lru_cache(maxsize=512)
def wrapped(text: str, width: int) -> tuple[str, ...]:
    """A text in pieces of at most ``width`` cells; wide characters are never split."""
    if text.isascii():
        return tuple(text[at : at + width] for at in range(0, len(text), width)) or ("",)
    pieces, start, used = [], 0, 0
    for at, character in enumerate(text):
        size = cell_len(character)
        if used + size > width and at > start:
            pieces.append(text[start:at])
            start, used = at, 0
        used += size
    return (*pieces, text[start:])


def window(text: str, side: int, width: int) -> str:
    """The cells ``side`` to ``side + width`` of a text; an ellipsis where something is cut off."""
    mark = glyphs().ellipsis
    if side <= 0 and (len(text) <= width // 2 or (len(text) <= 4 * width and cell_len(text) <= width)):
        return text
    if side > 0:
        text = mark + _from(text, side + 1)
    if len(text) > 4 * width or cell_len(text) > width:
        return wrapped(text[: 4 * width], max(1, width - 1))[0] + mark
    return text


def _from(text: str, cell: int) -> str:
    if text.isascii():
        return text[cell:]
    used = 0
    for at, character in enumerate(text):
        if used >= cell:
            return " " * (used - cell) + text[at:]
        used += cell_len(character)
    return ""


def line(text: str, row: Row, match: re.Pattern[str] | None, *, here: bool, first: bool = True) -> Line:
    """One line of a row: its sign in the margin, then the text with the matches in reverse video."""
    colour = _COLOURS[row.level]
    matches = match is not None and match.search(row.text) is not None
    return [_sign(row, matches=matches, here=here, first=first), *_marked(text, match, colour)]


def _sign(row: Row, *, matches: bool, here: bool, first: bool) -> tuple[str, str]:
    signs = glyphs()
    if matches and first:
        return (f"{signs.cursor if here else signs.changed} ", "accent" if here else "text")
    if not first or row.level == PLAIN:
        return ("  ", "muted")
    return (f"{signs.cross if row.level == ERROR else signs.warning} ", _COLOURS[row.level])


def _marked(text: str, match: re.Pattern[str] | None, colour: str) -> Line:
    if match is None:
        return [(text, colour)]
    runs: Line = []
    end = 0
    for found in match.finditer(text):
        runs += [(text[end : found.start()], colour), (found.group(), "match")]
        end = found.end()
    return [run for run in (*runs, (text[end:], colour)) if run[0]]


def rule(dash: str, left: Line, right: Line, width: int) -> Line:
    """A rule over ``width`` cells with words at both ends; the right end is left out where there is no room."""
    if length(left) + length(right) > width - 2:
        right = []
    return [*left, (dash * max(0, width - length(left) - length(right)), "rule"), *right]
