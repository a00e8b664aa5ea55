"""Runs in groups: which group each is in, and what a group's row says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

from engine.text import clean, clean_path
from tui import format as fmt
from tui.glyphs import glyphs, state_text
from tui.runlist.values import folder

if TYPE_CHECKING:
    from engine.history import RunSummary

Part = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Group:
    """A group's row. Texts are cleaned when they are shown."""

    key: str
    title: str
    runs: tuple[RunSummary, ...]
    folded: bool

    @property
    def id(self) -> str:
        """What the cursor keeps to when the list changes; no run's path begins like that."""
        return f"\0{self.key}"


def _model(run: RunSummary) -> str:
    return fmt.model_name(run.base_model) if run.base_model else ""


_OF: dict[str, Callable[[RunSummary], str]] = {
    "model": _model,
    "root": folder,
    "tool": lambda run: run.tool,
    "state": lambda run: run.state,
}
WORDS = {"": "no groups", "model": "by base model", "root": "by folder", "tool": "by tool", "state": "by state"}


def gather(runs: Iterable[RunSummary], by: str, folded: set[str]) -> list[Group]:
    """The groups, each in the order of its runs; the group of the first run stands first."""
    of = _OF[by]
    found: dict[str, list[RunSummary]] = {}
    titles: dict[str, str] = {}
    for run in runs:
        title = of(run)
        key = title.casefold()
        found.setdefault(key, []).append(run)
        titles.setdefault(key, title)
    return [
        Group(f"{by}:{key}", _title(by, titles[key]), tuple(members), f"{by}:{key}" in folded)
        for key, members in found.items()
    ]


def _title(by: str, text: str) -> str:
    if not text:
        return f"{by} unknown"
    if by == "state":
        return state_text(text)
    return clean_path(text) if by == "root" else clean(text, 200)


def row(group: Group, width: int) -> list[Part]:
    """The group in exactly ``width`` cells: its name, how many runs, how many of them live, the best of them."""
    dot = f" {glyphs().dot} "
    count = len(group.runs)
    live = sum(run.live for run in group.runs)
    facts = [f"{count:,} run{'' if count == 1 else 's'}"]
    if live:
        facts.append(f"{live} live")
    for label, name in (("best eval", "best_eval_loss"), ("best loss", "best_loss")):
        best = _lowest(getattr(run, name) for run in group.runs)
        if best is not None:
            facts.append(f"{label} {fmt.loss(best)}")
            break
    said = dot.join(facts)
    if cell_len(said) + 14 > width:
        said = facts[0]
    title = fmt.shorten(fmt.cells(group.title), max(4, width - cell_len(said) - 3), "middle")
    parts = [(title, "title"), ("   ", "text"), (said, "muted")]
    left = width - cell_len(title) - cell_len(said) - 3
    return [*parts, (" " * left, "text")] if left >= 0 else [(fmt.fit(title, width), "title")]


def _lowest(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None and math.isfinite(value)), default=None)
