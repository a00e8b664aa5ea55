"""Numbers as other people's files hold them: as text, with a percent sign, printed as a tensor, or beyond any range."""

from __future__ import annotations

import math
import re
from typing import Any

from engine.records import MAX_COUNT

_NAMES = {"nan": math.nan, "inf": math.inf, "infinity": math.inf, "+inf": math.inf, "+infinity": math.inf,
          "-inf": -math.inf, "-infinity": -math.inf, "-nan": math.nan}  # fmt: skip
_TENSOR = re.compile(r"(?:tensor|np\.float\d+|np\.int\d+|array)\(\[?\s*([-+.\w]+)")
_CLOCK = re.compile(r"(?:(\d+) days?, )?(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_UNITS = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|m|s)\b")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
# What is longer is no number that anybody logged; reading thousands of digits costs time.
_LONGEST = 64


def number(value: Any) -> float | None:
    """The float behind a value: numbers, and texts that say one (``"0.5"``, ``"nan"``, ``"12%"``); else ``None``."""
    kind = type(value)
    if kind is float:
        return value
    if kind is int:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if kind is str:
        return _from_text(value)
    if kind is list and len(value) == 1 and type(value[0]) in (int, float):
        return number(value[0])
    return None


def _from_text(text: str) -> float | None:
    if len(text) > _LONGEST:
        return None
    text = text.strip()
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        pass
    if text.lower() in _NAMES:
        return _NAMES[text.lower()]
    match = _TENSOR.match(text)
    if match:
        return _from_text(match[1].rstrip("."))
    if text.endswith("%"):
        return _from_text(text[:-1])
    if "," in text and re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?", text):
        return float(text.replace(",", ""))
    return None


def count(value: Any) -> int | None:
    """A whole number from zero on, as steps and epochs are counted; ``None`` if it is none, or too large to be one."""
    if type(value) is int:
        return value if 0 <= value < MAX_COUNT else None
    found = number(value)
    if found is None or not 0 <= found < MAX_COUNT or found != math.floor(found):
        return None
    return int(found)


def step_of(value: Any) -> tuple[int | None, int | None]:
    """The step, and the total if it says one: ``"5/100"``, ``5``, ``"5"``."""
    if type(value) is str and "/" in value:
        done, _, total = value.partition("/")
        return count(done), count(total)
    return count(value), None


def seconds(value: Any) -> float | None:
    """A duration: seconds, ``"1 day, 2:03:04"`` or ``"1h 5m 3s"``."""
    if type(value) is str and len(value) <= _LONGEST:
        clock = _CLOCK.fullmatch(value.strip())
        if clock:
            days, hours, minutes, rest = clock.groups()
            return int(days or 0) * 86400.0 + int(hours) * 3600.0 + int(minutes) * 60.0 + float(rest)
        parts = _UNITS.findall(value)
        if parts:
            return sum(float(amount) * _SECONDS[unit] for amount, unit in parts)
    found = number(value)
    return found if found is not None and math.isfinite(found) and found >= 0 else None


def positive(value: Any) -> float | None:
    """A finite number above zero."""
    found = number(value)
    return found if found is not None and math.isfinite(found) and found > 0 else None


def flag(value: Any) -> bool | None:
    """A yes or no, also as text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "false": False, "yes": True, "no": False}.get(value.strip().lower())
    return None


def text(value: Any, limit: int = 4096) -> str | None:
    """A text that is not empty, ``None`` and its like left out."""
    if not isinstance(value, str):
        return None
    found = value.strip()[:limit]
    return found if found and found.lower() not in ("none", "null") else None
