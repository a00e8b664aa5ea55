"""What is known of a run, in the words and figures of the list."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from engine.text import clean
from tui.glyphs import state_text

if TYPE_CHECKING:
    from engine.history import RunSummary

COLOURS = {
    "queued": "muted", "starting": "accent", "running": "accent", "stopping": "warning", "completed": "success",
    "stopped": "warning", "failed": "error", "killed": "error", "lost": "error",
}  # fmt: skip
STATE_RANK = {"running": 0, "starting": 1, "stopping": 2, "queued": 3, "failed": 4, "killed": 5, "lost": 6,
              "stopped": 7, "completed": 8}  # fmt: skip


def state_words(run: RunSummary) -> str:
    """Sign and word; says if it is stalled, or where a run of another host is."""
    if run.live and not run.here:
        return f"{state_text(run.state)} on {clean(run.host or 'another host', 60)}"
    position = f" {run.queue_position}" if run.queue_position is not None else ""
    return state_text(run.state, stalled=run.stalled) + position


def state_colour(run: RunSummary) -> str:
    """The colour of a state (never the only sign)."""
    return "warning" if run.stalled else COLOURS.get(run.state, "muted")


def elapsed(run: RunSummary, now: float) -> float | None:
    """Seconds of work: of earlier attempts, and from the start of this one to its end, or to now while it lives."""
    if run.tool != "tunedeck" and not run.live:
        return run.seconds
    before = run.seconds_before or None
    if run.started is None or run.state == "queued":
        return before
    end = run.ended or ((run.heard if not run.here else now) if run.live else None)
    return before if end is None else max(0.0, end - run.started) + run.seconds_before


def begun(run: RunSummary) -> float | None:
    """When it was started, or at least made, or at least last written to."""
    return run.started or run.created or run.modified


def folder(run: RunSummary) -> str:
    """The folder below which it was found: a given one, or the one it lies in."""
    return run.root or str(PurePath(run.path).parent)
