"""What can follow in a filter while it is typed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.history import fields
from engine.history.fields import FIELDS, Field
from engine.history.query import terms
from engine.history.query.values import DAY_WORDS
from engine.text import clean

if TYPE_CHECKING:
    from engine.history.summary import RunSummary

MOST = 12
_TAIL = re.compile(r"(?:^|(?<=[\s(]))[-!]?(?P<word>(?P<field>[A-Za-z_][\w-]*)(?P<sign>:|\s*(?:<=|>=|!=|=|<|>)\s*)"
                   r"(?P<value>\"[^\"]*|[^\s\"]*)|@?[\w.-]*)$")  # fmt: skip
_KEYWORDS = {"and": "both", "or": "one of them", "not": "what does not pass"}
_EXAMPLES: dict[str, tuple[str, ...]] = {fields.SECONDS: ("10m", "1h", "8h", "1d"), fields.BYTES: ("100M", "1G", "10G")}


@dataclass(frozen=True, slots=True)
class Completion:
    """``text`` in place of what stands from ``start`` to ``end``; ``help`` says what it means."""

    text: str
    start: int
    end: int
    help: str = ""


def complete(text: str, cursor: int, runs: Iterable[RunSummary] = ()) -> list[Completion]:
    """What the word at the cursor can become: fields, then the values that the runs have."""
    cursor = max(0, min(cursor, len(text)))
    match = _TAIL.search(text[:cursor])
    if match is None:
        return []
    if match.group("field") is None or match.group("sign") is None:
        start = match.start("word")
        return [Completion(word, start, cursor, what) for word, what in _words(match.group("word"))][:MOST]
    value = match.group("value")
    begun = value.rpartition(",")[2] if not value.startswith('"') else value[1:]
    start = match.end() - (len(begun) if not value.startswith('"') else len(value))
    found = _values(match.group("field"), begun.casefold(), runs)
    return [Completion(word, start, cursor, what) for word, what in found][:MOST]


def _words(begun: str) -> list[tuple[str, str]]:
    if begun.startswith("@"):
        from engine.history.query import saved

        return [(f"@{name}", text) for name, text in saved.load().items() if name.startswith(begun[1:])]
    wanted = begun.casefold().replace("-", "_")
    if not wanted:
        return [(field.name + (":" if not field.numeric else ""), field.help) for field in FIELDS.values()]
    found = {field.name: field for field in FIELDS.values() if field.name.startswith(wanted)}
    for name, field in fields.NAMES.items():
        if name.startswith(wanted):
            found.setdefault(field.name, field)
    words = [(name + (":" if not field.numeric else ""), field.help) for name, field in found.items()]
    more = {"is:": "live, stalled, resumable, …", "has:": "something is known", **_KEYWORDS}
    return words + [(word, what) for word, what in more.items() if word.startswith(wanted) and word != wanted]


def _values(name: str, begun: str, runs: Iterable[RunSummary]) -> list[tuple[str, str]]:
    if name.casefold() == "is":
        flags = {flag: words for flag, (_, words) in terms.FLAGS.items()}
        states = dict.fromkeys(terms.STATES, "its state")
        return [(flag, words) for flag, words in {**flags, **states}.items() if flag.startswith(begun)]
    if name.casefold() == "has":
        return [(field.name, field.help) for field in FIELDS.values() if field.name.startswith(begun)]
    field = fields.find(name)
    if field is None:
        return []
    if field.kind == fields.TIME:
        return [(word, "") for word in (*DAY_WORDS, "1h", "3d", "2w") if word.startswith(begun)]
    if field.numeric:
        words = _EXAMPLES.get(field.kind, ("none", "nan") if field.kind == fields.NUMBER else ("none",))
        return [(word, "") for word in words if word.startswith(begun)]
    return _seen(field, begun, runs)


def _seen(field: Field, begun: str, runs: Iterable[RunSummary]) -> list[tuple[str, str]]:
    """Values of the runs, those that begin so first, then the most frequent."""
    counted: Counter[str] = Counter()
    for run in runs:
        value = field.get(run)
        if value:
            counted.update([value] if isinstance(value, str) else value)
    found = [(text, number) for text, number in counted.items() if begun in text.casefold() and clean(text) == text]
    found.sort(key=lambda pair: (not pair[0].casefold().startswith(begun), -pair[1], pair[0]))
    return [(_quote(text), f"{number} run{'s' * (number != 1)}") for text, number in found[:MOST]]


def _quote(text: str) -> str:
    plain = not re.search(r"[\s\"'(),*?]", text) and text.casefold() not in ("none", "any")
    return text if plain else f'"{text}"' if '"' not in text else f"'{text}'"
