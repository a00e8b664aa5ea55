"""How long rows are: those of a file one after another for a while, or some from everywhere in it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from engine.data import Chat
from engine.worker.inspect.rows import Cursor
from engine.worker.many import marked
from engine.worker.marking import CannotRender, Marked, Marker

Check = Callable[[], None]
Proper = Callable[[Chat], None]
Found = tuple[int, Chat]
_LOOK_ROWS = 256


def counted(
    marker: Marker, cursor: Cursor, row: int, count: int, seconds: float, check: Check, proper: Proper
) -> dict[str, Any]:  # fmt: skip
    """At most ``count`` rows from ``row`` on, for about so many seconds; ``next`` is the row to go on with, if there is one.

    ``proper`` raises for a chat that no row can be counted with; so does ``check`` where nobody waits any more.
    """
    out, ended = _empty(row), False
    until, last = time.monotonic() + seconds, row + count
    lines: list[tuple[int, int, bool]] = []

    def rows() -> Iterator[Chat]:
        nonlocal ended
        for number in range(row, last):
            found = cursor.row(number, check)
            if found is None:
                ended = True
                return
            proper(found[1])
            lines.append((number, found[0], found[1].answered))
            yield found[1]
            check()
            if time.monotonic() > until:
                return

    for place, one in enumerate(marked(marker, rows())):
        _add(out, *lines[place], one)
    out["next"] = None if ended else row + len(lines)
    return out


def sampled(
    marker: Marker, rows: Iterable[Found], count: int, seconds: float, check: Check, proper: Proper
) -> dict[str, Any]:  # fmt: skip
    """``count`` rows drawn from all, or as many of them as can be counted in so many seconds; ``total`` is how many there are."""
    drawn, kept = random.Random(0), []
    total = 0
    for total, (line, chat) in enumerate(rows, 1):
        if total % _LOOK_ROWS == 0:
            check()
        place = total - 1 if total <= count else drawn.randrange(total)
        if total <= count:
            kept.append((total - 1, line, chat))
        elif place < count:
            kept[place] = (total - 1, line, chat)
    drawn.shuffle(kept)
    out, until = _empty(0), time.monotonic() + seconds

    def chats() -> Iterator[Chat]:
        for _, _, chat in kept:
            check()
            proper(chat)
            yield chat
            if time.monotonic() > until:
                return

    for (number, line, chat), one in zip(kept, marked(marker, chats()), strict=False):
        _add(out, number, line, chat.answered, one)
    return {**out, "total": total}


def _empty(row: int) -> dict[str, Any]:
    return {
        "row": row,
        "lines": [],
        "lengths": [],
        "learned": [],
        "spans": [],
        "answered": [],
        "refused": [],
        "next": None,
    }


def _add(out: dict[str, Any], row: int, line: int, answered: bool, one: Marked | CannotRender) -> None:
    length = learned = 0
    spans: list[int] = []
    if isinstance(one, CannotRender):
        out["refused"].append({"row": row, "line": line, "message": str(one)})
    else:
        length, learned, spans = len(one.ids), one.learned, spans_of(one.trained)
    values = {"lines": line, "lengths": length, "learned": learned, "spans": spans, "answered": int(answered)}
    for name, value in values.items():
        out[name].append(value)


def spans_of(trained: list[int]) -> list[int]:
    """Begin and end of each stretch of 1, one after another."""
    bits, end = bytes(trained), 0
    out: list[int] = []
    while (begin := bits.find(1, end)) >= 0:
        end = bits.find(0, begin)
        end = len(bits) if end < 0 else end
        out += (begin, end)
    return out
