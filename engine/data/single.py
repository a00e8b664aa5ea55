"""One row by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from engine.data import records
from engine.data.chat import Chat
from engine.data.faults import Bad
from engine.data.mapping import to_chat
from engine.data.options import MESSAGE_FIELDS
from engine.data.remarks import NO_ANSWER
from engine.data.shapes import MESSAGES, SHAREGPT, Shape, renamed
from engine.text import clean

_MESSAGES = Shape(MESSAGES)


def _quoted(name: str) -> bytes:
    return b'"%s"' % name.encode("utf-8", "replace")


class Rows:
    """The rows of one file as chats: ``fields`` maps known names to the file's own."""

    def __init__(self, shape: Shape, fields: Mapping[str, str]) -> None:
        self._shape, self._fields = shape, dict(fields)
        own = [self._fields.get(name, name) for name in (shape.key, shape.role, shape.content)]
        self._list, self._role, self._content = (_quoted(name) for name in own)
        self._lists = shape.name in (MESSAGES, SHAREGPT)
        sides = (shape.question, shape.answer) if shape.question else (shape.key,)
        self._once = [_quoted(self._fields.get(name, name)) for name in sides]
        self._meant = {
            *own,
            *(self._fields.get(name, name) for name in sides),
            "role",
            "content",
            "system",
            "history",
            "tools",
        }

    def chat(self, item: records.Item) -> Chat:
        """The chat of one row. Raises :class:`Bad`."""
        row = records.parsed(item)
        if self._fields and type(row) is dict:
            row = with_names(row, self._fields, self._shape)
        chat = to_chat(row, self._shape)
        if type(item) is bytes:
            self._refuse_twice(item, row)
        return chat

    def _refuse_twice(self, raw: bytes, row: dict[str, Any]) -> None:
        """JSON keeps the last of two fields of one name, and the other would be lost. Counting names is cheap."""
        if self._lists:
            said = row.get(self._shape.key)
            count = len(said) if type(said) is list else 1
            if raw.count(self._list) <= 1 and raw.count(self._role) <= count and raw.count(self._content) <= count:
                return
        elif all(raw.count(name) <= 1 for name in self._once):
            return
        try:
            json.loads(raw, object_pairs_hook=self._once_each)
        except (ValueError, RecursionError):
            return

    def _once_each(self, pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        twice = next((name for name in self._meant if names.count(name) > 1), None)
        if twice is not None:
            raise Bad(
                "duplicate-field",
                f"names {clean(twice, 40)!r} twice in one object",
                "Take out the one that is not meant",
            )


def with_names(row: dict[str, Any], fields: dict[str, str], shape: Shape) -> dict[str, Any]:
    """A row whose fields, and those of its messages, go by the names that are known."""
    row = renamed(row, {known: own for known, own in fields.items() if known not in MESSAGE_FIELDS} or {})
    inner = {known: own for known, own in fields.items() if known in MESSAGE_FIELDS}
    if inner and isinstance(row.get(shape.key), list):
        row[shape.key] = [renamed(m, inner) if isinstance(m, dict) else m for m in row[shape.key]]
    return row


def check_row(line: bytes, shape: Shape = _MESSAGES) -> tuple[str, str, str] | None:
    """What is wrong with one row of JSON as (kind, message, hint), or ``None``.

    A row without an answer is legal but teaches nothing.
    """
    try:
        chat = Rows(shape, {}).chat(line)
    except Bad as bad:
        return bad.kind, bad.message, bad.hint
    if chat.answered:
        return None
    return NO_ANSWER, "has no assistant's answer", "It teaches nothing with assistant-only loss"
