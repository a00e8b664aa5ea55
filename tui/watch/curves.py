"""From a run's tables to the points of the live screen's curves; lives in the reader's thread."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence

from engine.snapshot import MetricTable, RunView
from tui.watch.metrics import eval_key, smooth_key
from tui.watch.places import STEP, Places
from tui.watch.query import Curve, CurveQuery
from tui.watch.smooth import Smoothed
from tui.widgets.chart.buckets import Buckets

__all__ = ["GPU_CURVES", "HOST_CURVE", "SMOOTH_LOSS", "SMOOTH_RATE", "STEP_CURVES", "Curve", "Curves"]

# Curve keys: metrics by their event names, and what is computed here.
SMOOTH_LOSS, SMOOTH_RATE = "loss_smooth", "rate_smooth"
STEP_CURVES = ("loss", "learning_rate", "samples_per_second")
GPU_CURVES = ("gpu_memory_allocated", "gpu_memory_reserved")
HOST_CURVE = "host_memory"
SMOOTHED = {"loss", "samples_per_second"}
# Stretches longer than this go to the charts as buckets, and are read in pieces so that little is held at once.
LONG_STRETCH = 8192
PIECE = 1 << 16
# A window of few rows has its smooth curve at each of them, also where averages are known at every n-th row only.
FEW_ROWS = 4096


class Curves:
    """The curves of one view: :meth:`new` gives the points that came since the last call."""

    def __init__(self, view: RunView, query: CurveQuery | None = None) -> None:
        self.view = view
        self.best: tuple[float, int] | None = None
        self.best_eval: float | None = None
        self._seen = self._seen_evals = 0
        self._tables = (view.steps, view.evals)
        self._rewrites = (view.steps.rewrites, view.evals.rewrites)
        self._smooth: dict[str, Smoothed] = {}
        self._places: dict[str, Places] = {STEP: Places(view)}
        self.query = CurveQuery()
        self.aim(query or CurveQuery())

    def superseded(self, view: RunView) -> bool:
        """Whether points that were given are history that did not happen: begin anew with another object."""
        if view is not self.view or view.steps is not self._tables[0] or view.evals is not self._tables[1]:
            return True
        return (view.steps.rewrites, view.evals.rewrites) != self._rewrites

    def aim(self, query: CurveQuery) -> None:
        """Give the points of this query from now on, beginning with all that there are."""
        if query.smoothing != self.query.smoothing:
            self._smooth = {}
        self.query = query
        self._sent: dict[str, int] = {}

    def new(self, interrupted: Callable[[], bool] = lambda: False) -> dict[str, Curve]:
        """What came since the last call, by curve key; only some of it if interrupted: then aim anew."""
        self._note_best()
        found: dict[str, Curve] = {}
        for curves in self._new_points():
            found |= {key: curve for key, curve in curves.items() if curve.packed is not None or len(curve.xs)}
            if interrupted():
                break
        return found

    @property
    def smooth(self) -> float | None:
        """The newest smoothed loss, ``None`` without one."""
        found = self._smooth.get("loss")
        return None if found is None or found.value != found.value else found.value

    def places(self, axis: str) -> Places:
        """Where rows stand on an axis."""
        if axis not in self._places:
            self._places[axis] = Places(self.view, axis)
        return self._places[axis]

    def smoothed(self, name: str) -> Smoothed:
        """The smoothed curve of a column, up to date."""
        steps = self.view.steps
        found = self._smooth.setdefault(name, Smoothed(self.query.smoothing or 1.0))
        while found.fed < len(steps):
            found.feed(steps.column(name)[found.fed : found.fed + PIECE])
        return found

    def shown(self) -> list[tuple[str, str, bool]]:
        """What is shown: the names of columns of the steps, or of the evaluations (True), with their keys."""
        steps, evals = self.view.steps, self.view.evals
        evaluated = {eval_key(name): name for name in evals.names()}
        if self.query.keys is None:
            memory = GPU_CURVES if any(map(steps.has, GPU_CURVES)) else (HOST_CURVE,)
            keys: tuple[str, ...] = (*STEP_CURVES, *memory, "eval_loss")
        else:
            keys = self.query.keys
        return [(evaluated.get(key, key), key, key in evaluated) for key in keys if key in evaluated or steps.has(key)]

    def is_smoothed(self, name: str) -> bool:
        """Whether a column of the steps has a smoothed curve beside it now."""
        return self.query.smoothing > 0 and (self.query.keys is not None or name in SMOOTHED)

    def _new_points(self) -> Iterator[dict[str, Curve]]:
        if self.view.steps.has("loss"):
            self.smoothed("loss")  # the newest average is said beside the charts, whatever these show
        first, end = self._rows()
        long = []
        for name, key, evaluation in self.shown():
            if evaluation:
                yield {key: self._evaluations(name, key)}
                continue
            start = max(first, self._sent.get(key, 0))
            if end - start > LONG_STRETCH and key not in self._sent:
                long.append((name, key))
            elif end > start:
                found = {key: self._stretch(name, start, end)}
                self._sent[key] = end
                if self.is_smoothed(name):
                    found[smooth_key(name)] = self._smooth_stretch(name, start, end)
                yield found
        if long:
            yield from self._pack(long, first, end)

    def _pack(self, names: list[tuple[str, str]], first: int, end: int) -> Iterator[dict[str, Curve]]:
        """Buckets of a long stretch of several columns; empty ones come first, so that it can be interrupted."""
        steps, places = self.view.steps, self.places(self.query.axis)
        averages = {key: self.smoothed(name) for name, key in names if self.is_smoothed(name)}
        last = places.xs(end - 1, end)[0]
        packed = {key: self._buckets(last) for _, key in names}
        smooth = {key: self._buckets(last) for key in averages}
        for start in range(first, end, PIECE):
            stop = min(end, start + PIECE)
            xs = places.xs(start, stop)
            for name, key in names:
                bad = self._nonfinite(steps, name, start, stop, xs)
                packed[key].extend(xs, steps.column(name)[start:stop], bad)
                average = averages.get(key)
                if average is not None:
                    low, high = bisect_left(average.rows, start), bisect_left(average.rows, stop)
                    rows = average.rows[low:high]
                    own = xs if len(rows) == len(xs) else array("q", [xs[row - start] for row in rows])
                    smooth[key].extend(own, average.values[low:high], bad)
            yield {}
        found: dict[str, Curve] = {}
        for name, key in names:
            self._sent[key] = end
            found[key] = _packed(packed[key])
            if key in averages:
                self._sent[smooth_key(name)] = bisect_left(averages[key].rows, end)
                found[smooth_key(name)] = _packed(smooth[key])
        yield found

    def _rows(self) -> tuple[int, int]:
        """The rows of the window."""
        rows = len(self.view.steps)
        if self.query.window is None:
            return 0, rows
        places = self.places(self.query.axis)
        first, end = self.query.window
        return places.row(first), places.row(end)

    def _stretch(self, name: str, first: int, end: int) -> Curve:
        steps = self.view.steps
        xs = self.places(self.query.axis).xs(first, end)
        return Curve(xs, steps.column(name)[first:end], self._nonfinite(steps, name, first, end, xs))

    def _smooth_stretch(self, name: str, first: int, end: int) -> Curve:
        smoothed, key, places = self.smoothed(name), smooth_key(name), self.places(self.query.axis)
        rows, begin = smoothed.rows, self._sent.get(key)
        start, stop = bisect_left(rows, first), bisect_left(rows, end)
        self._sent[key] = stop
        if begin is not None:
            start = max(start, begin)
        elif self.query.window is not None and end - first <= FEW_ROWS and stop - start < end - first:
            wanted = range(first, max(first, min(end, (rows[-1] if rows else -1) + 1)))
            return Curve(places.xs(first, first + len(wanted)), array("d", map(smoothed.at, wanted)))
        if stop <= start:
            return Curve(array("q"), array("d"))
        lowest = rows[start]
        among = places.xs(lowest, rows[stop - 1] + 1)
        xs = array("q", [among[row - lowest] for row in rows[start:stop]])
        return Curve(xs, smoothed.values[start:stop], self._nonfinite(self.view.steps, name, first, end, None))

    def _evaluations(self, name: str, key: str) -> Curve:
        evals, places = self.view.evals, self.places(self.query.axis)
        start, end = self._sent.get(key, 0), len(evals)
        self._sent[key] = end
        xs = evals.steps[start:end]
        ys = evals.column(name)[start:end]
        bad = set(evals.nonfinite.get(name, ()))
        if self.query.axis != STEP:
            bad = {places.of_step(step) for step in bad.intersection(xs)}
            xs = array("q", map(places.of_step, xs))
        if self.query.window is not None:
            first, stop = self.query.window
            keep = [i for i, x in enumerate(xs) if first <= x < stop]
            xs, ys = array("q", [xs[i] for i in keep]), array("d", [ys[i] for i in keep])
        return Curve(xs, ys, frozenset(bad.intersection(xs)))

    def _nonfinite(
        self, table: MetricTable, name: str, first: int, end: int, xs: Sequence[int] | None
    ) -> frozenset[int]:
        """The xs, among those of these rows, at which a value that is not finite was recorded."""
        known = table.nonfinite.get(name)
        if not known or end <= first:
            return frozenset()
        low, high = table.steps[first], table.steps[end - 1]
        found = known[bisect_left(known, low) : bisect_right(known, high)]
        if not found:
            return frozenset()
        if self.query.axis == STEP:
            return frozenset(found)
        if xs is None or len(found) < 64:
            return frozenset(map(self.places(self.query.axis).of_step, found))
        steps = table.steps[first:end]
        return frozenset(xs[bisect_left(steps, step)] for step in found)

    def _buckets(self, last: int) -> Buckets:
        window = self.query.window
        buckets = Buckets(window[0] if window is not None else 0)
        buckets.reserve(max(last, window[1] - 1) if window is not None else last)
        return buckets

    def _note_best(self) -> None:
        steps, evals = self.view.steps, self.view.evals
        while steps.has("loss") and self._seen < len(steps):
            part = steps.column("loss")[self._seen : self._seen + PIECE]
            if not math.isfinite(sum(part)):
                part = array("d", [value if math.isfinite(value) else math.inf for value in part])
            low = min(part)
            if low < (self.best[0] if self.best is not None else math.inf):
                self.best = low, steps.steps[self._seen + part.index(low)]
            self._seen += len(part)
        if len(evals) > self._seen_evals:
            self._seen_evals = len(evals)
            self.best_eval = evals.best("eval_loss")


def _packed(buckets: Buckets) -> Curve:
    return Curve(array("q"), array("d"), packed=buckets)
