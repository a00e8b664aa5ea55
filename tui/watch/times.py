"""How long: spans of time as the live screen says them."""

from __future__ import annotations

import math

from engine import status as states
from tui import format as fmt
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
