"""Which runs are shown, and in which order; knows nothing of widgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from engine.text import clean

if TYPE_CHECKING:
    from engine.history import RunSummary

_STATE_RANK = {"running": 0, "starting": 1, "stopping": 2, "queued": 3, "failed": 4, "killed": 5, "lost": 6,
               "stopped": 7, "completed": 8}  # fmt: skip


def _newest(run: RunSummary) -> tuple[float, str]:
    return -(run.started or run.created or 0.0), run.id


def _by_state(run: RunSummary) -> tuple[Any, ...]:
    return (_STATE_RANK.get(run.state, 9), *_newest(run))


def _by_loss(run: RunSummary) -> tuple[Any, ...]:
    """Evaluated runs first, by their best evaluation; then the others by their last training loss."""
    for rank, value in enumerate((run.best_eval_loss, run.last_loss)):
        if value is not None and math.isfinite(value):
            return (rank, value, *_newest(run))
    return (2, 0.0, *_newest(run))


ORDERS: dict[str, Callable[[RunSummary], tuple[Any, ...]]] = {
    "started": _newest,
    "name": lambda run: (run.name.casefold(), *_newest(run)),
    "state": _by_state,
    "loss": _by_loss,
}


class RunList:
    """All known runs by path; :attr:`visible` are those that pass the filter, in order."""

    def __init__(self) -> None:
        self.runs: dict[str, RunSummary] = {}
        self.order = "started"
        self.words: list[str] = []
        self.visible: list[RunSummary] = []

    @property
    def live(self) -> list[RunSummary]:
        """Runs that have not ended."""
        return [run for run in self.runs.values() if run.live]

    def update(self, changed: Iterable[RunSummary], gone: Iterable[str] = ()) -> None:
        """Take in news."""
        for run in changed:
            self.runs[run.path] = run
        for path in gone:
            self.runs.pop(path, None)
        self._arrange()

    def set_filter(self, text: str) -> None:
        """Show only runs that have every word somewhere in their name, model, state or id."""
        self.words = text.casefold().split()
        self._arrange()

    def next_order(self) -> str:
        """Go to the next order and return its name."""
        names = list(ORDERS)
        self.order = names[(names.index(self.order) + 1) % len(names)]
        self._arrange()
        return self.order

    def _arrange(self) -> None:
        runs = self.runs.values()
        shown = [run for run in runs if self._matches(run)] if self.words else list(runs)
        self.visible = sorted(shown, key=ORDERS[self.order])

    def _matches(self, run: RunSummary) -> bool:
        flags = " stalled" if run.stalled else ""
        text = f"{clean(run.name)} {run.base_model or ''} {run.state}{flags} {run.id}".casefold()
        return all(word in text for word in self.words)
