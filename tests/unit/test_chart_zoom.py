"""A part of the x axis, other axes, the cursor: what the chart draws and says of them."""

from __future__ import annotations

import math
import random

import pytest

from tui.widgets.chart.axes import XScale, shown_end
from tui.widgets.chart.buckets import CAPACITY, Buckets
from tui.widgets.chart.glyphs import ASCII
from tui.widgets.chart.model import CLOUD, DASHED, GUTTER, LINE, POINTS, TREND, ChartModel
from tui.widgets.chart.ticks import EPOCHS, KINDS, STEPS, TIMES, TOKENS, step_label, time_label, time_step


def chart(width: int = 70, height: int = 15, style: str = LINE, **how: object) -> ChartModel:
    model = ChartModel("loss", **how)  # type: ignore[arg-type]
    model.add_series("a", "train", style)
    model.resize(width, height)
    return model


def text(model: ChartModel) -> list[str]:
    return ["".join(part for part, _ in line) for line in model.lines]


@pytest.mark.parametrize("seed", range(40))
def test_a_window_is_shown_whole_and_nearly_nothing_else(seed: int) -> None:
    rng = random.Random(seed)
    columns, first = rng.randrange(20, 600), rng.randrange(10**6)
    count = rng.choice((5, 40, 300, 5000, 10**5, 10**8)) + rng.randrange(5)
    scale = XScale(columns, first)
    scale.show(first + count)
    assert scale.column(first) == 0 and scale.column(first + count - 1) < columns
    assert scale.column(first + count - 1) >= columns * 0.87
    assert shown_end(columns, (first, first + count)) == scale.end >= first + count
    for column in (0, columns // 3, columns - 1):
        low, end = scale.bounds(column)
        assert all(scale.column(first + x) == column for x in (low, end - 1) if end > low)


@pytest.mark.parametrize("seed", range(25))
def test_every_value_of_a_window_is_in_its_column_and_no_other(seed: int) -> None:
    rng = random.Random(seed)
    first = rng.randrange(5000)
    count = rng.choice((10, 90, 700, CAPACITY + 3000))
    ys = {first + i: rng.gauss(0, 1) for i in range(count)}
    model = chart(rng.randrange(30, 200))
    model.clear(first)
    model.set_window((first, first + count))
    model.extend("a", list(ys), list(ys.values()))
    model.update()
    columns = model.series["a"].columns
    wanted: dict[int, list[float]] = {}
    for x, y in ys.items():
        wanted.setdefault(model.x.column(x), []).append(y)
    for column in range(len(columns.lo)):
        values = wanted.get(column, [])
        assert columns.lo[column] == min(values, default=math.inf)
        assert columns.hi[column] == max(values, default=-math.inf)


def test_zooming_shows_what_is_there_at_once_until_the_exact_points_come() -> None:
    model = chart()
    model.extend("a", range(1, 40_001), [float(x % 97) for x in range(1, 40_001)])
    model.update()
    model.set_window((20_000, 21_000))
    model.update()
    columns = model.series["a"].columns
    assert max(columns.hi) == 96.0 and min(columns.lo) == 0.0
    assert sum(math.isfinite(hi) for hi in columns.hi) > 0.9 * len(columns.hi)


def test_a_spike_that_is_zoomed_into_has_its_place_on_the_axis() -> None:
    values = [1.0 + 0.01 * (x % 5) for x in range(1, 401)]
    values[199] = 50.0
    model = chart()
    model.extend("a", range(1, 401), values)
    model.update()
    assert model.y.high < 2
    model.clear(180)
    model.set_window((180, 220))
    model.extend("a", range(180, 220), values[179:219])
    model.update()
    assert model.y.high >= 50.0


def test_points_beyond_a_window_change_nothing() -> None:
    model = chart()
    model.clear(10)
    model.set_window((10, 60))
    model.extend("a", range(10, 60), [1.0] * 50)
    model.update()
    before = [list(line) for line in model.lines]
    model.append("a", 200, 1.0)
    assert model.update(legend=False) == [] and model.lines == before


def test_the_cursor_is_a_mark_in_every_empty_cell_of_its_column_and_says_its_x() -> None:
    model = chart()
    for x in range(1, 101):
        model.append("a", x, 1.0 + x / 100)
    model.update()
    before = text(model)
    model.set_cursor(60, "60", {"a": 1.6})
    changed = model.update()
    cell = GUTTER + model.x.column(60) // 2
    now = text(model)
    assert all(now[row][cell] == "┊" for row in range(1, model.rows + 1) if before[row][cell] == " ")
    assert now[-2][cell] == "┴" and " 60" in now[-1] and "1.600" in now[0]
    assert all(len(line) == 70 for line in now) and len(changed) >= model.rows
    model.set_cursor(None)
    model.update()
    assert text(model) == before
    model.set_window((70, 100))
    model.set_cursor(60, "60")
    model.update()
    assert "┊" not in "".join(text(model))  # out of sight


def test_a_cursor_moves_by_the_lines_that_it_touches_and_live_points_keep_it() -> None:
    model = chart()
    model.set_span(1000, True)
    for x in range(1, 301):
        model.append("a", x, 1.0)
        model.set_cursor(max(1, x - 5), str(x))
        model.update()
        column = GUTTER + model.x.column(max(1, x - 5)) // 2
        assert {at for line in text(model) for at, char in enumerate(line) if char == "┊"} == {column}


def test_a_dashed_line_is_told_from_a_solid_one_without_colours() -> None:
    for glyphs, signs in ((None, "╍━"), (ASCII, "=*")):
        model = ChartModel("memory", **({"glyphs": glyphs} if glyphs else {}))
        model.add_series("reserved", "reserved", DASHED, "s4")
        model.add_series("allocated", "allocated", LINE, "s1")
        model.resize(80, 12)
        for x in range(1, 200):
            model.append("reserved", x, 30.0)
            model.append("allocated", x, 10.0)
        model.update()
        assert all(f"{sign} " in text(model)[0] for sign in signs)
        rows = [line for line in text(model)[1:-2] if line[GUTTER:].strip()]
        filled = sorted(sum(char != " " for char in row[GUTTER:]) for row in rows)
        assert filled[0] <= filled[-1] * 0.6


def test_a_smoothed_curve_is_never_off_the_axis() -> None:
    model = ChartModel("loss")
    model.add_series("raw", "train", CLOUD, "cloud")
    model.add_series("smooth", "smooth", TREND, "s1", in_range=False)
    model.add_series("eval", "eval", POINTS, "point")
    model.resize(60, 14)
    for x in range(1, 101):
        model.append("raw", x, 90.0 if x == 4 else 1.0)
        model.append("smooth", x, 3.0 if x < 8 else 1.0)
    model.update()
    assert 3.0 <= model.y.high < 50


@pytest.mark.parametrize(
    ("value", "step", "label"),
    [(0, 1000, "0"), (45_000, 5000, "45s"), (90_000, 30_000, "1m 30s"), (5_400_000, 1_800_000, "1h 30m"),
     (7_200_000, 3_600_000, "2h"), (194_400_000, 21_600_000, "2d 6h"), (1500, 500, "1.5s"), (65_000, 5000, "1m 05s")],
)  # fmt: skip
def test_time_labels(value: float, step: float, label: str) -> None:
    assert time_label(value, step) == label


def test_the_axis_says_what_it_counts() -> None:
    model = chart()
    model.extend("a", range(0, 3_000_000, 10_000), [1.0] * 300)
    model.set_kind(EPOCHS)
    model.update()
    assert text(model)[-1].startswith("epoch") and text(model)[-1].split()[1:] == [
        "0",
        "0.5",
        "1.0",
        "1.5",
        "2.0",
        "2.5",
        "3.0",
    ]


def test_labels_of_every_axis_are_round() -> None:
    assert EPOCHS.label(500_000, 500_000) == "0.5" and EPOCHS.label(1_250_000, 50_000) == "1.25"
    assert TOKENS.label(1_500_000, 500_000) == "1.5M" and TOKENS.exact(1_234_567) == "1.235M"
    assert STEPS.exact(12_345) == "12,345" and TIMES.exact(3_725_000) == "1h 02m 05s"
    assert step_label(1204, 2) == "1,204" and step_label(1500, 500) == "1.5k"
    assert [time_step(rough) for rough in (700, 40_000, 400_000, 4_000_000, 10**8)] == [
        1000, 60_000, 600_000, 7_200_000, 172_800_000]  # fmt: skip
    assert set(KINDS) == {"step", "epoch", "tokens", "time"}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("last", [1, 30, 5000, 10**7, 3 * 10**9])
def test_a_live_axis_of_any_kind_grows_rarely_and_keeps_the_newest_point(kind: object, last: int) -> None:
    model = chart(60, 10)
    model.set_kind(kind)  # type: ignore[arg-type]
    model.set_span(None, True)
    jumps, scale = 0, None
    for part in range(1, 201):
        model.append("a", max(1, last * part // 200), 1.0)
        model.update()
        jumps += scale is not None and (model.x.points, model.x.dots) != scale
        scale = (model.x.points, model.x.dots)
        assert model.x.column(max(1, last * part // 200)) < model.x.columns
        assert all(len(line) == 60 for line in text(model))
    assert jumps <= 15


def test_packed_buckets_equal_points_that_were_added_one_by_one() -> None:
    rng = random.Random(4)
    xs = sorted(rng.sample(range(10, 90_000), 40_000))
    ys = [rng.gauss(0, 1) for _ in xs]
    packed, single = Buckets(10), Buckets(10)
    packed.reserve(90_000)
    packed.extend(xs, ys, frozenset())
    for x, y in zip(xs, ys, strict=True):
        single.append(x, y)
    assert packed.width == single.width and packed.max_y == single.max_y and packed.count == single.count
    size = len(single.lo)
    assert packed.lo[:size] == single.lo and packed.hi[:size] == single.hi


def test_a_log_axis_of_values_that_have_no_logarithm_stays_calm() -> None:
    model = chart(binary=True, zero=True)
    for x in range(1, 50):
        model.append("a", x, 4e10 if x < 25 else 0.0)
    model.update()
    model.clear(25)
    model.set_window((25, 50))
    for x in range(25, 50):
        model.append("a", x, 0.0)
    model.set_log(True)
    model.update()  # this never ended
    assert len(model.lines) == 15 and model.y.high == 1.0
    model.set_log(False)
    model.update()
    assert model.y.low <= 0.0 <= model.y.high
