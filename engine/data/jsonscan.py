"""Where the elements of a large JSON text begin and end, found without holding more than one of them."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import IO

from engine.data.faults import Bad, Note
from engine.text import clean

# Everything up to the next bracket that stands outside a string; possessive, so that it never goes back.
_NEXT = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+[\[\]{}]', re.S)
_KEY = re.compile(rb'"((?:[^"\\]|\\.)*)"\s*:\s*\Z', re.S)
_PLAIN = re.compile(rb"[^\[\]{}]*")
_SPEAKER = re.compile(rb'"(?:role|from)"\s*:')
_BLOCK = 1 << 20
MAX_ROW = 64 << 20
_OPEN = b"[{"
_BLANK = b" \t\r\n,"


def too_long() -> Bad:
    """That one row is longer than can be sense."""
    return Bad("row-too-long", f"is longer than {MAX_ROW >> 20} MB", "Cut it into several rows")


def speaks(head: bytes) -> bool:
    """Whether a list that begins so holds messages, and no rows."""
    within = _PLAIN.match(head, head.find(b"{") + 1)
    return within is not None and _SPEAKER.search(within.group()) is not None


def list_key(head: bytes) -> str | None:
    """The key of the first list of objects in an object whose beginning this is; ``None`` if the objects are messages."""
    depth, place, key = 0, 0, None
    for match in _NEXT.finditer(head):
        bracket = head[match.end() - 1 : match.end()]
        if bracket in (b"[", b"{"):
            if key is not None and depth == 2 and not head[place : match.end() - 1].strip():
                within = _PLAIN.match(head, match.end())
                return None if within and _SPEAKER.search(within.group()) else key
            depth += 1
            found = (
                _KEY.search(head[max(place, match.end() - 4096) : match.end() - 1])
                if depth == 2 and bracket == b"["
                else None
            )
            key = found.group(1).decode("utf-8", "replace") if found else None
        else:
            depth -= 1
            key = None
        place = match.end()
        if depth <= 0:
            break
    return None


def _word(key: bytes) -> str:
    return clean(key.decode("utf-8", "replace"), 40)


def elements(stream: IO[bytes], layout: str) -> Iterator[tuple[int, bytes | Bad]]:
    """Line and text of each element of a list, of a list in an object, or of values one after another.

    What stands between elements and is none (a bare number, a stray word) comes as an element of its own.
    """
    yield from _Scan(stream, layout).run()


class _Scan:
    """``level`` is the depth at which elements stand; ``None`` until the list in an object is found."""

    def __init__(self, stream: IO[bytes], layout: str) -> None:
        self.stream = stream
        self.level: int | None = {"values": 0, "list": 1}.get(layout)
        self.layout = layout
        self.buffer = b""
        self.depth = 0
        self.start = -1  # of the element that has begun
        self.over = False
        self._elements = 0
        self._key = b""  # of the list that has just begun
        self._read = ""  # the key of the list that is read
        self._begun = False
        self._line, self._counted = 1, 0

    def run(self) -> Iterator[tuple[int, bytes | Bad]]:
        """All elements."""
        place, misses = 0, 0
        while True:
            match = _NEXT.match(self.buffer, place)
            if match is not None:
                yield from self._bracket(place, match.end() - 1)
                place, misses = match.end(), 0
                continue
            # Long strings are looked through again from their beginning: read ever more of them at a time.
            more = self.stream.read(_BLOCK << min(misses, 4))
            if not more:
                break
            misses += 1
            if not self.buffer and not self._begun:
                more, self._begun = more.removeprefix(codecs.BOM_UTF8), True
            begun = self.start if self.start >= 0 else place
            self._forget(begun)
            place, self.start = place - begun, (0 if self.start >= 0 else -1)
            if len(self.buffer) > MAX_ROW:
                yield self._number(0), too_long()
                return
            self.buffer += more
        yield from self._end(place)

    def _bracket(self, place: int, at: int) -> Iterator[tuple[int, bytes | Bad]]:
        """One bracket; what came before it since the last one begins at ``place``."""
        opens = self.buffer[at] in _OPEN
        if self.over and self.layout == "list":
            if opens and self.depth == 0:  # to leave out what follows as if it were one row would lose rows
                why = (
                    f"broken JSON: another list or object begins in line {self._number(at)}, after the end of the list"
                )
                raise Bad("broken-json", why, "Keep one list in a file")
        elif self.level is None:
            self._look_for_list(place, at, opens)
        elif opens and self.depth == self.level and self.start < 0 and not self.over:
            yield from self._between(place, at, 0 if self.layout == "values" or not self._elements else 1)
            self.start = at
        elif not opens and self.depth == self.level + 1 and self.start >= 0:
            yield self._number(self.start), self.buffer[self.start : at + 1]
            self.start = -1
            self._elements += 1
        elif not opens and self.depth == self.level and not self.over:
            yield from self._between(place, at, 0)
            self.over = self.layout in ("list", "object")
        elif self.over and self.layout == "object":
            yield from self._further(place, at, opens)
        if not opens and self.depth == 0:
            yield self._number(at), self.buffer[at : at + 1]  # closes what was never opened
        else:
            self.depth += 1 if opens else -1

    def _look_for_list(self, place: int, at: int, opens: bool) -> None:
        """Whether the first element of the list in an object begins here."""
        if opens and self._key and not self.buffer[place:at].strip():
            self.level, self.start, self._read = self.depth, at, _word(self._key)
            return
        self._key = self._list_key(place, at, opens)

    def _list_key(self, place: int, at: int, opens: bool) -> bytes:
        """The key of a list in the object that begins here."""
        a_list = opens and self.depth == 1 and self.buffer[at : at + 1] == b"["
        found = _KEY.search(self.buffer[max(place, at - 4096) : at]) if a_list else None
        return found.group(1) if found else b""

    def _further(self, place: int, at: int, opens: bool) -> Iterator[tuple[int, Bad]]:
        """Say that another list of objects follows."""
        if opens and self._key and not self.buffer[place:at].strip():
            why = f"also holds objects under {_word(self._key)!r}, which are not read: the rows are those under {self._read!r}"
            yield self._number(at), Note("further-list", why, "Give them a file of their own if they are data, too")
        self._key = self._list_key(place, at, opens)

    def _end(self, place: int) -> Iterator[tuple[int, bytes | Bad]]:
        rest = self.buffer[place:].lstrip(_BLANK)
        if self.start >= 0 or self.depth > 0:
            why = "broken JSON: the file ends in the middle of it"
            where = self.start if self.start >= 0 else place
            yield self._number(where), Bad("broken-json", why, "It was cut off: copy or download it again")
        elif rest and (not self.over or self.layout == "list"):
            yield self._number(len(self.buffer) - len(rest)), rest.rstrip(_BLANK)

    def _between(self, begin: int, end: int, commas: int) -> Iterator[tuple[int, bytes | Bad]]:
        """What stands between two rows, or before the end: nothing but so many commas."""
        gap = self.buffer[begin:end]
        if not gap.strip(_BLANK) and gap.count(b",") != commas:
            if commas and b"," not in gap:
                why, hint = "there is no comma before this row", "Put one there"
            else:
                why, hint = "a comma stands where none belongs", "Take it out; was a row lost there?"
            yield self._number(end), Bad("broken-json", f"broken JSON: {why}", hint)
        for word in gap.strip(_BLANK).split(b","):
            if word.strip():
                yield self._number(begin + len(gap) - len(gap.lstrip(_BLANK))), word.strip()

    def _number(self, place: int) -> int:
        """The line of a place in the buffer; places are asked for in rising order."""
        if place > self._counted:
            self._line += self.buffer.count(b"\n", self._counted, place)
            self._counted = place
        return self._line

    def _forget(self, place: int) -> None:
        self._number(place)
        self.buffer = self.buffer[place:]
        self._counted = max(0, self._counted - place)
