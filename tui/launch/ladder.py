"""Steps up and down: the next sensible value of a number, the next word of a choice."""

from __future__ import annotations

import math
from collections.abc import Sequence

from engine.config import AUTO, SettingInfo
from engine.config.flags import format_value

FLAG_WORDS = {"true": "true", "yes": "true", "on": "true", "1": "true", "false": "false", "no": "false", "off": "false",
              "0": "false"}  # fmt: skip


def steppable(info: SettingInfo) -> bool:
    """Whether there is anything to step through."""
    return info.kind in ("integer", "number") or len(words(info)) > 1


def words(info: SettingInfo) -> list[str]:
    """All that a choice, a flag or a list with suggestions can be stepped through; empty for numbers and free text."""
    if info.choices:
        return list(info.choices)
    if info.kind == "flag":
        return [*([AUTO] if info.allows_auto else []), "false", "true"]
    if info.suggestions:
        return [*([""] if info.optional else []), *info.suggestions]
    return []


def step(info: SettingInfo, text: str, by: int) -> str:
    """The value one step up (``by`` 1) or down (-1). Words go round; numbers stop at the ends of their ladder."""
    options = words(info)
    if options:
        now = text.strip().lower()
        if info.kind == "flag":
            now = FLAG_WORDS.get(now, now)
        lowered = [option.lower() for option in options]
        if now not in lowered:
            return options[0 if by > 0 else -1]
        return options[(lowered.index(now) + by) % len(options)]
    if info.kind in ("integer", "number"):
        return _step_number(info, text.strip(), by)
    return text


def _step_number(info: SettingInfo, text: str, by: int) -> str:
    rungs: Sequence[float] = info.ladder
    value = number(text)
    if value is None:
        if not text and info.optional and by < 0:
            return text
        if text.lower() == AUTO and by < 0:
            return text
        start = rungs[0] if rungs else (info.minimum or 0)
        return _written(info, start if info.default is None else info.default)
    if by > 0:
        above = [rung for rung in rungs if rung > value and not math.isclose(rung, value)]
        return _written(info, above[0]) if above else text
    below = [rung for rung in rungs if rung < value and not math.isclose(rung, value)]
    if below:
        return _written(info, below[-1])
    if info.allows_auto:
        return AUTO
    return "" if info.optional else text


def number(text: str) -> float | None:
    """A finite number, or ``None``."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _written(info: SettingInfo, value: float) -> str:
    return format_value(int(value) if info.kind == "integer" or value == int(value) else value)
