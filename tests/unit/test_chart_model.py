"""The picture: what is drawn, what is repainted, what is said when something cannot be drawn."""

from __future__ import annotations

import math
import random
import time
from array import array

import pytest
from rich.cells import cell_len

from tui.widgets.chart.glyphs import ASCII
from tui.widgets.chart.marks import compose
from tui.widgets.chart.model import CLOUD, GUTTER, LINE, POINTS, TREND, ChartModel


def text(model: ChartModel) -> list[str]:
    return ["".join(part for part, _ in line) for line in model.lines]


def chart(style: str = LINE, width: int = 60, height: int = 15, **options: object) -> ChartModel:
    model = ChartModel("loss", **options)  # type: ignore[arg-type]
    model.add_series("a", "train", style)
    model.resize(width, height)
    return model


def dots(model: ChartModel, key: str = "a") -> set[tuple[int, int]]:
    """The (dot column, dot row from the top) that are set in a layer."""
    found = set()
    bits = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
    for row, masks in enumerate(model.series[key].layer.masks):
        for cell, mask in enumerate(masks):
            for x in range(2):
                for y in range(4):
                    if mask & bits[x][y]:
                        found.add((cell * 2 + x, row * 4 + y))
    return found


def dot_of(model: ChartModel, value: float) -> int:
    height = model.rows * 4 - 1
    return height - round(model.y.position(value) * height)


