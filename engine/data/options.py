"""How a person wants data to be read: the settings that overrule what is detected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

AUTO = "auto"
# Fields of rows that may go by a name of one's own.
FIELDS = ("messages", "conversations", "role", "content", "from", "value", "instruction", "input", "output", "system", "history",
          "prompt", "completion", "query", "response", "text", "tools")  # fmt: skip
MESSAGE_FIELDS = ("role", "content", "from", "value")


@dataclass(frozen=True, slots=True)
class Reading:
    """``format`` is ``auto`` or a shape's name, ``fields`` maps known names to a file's own, ``skip`` leaves bad rows out."""

    format: str = AUTO
    fields: Mapping[str, str] = field(default_factory=dict)
    skip: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Reading:
        """From a run's settings, those of an older record included."""
        skip = config.get("on_bad_rows") == "skip"
        return cls(config.get("data_format") or AUTO, fields_of(config.get("data_fields")), skip)


AS_FOUND = Reading()


def fields_of(words: list[str] | None) -> dict[str, str]:
    """``["query=frage", …]`` as a mapping; words that are none are left to :func:`wrong_field`."""
    pairs = (word.partition("=") for word in words or [])
    return {known.strip(): own.strip() for known, mark, own in pairs if mark and own.strip()}


def wrong_field(words: list[str] | None) -> tuple[str, str] | None:
    """What is wrong with the first bad word, and a hint; ``None`` if all are right."""
    for word in words or []:
        known, mark, own = word.partition("=")
        if not mark or not own.strip():
            return f"must be NAME=COLUMN words with commas, not {word!r}", "For example query=question,response=answer"
        if known.strip() not in FIELDS:
            return f"has the unknown field {known.strip()!r}", f"Fields are {', '.join(FIELDS)}"
    return None
