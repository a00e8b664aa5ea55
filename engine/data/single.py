"""One row by itself."""

from __future__ import annotations

from engine.data import records
from engine.data.faults import Bad
from engine.data.mapping import to_chat
from engine.data.remarks import NO_ANSWER
from engine.data.shapes import MESSAGES, Shape

_MESSAGES = Shape(MESSAGES)


def check_row(line: bytes, shape: Shape = _MESSAGES) -> tuple[str, str, str] | None:
    """What is wrong with one row of JSON as (kind, message, hint), or ``None``.

    A row without an answer is legal but teaches nothing.
    """
    try:
        chat = to_chat(records.parsed(line), shape)
    except Bad as bad:
        return bad.kind, bad.message, bad.hint
    if chat.answered:
        return None
    return NO_ANSWER, "has no assistant's answer", "It teaches nothing with assistant-only loss"
