"""The live screen's panes and ways out of them, other live runs, and what is said of it elsewhere; by keyboard."""

from __future__ import annotations

import shlex
import threading
import time
from pathlib import Path

import pytest
from textual import events

from engine import registry
from engine.rundir import RunDir
from tests.pictures import picture, plain
from tests.showcase import showcase
from tests.support import make_run, until
from tui.app import TunedeckApp
from tui.screens.watch import WatchScreen
from tui.watch import viewing
from tui.watch.feed import WatchFeed, WatchUpdate

pytestmark = pytest.mark.usefixtures("xdg")


def text(app: TunedeckApp) -> str:
    return plain(picture(app))


async def watching(pilot: object, app: TunedeckApp, what: str = "742 / 1,170") -> WatchScreen:
    await until(pilot, lambda: isinstance(app.screen, WatchScreen) and what in text(app))
    assert isinstance(app.screen, WatchScreen)
    return app.screen


async def test_escape_leaves_what_was_opened_last_first(tmp_path: Path) -> None:
    app = TunedeckApp(initial="watch", watch=showcase(tmp_path / "run", "running", time.time()).path)
    async with app.run_test(size=(120, 40)) as pilot:
        await watching(pilot, app)
        await pilot.press("f", "plus", "plus", "left")
        await until(pilot, lambda: "zoom" in text(app) and "smooth" in text(app) and "train.log" not in text(app))
        await pilot.press("escape")  # the cursor
        await until(pilot, lambda: "zoom" in text(app) and "samples/s" not in text(app))
        await pilot.press("escape")  # the zoom
        await until(pilot, lambda: "zoom 5" not in text(app) and "train.log" not in text(app))
        await pilot.press("escape")  # the full chart
        await until(pilot, lambda: "train.log" in text(app) and "2 learning rate" in text(app))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, WatchScreen))


async def test_what_is_typed_into_the_log_is_seen(tmp_path: Path) -> None:
    app = TunedeckApp(initial="watch", watch=showcase(tmp_path / "run", "running", time.time()).path)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await watching(pilot, app)
        await pilot.press("f", "plus", "plus", "slash", *"eval")
        await until(pilot, lambda: "eval" in text(app) and "1 loss" not in text(app))
        await pilot.press("enter")
        await until(pilot, lambda: '"eval"' in text(app) and "train.log" in text(app))
        await pilot.press("f")
        await until(pilot, lambda: "1 loss" in text(app) and "train.log" not in text(app))
        await pilot.press("n")
        await until(pilot, lambda: '"eval" match' in text(app) and "1 loss" not in text(app))
        await pilot.press("f", "escape")  # the zoom, and not the search that is not seen
        await until(pilot, lambda: not screen.deck.zoomed and screen.log_tail.searching)
        await pilot.press("pageup")
        await until(pilot, lambda: "train.log" in text(app) and "1 loss" not in text(app))
        await pilot.press("escape")  # the search
        await until(pilot, lambda: '"eval"' not in text(app) and "1 loss" not in text(app))
        await pilot.press("escape")  # the log
        await until(pilot, lambda: "1 loss" in text(app) and isinstance(app.screen, WatchScreen))


async def test_keys_of_charts_that_are_not_seen_show_them_first(tmp_path: Path) -> None:
    app = TunedeckApp(initial="watch", watch=showcase(tmp_path / "run", "running", time.time()).path)
    async with app.run_test(size=(120, 40)) as pilot:
        deck = (await watching(pilot, app)).deck
        await pilot.press("plus", "left", "h")
        await until(pilot, lambda: "1 loss" not in text(app))
        await pilot.press("escape")  # the pane, before what it hides
        await until(pilot, lambda: "1 loss" in text(app))
        assert deck.zoomed and deck.cursor is not None
        for pane, key in zip("hLhLh", ("plus", "0", "l", "full_stop", "x"), strict=True):
            await pilot.press(pane, key)
            await until(pilot, lambda: "1 loss" in text(app))


async def test_the_machine_and_the_log_take_the_place_of_the_charts(tmp_path: Path) -> None:
    app = TunedeckApp(initial="watch", watch=showcase(tmp_path / "run", "running", time.time()).path)
    async with app.run_test(size=(80, 24)) as pilot:
        await watching(pilot, app)
        await pilot.press("h")
        await until(pilot, lambda: "NVIDIA H100" in text(app) and "1 loss" not in text(app) and "disk" in text(app))
        await pilot.press("L", "pageup")
        await until(pilot, lambda: "Loading Qwen" in text(app) and "NVIDIA H100" not in text(app))
        await pilot.press("1")
        await until(pilot, lambda: "1 loss" in text(app))
        await pilot.press("h", "h")
        await until(pilot, lambda: "1 loss" in text(app) and "NVIDIA" not in text(app))


