"""Axes that grow in jumps, and labels a person can read."""

from __future__ import annotations

import itertools
import math
import random
from itertools import pairwise

import pytest

from tui.widgets.chart.axes import XScale, YScale, robust_range
from tui.widgets.chart.ticks import bytes_label, linear_ticks, log_ticks, nice_step, number_label, step_label

GIB = 1024.0**3


@pytest.mark.parametrize("columns", [20, 140, 400, 1000])
def test_x_axis_of_a_growing_run_rescales_rarely_and_never_loses_the_end(columns: int) -> None:
    scale = XScale(columns)
    scale.fit(1, live=True)
    jumps = 0
    for step in range(1, 60_000, 7):
        jumps += scale.grow(step)
        assert scale.column(step) < columns
    assert jumps <= math.log(60_000 / 24, 1.4)


@pytest.mark.parametrize("total", [3, 24, 25, 150, 151, 1000, 24_000, 1_000_000])
@pytest.mark.parametrize("columns", [80, 144, 300])
def test_x_axis_ends_near_the_known_total(total: int, columns: int) -> None:
    scale = XScale(columns)
    scale.fit(1, total, live=True)
    for step in range(1, total + 1, max(1, total // 5000)):
        scale.grow(step, total)
    scale.grow(total, total)
    assert scale.column(total) < columns
    assert scale.column(total) >= columns * 0.45  # whole dots a point, or four bits: never less than half is used
    fresh = XScale(columns)
    fresh.fit(total)
    assert fresh.column(total) >= columns * 0.45


def test_x_columns_stay_put_between_jumps() -> None:
    scale = XScale(100)
    scale.fit(500, live=True)
    before = [scale.column(x) for x in range(500)]
    assert not scale.grow(scale.end - 1)
    assert [scale.column(x) for x in range(500)] == before


@pytest.mark.parametrize("seed", range(20))
def test_x_bounds_are_the_inverse_of_column(seed: int) -> None:
    rng = random.Random(seed)
    scale = XScale(rng.randrange(10, 500), origin=rng.choice((0, 1, 1000)))
    scale.fit(scale.origin + rng.randrange(1, 100_000))
    for column in range(scale.columns):
        first, end = scale.bounds(column)
        for x in {first, end - 1} if end > first else ():
            assert scale.column(scale.origin + x) == column


def test_y_range_is_sticky_and_has_round_ends() -> None:
    y = YScale()
    assert y.fit([0.62], [2.31], 15)
    assert y.low <= 0.62 and y.high >= 2.31
    before = (y.low, y.high)
    assert not y.fit([0.62, 0.9], [2.31, 1.0], 15)
    assert (y.low, y.high) == before
    assert y.fit([0.62, 0.3], [2.31, 0.9], 15)
    assert y.low <= 0.3 and y.high >= 2.31
    assert all(abs(t / y.step - round(t / y.step)) < 1e-9 for t in y.ticks())


@pytest.mark.parametrize("seed", range(20))
def test_labels_stand_evenly_on_whole_rows(seed: int) -> None:
    rng = random.Random(seed)
    rows = rng.randrange(5, 40)
    low, size = rng.uniform(-5, 5), 10 ** rng.uniform(-3, 3)
    y = YScale()
    y.fit([low], [low + size], rows)
    dots = [y.position(tick) * (4 * rows - 1) for tick in y.ticks()]
    assert len(dots) >= 2
    assert all(round(dot, 3) % 4 == 2 for dot in dots)
    apart = {round(b - a, 3) for a, b in itertools.pairwise(dots)}
    assert len(apart) == 1
    assert y.position(low + size) - y.position(low) > 0.65  # the data have most of the height


def test_y_range_of_a_slow_drift_grows_in_few_jumps() -> None:
    y = YScale()
    changes = sum(y.fit([0.0], [1.0 + i / 100], 15) for i in range(2000))
    assert changes <= 16


def test_one_spike_does_not_flatten_the_rest() -> None:
    values = [1.0 + 0.1 * math.sin(i) for i in range(100)]
    values[50] = 80.0
    assert robust_range(values, values)[1] < 1.2
    values[50] = -80.0
    assert robust_range(values, values)[0] > 0.8


def test_a_plain_descent_is_no_outlier() -> None:
    values = [2.5 * 0.97**i + 0.4 for i in range(100)]
    assert robust_range(values, values) == (min(values), max(values))


def test_a_lasting_change_of_level_is_shown() -> None:
    values = [1.0] * 90 + [5.0] * 10
    assert robust_range(values, values) == (1.0, 5.0)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-30, 1e18, 5e-324])
