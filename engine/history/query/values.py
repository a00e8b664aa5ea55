"""What people type after an operator: numbers with units, spans of time, dates."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from functools import lru_cache

Period = tuple[float, float]
_NUMBER = re.compile(r"([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([a-z%]*)", re.IGNORECASE)
_DECIMAL = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_BYTES = {prefix + unit: 1024.0**power for power, prefix in enumerate(("", "k", "m", "g", "t", "p"))
          for unit in ("", "b", "ib")}  # fmt: skip
_UNITS = {"s": 1.0, "sec": 1.0, "second": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0,
          "d": 86400.0, "day": 86400.0, "w": 604800.0, "week": 604800.0, "mo": 2592000.0, "month": 2592000.0,
          "y": 31536000.0, "year": 31536000.0}  # fmt: skip
_SPAN = re.compile(r"(\d+\.?\d*|\.\d+)\s*([a-z]+)", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d{2}(?:\.\d+)?)")
_DATE = re.compile(r"(\d{4})(?:[-/](\d{1,2})(?:[-/](\d{1,2})(?:[T ](\d{1,2})(?::(\d{2})(?::(\d{2}))?)?)?)?)?")
DAY_WORDS = ("today", "yesterday", "week", "month", "year")


def number(text: str, *, units: dict[str, float] = _DECIMAL) -> float | None:
    """A number as typed, with ``k``, ``M`` or ``G`` behind it; ``None`` if it is none."""
    match = _NUMBER.fullmatch(text)
    if match is None or match.group(2).casefold() not in units:
        return None
    try:
        return float(match.group(1)) * units[match.group(2).casefold()]
    except (ValueError, OverflowError):
        return None


def size(text: str) -> float | None:
    """An amount of bytes; units are powers of 1024, as sizes are shown."""
    return number(text, units=_BYTES)


def precision(text: str) -> float:
    """Half of the last digit typed: what still counts as the same measured number."""
    mantissa, _, exponent = text.casefold().partition("e")
    digits = len(mantissa.partition(".")[2])
    try:
        return float(0.5 * 10.0 ** (int(exponent or 0) - digits))
    except (ValueError, OverflowError):
        return 0.0


def span(text: str) -> float | None:
    """Seconds: ``90``, ``2h``, ``1h30m``, ``3d``, ``1:30:00``; ``None`` if it is no span of time."""
    clock = _CLOCK.fullmatch(text)
    if clock:
        return int(clock.group(1) or 0) * 3600.0 + int(clock.group(2)) * 60.0 + float(clock.group(3))
    try:
        return float(text) if math.isfinite(float(text)) else None
    except ValueError:
        return relative(text)


def relative(text: str) -> float | None:
    """A span of time with its unit: ``3d``, ``1h30m``."""
    total, place = 0.0, 0
    for match in _SPAN.finditer(text):
        unit = match.group(2).casefold()
        unit = unit[:-1] if unit.endswith("s") and unit[:-1] in _UNITS and len(unit) > 1 else unit
        if match.start() != place or unit not in _UNITS:
            return None
        total, place = total + float(match.group(1)) * _UNITS[unit], match.end()
    return total if place == len(text) and place else None


def period(text: str) -> Callable[[float], Period] | None:
    """The stretch of time that a date means (a year, a month, a day, an hour, or since ``3d`` ago), given the present.

    Dates are of the local time zone; ``None`` if it is no date.
    """
    word = text.casefold()
    if word in DAY_WORDS:
        known = lru_cache(4)(lambda second: _day_word(word, second))  # a calendar costs more than the rest of a test
        return lambda now: known(int(now))
    match = _DATE.fullmatch(text)
    if match:
        parts = [int(part) for part in match.groups() if part is not None]
        found = _calendar(parts)
        return None if found is None else lambda now: found
    ago = relative(text)
    if ago is not None:
        return lambda now: (now - ago, math.inf)
    return None


def _calendar(parts: list[int]) -> Period | None:
    year, month, day, hour, minute, second = [*parts, *(1970, 1, 1, 0, 0, 0)[len(parts) :]]
    if not (1970 <= year < 5000 and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 60):
        return None
    start = [year, month, day, hour, minute, second]
    end = list(start)
    end[len(parts) - 1] += 1
    try:
        begin = _moment(start)
        if time.localtime(begin).tm_mday != day:
            return None  # the 31st of a month that has 30 days
        return begin, _moment(end)
    except (OverflowError, ValueError, OSError):
        return None


def _moment(parts: list[int]) -> float:
    return time.mktime((*parts, 0, 0, -1))  # type: ignore[arg-type]


def _day_word(word: str, now: float) -> Period:
    today = time.localtime(now)
    year, month, day = today.tm_year, today.tm_mon, today.tm_mday
    if word == "today":
        return _moment([year, month, day, 0, 0, 0]), math.inf
    if word == "yesterday":
        return _moment([year, month, day - 1, 0, 0, 0]), _moment([year, month, day, 0, 0, 0])
    first = {"week": [year, month, day - today.tm_wday], "month": [year, month, 1], "year": [year, 1, 1]}[word]
    return _moment([*first, 0, 0, 0]), math.inf
