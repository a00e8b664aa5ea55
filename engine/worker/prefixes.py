"""Finds the assistant's turns in a rendered chat by rendering its beginnings, and proves each on the text itself.

A template that writes earlier turns the same whatever follows them is prefix-preserving: the rendering of the chat up to
a turn stands at the beginning of the whole rendering. Where that holds for the chat before a turn (with the words that
ask for an answer) and for the chat with it, the turn lies between the two ends. Where it does not hold, nothing is known
about the turn, and it is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]
# Messages, and whether the words that ask for an answer are added; raises whatever the template raises.
Render = Callable[[list[Message], bool], str]
_WORDS = ("alpha", "omega")  # two answers without a common beginning
USER = {"role": "user", "content": "Hello there"}
ANSWER = {"role": "assistant", "content": "Good day"}


@dataclass(frozen=True, slots=True)
class Habits:
    """What a template does with every chat.

    ``opens``: what it adds to ask for an answer leads right to the answer, as it stands in a whole chat. ``tail``: what it
    writes after the last turn only.
    """

    opens: bool = True
    tail: str = ""


@dataclass(slots=True)
class Found:
    """A rendered chat, where the assistant's turns are in it, and which of its messages could not be proven."""

    text: str
    spans: list[tuple[int, int]] = field(default_factory=list)
    unproven: list[int] = field(default_factory=list)


def find(render: Render, messages: list[Message], habits: Habits) -> Found:
    """Render a chat and find what its assistant says, the end of each turn included, the header not."""
    found = Found(render(messages, False))
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        end = _end(render, messages, number, found.text, habits)
        start = None if end is None else _start(render, messages, number, found.text, habits)
        if start is None or end is None or start >= end:
            found.unproven.append(number)
        else:
            found.spans.append((start, end))
    return found


def habits_of(render: Render, specials: Iterable[str]) -> Habits:
    """Learn a template's habits from a chat of one question; ``specials`` are the tokens that are never split."""
    question, chat = [USER], [USER, ANSWER]
    alone, asked = render(question, False), render(question, True)
    whole = render(chat, False)
    tail = alone[_snapped(alone, len(common(alone, whole)), specials) :]
    if tail and (USER["content"] in tail or not whole.endswith(tail)):
        tail = ""
    header = _header(render, question)
    if asked != alone or header is None or not header.startswith(asked):
        return Habits(True, tail)
    # Nothing is added to ask for an answer: the header, if there is one, is known from what two answers have in common.
    return Habits(not header[len(asked) :].strip(), tail)


def _end(render: Render, messages: list[Message], number: int, text: str, habits: Habits) -> int | None:
    if number == len(messages) - 1:
        return len(text)
    return _length_of_prefix(_tried(render, messages[: number + 1]), text, habits.tail)


def _start(render: Render, messages: list[Message], number: int, text: str, habits: Habits) -> int | None:
    before = messages[:number]
    if before and habits.opens:
        asked = _tried(render, before, True)
        if asked is not None and text.startswith(asked):
            return len(asked)
    least = _length_of_prefix(_tried(render, before), text, habits.tail) if before else 0
    header = _header(render, before)
    if least is None or header is None or len(header) < least or not text.startswith(header):
        return None
    return len(header)


def _header(render: Render, before: list[Message]) -> str | None:
    """What comes before an answer, whatever it is: the beginning that two different answers have in common."""
    one, two = (_tried(render, [*before, {"role": "assistant", "content": word}]) for word in _WORDS)
    if one is None or two is None or one == two:
        return None
    header = common(one, two)
    return header if one.startswith(_WORDS[0], len(header)) and two.startswith(_WORDS[1], len(header)) else None


def _length_of_prefix(beginning: str | None, text: str, tail: str) -> int | None:
    if beginning is None:
        return None
    if text.startswith(beginning):
        return len(beginning)
    if tail and beginning.endswith(tail) and text.startswith(beginning[: -len(tail)]):
        return len(beginning) - len(tail)
    return None


def _tried(render: Render, messages: list[Message], asks: bool = False) -> str | None:
    try:
        return render(messages, asks)
    except Exception:  # a template with rules of its own refuses this beginning; nothing is proven then
        return None


def common(one: str, two: str) -> str:
    """The beginning that two texts share."""
    length = min(len(one), len(two))
    for place in range(length):
        if one[place] != two[place]:
            return one[:place]
    return one[:length]


def _snapped(text: str, place: int, specials: Iterable[str]) -> int:
    """``place``, moved before a special token that it would split."""
    for special in specials:
        for start in range(max(0, place - len(special) + 1), place):
            if text.startswith(special, start):
                return start
    return place
