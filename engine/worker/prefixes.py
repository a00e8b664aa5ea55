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
    writes after the last turn only. ``footer``: there are words after it that belong to no turn; ``specials`` are the tokens
    that are never split.
    """

    opens: bool = True
    tail: str = ""
    footer: bool = False
    specials: tuple[str, ...] = field(default=(), compare=False, repr=False)


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
        if start is None or end is None or start >= end or not _says(found.text[start:end], message):
            found.unproven.append(number)
        else:
            found.spans.append((start, end))
    return found


def habits_of(render: Render, specials: Iterable[str]) -> Habits:
    """Learn a template's habits from a chat of one question; ``specials`` are the tokens that are never split."""
    question, chat, specials = [USER], [USER, ANSWER], tuple(specials)
    alone, asked = render(question, False), render(question, True)
    whole = render(chat, False)
    place = len(common(alone, whole))
    tail = alone[min(_snapped(text, place, specials) for text in (alone, whole)) :]
    if tail and (USER["content"] in tail or not whole.endswith(tail)):
        tail = ""
    footer, foot = _footer(render, alone, whole, specials)
    tail = foot or tail
    header = _header(render, question)
    if not alone.startswith(asked) or header is None or not header.startswith(asked):
        return Habits(True, tail, footer, specials)
    # Nothing is added to ask for an answer: the header, if there is one, is known from what two answers have in common.
    return Habits(not header[len(asked) :].strip(), tail, footer, specials)


def _says(text: str, message: Message) -> bool:
    """Whether what an answer says stands in a text as it is in the data, but for space, and for thoughts before it.

    Beside a call of a tool some templates write nothing else.
    """
    content = message.get("content")
    if not isinstance(content, str) or content in text or message.get("tool_calls"):
        return True
    return "".join(content.rpartition("</think>")[2].split()) in "".join(text.split())


def _footer(render: Render, alone: str, whole: str, specials: tuple[str, ...]) -> tuple[bool, str]:
    """Whether words that are no part of an answer stand behind one that ends a chat, as behind a question that does.

    And those words, where they are always the same.
    """
    longer = tried(render, [USER, ANSWER, USER])
    rest = "" if longer is None else _behind(ANSWER, whole, longer, specials)
    if not _has_words(rest, specials):
        return False, ""
    if alone.endswith(rest):
        return True, rest
    return _has_words(_behind(USER, alone, whole, specials), specials), ""


def _behind(last: Message, text: str, longer: str, specials: tuple[str, ...]) -> str:
    """What a text holds behind its last message where a longer chat goes on."""
    said = last["content"]
    if said not in text or said not in longer:
        return ""
    rest, others = text.rpartition(said)[2], longer.rpartition(said)[2]
    return rest[_snapped(rest, len(common(rest, others)), specials) :]


def _has_words(text: str, specials: tuple[str, ...]) -> bool:
    for special in specials:
        text = text.replace(special, "")
    return bool(text.strip())


def _end(render: Render, messages: list[Message], number: int, text: str, habits: Habits) -> int | None:
    last = number == len(messages) - 1
    if last and not habits.footer:
        return len(text)
    longer = tried(render, [*messages, USER] if last else messages[: number + 1])
    end = _shared(text, longer, habits.specials) if last else _length_of_prefix(longer, text, habits.tail)
    return end if end is None or not habits.footer else _closed(text, messages[number], end, habits.specials)


def _shared(text: str, longer: str | None, specials: tuple[str, ...]) -> int | None:
    """Where a chat that goes on becomes another text."""
    if longer is None:
        return None
    place = len(common(text, longer))
    return min(_snapped(one, place, specials) for one in (text, longer))


def _closed(text: str, message: Message, end: int, specials: tuple[str, ...]) -> int:
    """The end of a turn in front of a footer: that may begin as another turn does, after what closes this one."""
    said = str(message.get("content")).rpartition("</think>")[2].strip()
    begin = text.rfind(said, 0, end) + len(said) if said and said in text[:end] else end
    closing = [(at, special) for special in specials if (at := text.find(special, begin, end)) >= 0]
    return min(at + len(special) for at, special in closing) if closing else end


def _start(render: Render, messages: list[Message], number: int, text: str, habits: Habits) -> int | None:
    before = messages[:number]
    if before and habits.opens:
        asked = tried(render, before, True)
        if asked is not None and text.startswith(asked):
            return len(asked)
    least = _length_of_prefix(tried(render, before), text, habits.tail) if before else 0
    header = _header(render, before)
    if least is None or header is None or len(header) < least or not text.startswith(header):
        return None
    return len(header)


def _header(render: Render, before: list[Message]) -> str | None:
    """What comes before an answer, whatever it is: the beginning that two different answers have in common."""
    one, two = (tried(render, [*before, {"role": "assistant", "content": word}]) for word in _WORDS)
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


def tried(render: Render, messages: list[Message], asks: bool = False) -> str | None:
    """What is rendered of a chat, or ``None`` where the template refuses it."""
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
