"""Round ticks (1, 2, 5 times a power of ten, or of 1,024 for bytes) and their compact labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Formatter = Callable[[float, float], str]
ValueFormatter = Callable[[float | None], str]

BYTE_UNITS = ("", "K", "M", "G", "T", "P")
_SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def nice_step(rough: float, unit: float = 1.0) -> float:
    """The smallest of 1, 2, 5 × 10^n (times ``unit``) that is not below ``rough``."""
    if not math.isfinite(rough) or rough <= 0:
        return unit
    rough /= unit
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1.0, 2.0, 5.0, 10.0):
        if factor * power >= rough * (1 - 1e-9):
            return factor * power * unit
    return 10.0 * power * unit


def byte_unit(value: float) -> float:
    """The largest power of 1,024 that is not above ``value``."""
    unit = 1.0
    while unit * 1024 <= abs(value) and unit < 1024.0**5:
        unit *= 1024
    return unit


def linear_ticks(low: float, high: float, step: float) -> list[float]:
    """Multiples of ``step`` from ``low`` to ``high``, both included."""
    if step <= 0 or not math.isfinite(high - low) or (high - low) / step > 1000:
        return []
    first = math.ceil(low / step - 1e-6)
    last = math.floor(high / step + 1e-6)
    return [k * step for k in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Decades between two exponents of ten, with 2 and 5, or all digits, in between while there is room for them."""
    if not -400 < low <= high < 400:  # no float is there
        return []
    decades = range(math.floor(low + 1e-9), math.ceil(high - 1e-9) + 1)
    factors: tuple[float, ...] = (1.0,)
    if high - low <= 2.01:
        factors = (1.0, 2.0, 5.0) if high - low > 0.5 else tuple(map(float, range(1, 10)))
    exponents = [k + math.log10(f) for k in decades for f in factors]
    return [10.0**e for e in exponents if low - 1e-9 <= e <= high + 1e-9]


def number_label(value: float, step: float) -> str:
    """A label of at most six characters or so whose precision follows the step: 0.5, 1.25, 12k, 3.4M, 2e-5."""
    if value == 0 or abs(value) < abs(step) * 1e-6:
        return "0"
    size = max(abs(value), abs(step))
    if size < 9.95e-3:
        return _scientific(value, step)
    for scale, suffix in _SUFFIXES:
        # "1000" and "1500" read better than "1k" and "1.5k" unless the whole axis is that large.
        if abs(value) >= scale and (scale > 1e3 or abs(value) >= 1e4 or step >= 1e3):
            return _fixed(value / scale, step / scale) + suffix
    return _fixed(value, step)


def bytes_label(value: float, step: float) -> str:
    """Bytes in the binary unit that suits the value: 512M, 3.5G."""
    if value == 0:
        return "0"
    unit, index = 1.0, 0
    while abs(value) >= unit * 1024 and index < len(BYTE_UNITS) - 1:
        unit *= 1024
        index += 1
    return _fixed(value / unit, step / unit) + BYTE_UNITS[index]


def step_label(value: float, step: float) -> str:
    """Optimizer steps: whole numbers, thousands as k."""
    if step < 100 and 1e3 <= abs(value) < 1e6:
        return f"{value:,.0f}"
    if abs(value) >= 1e3:
        for scale, suffix in _SUFFIXES:
            if abs(value) >= scale:
                text = _fixed(value / scale, step / scale)
                return (text.rstrip("0").rstrip(".") if "." in text else text) + suffix
    return f"{value:.0f}"


def epoch_label(value: float, step: float) -> str:
    """Millionths of an epoch as epochs: 0.5, 1.25."""
    return _fixed(value / 1e6, step / 1e6)


def time_label(value: float, step: float) -> str:
    """Milliseconds as people say a time: 45s, 1m 30s, 1h 30m, 2d 6h."""
    seconds = value / 1000
    if step < 1000:
        return f"{_fixed(seconds, step / 1000)}s"
    left = round(seconds)
    parts: list[str] = []
    for size, letter in ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count:02d}{letter}" if parts and letter != "h" else f"{count}{letter}")
    return " ".join(parts) or "0"


def time_step(rough: float) -> float:
    """The smallest round time, in milliseconds, that is not below ``rough``."""
    for seconds in _TIMES:
        if seconds * 1000 >= rough * (1 - 1e-9):
            return seconds * 1000.0
    return nice_step(rough, 86_400_000.0)


def _exact_tokens(value: float) -> str:
    return step_label(value, 10.0 ** max(0, math.floor(math.log10(value)) - 3) if value >= 1 else 1.0)


@dataclass(frozen=True, slots=True)
class XKind:
    """What stands along an x axis: its name, round distances of ticks, their labels, and how one x is said."""

    name: str
    step: Callable[[float], float]
    label: Formatter
    exact: Callable[[float], str]


_TIMES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800,
          3600, 7200, 10_800, 21_600, 43_200, 86_400)  # fmt: skip
STEPS = XKind("step", nice_step, step_label, "{:,.0f}".format)
EPOCHS = XKind("epoch", nice_step, epoch_label, lambda value: f"{value / 1e6:.3f}")
TOKENS = XKind("tokens", nice_step, step_label, _exact_tokens)
TIMES = XKind("time", time_step, time_label, lambda value: time_label(value, 1000.0))
KINDS = {kind.name: kind for kind in (STEPS, EPOCHS, TOKENS, TIMES)}


def _fixed(value: float, step: float) -> str:
    decimals = 0 if step >= 1 else min(6, -math.floor(math.log10(step) + 1e-9))
    text = f"{value:.{decimals}f}"
    # One digit more where the step alone would blur the value (a tick of 1.5k at a step of 500).
    if decimals == 0 and abs(value - round(value)) > 0.02 and abs(value) < 100:
        text = f"{value:.1f}"
    return "0" if float(text) == 0 else text


def _scientific(value: float, step: float) -> str:
    exponent = math.floor(math.log10(abs(value)) + 1e-9)
    mantissa = value / 10.0**exponent
    digits = min(3, max(0, exponent - math.floor(math.log10(step) + 1e-9))) if step > 0 else 1
    text = f"{mantissa:.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return f"{text}e{exponent}"