def every_line_fits(model: ChartModel) -> None:
    assert len(model.lines) == model.height
    assert {cell_len(line) for line in text(model)} <= {model.width}


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("style", [LINE, CLOUD])
def test_every_extreme_has_its_dot(seed: int, style: str) -> None:
    rng = random.Random(seed)
    count = rng.choice((3, 40, 900, 20_000))
    model = chart(style, width=rng.randrange(30, 120), height=rng.randrange(6, 30))
    values = [rng.gauss(0, 1) for _ in range(count)]
    model.extend("a", array("q", range(1, count + 1)), array("d", values))
    model.update()
    found: dict[int, list[int]] = {}
    for column, dot in dots(model):
        found.setdefault(column, []).append(dot)
    height = model.rows * 4 - 1
    for x, value in enumerate(values, 1):
        column = model.x.column(x)
        position = model.y.position(value)
        if -1e-9 <= position <= 1 + 1e-9:
            dot = height - round(position * height)
            assert min(found[column]) <= dot <= max(found[column])
        else:
            edge = model.series["a"].layer.above if position > 1 else model.series["a"].layer.below
            assert edge[column // 2]
    every_line_fits(model)


@pytest.mark.parametrize("seed", range(25))
def test_incremental_picture_equals_a_fresh_one(seed: int) -> None:
    """What was painted bit by bit is what a full repaint paints: no stale cells."""
    rng = random.Random(seed)
    model = ChartModel("loss")
    for key, style in (("a", CLOUD), ("b", LINE), ("c", POINTS), ("d", TREND)):
        model.add_series(key, key, style)
    model.resize(rng.randrange(30, 100), rng.randrange(6, 25))
    model.set_span(rng.choice((None, 400, 5000)), True)
    x = 0
    for _ in range(60):
        for _ in range(rng.choice((1, 1, 3, 30))):
            x += rng.choice((1, 1, 1, 25))
            value = rng.choice((math.nan, 30.0)) if rng.random() < 0.03 else rng.gauss(2, 0.3)
            model.append("a", x, value)
            model.append("b", x, 2.0 + rng.gauss(0, 0.05))
            if x % 10 == 0:
                model.append("c", x, 2.2)
        shown = [list(line) for line in model.lines]
        changed = model.update()
        for row in changed:
            assert len(shown) != len(model.lines) or shown[row] != model.lines[row]
        every_line_fits(model)
        painted = [list(row) for row in model._cells]
        for series in model.series.values():
            model._trace(series, 0)
            series.layer.paint(0, model.cells - 1)
        assert painted == [
            [compose(model.series.values(), model.glyphs, r, c, model.rows) for c in range(model.cells)]
            for r in range(model.rows)
        ]


def test_nothing_new_repaints_nothing() -> None:
    model = chart()
    for x in range(1, 50):
        model.append("a", x, 1 / x)
    assert model.update() == list(range(15))
    assert model.update() == []


def test_a_new_point_repaints_few_lines() -> None:
    model = chart(height=20)
    model.set_span(1000, True)
    for x in range(1, 500):
        model.append("a", x, 2.0 + math.sin(x / 50))
    model.update()
    total = 0
    for x in range(500, 600):
        model.append("a", x, 2.0 + math.sin(x / 50))
        total += len(model.update(legend=False))
    assert total < 150


def test_legend_can_be_held_back() -> None:
    model = chart()
    model.append("a", 1, 1.5)
    model.update()
    model.append("a", 2, 1.25)
    model.update(legend=False)
    assert "1.500" in text(model)[0]
    model.update()
    assert "1.250" in text(model)[0]


def test_nan_leaves_a_mark_in_its_column_and_a_gap() -> None:
    model = chart()
    model.set_span(40, True)
    for x in range(1, 41):
        model.append("a", x, math.nan if x == 20 else 1.0 + x / 40)
    model.update()
    axis = text(model)[-2]
    assert axis.count("×") == 1
    column = model.x.column(20)
    assert axis[GUTTER + column // 2] == "×"
    assert column not in {c for c, _ in dots(model)}
    # and no stroke bridges it
    assert not {c for c, _ in dots(model)} & set(range(model.x.column(19) + 1, model.x.column(21)))


def test_only_nan_is_still_a_picture() -> None:
    model = chart()
    for x in range(1, 10):
        model.append("a", x, math.nan)
    model.update()
    every_line_fits(model)
    assert "NaN" in text(model)[0]
    assert "×" in text(model)[-2]


def test_a_pause_in_the_steps_is_a_gap() -> None:
    model = chart()
    for x in [*range(1, 31), *range(60, 91)]:
        model.append("a", x, 1.0)
    model.update()
    columns = {c for c, _ in dots(model)}
    assert not columns & set(range(model.x.column(30) + 1, model.x.column(60)))


def test_sparse_points_are_joined() -> None:
    model = chart()
    for x in range(10, 400, 10):
        model.append("a", x, 1.0)
    model.update()
    columns = {c for c, _ in dots(model)}
    assert columns == set(range(min(columns), max(columns) + 1))


def test_a_spike_beyond_the_axis_is_marked_and_named() -> None:
    model = chart()
    for x in range(1, 60):
        model.append("a", x, 77.0 if x == 30 else 1.0 + 0.01 * (x % 5))
    model.update()
    lines = text(model)
    assert "▲" in lines[1] and "▲ max 77" in lines[0]
    assert model.y.high < 2.0


def test_zero_and_negative_values_on_a_log_axis_are_marked_below() -> None:
    model = chart()
    for x in range(1, 60):
        model.append("a", x, 0.0 if x == 30 else 1.0 + x)
    model.set_log(True)
    model.update()
    assert "▼" in text(model)[model.rows]
    assert "(log)" in text(model)[0]


def test_points_stand_over_lines_over_clouds() -> None:
    model = ChartModel("loss")
    model.add_series("ev", "eval", POINTS, "point")
    model.add_series("sm", "smoothed", LINE, "s1")
    model.add_series("raw", "train", CLOUD, "cloud")
    model.resize(60, 12)
    for x in range(1, 101):
        for key in ("sm", "raw"):
            model.append(key, x, 1.0)
        if x % 25 == 0:
            model.append("ev", x, 1.0)
    model.update()
    cells = [cell for row in model._cells for cell in row if cell[0] != " "]
    assert {colour for _, colour in cells} == {"point", "s1"}
    assert sum(char == "◆" for char, _ in cells) == 4


def test_crowded_points_become_a_line() -> None:
    model = chart(POINTS)
    for x in range(1, 200):
        model.append("a", x, 1.0)
    model.update()
    assert "◆" not in "".join(text(model))
    assert dots(model)


def test_ascii_only() -> None:
    model = chart(glyphs=ASCII)
    model.add_series("p", "eval", POINTS)
    model.add_series("c", "raw", CLOUD)
    for x in range(1, 400):
        model.append("a", x, math.nan if x == 30 else 55.0 if x == 50 else 1 / x)
        model.append("c", x, 1 / x + 0.1)
        if x % 80 == 0:
            model.append("p", x, 0.5)
    model.update()
    assert "".join(text(model)).isascii()
    every_line_fits(model)


def test_empty_and_tiny_charts() -> None:
    model = chart(empty="no evaluations yet")
    model.update()
    assert any("no evaluations yet" in line for line in text(model))
    model.append("a", 1, 1.0)
    for size in ((1, 1), (8, 3), (12, 5), (200, 5), (12, 60)):
        model.resize(*size)
        model.update()
        every_line_fits(model)


def test_wide_labels_are_cut_not_overflowing() -> None:
    model = ChartModel("한국어 제목", glyphs=ASCII)
    model.add_series("a", "실험 이름이 아주 길어서 잘려야 하는 곡선", LINE)
    model.add_series("b", "\x1b]0;x\x07\x1b[31mred\u202e", LINE)
    for width in range(12, 90, 7):
        model.resize(width, 8)
        model.append("a", width, 1.0)
        model.append("b", width, 1.0)
        model.update()
        every_line_fits(model)
        assert not any(ord(c) < 32 or c == "\u202e" for line in text(model) for c in line)


def test_clear_forgets_everything() -> None:
    model = chart()
    for x in range(1, 50):
        model.append("a", x, 100.0)
    model.update()
    model.clear()
    model.append("a", 1, 1.0)
    model.update()
    assert model.y.high < 3
    assert model.series["a"].buckets.count == 1


def test_end_of_the_run_fits_the_axis() -> None:
    model = chart(width=88)
    model.set_span(10_000, True)
    for x in range(1, 2001):
        model.append("a", x, 1.0)
    model.update()
    model.set_span(2000, False)
    model.update()
    assert model.x.column(2000) >= model.x.columns * 0.85


def test_a_million_points_are_drawn_in_milliseconds() -> None:
    model = chart(CLOUD, width=160, height=45)
    xs = array("q", range(1, 1_000_001))
    model.extend("a", xs, array("d", [(x * 7919) % 1000 / 1000 for x in xs]))
    began = time.perf_counter()
    model.update()
    assert time.perf_counter() - began < 0.25
    began = time.perf_counter()
    for x in range(1_000_001, 1_000_021):
        model.append("a", x, 0.5)
        model.update()
    assert time.perf_counter() - began < 0.5
