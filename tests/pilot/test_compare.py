"""Runs beside each other: letters, axes, smoothing, hiding, differences, ranking; and what cannot be compared."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import pytest

from engine.history.record import Curves, RunRecord
from engine.history.summary import RunSummary
from tests.records import record
from tests.support import until
from tui.app import TunedeckApp
from tui.glyphs import ASCII
from tui.history import comparetext, load, overlay
from tui.history.lettered import COLOURS, LetteredModel
from tui.history.overlay import Wish
from tui.keys import TABLES
from tui.screens.compare import CompareScreen
from tui.screens.detail import DetailScreen
from tui.widgets.chart.glyphs import ASCII as CHART_ASCII


def shown(app: TunedeckApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def several(folder: Path, count: int) -> dict[Path, RunRecord]:
    found = {}
    for place in range(count):
        path = folder / f"run{place}"
        path.mkdir(parents=True, exist_ok=True)
        made = record(
            path,
            ("tunedeck", "trl", "axolotl")[place % 3],
            rows=(117, 39)[place % 2],
            seed=place,
            low=0.8 + 0.1 * place,
        )
        made.summary.name = f"실험 {place}"
        made.settings |= {"learning_rate": (1e-4, 2e-4)[place % 2], "seed": place, "lora_r": 16}
        made.versions = {"trl": "0.24.0" if place else "0.23.1", "torch": "2.9.0"}
        found[path] = made
    return found


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> dict[Path, RunRecord]:
    found: dict[Path, RunRecord] = {}
    monkeypatch.setattr(load, "read", lambda path: found.get(Path(path)))
    return found


async def opened(app: TunedeckApp, pilot: Any, paths: list[Path]) -> CompareScreen:
    app.open_compare(paths)
    await until(pilot, lambda: isinstance(app.screen, CompareScreen) and app.screen.ready)
    screen = app.screen
    assert isinstance(screen, CompareScreen)
    await until(pilot, lambda: "A ━━" in shown(app) or "A aa" in shown(app))
    return screen


def test_every_key_has_an_action() -> None:
    for row in TABLES["compare"]:
        assert hasattr(CompareScreen, f"action_{row.action.partition('(')[0]}"), row.id


async def test_eight_runs_are_told_apart_without_colours(tmp_path: Path, records: dict[Path, RunRecord]) -> None:
    records |= several(tmp_path, 9)
    app = TunedeckApp(theme_name="ansi")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(app, pilot, list(records))
        text = shown(app)
        assert "Compare  8 runs" in text and "the first 8 are compared" in text
        chart = "\n".join("".join(part for part, _ in line) for line in screen.deck.chart.model.lines[1:-2])
        assert all(chart.count(letter) >= 1 for letter in "ABCDEFGH")
        assert "A ━━ 실험 0" in text and "E ╍╍ 실험 4" in text and "eval loss, 1 of" in text
        await pilot.press("d", "E")
        await until(pilot, lambda: "hidden, d shows it" in shown(app) and "hidden, e shows it" in shown(app))
        chart = "\n".join("".join(part for part, _ in line) for line in screen.deck.chart.model.lines[1:-2])
        assert "D" not in chart and "E" not in chart and "A" in chart
        await pilot.press("v")
        assert not screen.deck.hidden
        await pilot.press(*"bcdefgh", "a")
        assert screen.deck.hidden == set(range(1, 8))  # the last one that is seen stays


async def test_metric_axis_smoothing_and_cursor(tmp_path: Path, records: dict[Path, RunRecord]) -> None:
    records |= several(tmp_path, 2)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(app, pilot, list(records))
        assert "0.9560" in shown(app) and "step 1,170" in shown(app)
        await pilot.press("m")
        await until(pilot, lambda: "loss, 2 of" in shown(app) and "smoothing 0.9" in shown(app))
        await pilot.press("full_stop")
        await until(pilot, lambda: "smoothing 0.95" in shown(app))
        await pilot.press(*["comma"] * 9)
        await until(pilot, lambda: "no smoothing" in shown(app) and screen.deck.overlay.wish.weight == 0)
        last = records[screen.paths[0]].steps.values("loss")[-1]
        await until(pilot, lambda: f"{last:.4f}" in shown(app))
        for axis in ("epoch", "tokens", "time"):
            await pilot.press("x")
            await until(pilot, lambda axis=axis: f"x {axis}" in shown(app) and screen.deck._drawn == axis)
        await pilot.press("x", "left", *["left"] * 20)
        await until(pilot, lambda: "values at step" in shown(app))
        xs, before = [curve.xs[-1] for curve in screen.deck.curves], screen.deck.cursor
        screen.deck.cursor = 3 * max(xs)  # where none of them has been
        lines = comparetext.legend([read.summary for read in screen.records], screen.deck, 80)
        for line, x in zip(lines, xs, strict=True):
            assert f"last at {x:,}" in "".join(part for part, _ in line)
        screen.deck.cursor = before
        await pilot.press("plus", "l")
        await until(pilot, lambda: screen.deck.zoomed and "(log)" in shown(app))
        await pilot.press("escape", "escape")
        assert screen.is_current and not screen.deck.zoomed and screen.deck.cursor is None
        await pilot.press("escape")
        assert not isinstance(app.screen, CompareScreen)


async def test_differences_and_ranking(tmp_path: Path, records: dict[Path, RunRecord]) -> None:
    records |= several(tmp_path, 3)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(app, pilot, list(records))
        await pilot.press("tab")
        await until(pilot, lambda: "learning_rate" in shown(app) and "versions" in shown(app))
        line = next(line for line in shown(app).splitlines() if "learning_rate" in line)
        assert line.split() == ["learning_rate", "1e-4", "2e-4", "1e-4"]
        assert "lora_r" not in shown(app) and "lora_dropout" not in shown(app)
        await pilot.press("s")
        await until(pilot, lambda: "lora_dropout" in shown(app))
        await pilot.press("3")
        await until(pilot, lambda: "best eval loss" in shown(app) and "lower is better" in shown(app))
        rows = [line.split() for line in shown(app).splitlines() if "실험" in line]
        assert [row[row.index("실험") - 1] for row in rows] == ["A", "B", "C"]
        await pilot.press("o")
        await until(pilot, lambda: "last eval loss" in shown(app))
        await pilot.press("o")
        await until(pilot, lambda: "smoothed eval loss" in shown(app))
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, DetailScreen))
        assert app.screen.path == screen.paths[1]


async def test_differences_of_many_runs_on_a_narrow_screen(tmp_path: Path, records: dict[Path, RunRecord]) -> None:
    records |= several(tmp_path, 8)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot, list(records))
        await pilot.press("2")
        await until(pilot, lambda: "ACEG" in shown(app) and "BDFH" in shown(app) and "2e-4" in shown(app))


async def test_reading_says_how_far_it_is_and_what_could_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, go = several(tmp_path, 1), threading.Event()
    first, other = next(iter(found)), tmp_path / "none"

    def read(path: Path) -> RunRecord | None:
        if path == other:
            go.wait(20)
            raise ValueError("odd \x1b[31mbytes")
        return found[path]

    monkeypatch.setattr(load, "read", read)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_compare([first, other])
        await until(pilot, lambda: "reading… 1 of 2" in shown(app))
        go.set()
        await until(pilot, lambda: "two runs are needed" in shown(app) and "none: odd bytes" in shown(app))
        await pilot.press("m", "tab", "a", "o", "escape")
        assert not isinstance(app.screen, CompareScreen)


async def test_runs_are_read_again(tmp_path: Path, records: dict[Path, RunRecord]) -> None:
    records |= several(tmp_path, 3)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(app, pilot, list(records))
        await pilot.press("m", "b")
        await until(pilot, lambda: screen.deck.overlay.wish.metric == "loss" and "hidden, b shows it" in shown(app))
        records[screen.paths[0]].summary.name = "renamed"
        del records[screen.paths[2]]
        await pilot.press("f5")
        await until(pilot, lambda: len(screen.deck.curves) == 2 and "renamed" in shown(app))
        assert screen.deck.metric == "loss" and screen.deck.hidden == {1}


# Parts without a screen.


def curve(points: list[tuple[float | None, float | None, float]]) -> RunRecord:
    made = RunRecord(RunSummary("x", "/x", "x", "trl", "unknown"))
    for step, when, loss in points:
        made.steps.add({"step": step, "time": when}, [("loss", loss)])
    return made


def test_time_begins_with_each_run_and_all_are_smoothed_alike() -> None:
    early = curve([(1, 100.0, 4.0), (2, 102.5, 2.0)])
    late = curve([(1, 9e9, 4.0), (2, 9e9 + 2.5, 2.0)])
    found = overlay.compose([early, late], Wish("loss", "time", 0.5))
    assert [list(drawn.xs) for drawn in found.curves] == [[0, 2500], [0, 2500]]
    assert list(found.curves[0].ys) == list(found.curves[1].ys) == pytest.approx([4.0, 8 / 3])


def test_what_a_run_does_not_have_is_said() -> None:
    some, none = curve([(1, None, 4.0), (2, None, math.nan)]), RunRecord(RunSummary("y", "/y", "y", "trl", "unknown"))
    found = overlay.compose([some, none], Wish("loss", "step"))
    assert found.curves[1].why == "has no loss" and found.axes == ("step",)
    assert list(found.curves[0].xs) == [1, 2] and 1 in found.curves[0].buckets.bad
    assert overlay.compose([some, none], Wish("loss", "tokens")).curves[0].why == "has no tokens"
    counted = overlay.compose([curve([(None, None, 3.0), (None, None, 2.0)]), some], Wish("loss", "step"))
    assert list(counted.curves[0].xs) == [1, 2]


def test_a_cursor_reads_nothing_where_a_run_has_not_been() -> None:
    drawn = overlay.compose(
        [curve([(10, None, 1.0), (20, None, 2.0), (30, None, 3.0)]), curve([])], Wish("loss")
    ).curves[0]
    assert drawn.at(21) == (20, 2.0) and drawn.at(55) == (30, 3.0) and drawn.at(90) is None


def test_in_ascii_each_curve_is_drawn_with_its_letter() -> None:
    model = LetteredModel("loss", glyphs=CHART_ASCII)
    for place, letter in enumerate("ABC"):
        model.add_series(letter, letter, "line", COLOURS[place])
        model.extend(letter, range(1, 60), [place + 1 / x for x in range(1, 60)])
    model.resize(70, 16)
    model.update()
    text = "\n".join("".join(part for part, _ in line) for line in model.lines)
    assert text.isascii() and all(text.count(letter.lower()) > 10 and letter in text for letter in "ABC")


def test_signs_are_ascii_where_the_terminal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparetext, "glyphs", lambda: ASCII)
    assert [comparetext.sign(place) for place in (0, 7)] == ["aa", "hh"]


def test_metrics_that_people_compare_come_first() -> None:
    steps = Curves()
    steps.add({"step": 1}, [("train_samples_per_second", 1.0), ("grad_norm", 1.0), ("loss", 2.0)])
    made = RunRecord(RunSummary("x", "/x", "x", "trl", "unknown"), steps=steps)
    assert overlay.metrics([made]) == ["loss", "grad_norm", "train_samples_per_second"]
    assert overlay.first_metric([made]) == "loss"
