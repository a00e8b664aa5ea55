"""Finds rows by their text, as the file has it: without the words of the chat template."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

from engine.data import Chat, numbered_chats
from tui.preview.asked import Asked

TELL_SECONDS = 0.2


def text_of(chat: Chat) -> str:
    """All words of a row."""
    if chat.text is not None:
        return chat.text
    parts = [str(message.get("content") or "") for message in chat.messages]
    extra = [message["tool_calls"] for message in chat.messages if message.get("tool_calls")]
    if chat.tools:
        extra.append(chat.tools)
    return "\n".join([*parts, *(json.dumps(item, ensure_ascii=False, default=str) for item in extra)])


def matcher(needle: str) -> Callable[[str], bool]:
    """Whether a text holds the needle; capitals count only if it has some."""
    if needle != needle.lower():
        return lambda text: needle in text
    return lambda text: needle in text.lower()


def find(
    asked: Asked, needle: str, place: tuple[int, int], *, back: bool = False, looked: Callable[[int], None]
) -> tuple[int, int] | None:
    """The next row with the needle after ``place`` (or the one before), round and round; ``None`` if there is none.

    ``looked`` hears how many rows were looked at and may raise. Raises what the reading of the files raises.
    """
    holds, last, told = matcher(needle), None, time.monotonic()
    first: tuple[int, int] | None = None
    before: tuple[int, int] | None = None
    for count, (here, chat) in enumerate(_rows(asked), 1):
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            looked(count)
        if back and before is not None and here >= place:
            return before
        if not holds(text_of(chat)):
            continue
        if not back and here > place:
            return here
        first = here if first is None else first
        last = here
        if here < place:
            before = here
    return (before or last) if back else first


def _rows(asked: Asked) -> Iterator[tuple[tuple[int, int], Chat]]:
    for file, source in enumerate(asked.sources):
        for row, (_, chat) in enumerate(numbered_chats(source.path, asked.reading)):
            yield (file, row), chat
