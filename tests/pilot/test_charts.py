"""The charts of the live screen, with the keyboard alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from engine.events import EventWriter
from engine.snapshot import RunFollower
from tests.support import make_run, until
from tui.app import TunedeckApp
from tui.screens.watch import WatchScreen
from tui.watch.deck import ChartDeck


def watching(path: Path) -> TunedeckApp:
    return TunedeckApp(initial="watch", watch=path)


async def opened(pilot: Any) -> ChartDeck:
    await until(pilot, lambda: isinstance(pilot.app.screen, WatchScreen) and pilot.app.screen._ready)
    await pilot.pause()
    deck: ChartDeck = pilot.app.screen.deck
    return deck


def picture(app: TunedeckApp) -> str:
    """What stands on the screen, as text."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def loss(deck: ChartDeck) -> Any:
    return deck.charts[0].model.series["loss"].buckets


def reading(deck: ChartDeck) -> str:
    return "".join(text for text, _ in deck.reading())


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_zoom_and_pan_show_all_rows_of_the_window(tmp_path: Path, size: tuple[int, int]) -> None:
    app = watching(make_run(tmp_path / "run", steps=600).path)
    async with app.run_test(size=size) as pilot:
        deck = await opened(pilot)
        await pilot.press("plus", "plus")
        await until(pilot, lambda: deck.window is not None and loss(deck).count < 200)
        assert deck.window is not None and deck.window[1] - deck.window[0] <= 160 and deck.window[1] > 600
        assert loss(deck).count == 600 - deck.window[0] + 1  # every row of the window, once
        assert deck.status().startswith("zoom ") and "600" in deck.status()
        right = deck.window[0]
        await pilot.press("less_than_sign", "less_than_sign")
        await until(pilot, lambda: loss(deck).last_x == deck.window[1] - 1 < 600)  # type: ignore[index]
        assert deck.window[0] < right
        await pilot.press("minus", "minus")
        await until(pilot, lambda: not deck.zoomed or loss(deck).count > 400)
        await pilot.press("plus", "0")
        await until(pilot, lambda: not deck.zoomed and loss(deck).count == 600)
        assert deck.status() == ""


async def test_a_cursor_reads_stored_values_and_escape_drops_it(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=120)
    losses = RunFollower(run.path).read_all().steps.column("loss")
    app = watching(run.path)
    async with app.run_test(size=(160, 50)) as pilot:
        deck = await opened(pilot)
        assert deck.reading() == []
        await pilot.press("left")
        await until(pilot, lambda: "step 120 " in reading(deck))
        await pilot.press("left", "left")
        await until(pilot, lambda: "step 118 " in reading(deck))
        assert f"loss {losses[117]:.4f}" in reading(deck) and "(step 120)" in reading(deck)
        assert picture(app).count("┊") > 20  # a mark in all four charts
        assert f"train {losses[117]:.4f}" in picture(app)
        await pilot.press("right")
        await until(pilot, lambda: "step 119 " in reading(deck))
        await pilot.press("escape")
        await until(pilot, lambda: deck.reading() == [] and "┊" not in picture(app))
        assert isinstance(app.screen, WatchScreen)


async def test_axes_smoothing_and_further_charts(tmp_path: Path) -> None:
    app = watching(make_run(tmp_path / "run", steps=300).path)
    async with app.run_test(size=(160, 50)) as pilot:
        deck = await opened(pilot)
        for axis, labels in (
            ("epoch", ("0.5", "1.5")),
            ("tokens", ("50k",)),
            ("time", ("1m", "2m")),
            ("step", ("100",)),
        ):
            await pilot.press("x")
            await until(pilot, lambda axis=axis: deck.axis == axis and deck.charts[0].model.kind.name == axis)
            await until(pilot, lambda labels=labels: all(f" {label} " in picture(app) for label in labels))
            assert loss(deck).count == 300
        await pilot.press("comma", "comma")
        await until(pilot, lambda: deck.status() == "smoothing off")
        await until(pilot, lambda: not deck.charts[0].model.series["loss_smooth"].buckets.count)
        await pilot.press("full_stop", "full_stop", "full_stop")
        await until(pilot, lambda: deck.status() == "smoothing 2×")
        await pilot.press("comma", "g")
        await until(pilot, lambda: "gradient norm" in picture(app) and "tokens/s" in picture(app))
        await until(pilot, lambda: deck.shown[0].model.has_points)
        assert deck.status() == "more charts 1/1"
        await pilot.press("2", "l")
        await until(pilot, lambda: "tokens/s (log)" in picture(app))
        await pilot.press("g")
        await until(pilot, lambda: "learning rate" in picture(app) and deck.status() == "")
        assert loss(deck).count == 300


