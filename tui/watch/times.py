"""How long: spans of time as the live screen says them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from engine import status as states
from tui import format as fmt
from tui.glyphs import glyphs

if TYPE_CHECKING:
    from tui.watch.facts import Facts


def elapsed(facts: Facts, now: float) -> float | None:
    """Seconds of work: of earlier attempts, and of this one since its start or from start to end."""
    before = facts.seconds_before or None
    if facts.started is None or facts.state.state == states.QUEUED:
        return before
    end = now if facts.state.live else facts.ended
    return max(0.0, end - facts.started) + facts.seconds_before if end is not None else before


def span(seconds: float | None) -> str:
    """A short time with its fraction: 0.28 s, 3.5 s, 12 s; longer ones as durations."""
    if seconds is None or not math.isfinite(seconds) or seconds >= 60:
        return fmt.duration(seconds)
    return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def remaining(facts: Facts, now: float) -> float | None:
    """Seconds that are left, counted down since the estimate by at most one step."""
    if facts.remaining is None or facts.remaining_at is None:
        return facts.remaining
    passed = min(max(0.0, now - facts.remaining_at), facts.median_step or 0.0)
    return max(0.0, facts.remaining - passed)


def pace_words(seconds: float, *, alone: bool = False) -> str:
    """``a step takes 0.52 s``, or ``20 steps a second``; ``alone`` leaves the first words out."""
    if seconds < 0.1:
        return f"{1 / seconds:.2g} steps a second" if seconds > 0.001 else "over 1,000 steps a second"
    return span(seconds) if alone else f"a step takes {span(seconds)}"


def heat(celsius: float) -> str:
    """A temperature, e.g. ``64 °C``."""
    return f"{celsius:.0f} {'C' if glyphs().ascii else '°C'}"
