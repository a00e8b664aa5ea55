"""From a run's tables to the points of the live screen's curves; lives in the reader's thread."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from engine.snapshot import MetricTable, RunView
from tui.watch.smooth import Smoother

# Curve keys: metrics by their event names, and what is computed here.
SMOOTH_LOSS, SMOOTH_RATE = "loss_smooth", "rate_smooth"
STEP_CURVES = ("loss", "learning_rate", "samples_per_second")
GPU_CURVES = ("gpu_memory_allocated", "gpu_memory_reserved")
HOST_CURVE = "host_memory"


@dataclass(frozen=True, slots=True)
class Curve:
    """New points of one curve; NaNs whose x is not in ``nonfinite`` mean "no value here"."""

    xs: array[int]
    ys: array[float]
    nonfinite: frozenset[int] = frozenset()


class Curves:
    """The curves of one view: :meth:`new` gives the points that came since the last call."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        self.best: tuple[float, int] | None = None
        self.best_eval: float | None = None
        self._rows = self._eval_rows = 0
        self._rewrites = (view.steps.rewrites, view.evals.rewrites)
        self._smooth_loss, self._smooth_rate = Smoother(), Smoother()

    def superseded(self, view: RunView) -> bool:
        """Whether points that were given are history that did not happen: begin anew with another object."""
        return view is not self.view or (view.steps.rewrites, view.evals.rewrites) != self._rewrites

    def new(self) -> dict[str, Curve]:
        """What came since the last call, by curve key."""
        return dict(self._new_points())

    def _new_points(self) -> Iterator[tuple[str, Curve]]:
        view = self.view
        steps, evals = view.steps, view.evals
        if len(steps) > self._rows:
            first, self._rows = self._rows, len(steps)
            names = STEP_CURVES + (GPU_CURVES if any(map(steps.has, GPU_CURVES)) else (HOST_CURVE,))
            for name in names:
                if steps.has(name):
                    curve = _slice(steps, name, first)
                    yield name, curve
                    if name == "loss":
                        self._note_best(curve)
                        yield SMOOTH_LOSS, Curve(curve.xs, self._smooth_loss.feed(curve.ys), curve.nonfinite)
                    elif name == "samples_per_second":
                        yield SMOOTH_RATE, Curve(curve.xs, self._smooth_rate.feed(curve.ys), curve.nonfinite)
        if len(evals) > self._eval_rows:
            first, self._eval_rows = self._eval_rows, len(evals)
            if evals.has("eval_loss"):
                yield "eval_loss", _slice(evals, "eval_loss", first)
                self.best_eval = evals.best("eval_loss")

    def _note_best(self, curve: Curve) -> None:
        for x, y in zip(curve.xs, curve.ys, strict=True):
            if math.isfinite(y) and (self.best is None or y < self.best[0]):
                self.best = (y, x)


def _slice(table: MetricTable, name: str, first: int) -> Curve:
    xs, ys = table.steps[first:], table.column(name)[first:]
    start = xs[0]
    return Curve(xs, ys, frozenset(x for x in _tail(table.nonfinite.get(name, []), start)))


def _tail(steps: list[int], start: int) -> Iterator[int]:
    for step in reversed(steps):
        if step < start:
            return
        yield step
