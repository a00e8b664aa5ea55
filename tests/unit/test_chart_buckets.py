"""The store behind every chart: no minimum, maximum or NaN may ever be lost, however it was fed."""

from __future__ import annotations

import math
import random
import time
from array import array

import pytest

from tui.widgets.chart.axes import XScale
from tui.widgets.chart.buckets import INF, Buckets
from tui.widgets.chart.raster import Columns


def brute(points: list[tuple[int, float]], first: int, end: int) -> tuple[float, float, bool]:
    inside = [y for x, y in points if first <= x < end]
    finite = [y for y in inside if math.isfinite(y)]
    return min(finite, default=INF), max(finite, default=-INF), len(finite) < len(inside)


def some_points(rng: random.Random, count: int) -> list[tuple[int, float]]:
    x, points = 0, []
    for _ in range(count):
        x += rng.choice((1, 1, 1, 1, 2, 7, 40))
        y = rng.gauss(0, 1) * rng.choice((1, 1, 1, 1000))
        if rng.random() < 0.03:
            y = rng.choice((math.nan, math.inf, -math.inf))
        points.append((x, y))
    return points


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("capacity", [16, 64, 1024])
def test_buckets_equal_brute_force_however_they_are_fed(seed: int, capacity: int) -> None:
    rng = random.Random(seed)
    points = some_points(rng, rng.choice((1, 5, 300, 3000)))
    buckets = Buckets(capacity=capacity)
    position = 0
    while position < len(points):
        size = rng.choice((1, 3, 100, 700))
        part = points[position : position + size]
        if size == 1:
            buckets.append(*part[0])
        else:
            buckets.extend(array("q", [x for x, _ in part]), array("d", [y for _, y in part]))
        position += size
    assert len(buckets.lo) <= capacity
    assert buckets.count == len(points)
    width = buckets.width
    for index in range(len(buckets.lo)):
        assert buckets.span(index * width, (index + 1) * width) == brute(points, index * width, (index + 1) * width)
    for _ in range(20):
        a = rng.randrange(len(buckets.lo))
        b = rng.randrange(a, len(buckets.lo)) + 1
        assert buckets.span(a * width, b * width) == brute(points, a * width, b * width)


@pytest.mark.parametrize("seed", range(12))
def test_every_point_is_within_its_dot_column(seed: int) -> None:
    rng = random.Random(seed)
    points = some_points(rng, rng.choice((2, 30, 500, 5000)))
    buckets = Buckets()
    for x, y in points:
        buckets.append(x, y)
    width = rng.choice((20, 111, 400))
    scale = XScale(width)
    scale.fit(points[-1][0])
    columns = Columns()
    columns.resize(width)
    columns.read(buckets, scale, 0, width - 1)
    seen: dict[int, list[float]] = {}
    for x, y in points:
        column = scale.column(x)
        assert 0 <= column < width
        if math.isfinite(y):
            seen.setdefault(column, []).append(y)
        else:
            assert columns.bad[column]
    for column in range(width):
        values = seen.get(column, [])
        assert columns.lo[column] == min(values, default=INF)
        assert columns.hi[column] == max(values, default=-INF)


def test_missing_values_are_not_nan_values() -> None:
    xs = array("q", range(1, 201))
    ys = array("d", [math.nan if x % 2 else float(x) for x in xs])
    buckets = Buckets()
    buckets.extend(xs, ys, nonfinite={7})
    assert buckets.count == 101
    assert [x for x in range(1, 201) if buckets.span(x, x + 1)[2]] == [7]
    few = Buckets()
    few.extend(xs[:10], ys[:10], nonfinite={7})
    assert [x for x in range(1, 11) if few.span(x, x + 1)[2]] == [7]


def test_last_value_tells_the_truth_about_nan() -> None:
    buckets = Buckets()
    buckets.append(1, 2.0)
    buckets.append(2, math.nan)
    assert buckets.last_y is not None and math.isnan(buckets.last_y)


def test_dirty_interval_is_what_was_touched() -> None:
    buckets = Buckets()
    buckets.extend(array("q", range(100)), array("d", range(100)))
    assert buckets.take_dirty() == (0, 99)
    assert buckets.take_dirty() is None
    buckets.append(105, 1.0)
    buckets.append(103, 1.0)
    assert buckets.take_dirty() == (103, 105)


def test_earlier_points_than_the_origin_are_kept() -> None:
    buckets = Buckets(origin=1000)
    buckets.append(5, 3.0)
    buckets.append(1001, 4.0)
    assert buckets.span(0, 2) == (3.0, 4.0, False)


def test_a_million_points_are_quick() -> None:
    xs = array("q", range(1, 1_000_001))
    ys = array("d", [1.0 + (x % 977) * 1e-3 for x in xs])
    ys[543_210] = 99.0
    buckets = Buckets()
    began = time.perf_counter()
    buckets.extend(xs, ys)
    assert time.perf_counter() - began < 2.0
    assert buckets.max_y == 99.0
    assert buckets.span(0, 1 << 20)[:2] == (1.0, 99.0)
