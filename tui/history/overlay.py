"""The curves of several runs over one axis, smoothed alike; made in a thread of the comparison."""

from __future__ import annotations

import math
import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tui.watch.places import AXES, STEP, TIME, UNITS
from tui.widgets.chart.buckets import Buckets

if TYPE_CHECKING:
    from engine.history.compare import Comparison
    from engine.history.record import RunRecord

LETTERS = "ABCDEFGH"
WEIGHTS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
FAVOURITES = ("eval_loss", "loss")
# Not metrics that anybody compares as curves.
LATE = ("runtime", "samples_per_second", "steps_per_second")
_LARGEST = 2.0**60
# A cursor this many usual distances from a run's points reads nothing of it.
REACH = 3.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be drawn: a metric over an axis, smoothed; a stretch of it (first x, end); and how runs are ranked."""

    metric: str
    axis: str = STEP
    weight: float = 0.0
    window: tuple[int, int] | None = None
    by: str = "best"


@dataclass(slots=True)
class Drawn:
    """One run's curve; without points ``why`` says what is missing."""

    xs: array[int] = field(default_factory=lambda: array("q"))
    ys: array[float] = field(default_factory=lambda: array("d"))
    buckets: Buckets = field(default_factory=Buckets)
    why: str = ""

    def at(self, x: int) -> tuple[int, float] | None:
        """The point nearest to an x, if the run has been there."""
        if not self.xs:
            return None
        after = bisect_left(self.xs, x)
        near = [place for place in (after - 1, after) if 0 <= place < len(self.xs)]
        place = min(near, key=lambda place: abs(self.xs[place] - x))
        apart = (self.xs[-1] - self.xs[0]) / max(1, len(self.xs) - 1)
        inside = self.xs[0] <= x <= self.xs[-1]
        return (self.xs[place], self.ys[place]) if inside or abs(self.xs[place] - x) <= REACH * apart else None


@dataclass(slots=True)
class Overlay:
    """The answer to a wish."""

    wish: Wish
    curves: list[Drawn]
    axes: tuple[str, ...]
    comparison: Comparison


def metrics(records: Sequence[RunRecord]) -> list[str]:
    """All metrics, the losses first, what says how fast it went last; those that most runs have before others."""
    counts: dict[str, int] = {}
    for record in records:
        for name in dict.fromkeys((*record.steps.names, *record.evals.names)):
            counts[name] = counts.get(name, 0) + 1

    def order(name: str) -> tuple[int, int, int]:
        late = any(name.endswith(word) for word in LATE)
        favourite = FAVOURITES.index(name) if name in FAVOURITES else len(FAVOURITES)
        return int(late), favourite, -counts[name]

    return sorted(counts, key=order)


def first_metric(records: Sequence[RunRecord]) -> str:
    """The evaluation loss if two runs have a curve of it, else what most have."""
    with_curve = sum(len(record.evals.values("eval_loss")) > 1 for record in records)
    found = metrics(records)
    if with_curve >= 2 or "loss" not in found:
        return found[0] if found else "loss"
    return "loss"


def is_evaluated(records: Sequence[RunRecord], metric: str) -> bool:
    """Whether it is a metric of evaluations."""
    return any(metric in record.evals.names for record in records)


def compose(records: Sequence[RunRecord], wish: Wish) -> Overlay:
    """Everything that a wish asks for."""
    from engine.history.compare import compare

    axes = tuple(axis for axis in AXES if axis == STEP or any(_knows(record, axis, wish.metric) for record in records))
    curves = [_drawn(record, wish) for record in records]
    return Overlay(wish, curves, axes, compare(records, wish.metric, wish.by, wish.weight or 0.9))


def _knows(record: RunRecord, axis: str, metric: str) -> bool:
    curves = record.evals if metric in record.evals.names else record.steps
    return any(map(math.isfinite, curves.axis(axis)))


def _drawn(record: RunRecord, wish: Wish) -> Drawn:
    from engine.history.compare import smooth

    curves = record.evals if wish.metric in record.evals.names else record.steps
    if not len(curves.values(wish.metric)):
        return Drawn(why=f"has no {wish.metric}")
    xs, ys = curves.pair(wish.metric, wish.axis)
    if not len(xs) and wish.axis == STEP:
        ys = curves.values(wish.metric)
        xs = array("d", range(1, len(ys) + 1))
    if not len(xs):
        return Drawn(why=f"has no {'times' if wish.axis == TIME else wish.axis}")
    start = _start(record) if wish.axis == TIME else 0.0
    made = Drawn()
    made.xs, ys = _placed(xs, ys, UNITS[wish.axis], start)
    made.ys = smooth(ys, wish.weight) if wish.weight else ys
    first, end = wish.window if wish.window is not None else (0, 0)
    made.buckets = Buckets(first)
    low, high = 0, len(made.xs)
    if wish.window is not None:  # a point beyond each edge, so that the line goes on to it
        low, high = max(0, bisect_left(made.xs, first) - 1), min(high, bisect_left(made.xs, end) + 1)
    if high > low:
        made.buckets.reserve(made.xs[high - 1])
        made.buckets.extend(made.xs[low:high], made.ys[low:high])
    return made


def _start(record: RunRecord) -> float:
    """When the first row of any kind was logged."""
    times = [t for curves in (record.steps, record.evals) for t in curves.axis(TIME) if math.isfinite(t)]
    return min(times, default=0.0)


def _placed(xs: array[float], ys: array[float], unit: int, start: float) -> tuple[array[int], array[float]]:
    """Whole numbers in rising order; of several points in one place the last counts."""
    points: dict[int, float] = {}
    rising, before = True, -math.inf
    for x, y in zip(xs, ys, strict=True):
        place = (x - start) * unit
        if not math.isfinite(place) or abs(place) > _LARGEST:
            continue
        whole = int(place + 0.5)
        rising = rising and whole >= before
        before = whole
        points[whole] = y
    order = points if rising else sorted(points)
    return array("q", order), array("d", (points[x] for x in order))


class Composer:
    """A thread that composes the newest wish; older ones that were not begun are dropped."""

    def __init__(self, records: Sequence[RunRecord], deliver: Callable[[Overlay | Exception], object]) -> None:
        self._records, self._deliver = records, deliver
        self._wish: Wish | None = None
        self._wake, self._stopped = threading.Event(), threading.Event()

    def start(self) -> None:
        """Begin, in a thread that never keeps the app from ending."""
        threading.Thread(target=self._run, name="tunedeck-overlay", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._wake.set()

    def ask(self, wish: Wish) -> None:
        """From any thread."""
        self._wish = wish
        self._wake.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.wait()
            self._wake.clear()
            wish, self._wish = self._wish, None
            if wish is None or self._stopped.is_set():
                continue
            try:
                self._deliver(compose(self._records, wish))
            except Exception as error:  # records of a shape nobody foresaw must not end the page
                self._deliver(error)
