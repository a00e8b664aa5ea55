"""Steps up and down: the next sensible value of a number, the next word of a choice."""

from __future__ import annotations

import math

from engine.config import AUTO, SettingInfo
from engine.config.flags import format_value

_FLAG_WORDS = {"yes": "true", "on": "true", "1": "true", "no": "false", "off": "false", "0": "false"}


def words(info: SettingInfo) -> list[str]:
    """All values of a choice or a flag; empty if anything else may be typed."""
    if info.kind == "choice":
        return list(info.choices)
    if info.kind == "flag":
        return [*([AUTO] if info.allows_auto else []), "true", "false"]
    return []


def rounds(info: SettingInfo) -> list[str]:
    """What stepping goes round through: the words, or the suggestions of a list or a path."""
    if info.kind == "list" or info.suggestions:
        found = [*([AUTO] if info.allows_auto else []), *([""] if info.optional else []), *info.suggestions]
        return found if len(found) > 1 else []
    return words(info)


def step(info: SettingInfo, text: str, by: int) -> str | None:
    """The value one step up (``by`` 1) or down (-1), ``None`` if there is none.

    Words go round. A number between rungs goes to the next rung in that direction; below the lowest rung an optional
    one is emptied.
    """
    text = text.strip()
    options = rounds(info)
    if options:
        lowered = [option.lower() for option in options]
        now = _FLAG_WORDS.get(text.lower(), text.lower()) if info.kind == "flag" else text.lower()
        stepped = options[(lowered.index(now) + by) % len(options)] if now in lowered else options[0 if by > 0 else -1]
        return stepped if stepped != text else None
    if info.kind in ("integer", "number") and info.ladder:
        return _step_number(info, text, by)
    return None


def _step_number(info: SettingInfo, text: str, by: int) -> str | None:
    value = number(text)
    if value is None:
        if not text and by < 0 and info.optional:
            return None
        return written(info, info.ladder[0] if info.default is None else info.default)
    beyond = [rung for rung in info.ladder if (rung - value) * by > 0 and not math.isclose(rung, value, rel_tol=1e-9)]
    if beyond:
        return written(info, min(beyond) if by > 0 else max(beyond))
    return "" if by < 0 and info.optional else None


def number(text: str) -> float | None:
    """A finite number, or ``None``."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def same(info: SettingInfo, one: str, other: str) -> bool:
    """Whether two texts mean the same value."""
    one, other = one.strip(), other.strip()
    if one == other:
        return True
    if info.kind in ("integer", "number"):
        first, second = number(one), number(other)
        return first is not None and first == second
    if info.kind == "flag":
        return _FLAG_WORDS.get(one.lower(), one.lower()) == _FLAG_WORDS.get(other.lower(), other.lower())
    return False


def written(info: SettingInfo, value: float) -> str:
    """A rung as one would type it."""
    return format_value(int(value) if info.kind == "integer" else value)
