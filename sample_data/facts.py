"""Reads text/facts*.txt: the bilingual facts that both the plain corpus and the sample rows speak of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TEXT = Path(__file__).resolve().parent / "text"
LANGUAGES = ("en", "ko")


@dataclass(frozen=True)
class Side:
    """One fact in one language; every field but the topic is a whole sentence."""

    topic: str
    question: str
    short: str
    why: str
    next: str


@dataclass(frozen=True)
class Fact:
    domain: str
    en: Side
    ko: Side

    def side(self, language: str) -> Side:
        return self.en if language == "en" else self.ko


def content_lines(path: Path) -> list[str]:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def fields(line: str) -> list[str]:
    return [field.strip() for field in line.split("|")]


def load_facts() -> list[Fact]:
    """All facts in file order."""
    facts: list[Fact] = []
    for path in sorted(TEXT.glob("facts*.txt")):
        domain, pending = "", None
        for line in content_lines(path):
            if line.startswith("["):
                domain = line.strip("[]")
            elif pending is None:
                pending = Side(*fields(line))
            else:
                facts.append(Fact(domain, pending, Side(*fields(line))))
                pending = None
        if pending is not None:
            raise ValueError(f"{path.name}: {pending.topic!r} has no Korean line")
    return facts


def held_out(facts: list[Fact], every: int = 6) -> tuple[list[Fact], list[Fact]]:
    """Splits the facts into (train, eval): each `every`-th one of the list is kept for evaluation, in both languages."""
    return [f for i, f in enumerate(facts) if i % every != 3], [f for i, f in enumerate(facts) if i % every == 3]


def has_final(word: str) -> bool:
    """Whether a Korean word (or a number read in Korean) ends in a final consonant (batchim)."""
    if word[-1].isdigit():
        return word[-1] in "013678"
    last = ord(word[-1])
    return 0xAC00 <= last <= 0xD7A3 and (last - 0xAC00) % 28 != 0


def josa(word: str, pair: str) -> str:
    """The word with the fitting particle of a pair written as with/without a final consonant: josa("밥", "을/를")."""
    with_final, without = pair.split("/")
    return word + (with_final if has_final(word) else without)
