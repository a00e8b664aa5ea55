"""Deleting and pruning from the app: dry run first, the name typed, progress, what was left."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from engine.errors import Problem, TunedeckError
from engine.history import removal
from engine.history.removal import Outcome
from engine.rundir import RunDir
from tests.support import make_run, until
from tui.app import TunedeckApp
from tui.keys import TABLES
from tui.screens.removal import ASKING, DONE, LOOKING, WORKING, RemovalScreen


def shown(app: TunedeckApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def saved(run: RunDir, *steps: int) -> RunDir:
    for step in steps:
        folder = run.path / f"checkpoint-{step}"
        folder.mkdir()
        for name in (
            "adapter_model.safetensors",
            "adapter_config.json",
            "trainer_state.json",
            "optimizer.pt",
            "scheduler.pt",
        ):
            (folder / name).write_text("{}")
    return run


async def asked(app: TunedeckApp, pilot: Any, paths: list[Path], said: list[Any], prune: bool = False) -> RemovalScreen:
    app.ask_removal(paths, prune, said.append)
    await until(pilot, lambda: isinstance(app.screen, RemovalScreen) and app.screen.state == ASKING)
    await pilot.pause()
    screen = app.screen
    assert isinstance(screen, RemovalScreen)
    return screen


def test_every_key_has_an_action() -> None:
    for row in TABLES["removal"]:
        assert hasattr(RemovalScreen, f"action_{row.action.partition('(')[0]}"), row.id


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_a_run_goes_once_its_name_is_typed(tmp_path: Path, size: tuple[int, int]) -> None:
    run = saved(make_run(tmp_path / "old", steps=5), 2, 4)
    (run.path / "mine.txt").write_text("not the run's")
    said: list[Any] = []
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=size) as pilot:
        screen = await asked(app, pilot, [run.path], said)
        text = shown(app)
        assert "Delete old?" in text and "nothing is touched yet" in text and "checkpoint-2/" in text
        assert "esc back, nothing is touched" in text and "Type old" in text
        await pilot.press("pagedown")
        assert "mine.txt" in shown(app) or size[1] > 24
        await pilot.press("enter", *"ol", "enter")
        assert screen.state == ASKING and (run.path / "checkpoint-2").is_dir()
        await until(pilot, lambda: "that is not what is asked for" in shown(app))
        await pilot.press("d")
        await until(pilot, lambda: "delete now" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: screen.state == DONE)
        await until(pilot, lambda: "Deleted" in shown(app) and "mine.txt" in shown(app) and "close" in shown(app))
        assert sorted(path.name for path in run.path.iterdir()) == ["mine.txt"]
        await pilot.press("enter")
        await until(pilot, lambda: said == [[run.path]])


async def test_pruning_keeps_the_best_and_the_last(tmp_path: Path) -> None:
    run = saved(make_run(tmp_path / "run", steps=6, evals=3), 2, 4, 6)
    said: list[Any] = []
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await asked(app, pilot, [run.path], said, True)
        assert "Prune checkpoints of run?" in shown(app) and "stays" in shown(app)
        going = {entry.top for plan in screen.plans for entry in plan.entries}
        assert going and "checkpoint-6" not in going and run.path.is_dir()
        await pilot.press(*"run", "enter")
        await until(pilot, lambda: screen.state == DONE)
        assert not any((run.path / name).exists() for name in going) and (run.path / "checkpoint-6").is_dir()
        await pilot.press("escape")
        await until(pilot, lambda: said == [[run.path]])
    assert run.read_run()


async def test_leaving_touches_nothing(tmp_path: Path) -> None:
    run = saved(make_run(tmp_path / "run", steps=5), 2)
    before = sorted(tmp_path.rglob("*"))
    said: list[Any] = []
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        await asked(app, pilot, [run.path], said)
        await pilot.press(*"run", "escape")
        assert not isinstance(app.screen, RemovalScreen)
        await pilot.pause(0.2)
    assert sorted(tmp_path.rglob("*")) == before and said == []


async def test_a_run_that_lives_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=5, total=50, state="running")
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await asked(app, pilot, [run.path], [])
        assert "Nothing can be removed here" in shown(app) and "✗" in shown(app)
        assert not screen.query_one("#removal-name", Input).display
        await pilot.press(*"run", "enter")
        assert screen.state == ASKING and run.path.is_dir()
    run.release_lock(__import__("tests.support", fromlist=["_held"])._held.pop(run.path))


async def test_several_runs_at_once_and_one_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [make_run(tmp_path / name, steps=3) for name in ("a", "b", "c")]
    real = removal.carry_out

    def carry_out(plan: Any, *more: Any) -> Outcome:
        if plan.path.name == "b":
            raise TunedeckError(Problem("in-use", "a process writes \x1b[31minto it", file=str(plan.path)))
        return real(plan, *more)

    monkeypatch.setattr(removal, "carry_out", carry_out)
    said: list[Any] = []
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await asked(app, pilot, [run.path for run in runs], said)
        assert "Delete 3 runs?" in shown(app) and "Type delete 3 runs to delete:" in shown(app)
        await pilot.press(*"delete", "space", "3", "space", *"runs", "enter")
        await until(pilot, lambda: screen.state == DONE)
        await until(pilot, lambda: "Not everything was removed" in shown(app))
        assert "a process writes into it" in shown(app)
        await pilot.press("enter")
        await until(pilot, lambda: said == [[runs[0].path, runs[2].path]])
    assert [run.path.exists() for run in runs] == [False, True, False]


async def test_work_shows_how_far_it_is_and_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "run", steps=3)
    go = threading.Event()

    def carry_out(plan: Any, progress: Any, stop: threading.Event) -> Outcome:
        progress(3, 8, 4096)
        assert stop.wait(20)
        go.set()
        return Outcome(removed=3, bytes=4096, left=[("events.jsonl", "stopped")], stopped=True)

    monkeypatch.setattr(removal, "carry_out", carry_out)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await asked(app, pilot, [run.path], [])
        await pilot.press(*"run", "enter")
        await until(pilot, lambda: screen.state == WORKING and "3 of" in shown(app) and "4.0 KiB" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: screen.state == DONE)
        assert go.is_set()
        await until(pilot, lambda: "stopped on request" in shown(app) and "events.jsonl: stopped" in shown(app))


async def test_looking_may_be_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(removal, "plan", lambda *_a, **_k: go.wait(20))
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        app.ask_removal([tmp_path])
        await until(pilot, lambda: isinstance(app.screen, RemovalScreen) and "Looking at what" in shown(app))
        assert app.screen.state == LOOKING
        await pilot.press("escape")
        assert not isinstance(app.screen, RemovalScreen)
        go.set()
