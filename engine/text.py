"""The only door through which untrusted text reaches a terminal.

Escape sequences that are drawn raw can move the cursor, set the clipboard (OSC 52) or hide text (bidi overrides);
Textual and Rich pass them through. Every string that came from a file, a path, a log, a model or the network goes
through :func:`clean` first.
"""

from __future__ import annotations

import re

# CSI (incl. 8-bit), OSC/DCS/SOS/PM/APC up to their terminator (or the end of the line), other two-byte escapes.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
_BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_INVISIBLE = "\u200b\u2060\ufeff\u00ad\u2028\u2029"
_CONTROL = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}{_INVISIBLE}\ud800-\udfff]")
TAB_WIDTH = 4
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean(text: object, limit: int | None = 10_000, *, keep_newlines: bool = False) -> str:
    """Make any text safe to draw, in one line unless ``keep_newlines``.

    Escape sequences are dropped, of a line that was rewritten with carriage returns only the last version stays (as a
    terminal would show it), other control and bidirectional characters become U+FFFD, tabs become spaces. More than
    ``limit`` characters are cut, the cut marked with an ellipsis.
    """
    source = text if isinstance(text, str) else str(text)
    if limit is not None and len(source) > 8 * limit:
        source = source[: 8 * limit]
    if source.isascii() and source.isprintable():
        return _cut(source, limit)
    source = _ESCAPES.sub("", source).replace("\r\n", "\n")
    lines = source.split("\n")
    if "\r" in source:
        lines = [_last_version(line) for line in lines]
    lines = [_CONTROL.sub(REPLACEMENT, line.replace("\t", " " * TAB_WIDTH)) for line in lines]
    return _cut(("\n" if keep_newlines else " ").join(lines), limit)


def clean_path(path: object, limit: int | None = 4096) -> str:
    """A file path for the screen: undecodable bytes (surrogate escapes) become U+FFFD."""
    return clean(path, limit)


def shorten_path(path: object, width: int) -> str:
    """A cleaned path of at most ``width`` characters, cut at its beginning, where paths differ least."""
    text = clean_path(path)
    return text if len(text) <= width else "…" + text[-(width - 1) :] if width > 1 else text[:width]


def _last_version(line: str) -> str:
    parts = [part for part in line.split("\r") if part]
    return parts[-1] if parts else ""


def _cut(text: str, limit: int | None) -> str:
    if limit is None or len(text) <= limit:
        return text
    return text[: max(0, limit - 1)] + "…"