async def test_another_axis_shows_the_same_steps(tmp_path: Path) -> None:
    app = watching(make_run(tmp_path / "run", steps=600).path)
    async with app.run_test(size=(160, 50)) as pilot:
        deck = await opened(pilot)
        deck.zoom(2)
        deck.pan(-2)
        deck.move_cursor(-1)
        deck.cursor = deck.window[0] + 20  # type: ignore[index]
        deck._ask()
        await until(pilot, lambda: deck._answer is not None and deck._answer.cursor == deck.cursor)
        assert deck.window is not None and deck.window[1] < 600
        step, window = deck._answer.step, deck.window  # type: ignore[union-attr]
        for axis in ("epoch", "tokens", "time", "step"):
            deck.cycle_x()
            assert deck.status().startswith("zoom ")
            await until(pilot, lambda axis=axis: deck._drawn == axis and deck._answer is not None)
            assert deck._answer is not None and deck._answer.step == step and f"step {step}" in reading(deck)
            await until(pilot, lambda: loss(deck).origin == deck.window[0])
            assert abs(loss(deck).count - (window[1] - window[0])) <= 12
        assert abs(deck.window[0] - window[0]) <= 2 and abs(deck.window[1] - window[1]) <= 12


async def test_what_was_superseded_is_not_looked_at_any_more(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=600, total=800, state="running", created=time.time() - 400)
    app = watching(run.path)
    async with app.run_test(size=(160, 50)) as pilot:
        deck = await opened(pilot)
        deck.zoom(2)
        deck.move_cursor(-1)
        await until(pilot, lambda: deck._answer is not None and deck._answer.step == 600)
        assert deck.window is not None and deck.window[0] > 300
        writer = EventWriter(run.events, attempt=2)
        for step in range(101, 111):  # resumed far before what is looked at
            writer.write("step", step=step, total_steps=800, loss=1.0)
        await until(pilot, lambda: deck._answer is not None and deck._answer.step == 110)
        assert not deck.zoomed and deck.cursor == 110 and "zoom" not in deck.status()
        await until(pilot, lambda: loss(deck).count == 110)
        assert reading(deck).startswith("step 110  ")
        writer.close()
        run.events.write_bytes(b"")  # set aside: nothing is there yet
        await until(pilot, lambda: deck.cursor is None and deck.reading() == [])


async def test_a_run_without_epochs_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=1, evals=0)
    writer = EventWriter(run.events)
    for step in range(2, 30):
        writer.write("step", step=step, total_steps=30, loss=1.0)
    run.events.write_bytes(b"".join(run.events.read_bytes().splitlines(keepends=True)[1:]))
    app = watching(run.path)
    async with app.run_test(size=(120, 40)) as pilot:
        deck = await opened(pilot)
        await pilot.press("x")
        await until(pilot, lambda: deck.axis == "time")
        assert "no epochs and no tokens" in deck.cycle_x() or deck.axis == "step"


async def test_a_zoomed_live_run_moves_on_with_its_newest_point(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=200, total=400, state="running", created=time.time() - 130)
    app = watching(run.path)
    async with app.run_test(size=(160, 50)) as pilot:
        deck = await opened(pilot)
        await pilot.press("plus", "plus", "plus")
        await until(pilot, lambda: deck.zoomed and loss(deck).origin == deck.window[0])  # type: ignore[index]
        first = deck.window[0]  # type: ignore[index]
        writer = EventWriter(run.events)
        for step in range(201, 300):
            writer.write("step", step=step, total_steps=400, loss=1.0)
        await until(pilot, lambda: deck.window[0] > first and loss(deck).last_x == 299)  # type: ignore[index]
        assert loss(deck).count == 299 - deck.window[0] + 1  # type: ignore[index]
        await pilot.press("less_than_sign", "less_than_sign", "less_than_sign", "less_than_sign")
        await until(pilot, lambda: loss(deck).last_x == deck.window[1] - 1 < 299)  # type: ignore[index]
        still = deck.window
        writer.write("step", step=300, total_steps=400, loss=1.0)
        await until(pilot, lambda: deck._last_x == 300)
        assert deck.window == still


async def test_held_keys_do_not_pile_up(tmp_path: Path) -> None:
    app = watching(make_run(tmp_path / "run", steps=3000).path)
    async with app.run_test(size=(160, 50)) as pilot:
        deck = await opened(pilot)
        answers = []
        take = deck.take
        deck.take = lambda update: (answers.append(update), take(update))  # type: ignore[method-assign, assignment]
        worst = 0.0
        for _ in range(40):
            began = time.perf_counter()
            deck.move_cursor(-1)
            worst = max(worst, time.perf_counter() - began)
        await until(pilot, lambda: deck._answer is not None and deck._answer.cursor == deck.cursor)
        assert deck.cursor is not None and deck.cursor < 3000 - 39 * 25  # the steps grew
        assert len(answers) < 20 and worst < 0.1  # generous: two cores are shared
