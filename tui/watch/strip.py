"""One line with all live runs, the watched one marked: how far the others are, without leaving this one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.text import clean
from tui import format as fmt
from tui.glyphs import glyphs
from tui.runlist.values import COLOURS
from tui.widgets.lines import Line, crop, length

if TYPE_CHECKING:
    from engine.history import RunSummary

NAME_WIDTH = 22
SHORT_NAME = 12
MOST = 12
MORE_WIDTH = 12


def ordered(live: Sequence[RunSummary]) -> list[RunSummary]:
    """Live runs in the order in which one switches between them: by their start, the order that never changes."""
    return sorted(live, key=lambda run: (run.created or 0.0, run.path))


def neighbour(live: Sequence[RunSummary], path: str, by: int) -> RunSummary | None:
    """The live run ``by`` places after the one at ``path`` (round the end), ``None`` if there is no other."""
    runs = ordered(live)
    others = [run for run in runs if run.path != path]
    if not others:
        return None
    places = [place for place, run in enumerate(runs) if run.path == path]
    if not places:  # the watched one has ended
        return others[0 if by > 0 else -1]
    return runs[(places[0] + by) % len(runs)]


def strip(live: Sequence[RunSummary], path: str, width: int) -> Line:
    """The line; empty if no other run is live. Runs that do not fit are counted at the end."""
    runs = ordered(live)
    if not any(run.path != path for run in runs):
        return []
    for name_width in (NAME_WIDTH, SHORT_NAME):
        line, left = _fill(runs, path, width, name_width)
        if not left:
            return line
    line, left = _fill(runs, path, width - MORE_WIDTH, SHORT_NAME)
    return crop([*line, (f"   +{left} more", "muted")], width)


def _fill(runs: Sequence[RunSummary], path: str, width: int, name_width: int) -> tuple[Line, int]:
    """As many runs as fit, the watched one always among them; and how many are left out."""
    parts = [_part(run, run.path == path, name_width) for run in runs]
    own = next((place for place, run in enumerate(runs) if run.path == path), 0)
    room, chosen = width - length(parts[own]), {own}
    for place in [*range(own + 1, len(runs)), *range(own - 1, -1, -1)]:
        room -= length(parts[place]) + 3
        if room < 0 or len(chosen) >= MOST:
            break
        chosen.add(place)
    line: Line = []
    for place in sorted(chosen):
        line += [("   ", "text"), *parts[place]] if line else parts[place]
    return line, len(runs) - len(chosen)


def _part(run: RunSummary, watched: bool, name_width: int) -> Line:
    signs = glyphs()
    name = fmt.shorten(fmt.cells(clean(run.name, 200)), name_width)
    colour = "warning" if run.stalled else COLOURS.get(run.state, "muted")
    share = fmt.share(run.step, run.total_steps)
    if run.state == "queued":
        far = f"queued {run.queue_position}" if run.queue_position else "queued"
    elif share is not None:
        far = fmt.percent(share)
    else:
        far = f"{run.step:,}" if run.step else run.state
    if run.stalled:
        far += " stalled"
    return [
        (signs.cursor if watched else " ", "accent"),
        (signs.state(run.state), colour),
        (f" {name} ", "title" if watched else "muted"),
        (far, "value" if watched else "text"),
    ]
