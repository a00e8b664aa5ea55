"""Which runs are shown, in which order and groups, and which are marked; knows nothing of widgets."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from rich.cells import cell_len

from tui import format as fmt
from tui.runlist import groups
from tui.runlist.choices import GROUPS, Choices
from tui.runlist.groups import Group
from tui.runlist.order import Order
from tui.runlist.values import state_words

if TYPE_CHECKING:
    from engine.history import RunSummary

RESUMABLE = frozenset({"completed", "stopped", "failed", "killed", "lost"})
BAD_ENDS = frozenset({"failed", "killed", "lost"})
# In these orders the queue is shown as what it is: one block, the next run first.
_QUEUE_TOGETHER = ("started", "state")
# Runs that are looked through between two looks at the clock.
PORTION = 100


class Filter(Protocol):
    """What decides whether a run is shown: a query of :mod:`engine.history.query`."""

    def matches(self, run: RunSummary, now: float | None = None) -> bool:
        """Whether it is shown."""


def waits(run: RunSummary) -> bool:
    """Whether it stands in this machine's queue."""
    return run.state == "queued" and run.here


def gather_queue(runs: list[RunSummary]) -> list[RunSummary]:
    """The same list with the queued runs together, in the queue's order, where the first of them stands."""
    queue = [run for run in runs if waits(run)]
    if len(queue) < 2:
        return runs
    first = next(place for place, run in enumerate(runs) if waits(run))
    queue.sort(key=lambda run: run.queue_position if run.queue_position is not None else math.inf)
    rest = [run for run in runs if not waits(run)]
    return [*rest[:first], *queue, *rest[first:]]


class Sift:
    """A filter on its way through all runs, a while at a time: many runs must not hold up the next key."""

    def __init__(self, wanted: Filter, runs: dict[str, RunSummary]) -> None:
        self.filter = wanted
        self.passed: set[str] = set()
        self._runs, self._paths, self._place, self._now = runs, list(runs), 0, time.time()

    def go_on(self, seconds: float | None = None) -> bool:
        """Work for so long, or to the end; whether all runs are through."""
        until = math.inf if seconds is None else time.perf_counter() + seconds
        matches, now, passed = self.filter.matches, self._now, self.passed
        while self._place < len(self._paths):
            part = self._paths[self._place : self._place + PORTION]
            found = ((path, self._runs.get(path)) for path in part)
            passed.update(path for path, run in found if run is not None and matches(run, now))
            self._place += len(part)
            if time.perf_counter() >= until:
                break
        return self._place >= len(self._paths)