async def test_a_cursor_reads_and_axes_change(tmp_path: Path) -> None:
    app = TunedeckApp(initial="watch", watch=showcase(tmp_path / "run", "running", time.time()).path)
    async with app.run_test(size=(160, 50)) as pilot:
        deck = (await watching(pilot, app)).deck
        await pilot.press("left")
        await until(pilot, lambda: "learning rate 2.96e-5" in text(app) and "(step 650)" in text(app))
        await pilot.press("x")
        await until(pilot, lambda: "x: epoch" in text(app) and "x epoch" in deck.status())
        await pilot.press("full_stop")
        await until(pilot, lambda: "smoothing 2" in text(app) and "smoothing 2" in deck.status())
        await pilot.press("g")
        await until(pilot, lambda: "grad norm" in text(app) and "more charts 1/" in deck.status())


async def test_from_one_live_run_to_the_next(tmp_path: Path) -> None:
    now = time.time()
    runs = tmp_path / "runs"
    first = make_run(runs / "first", steps=30, total=60, state="running", created=now - 300, name="first-run")
    make_run(runs / "second", steps=12, total=60, state="running", created=now - 200, name="second-run")
    make_run(runs / "third", steps=20, total=60, state="completed", created=now - 100, name="third-run")
    for path in runs.iterdir():
        registry.remember_run(RunDir(path).read_run()["id"], path)
    app = TunedeckApp(initial="watch", watch=first.path)
    async with app.run_test(size=(120, 40)) as pilot:
        await watching(pilot, app, "30 / 60")
        await until(pilot, lambda: "second-run 20%" in text(app) and "first-run 50%" in text(app))
        assert "third-run" not in text(app)
        await pilot.press("2", "f")
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: isinstance(app.screen, WatchScreen) and app.screen.facts.name == "second-run")
        await until(pilot, lambda: "2 learning rate" in text(app) and "1 loss" not in text(app))
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: isinstance(app.screen, WatchScreen) and app.screen.facts.name == "first-run")
        await pilot.press("escape", "escape")
        await until(pilot, lambda: not isinstance(app.screen, WatchScreen) and len(app.screen_stack) == 1)


async def test_a_key_right_behind_the_switch_is_for_the_other_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, now, gate = WatchFeed.poll, time.time(), threading.Event()

    def slowly(feed: WatchFeed) -> WatchUpdate | None:
        gate.wait(0.7 if feed._sent is None else 0.0)  # as from a slow disk
        return real(feed)

    first, second = (
        make_run(tmp_path / "runs" / name, steps=30, total=60, state="running", created=now - 300, name=name)
        for name in ("first-run", "second-run")
    )
    for run in (first, second):
        record = run.read_run()
        assert record is not None
        registry.remember_run(record["id"], run.path)
    app = TunedeckApp(initial="watch", watch=first.path)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await watching(pilot, app, "30 / 60")
        await until(pilot, lambda: "second-run 50%" in text(app))
        monkeypatch.setattr(viewing, "KNOWN_SECONDS", 10.0)
        monkeypatch.setattr(WatchFeed, "poll", slowly)
        for key in ("right_square_bracket", "k"):  # in one packet
            app.post_message(events.Key(key, None))
        await until(pilot, lambda: app.screen is not screen and not screen.is_running)
        gate.set()
        await until(pilot, second.requests)
        assert second.requests() == ["checkpoint"] and not first.requests()
        for key in ("left_square_bracket", "right_square_bracket", "e"):
            app.post_message(events.Key(key, None))
        await until(pilot, lambda: sorted(second.requests()) == ["checkpoint", "evaluate"] and not first.requests())


async def test_alone_there_is_no_strip_and_the_key_says_so(tmp_path: Path) -> None:
    app = TunedeckApp(initial="watch", watch=showcase(tmp_path / "run", "running", time.time()).path)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await watching(pilot, app)
        await screen.action_other_run(1)
        await until(pilot, lambda: "no other run is live" in text(app))


async def test_the_command_that_belongs_to_the_run_is_copied(tmp_path: Path) -> None:
    run = make_run(tmp_path / "it's a run", state="failed", reason="disk full")
    app = TunedeckApp(initial="watch", watch=run.path)
    async with app.run_test(size=(160, 50)) as pilot:
        await until(pilot, lambda: "failed" in text(app))
        await pilot.press("Y")
        await until(pilot, lambda: app.clipboard == f"tunedeck watch {shlex.quote(str(run.path))}")


async def test_a_name_given_by_people_is_shown(tmp_path: Path) -> None:
    run: RunDir = showcase(tmp_path / "run", "finished", time.time())
    app = TunedeckApp(initial="watch", watch=run.path)
    async with app.run_test(size=(120, 40)) as pilot:
        await watching(pilot, app, "1,170 / 1,170")
        await pilot.press("v")
        await until(pilot, lambda: "sample_prompts" in text(app))
        await pilot.press("escape")
        await watching(pilot, app, "1,170 / 1,170")
