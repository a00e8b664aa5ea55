"""What stands at the right above the list: how many runs, how many of them live, what is being looked for."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from engine.text import clean, clean_path
from tui import format as fmt
from tui.glyphs import glyphs

if TYPE_CHECKING:
    from tui.runlist.feed import Progress
    from tui.runlist.model import RunList

WIDE = 100
# In a folder that is not there are no runs.
MISSING = (os.strerror(errno.ENOENT), os.strerror(errno.ENOTDIR))


def top_line(found: RunList, progress: Progress, words: str, width: int) -> str:
    """One line; what people should not miss stands last, where it is never cut."""
    total, shown = len(found.runs), len(found.visible)
    queued = len(found.queued)
    running = len(found.live) - queued
    parts = [words] if words else []
    parts.append(f"{shown:,} of {total:,} runs" if found.filtered else f"{total:,} run{'' if total == 1 else 's'}")
    if running:
        parts.append(f"{running} running")
    if queued:
        parts.append(f"{queued} queued")
    if found.marks:
        parts.append(f"{len(found.marks):,} marked")
    silent = [one for one in progress.unreachable if one[1] not in MISSING]
    if silent:
        parts.append(_silent(silent, 40 if width >= WIDE else 20))
    if progress.searching:
        parts.append(f"reading {progress.done:,}/{progress.total:,}" if progress.total else "searching")
    return f" {glyphs().dot} ".join(parts)


def _silent(places: list[tuple[str, str]], width: int) -> str:
    """Places that could not be read, by name as far as there is room."""
    path, why = places[0]
    said = fmt.shorten(fmt.cells(clean_path(path)), width, "start")
    why = clean(why, 60)
    said += f" {why}" if why.startswith("does") else f": {why[:1].lower()}{why[1:]}"
    return f"{said}, {len(places) - 1} more" if len(places) > 1 else said