class RunList:
    """All known runs by path; :attr:`visible` are those that pass the filter, :attr:`rows` what stands there."""

    def __init__(self, choices: Choices | None = None) -> None:
        choices = choices or Choices()
        self.runs: dict[str, RunSummary] = {}
        self.group = choices.group
        self.folded: set[str] = set()
        self.marks: dict[str, None] = {}
        self.visible: list[RunSummary] = []
        self.rows: list[RunSummary | Group] = []
        self.tools: set[str] = set()
        self.wide = (0, 0)
        self._order = Order(choices.sort, choices.falling)
        self._live: dict[str, RunSummary] = {}
        self._filter: Filter | None = None
        self._passed: set[str] = set()
        self._sift: Sift | None = None

    # What is there.

    @property
    def live(self) -> list[RunSummary]:
        """Runs that have not ended."""
        return list(self._live.values())

    @property
    def queued(self) -> list[RunSummary]:
        """Runs in this machine's queue."""
        return [run for run in self._live.values() if waits(run)]

    @property
    def filtered(self) -> bool:
        """Whether a filter is on."""
        return self._filter is not None

    @property
    def sort(self) -> tuple[str, bool]:
        """The column of the order, and whether the largest stand first."""
        return self._order.sort, self._order.falling

    @property
    def marked(self) -> list[RunSummary]:
        """The marked runs, in the order in which they were marked."""
        return [self.runs[path] for path in self.marks]

    def can_move(self, run: RunSummary | None, by: int) -> bool:
        """Whether a run can go so many places forward (negative) or back in the queue."""
        if run is None or not waits(run):
            return False
        place = run.queue_position
        return place is None or (place > 1 if by < 0 else place < len(self.queued))

    # News.

    def renumber(self, order: list[str]) -> None:
        """The queue's new order (ids of runs), before their supervisors write it down."""
        places = {run_id: place for place, run_id in enumerate(order, 1)}
        changed = []
        for run in self.queued:
            place = places.get(run.id)
            if place is not None and place != run.queue_position:
                # What it was said to wait for was true of its old place.
                changed.append(dataclasses.replace(run, queue_position=place, waits_for=None))
        self.update(changed)

    def update(self, changed: Iterable[RunSummary], gone: Iterable[str] = ()) -> None:
        """Take in news."""
        changed, gone = list(changed), list(gone)
        now = time.time()
        for run in changed:
            self._take(run, now)
        for path in gone:
            self.runs.pop(path, None)
            self._live.pop(path, None)
            self.marks.pop(path, None)
            self._passed.discard(path)
        self._order.take(changed, gone)
        self.arrange()

    def _take(self, run: RunSummary, now: float) -> None:
        self.runs[run.path] = run
        self.tools.add(run.tool)
        if run.live:
            self._live[run.path] = run
        else:
            self._live.pop(run.path, None)
        # Widths only grow: columns that step back and forth would have the whole list sent anew.
        state = cell_len(state_words(run)) if run.live else 0
        self.wide = (max(self.wide[0], state), max(self.wide[1], len(fmt.steps(run.step, run.total_steps))))
        for wanted, passed in self._filters():
            if wanted.matches(run, now):
                passed.add(run.path)
            else:
                passed.discard(run.path)

    def _filters(self) -> Iterable[tuple[Filter, set[str]]]:
        if self._filter is not None:
            yield self._filter, self._passed
        if self._sift is not None:
            yield self._sift.filter, self._sift.passed

    # The filter.

    def set_filter(self, wanted: Filter | None) -> None:
        """Show only the runs that pass, all at once."""
        if self.begin_filter(wanted) and self._sift is not None:
            self.go_on_filtering(None)

    def begin_filter(self, wanted: Filter | None) -> bool:
        """Begin to look which runs pass; whether :meth:`go_on_filtering` has anything to do."""
        if wanted is None:
            self._filter, self._sift, self._passed = None, None, set()
            self.arrange()
            return False
        self._sift = Sift(wanted, self.runs)
        return True

    def go_on_filtering(self, seconds: float | None) -> bool:
        """Go on for so long; whether all is done, and shown from now on."""
        sift = self._sift
        if sift is None:
            return True
        if not sift.go_on(seconds):
            return False
        self._filter, self._passed, self._sift = sift.filter, sift.passed & self.runs.keys(), None
        self.arrange()
        return True

    # Order, groups, folding.

    def order_by(self, sort: str, falling: bool) -> None:
        """Order by a column."""
        self._order.turn(sort, falling, self.runs)
        self.arrange()

    def group_by(self, group: str) -> None:
        """Gather in groups, or in none."""
        self.group = group
        self.arrange()

    def next_group(self) -> str:
        """The next way to group; returns it."""
        self.group_by(GROUPS[(GROUPS.index(self.group) + 1) % len(GROUPS)])
        return self.group

    def fold(self, keys: Iterable[str], folded: bool) -> None:
        """Fold groups or open them."""
        if folded:
            self.folded.update(keys)
        else:
            self.folded.difference_update(keys)
        self.arrange()

    @property
    def groups(self) -> list[Group]:
        """The groups that stand there."""
        return [row for row in self.rows if isinstance(row, Group)]

    def arrange(self) -> None:
        """Put the rows together from what is known."""
        runs, passed = self.runs, self._passed
        if self._filter is None:
            shown = [runs[path] for path in self._order.paths]
        else:
            shown = [runs[path] for path in self._order.paths if path in passed]
        self.visible = gather_queue(shown) if self._order.sort in _QUEUE_TOGETHER and len(self._live) > 1 else shown
        if not self.group:
            self.rows = list(self.visible)
            return
        self.rows = []
        for group in groups.gather(self.visible, self.group, self.folded):
            self.rows.append(group)
            if not group.folded:
                self.rows += group.runs

    # Marks.

    def toggle(self, runs: Iterable[RunSummary]) -> bool:
        """Mark these runs, or unmark them if all are marked; whether they are now."""
        paths = [run.path for run in runs]
        marked = not all(path in self.marks for path in paths)
        for path in paths:
            if marked:
                self.marks[path] = None
            else:
                self.marks.pop(path, None)
        return marked

    def clear_marks(self) -> None:
        """No run is marked any more."""
        self.marks.clear()
