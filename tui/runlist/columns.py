"""What a row says, in columns that give way to the width."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

from engine.text import clean
from tui import format as fmt
from tui.glyphs import glyphs, state_text

if TYPE_CHECKING:
    from engine.history import RunSummary

Part = tuple[str, str]
GAP = 2
BAR = 8
STATE_WIDTH = (11, 19)
STEPS_WIDTH = (7, 13)
COLOURS = {
    "queued": "muted", "starting": "accent", "running": "accent", "stopping": "warning", "completed": "success",
    "stopped": "warning", "failed": "error", "killed": "error", "lost": "error",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A column: ``width`` cells at least, up to ``most``; narrow lists leave out columns of a high ``rank`` first."""

    key: str
    title: str
    width: int
    rank: int
    text: Callable[[RunSummary, float], str]
    most: int = 0
    right: bool = False
    cut: str = "end"
    colour: str = "text"


@dataclass(frozen=True, slots=True)
class Placed:
    """A column that is shown, with its final width."""

    column: Column
    width: int


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
    before = run.seconds_before or None
    if run.started is None or run.state == "queued":
        return before
    end = run.ended or ((run.heard if not run.here else now) if run.live else None)
    return before if end is None else max(0.0, end - run.started) + run.seconds_before


def begun(run: RunSummary) -> float | None:
    """When it was started, or at least made."""
    return run.started or run.created


COLUMNS = (
    Column("state", "state", STATE_WIDTH[0], 0, lambda run, now: state_words(run)),
    Column("name", "name", 14, 0, lambda run, now: clean(run.name, 300), most=44, cut="middle"),
    Column("model", "model", 14, 5, lambda run, now: clean(fmt.model_name(run.base_model), 200), most=30, cut="middle",
           colour="muted"),
    Column("bar", "", BAR, 6, lambda run, now: ""),
    Column("steps", "step", STEPS_WIDTH[0], 0, lambda run, now: fmt.steps(run.step, run.total_steps), right=True),
    Column("loss", "loss", 7, 1, lambda run, now: fmt.loss(run.last_loss), right=True),
    Column("best", "best", 7, 7, lambda run, now: fmt.loss(run.best_loss), right=True),
    Column("eval", "best eval", 9, 2, lambda run, now: fmt.loss(run.best_eval_loss), right=True),
    Column("time", "time", 7, 3, lambda run, now: fmt.duration(elapsed(run, now)), right=True),
    Column("started", "started", 7, 4, lambda run, now: fmt.clock(begun(run), now), right=True, colour="muted"),
)  # fmt: skip
_ORDERED_BY = {"started": "started", "name": "name", "state": "state", "loss": "eval"}


def widths(runs: Iterable[RunSummary]) -> dict[str, int]:
    """Cells that the contents of ``state`` and ``step`` ask for."""
    states, steps = set(), set()
    for run in runs:
        states.add(state_words(run))
        steps.add((run.step, run.total_steps))
    state = max((cell_len(words) for words in states), default=0)
    step = max((len(fmt.steps(*pair)) for pair in steps), default=0)
    return {
        "state": min(max(state, STATE_WIDTH[0]), STATE_WIDTH[1]),
        "steps": min(max(step, STEPS_WIDTH[0]), STEPS_WIDTH[1]),
    }


def layout(width: int, wanted: dict[str, int]) -> list[Placed]:
    """The columns that fit into ``width`` cells; names and models share what is left over."""
    base = {column.key: wanted.get(column.key, column.width) for column in COLUMNS}
    # A name of 24 cells is worth more than any column that can be left out, except the loss.
    comfortable = {**base, "name": 24}
    shown = list(COLUMNS)
    smallest = {**base, "name": 12}
    while len(shown) > 2 and _total(shown, comfortable if _last_rank(shown) > 2 else smallest) > width:
        shown.remove(max(reversed(shown), key=lambda column: column.rank))
    base["state"] = min(base["state"], max(1, width - GAP - 4))
    spare = width - _total(shown, base)
    for key, least in (("name", 24), ("model", 22), ("name", 44), ("model", 30)):
        if spare > 0 and any(column.key == key for column in shown):
            more = min(spare, max(0, least - base[key]))
            base[key] += more
            spare -= more
    base["name"] = max(4, base["name"] + spare)
    return [Placed(column, base[column.key]) for column in shown]


def _last_rank(shown: list[Column]) -> int:
    return max(column.rank for column in shown)


def _total(shown: list[Column], base: dict[str, int]) -> int:
    return sum(base[column.key] for column in shown) + GAP * (len(shown) - 1)


def header(columns: list[Placed], order: str) -> list[Part]:
    """The titles, with a mark at the column that orders the list."""
    parts: list[Part] = []
    for index, placed in enumerate(columns):
        if index:
            parts.append((" " * GAP, "muted"))
        column = placed.column
        ordered = column.key == _ORDERED_BY[order]
        title = column.title
        if ordered and len(title) < placed.width:
            mark = glyphs().down if order == "started" else glyphs().up
            title = f"{mark}{title}" if column.right else f"{title} {mark}"
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
        if column.key == "bar":
            done, left = fmt.progress_bar(fmt.share(run.step, run.total_steps), placed.width)
            parts += [(done, state_colour(run)), (left, "faint")]
            continue
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
