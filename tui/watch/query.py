"""What the charts ask of the reader's thread, and what it answers: frozen, so that both may hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tui.watch.places import STEP
from tui.widgets.chart.buckets import Buckets


@dataclass(frozen=True, slots=True)
class Curve:
    """New points of one curve; NaNs whose x is not in ``nonfinite`` mean "no value here".

    Of a long stretch there are ``packed`` buckets in place of points; the chart that takes them owns them.
    """

    xs: Sequence[int]
    ys: Sequence[float]
    nonfinite: frozenset[int] = frozenset()
    packed: Buckets | None = None


@dataclass(frozen=True, slots=True)
class CurveQuery:
    """Which points are wanted: those of ``window`` (first x, end; the whole run without) on an axis.

    ``number`` rises whenever other points are wanted; with the same number only the values under ``cursor`` (an x)
    are. ``smoothing`` stretches the usual window, 0 is none. ``keys`` are curves; without, those of the four charts.
    ``counted_on`` is the axis of the window's and the cursor's numbers where that is another one; the reader answers
    with numbers on ``axis``.
    """

    number: int = 0
    axis: str = STEP
    window: tuple[int, int] | None = None
    smoothing: float = 1.0
    keys: tuple[str, ...] | None = None
    cursor: int | None = None
    counted_on: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """The values at the recorded step nearest to a cursor, each with the step that it is of (as stored)."""

    cursor: int
    axis: str
    step: int
    x: int
    values: dict[str, tuple[float, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure that a run logs: its clean title and its curves in training and in evaluation ("" for none)."""

    title: str
    train: str = ""
    evaluation: str = ""