@pytest.mark.parametrize("zero", [False, True])
def test_constant_values_have_a_range(value: float, zero: bool) -> None:
    y = YScale(zero=zero)
    y.fit([value], [value], 10)
    assert y.low <= value <= y.high and y.low < y.high
    assert 0.0 <= y.position(value) <= 1.0
    assert len(y.ticks()) >= 1


def test_log_axis() -> None:
    y = YScale(log=True)
    y.fit([0.4, 0.01], [3.0, 5.0], 15)
    assert 10**y.low <= 0.01 and 10**y.high >= 5.0
    assert y.position(0.0) == -math.inf
    assert 0.1 in [round(t, 6) for t in y.ticks()] and 1.0 in [round(t, 6) for t in y.ticks()]


def test_log_axis_without_positive_values_stays_calm() -> None:
    y = YScale(log=True)
    assert not y.fit([-1.0, 0.0], [0.0, 0.0], 10)
    assert y.high > y.low


@pytest.mark.parametrize("seed", range(30))
def test_y_axis_holds_any_finite_values(seed: int) -> None:
    rng = random.Random(seed)
    y = YScale(zero=rng.random() < 0.5, binary=rng.random() < 0.3, log=rng.random() < 0.3)
    scale = 10.0 ** rng.randrange(-12, 13)
    rows = rng.randrange(2, 40)
    lows: list[float] = []
    for _ in range(rng.randrange(1, 11)):  # too few for outliers
        lows.append(rng.gauss(0, 1) * scale)
        y.fit(lows, lows, rows)
        for value in lows:
            if not y.log:
                assert -1e-6 <= y.position(value) <= 1 + 1e-6
        assert len(y.ticks()) <= 40


@pytest.mark.parametrize(
    ("rough", "step"),
    [(0.3, 0.5), (1.0, 1.0), (1.1, 2.0), (3e-5, 5e-5), (7, 10), (0, 1), (math.nan, 1), (math.inf, 1)],
)
def test_nice_steps(rough: float, step: float) -> None:
    assert nice_step(rough) == pytest.approx(step)


def test_byte_steps_are_round_in_binary_units() -> None:
    y = YScale(zero=True, binary=True)
    y.fit([0.0], [35.2 * GIB], 15)
    assert [bytes_label(t, y.step) for t in y.ticks()] == ["0", "5G", "10G", "15G", "20G", "25G", "30G", "35G"]
    y = YScale(zero=True, binary=True)
    y.fit([0.0], [0.9 * GIB], 12)
    assert [bytes_label(t, y.step) for t in y.ticks()] == ["0", "200M", "400M", "600M", "800M", "1000M"]


@pytest.mark.parametrize(
    ("value", "step", "label"),
    [
        (0.5, 0.5, "0.5"), (1.0, 0.5, "1.0"), (2.25, 0.05, "2.25"), (1e-4, 5e-5, "1e-4"), (1.5e-4, 5e-5, "1.5e-4"),
        (2e-5, 1e-5, "2e-5"), (0.0, 0.1, "0"), (12_000, 2000, "12k"), (800, 200, "800"), (1000, 200, "1000"),
        (2_500_000, 500_000, "2.5M"), (-3.0, 1.0, "-3"), (1e-30, 0.1, "0"),
    ],
)  # fmt: skip
def test_number_labels(value: float, step: float, label: str) -> None:
    assert number_label(value, step) == label


@pytest.mark.parametrize(
    ("value", "step", "label"),
    [(0, 500, "0"), (500, 500, "500"), (1000, 500, "1k"), (1500, 500, "1.5k"), (2e6, 1e6, "2M")],
)
def test_step_labels(value: float, step: float, label: str) -> None:
    assert step_label(value, step) == label


def test_ticks_are_bounded() -> None:
    assert linear_ticks(0, 1, 1e-9) == []
    assert linear_ticks(0, math.inf, 1) == []
    assert log_ticks(0, 0.31) == pytest.approx([1.0, 2.0])
    assert log_ticks(0, 1.0) == pytest.approx([1.0, 2.0, 5.0, 10.0])


def test_a_fast_run_does_not_jump_at_every_look() -> None:
    scale, jumps = XScale(130), []
    scale.fit(1, 10_000, live=True)
    for step in range(1, 1201):  # ten steps a second for two minutes
        if scale.grow(step, 10_000, 200):
            jumps.append(step)
    assert len(jumps) <= 5 and all(later - before >= 200 for before, later in pairwise(jumps))
