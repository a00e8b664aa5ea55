"""A log's bytes as rows ready to draw: where rows begin does not depend on where reading began.

The file is seen as blocks of :data:`BLOCK` bytes; a row belongs to the block in which it begins. A line that fills a
whole block is cut at the block's end (or behind its last carriage return), so a block is read with its neighbours only.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from engine.text import clean
from tui.format import cells

BLOCK = 64 * 1024
PLAIN, WARNING, ERROR = 0, 1, 2

_CONTEXT = 32 * 1024
_UPWARDS = re.compile(rb"\x1b\[\d*[AF]")
_STEPS = re.compile(rb"(\n|\r+|\x1b\[\d*[AF])")
_ALARMING = (b"error", b"warn", b"fatal", b"killed", b"exception", b"traceback", b"critical", b"fault", b"dumped")
_BAD = re.compile(
    r"[A-Z]\w*(?:Error|Exception)\b|\b(?:ERROR|Error|error|FATAL|Fatal|fatal|CRITICAL|Killed|Segmentation fault)\b"
    r"|Traceback \(most recent|core dumped"
)
_WARN = re.compile(r"Warning\b|\b(?:WARNING|warning|WARN|warn)\b")
_BAR = re.compile(r"\s*\d+%\|")
_CHAINED = re.compile(r"(?:During handling of the above|The above exception was) ")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a log: the offset of its first byte, its text (clean, in cells), and how bad it is."""

    at: int
    text: str
    level: int = PLAIN


@dataclass(frozen=True, slots=True)
class Block:
    """The rows that begin in a block; ``high`` is the offset behind the last one that is complete."""

    rows: tuple[Row, ...]
    high: int
    cost: int


def alarming(lowered: bytes) -> bool:
    """Whether there may be a warning or an error in these bytes, in small letters."""
    return any(word in lowered for word in _ALARMING)


def read_block(fd: int, number: int, size: int) -> Block:
    """Read one block of a file that has ``size`` bytes (raises OSError)."""
    start = number * BLOCK
    low, high = max(0, start - BLOCK), min(size, start + 2 * BLOCK + 4)
    data = os.pread(fd, high - low, low)
    size = min(size, low + len(data)) if len(data) < high - low else size
    origin = start - low
    first = _first(data, origin)
    if first < 0 or first >= len(data):
        return Block((), min(size, start + BLOCK), 0)
    end, finished = _end(data, origin, low + len(data) >= size)
    dropped = end < len(data) and data[end - 1 : end] == b"\r" and data[end : end + 1] not in (b"\n", b"\r")
    lines = _lines(data[first:end], low + first)
    if dropped and lines:
        lines.pop()
    rows = _rows(lines, data[:first], data[first:end])
    complete = rows[-1].at if rows and not finished and low + end >= size else low + end
    return Block(rows, complete, sum(len(row.text) + 150 for row in rows))


def _first(data: bytes, origin: int) -> int:
    """Where the first row of the block begins in ``data``; -1: none begins in it."""
    if origin == 0 or data[origin - 1 : origin] == b"\n":
        return origin
    if data.find(b"\n", 0, origin) < 0:
        return _cut(data, 0, origin)
    found = data.find(b"\n", origin, origin + BLOCK - 1)
    return found + 1 if found >= 0 else -1


def _end(data: bytes, origin: int, to_end: bool) -> tuple[int, bool]:
    """Where the block's last row ends in ``data``, and whether with a newline."""
    edge = origin + BLOCK
    if len(data) <= edge and to_end:
        return len(data), data.endswith(b"\n")
    if data[edge - 1 : edge] == b"\n":
        return edge, True
    if data.find(b"\n", origin, edge) < 0:
        return _cut(data, origin, edge), False
    found = data.find(b"\n", edge, edge + BLOCK)
    if found >= 0:
        return found + 1, True
    if to_end and len(data) <= edge + BLOCK:
        return len(data), False
    return _cut(data, edge, edge + BLOCK), False


def _cut(data: bytes, low: int, edge: int) -> int:
    """Where a line without end is cut at ``edge``: behind a bar's carriage return, never within a character."""
    back = data.rfind(b"\r", low, edge)
    if back >= 0:
        return back + 1
    while edge > low and edge < len(data) and data[edge] & 0xC0 == 0x80:
        edge -= 1
    return edge


def _lines(data: bytes, at: int) -> list[tuple[int, bytes]]:
    """The lines with their offsets; of a line that was rewritten only the last version."""
    if _UPWARDS.search(data):
        return _played(data, at)
    lines = []
    parts = data.split(b"\n")
    if not parts[-1]:
        parts.pop()
    rewritten = b"\r" in data
    for part in parts:
        lines.append((at, _last_version(part) if rewritten and b"\r" in part else part))
        at += len(part) + 1
    return lines


def _last_version(line: bytes) -> bytes:
    line = line.rstrip(b"\r")
    return line[line.rfind(b"\r") + 1 :]


def _played(data: bytes, at: int) -> list[tuple[int, bytes]]:
    """As :func:`_lines`, for several bars that are rewritten by moving the cursor up."""
    lines: list[tuple[int, bytes]] = [(at, b"")]
    row, fresh = 0, False
    for step in _STEPS.split(data):
        if step == b"\n":
            row, fresh = row + 1, False
            if row == len(lines):
                lines.append((at + 1, b""))
        elif step.startswith(b"\r"):
            fresh = True
        elif _UPWARDS.fullmatch(step):
            row, fresh = max(0, row - int(step[2:-1] or 1)), True
        elif step:
            lines[row] = (lines[row][0], step if fresh else lines[row][1] + step)
            fresh = False
        at += len(step)
    if len(lines) > 1 and not lines[-1][1]:
        lines.pop()
    return lines


def _rows(lines: list[tuple[int, bytes]], before: bytes, own: bytes) -> tuple[Row, ...]:
    texts = [(at, cells(clean(line.decode("utf-8", "replace"), None)).rstrip()) for at, line in lines]
    before = before[-_CONTEXT:]
    begun = b"Traceback (" in before
    if not begun and not alarming(own.lower()):
        return tuple(Row(at, text) for at, text in texts)
    judge = _Judge()
    if begun:
        for line in before.split(b"\n")[1:-1]:
            judge.level(clean(line.decode("utf-8", "replace"), 2000))
    return tuple(Row(at, text, judge.level(text)) for at, text in texts)


class _Judge:
    """Says how bad lines are; all lines of a traceback belong to its error."""

    def __init__(self) -> None:
        self._prefix: str | None = None
        self._ended = False

    def level(self, text: str) -> int:
        """The level of the next line."""
        start = text.find("Traceback (most recent call last)")
        if start >= 0:
            self._prefix, self._ended = text[:start], False
            return ERROR
        if self._prefix is not None:
            if self._belongs(text):
                return ERROR
            self._prefix = None
        if _BAD.search(text):
            return ERROR
        return WARNING if _WARN.search(text) else PLAIN

    def _belongs(self, text: str) -> bool:
        """Whether a line goes on with the traceback; the error's own line ends it, unless another follows."""
        prefix = self._prefix or ""
        body = text[len(prefix) :] if text.startswith(prefix) else text
        if self._ended:
            return not body.strip() or bool(_CHAINED.match(body)) or (body.startswith(" ") and not _BAR.match(body))
        if body.startswith((" ", "|", "+")) or not body.strip():
            return True
        self._ended = True
        return True
