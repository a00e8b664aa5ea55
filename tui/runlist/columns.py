"""What a row can say, and which of it is said: columns to choose from that give way to the width."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

from tui import format as fmt
from tui.glyphs import glyphs
from tui.runlist.catalogue import COLUMNS, STATE_WIDTH, STEPS_WIDTH, Column
from tui.runlist.spark import spark
from tui.runlist.values import state_colour, state_words

if TYPE_CHECKING:
    from engine.history import RunSummary

Part = tuple[str, str]
GAP = 2
# What is shown until other columns are chosen; "tool" only where there are runs of several.
DEFAULT = ("state", "name", "model", "tool", "curve", "progress", "step", "loss", "best", "best_eval", "seconds",
           "started")  # fmt: skip
# A name of so many cells is worth more than the columns that are left out first, than the curve, than the losses.
COMFORTABLE, BEARABLE, SMALLEST = 22, 15, 12


@dataclass(frozen=True, slots=True)
class Placed:
    """A column that is shown, with its final width."""

    column: Column
    width: int


def widths(runs: Iterable[RunSummary]) -> dict[str, int]:
    """Cells that the contents of ``state`` and ``step`` ask for."""
    state = step = 0
    for run in runs:
        state = max(state, cell_len(state_words(run)))
        step = max(step, len(fmt.steps(run.step, run.total_steps)))
    return within(state, step)


def within(state: int, step: int) -> dict[str, int]:
    """The widths of two columns that ask for so many cells."""
    return {
        "state": min(max(state, STATE_WIDTH[0]), STATE_WIDTH[1]),
        "step": min(max(step, STEPS_WIDTH[0]), STEPS_WIDTH[1]),
    }


def layout(width: int, wanted: dict[str, int], chosen: Sequence[str] = DEFAULT) -> list[Placed]:
    """The columns that fit into ``width`` cells; texts share what is left over.

    Of columns that people chose the last ones give way first, of the others those that say least.
    """
    base = {key: wanted.get(key, COLUMNS[key].width) for key in chosen}
    rank = {key: COLUMNS[key].rank for key in chosen}
    if tuple(key for key in DEFAULT if key in chosen) != tuple(chosen):
        rank = {key: 0 if key == "name" else 3 + place for place, key in enumerate(chosen)}
    kept: list[str] = []
    for key in sorted(chosen, key=lambda key: rank[key]):
        name = COMFORTABLE if rank[key] > 3 else SMALLEST if rank[key] < 3 else BEARABLE
        if (rank[key] == 0 and len(kept) < 2) or _total([*kept, key], {**base, "name": name}) <= width:
            kept.append(key)
    shown = [key for key in chosen if key in kept]
    if "state" in shown:
        base["state"] = min(base["state"], max(1, width - GAP - 4))
    _share(width, shown, base)
    return [Placed(COLUMNS[key], base[key]) for key in shown]


def _share(width: int, shown: list[str], base: dict[str, int]) -> None:
    """Give what is left over to the texts: first what they need to be read, then what they may have."""
    spare = width - _total(shown, base)
    wishes = [("name", 24), ("model", 22), ("curve", 12), ("name", 44), ("model", 30)]
    for key, least in [*wishes, *((key, COLUMNS[key].most) for key in shown)]:
        if spare > 0 and key in shown:
            more = min(spare, max(0, least - base[key]))
            base[key] += more
            spare -= more
    last = "name" if "name" in shown else shown[-1]
    base[last] = max(4, base[last] + spare)


def _total(shown: Sequence[str], base: dict[str, int]) -> int:
    return sum(base[key] for key in shown) + GAP * (len(shown) - 1)


def header(columns: list[Placed], order: str, falling: bool = False) -> list[Part]:
    """The titles, with a mark at the column that orders the list."""
    parts: list[Part] = []
    for index, placed in enumerate(columns):
        if index:
            parts.append((" " * GAP, "muted"))
        column = placed.column
        ordered = column.key == order
        title = column.title
        if ordered:
            mark = glyphs().down if falling else glyphs().up
            room = fmt.shorten(title, max(1, placed.width - 1 - (not column.right)))
            title = f"{mark}{room}" if column.right else f"{room} {mark}"
        text = fmt.fit(title, placed.width, "right" if column.right else "left")
        parts.append((text, "accent" if ordered else "muted"))
    return parts


def row(run: RunSummary, columns: list[Placed], now: float | None = None) -> list[Part]:
    """One run as (text, colour) parts, exactly as wide as the columns."""
    now = time.time() if now is None else now
    parts: list[Part] = []
    for index, placed in enumerate(columns):
        if index:
            parts.append((" " * GAP, "text"))
        column = placed.column
        if column.key == "progress":
            done, left = fmt.progress_bar(fmt.share(run.step, run.total_steps), placed.width)
            parts += [(done, state_colour(run)), (left, "faint")]
        elif column.key == "curve":
            parts += spark(run.sparkline, placed.width, state_colour(run) if run.live else "muted")
        else:
            text = fmt.fit(column.text(run, now), placed.width, "right" if column.right else "left", column.cut)
            parts.append((text, _colour(run, column, text)))
    return parts


def _colour(run: RunSummary, column: Column, text: str) -> str:
    if column.key == "state":
        return state_colour(run)
    word = text.strip()
    if word == glyphs().dash:
        return "faint"
    if column.right and word in ("NaN", "inf", "-inf"):
        return "error"
    return column.colour
