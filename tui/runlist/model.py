"""Which runs are shown, and in which order; knows nothing of widgets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from engine.text import clean

if TYPE_CHECKING:
    from engine.history import RunSummary

RESUMABLE = frozenset({"completed", "stopped", "failed", "killed", "lost"})
BAD_ENDS = frozenset({"failed", "killed", "lost"})
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


# In these orders the queue is shown as what it is: one block, the next run first.
_QUEUE_TOGETHER = ("started", "state")


def _waits(run: RunSummary) -> bool:
    """Whether it stands in this machine's queue."""
    return run.state == "queued" and run.here


def _gather_queue(runs: list[RunSummary]) -> list[RunSummary]:
    """The same list with the queued runs together, in the queue's order, where the first of them stands."""
    queue = [run for run in runs if _waits(run)]
    if len(queue) < 2:
        return runs
    first = next(place for place, run in enumerate(runs) if _waits(run))
    queue.sort(key=lambda run: run.queue_position if run.queue_position is not None else math.inf)
    rest = [run for run in runs if not _waits(run)]
    return [*rest[:first], *queue, *rest[first:]]


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

    @property
    def queued(self) -> list[RunSummary]:
        """Runs in this machine's queue."""
        return [run for run in self.runs.values() if _waits(run)]

    def can_move(self, run: RunSummary | None, by: int) -> bool:
        """Whether a run can go so many places forward (negative) or back in the queue."""
        if run is None or not _waits(run):
            return False
        place = run.queue_position
        return place is None or (place > 1 if by < 0 else place < len(self.queued))

    def renumber(self, order: list[str]) -> None:
        """The queue's new order (ids of runs), before their supervisors write it down."""
        places = {run_id: place for place, run_id in enumerate(order, 1)}
        for run in self.queued:
            place = places.get(run.id)
            if place is not None and place != run.queue_position:
                # What it was said to wait for was true of its old place.
                self.runs[run.path] = dataclasses.replace(run, queue_position=place, waits_for=None)
        self._arrange()

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
        shown.sort(key=ORDERS[self.order])
        self.visible = _gather_queue(shown) if self.order in _QUEUE_TOGETHER else shown

    def _matches(self, run: RunSummary) -> bool:
        flags = " stalled" if run.stalled else ""
        text = f"{clean(run.name)} {run.base_model or ''} {run.state}{flags} {run.id}".casefold()
        return all(word in text for word in self.words)
