"""One row as the inspector tells it, and its tokens as text that is safe and honest to draw."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from engine.text import clean
from tui.format import cells

# What a terminal would obey, hide or turn round is written out instead: the model sees it, so people should.
_HIDDEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def visible(text: str) -> str:
    """A text in which control and invisible characters are written out (``\\x1b``, ``\\u202e``); newlines stay."""
    if text.isascii() and text.isprintable():
        return text
    return cells(clean(_HIDDEN.sub(_written, text), None, keep_newlines=True))


def _written(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code == 9:
        return "\\t"
    if code == 0x0D:
        return "\\r"
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


@dataclass(frozen=True)
class Tokens:
    """A row token by token. ``trained`` is 1 where a token is learned, behind ``kept`` nothing is; ``ends`` ends a turn.

    ``count`` are all tokens of the row, of which the first are here.
    """

    line: int | None
    count: int
    kept: int
    learned: int
    way: str
    words: str
    ids: list[int]
    texts: list[str]
    trained: list[int]
    special: list[int]
    unproven: list[int] = field(default_factory=list)
    unwritten: list[str] = field(default_factory=list)
    ends: frozenset[int] = frozenset()

    @classmethod
    def of(cls, answer: dict[str, Any], facts: dict[str, Any]) -> Tokens:
        """From the inspector's answers to ``tokens`` and ``open``."""
        ends = frozenset(end["id"] for end in facts.get("ends") or [] if end)
        names = (
            "line",
            "kept",
            "learned",
            "way",
            "words",
            "ids",
            "texts",
            "trained",
            "special",
            "unproven",
            "unwritten",
        )
        return cls(count=answer["tokens"], ends=ends, **{name: answer[name] for name in names})

    @property
    def cut(self) -> int:
        """How many tokens are cut off."""
        return self.count - self.kept

    @property
    def lost(self) -> int:
        """How many of the tokens that are cut off would have been learned, as far as they are here."""
        return sum(self.trained[self.kept :])

    def colour(self, place: int) -> str:
        """What a token is: ``learned``, ``plain``, ``special``, ``learned-special`` or, cut off, ``gone``."""
        if place >= self.kept:
            return "gone"
        if self.special[place]:
            return "learned-special" if self.trained[place] else "special"
        return "learned" if self.trained[place] else "plain"

    @property
    def ends_learned(self) -> int:
        """How many tokens that end a turn are learned."""
        here = zip(self.ids[: self.kept], self.trained, strict=False)
        return sum(1 for token, bit in here if bit and token in self.ends)

    @property
    def end_lost(self) -> bool:
        """Whether tokens that end a turn would be learned, but are cut off."""
        return any(
            token in self.ends and bit
            for token, bit in zip(self.ids[self.kept :], self.trained[self.kept :], strict=True)
        )
