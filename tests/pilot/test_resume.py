"""Going on with a run by keyboard: the dialog, what it plans, and the run that goes on."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from textual.events import Key
from textual.widgets import Input

from engine.rundir import RunDir, write_json
from tests.support import ended, fake_model, launch_fake, make_run, until, write_rows
from tests.unit.test_resume import checkpoint
from tui.app import TunedeckApp
from tui.screens.resume import STARTING, ResumeScreen
from tui.screens.runs import RunsScreen
from tui.screens.watch import WatchScreen
from tui.widgets.lines import Lines

SIZES = [(80, 24), (160, 50)]


def shown(app: TunedeckApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def killed(folder: Path, **more: Any) -> RunDir:
    """A killed run of 40 of 100 steps with checkpoints at 10, 20 and 30."""
    config = {"base_model": str(fake_model(folder / "model")), "train_path": str(write_rows(folder / "rows.jsonl", 400)),
              "num_train_epochs": 1, "learning_rate": 1e-4, "max_steps": None}  # fmt: skip
    run = make_run(
        folder / "runs" / "night",
        steps=40,
        total=100,
        state="killed",
        reason="killed by SIGKILL",
        config=config,
        **more,
    )
    for step in (10, 20, 30):
        checkpoint(run, step)
    return run


def dialog(app: TunedeckApp) -> ResumeScreen:
    assert isinstance(app.screen, ResumeScreen)
    return app.screen


async def opened(pilot: Any) -> ResumeScreen:
    await until(pilot, lambda: isinstance(pilot.app.screen, ResumeScreen))
    return await planned(pilot)


async def planned(pilot: Any) -> ResumeScreen:
    screen = dialog(pilot.app)
    await pilot.pause(0.35)  # typing is over
    await until(pilot, lambda: screen.plan is not None and not screen.busy, 20)
    await pilot.pause(0.05)
    return screen


async def listed(pilot: Any, count: int = 1) -> None:
    await until(pilot, lambda: len(pilot.app.known_runs()) == count)
    await pilot.pause(0.05)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("size", SIZES)
async def test_the_newest_checkpoint_is_offered_and_others_can_be_chosen(here: Path, size: tuple[int, int]) -> None:
    killed(here)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=size) as pilot:
        await listed(pilot)
        assert "r resume" in shown(app)
        await pilot.press("r")
        screen = await opened(pilot)
        text = shown(app)
        assert "▌ step      30" in text and "step      10" in text and "70 more steps, up to step 100" in text
        assert "1e-4" in text and "Nothing has changed since" in text and "steps 31–40 are done again" in text
        await pilot.press("down", "down", "down")
        await planned(pilot)
        assert (
            screen.plan and screen.plan.step == 10 and "▌ step      10" in shown(app) and "90 more steps" in shown(app)
        )
        await pilot.press("up")
        await planned(pilot)
        assert screen.plan.step == 20
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)


async def test_more_epochs_another_rate_and_other_settings(here: Path) -> None:
    killed(here)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(100, 30)) as pilot:
        await listed(pilot)
        await pilot.press("r")
        screen = await opened(pilot)
        await pilot.press("end", "backspace", "3", "tab", "end", "backspace", "5", "tab", "tab")
        await pilot.press(*"save", "underscore", *"steps", "equals_sign", *"50")
        await planned(pilot)
        text = shown(app)
        assert screen.plan and screen.plan.ok and "270 more steps, up to step 300" in text
        assert "num_train_epochs  1 → 3" in text and "learning_rate     1e-4 → 1e-5" in text and "save_steps" in text
        await pilot.press("space", *"nonsense")
        await until(pilot, lambda: "no name=value" in shown(app))
        assert screen.plan is None
        await pilot.press("enter")
        await pilot.pause(0.2)
        assert app.screen is screen and screen.busy != STARTING


async def test_what_is_typed_first_replaces_the_epochs(here: Path) -> None:
    killed(here)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        await listed(pilot)
        await pilot.press("r")
        screen = await opened(pilot)
        assert "tab next" in shown(app) and "esc back" in shown(app)
        await pilot.press("3")
        assert screen.query_one("#num_train_epochs", Input).value == "3"


@pytest.mark.parametrize("early", [True, False])
async def test_a_burst_of_keys_lands_in_its_fields_and_its_enter_is_kept(
    here: Path, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    killed(here)
    asked: list[Any] = []
    monkeypatch.setattr(ResumeScreen, "_start", lambda self, plan: asked.append(plan) or self.Done(None, []))
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(100, 30)) as pilot:
        await listed(pilot)
        await pilot.press("r")
        if early:
            await until(pilot, lambda: isinstance(app.screen, ResumeScreen) and app.screen.focused is not None)
        else:
            await opened(pilot)
        screen = dialog(app)
        for key in ("1", "tab", *"1e-5", "tab", *"300", "enter"):
            app.post_message(Key(key, key if len(key) == 1 else None))  # all at once, as a paste or a fast typist does
        await until(pilot, lambda: "still checking" in shown(app) or bool(asked), 5)
        await until(pilot, lambda: bool(asked), 20)
        typed = [
            screen.query_one(f"#{name}", Input).value for name in ("num_train_epochs", "learning_rate", "max_steps")
        ]
        assert typed == ["1", "1e-5", "300"]
        config = asked[0].config
        assert (config.num_train_epochs, config.learning_rate, config.max_steps) == (1, 1e-5, 300)


async def test_an_enter_at_once_starts_and_says_so(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(here)
    gate = threading.Event()
    monkeypatch.setattr(ResumeScreen, "_start", lambda self, plan: (gate.wait(10), self.Done(None, []))[1])
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(100, 30)) as pilot:
        await listed(pilot)
        await pilot.press("r", "enter")
        await until(pilot, lambda: isinstance(app.screen, ResumeScreen) and "starting…" in shown(app), 20)
        gate.set()


async def test_what_cannot_be_changed_is_refused_before_anything_starts(here: Path) -> None:
    run = killed(here)
    before = run.run_json.read_bytes()
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(100, 40)) as pilot:
        await listed(pilot)
        await pilot.press("r")
        screen = await opened(pilot)
        await pilot.press("tab", "tab", "tab", *"lora", "underscore", "r", "equals_sign", *"64", "enter")
        await until(pilot, lambda: "the adapter's shape is fixed" in shown(app))
        assert screen.plan and not screen.plan.ok
        await pilot.press("enter", "f5")
        await pilot.pause(0.2)
        assert app.screen is screen and screen.busy == "" and run.run_json.read_bytes() == before


async def test_data_and_versions_that_changed_are_shown(here: Path) -> None:
    run = killed(here)
    record = run.read_run() or {}
    record.update(versions={"torch": "1.0.0"}, data={"train": {"rows": 400, "sha256": "0" * 64}})
    write_json(run.run_json, record)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(120, 40)) as pilot:
        await listed(pilot)
        await pilot.press("r")
        await opened(pilot)
        text = shown(app)
        assert "version of torch" in text and "1.0.0 →" in text and "train data" in text


async def test_the_list_says_that_there_are_more_checkpoints(here: Path) -> None:
    run = killed(here)
    for step in (4, 8, 12, 16):
        checkpoint(run, step)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        await listed(pilot)
        assert "✕ killed  by SIGKILL" in shown(app)
        await pilot.press("r")
        await opened(pilot)
        assert "4 older ↓" in shown(app) and "newer" not in shown(app)
        await pilot.press(*["down"] * 3)
        await planned(pilot)
        text = shown(app)
        assert "step      12" in text and "newer ↑" in text and "older ↓" in text
        await pilot.press(*["down"] * 3)
        await planned(pilot)
        assert "4 newer ↑" in shown(app) and "older" not in shown(app)


async def test_a_run_without_a_checkpoint_begins_anew(here: Path) -> None:
    import shutil

    run = killed(here)
    for path in run.path.glob("checkpoint-*"):
        shutil.rmtree(path)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        await listed(pilot)
        await pilot.press("r")
        await opened(pilot)
        assert "the beginning: no complete checkpoint stands" in shown(app) and "100 steps from the beginning" in shown(
            app
        )


async def test_a_directory_without_settings_says_so(here: Path) -> None:
    run = killed(here)
    run.run_json.write_text("{")
    app = TunedeckApp(initial="watch", watch=run.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, WatchScreen) and app.screen._ready)
        await pilot.press("r")
        screen = await opened(pilot)
        assert "run.json is missing or damaged" in shown(app)
        await pilot.press("enter")
        assert app.screen is screen


async def test_a_live_run_cannot_be_resumed(here: Path) -> None:
    make_run(here / "runs" / "live", steps=5, total=10, state="running")
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(120, 30)) as pilot:
        await listed(pilot)
        assert "resume" not in shown(app)
        await pilot.press("r")
        await pilot.pause(0.1)
        assert isinstance(app.screen, RunsScreen)


BODY = """
first = 1 if os.environ["TUNEDECK_ATTEMPT"] == "1" else 5
for n in range(first, 9): step(n, 8)
if first == 1: os.kill(os.getpid(), signal.SIGKILL)
events.write("state", state="completed", reason="all steps done")
"""


async def test_the_same_run_goes_on_and_its_screen_follows(here: Path) -> None:
    run = launch_fake(here / "a", BODY, num_train_epochs=4)
    ended(run)
    checkpoint(run, 4)
    app = TunedeckApp(initial="watch", watch=run.path, theme_name="dark")
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: isinstance(app.screen, WatchScreen) and app.screen._ready)
        await pilot.pause(0.1)
        watch = app.screen
        head = app.screen.query_one("#watch-head", Lines)
        await until(pilot, lambda: "killed" in head.text and "r resume" in head.text.replace("  ", " "))
        await pilot.press("r")
        await opened(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is watch, 20)
        await until(pilot, lambda: "completed" in head.text and "attempt 2, resumed at step 4" in head.text, 20)
        assert len(watch.feed._follower.view.steps) == 8
    record = run.read_run() or {}
    assert [(a["attempt"], a["step"]) for a in record["attempts"]] == [(1, 0), (2, 4)]


async def test_as_a_new_run_in_a_directory_of_its_own(here: Path) -> None:
    run = launch_fake(here / "a", BODY, num_train_epochs=4)
    ended(run)
    checkpoint(run, 4)
    app = TunedeckApp([here / "a"], theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        await listed(pilot)
        await pilot.press("r")
        screen = await opened(pilot)
        await pilot.press("f6")
        await planned(pilot)
        assert screen.plan and screen.plan.as_new and screen.plan.ok, screen.plan
        proposed = Path(screen.plan.config.output_dir)
        assert proposed.parent == run.path.parent and not proposed.exists() and proposed.name in shown(app)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, WatchScreen) and app.screen.path == proposed, 20)
        ended(RunDir(proposed))
        await until(pilot, lambda: "resumed at step 4" in shown(app), 20)
    assert len((run.read_run() or {})["attempts"]) == 1 and (RunDir(proposed).read_run() or {})["parent"][
        "path"
    ] == str(run.path)


async def test_a_run_that_somebody_else_resumed_meanwhile_is_not_started_twice(here: Path) -> None:
    run = killed(here)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        await listed(pilot)
        await pilot.press("r")
        screen = await opened(pilot)
        lock = run.acquire_lock()
        await pilot.press("enter")
        await until(pilot, lambda: "in use by a run that is still alive" in shown(app), 10)
        assert app.screen is screen and screen.busy == ""
        run.release_lock(lock)
