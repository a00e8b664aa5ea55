"""The whole job by keyboard: from an empty list to the form, a real run, its end, and the history of a new app."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.history import summarise
from engine.rundir import RunDir
from tests.support import until
from tui.app import TunedeckApp
from tui.screens.detail import DetailScreen
from tui.screens.launch import LaunchScreen
from tui.screens.runs import RunsScreen
from tui.screens.watch import WatchScreen

pytestmark = pytest.mark.slow
SAMPLE = paths.sample_data_dir()
NAMES = {"/": "slash", " ": "space", "_": "underscore", ".": "full_stop", "-": "minus"}


async def write(pilot: Any, text: str) -> None:
    await pilot.press(*(NAMES.get(character, character) for character in text))


def shown(app: TunedeckApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


async def fill(app: TunedeckApp, pilot: Any, name: str, value: str) -> None:
    """Find a setting, type its value, finish with Enter."""
    form = app.screen
    assert isinstance(form, LaunchScreen)
    await pilot.press("ctrl+f")
    await until(pilot, lambda: app.screen is not form)
    await write(pilot, name)
    await pilot.press("enter")
    await until(pilot, lambda: app.screen is form and form.list.current.name == name)
    await write(pilot, value)
    await pilot.press("enter")
    await until(pilot, lambda: form.model.text(name) == value)


@pytest.mark.parametrize("size", [(80, 24)])
async def test_from_the_empty_form_to_the_finished_run(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, count in (("train.jsonl", 48), ("eval.jsonl", 6)):
        lines = (SAMPLE / name).read_text(encoding="utf-8").splitlines(keepends=True)
        (tmp_path / name).write_text("".join(lines[:count]), encoding="utf-8")
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RunsScreen) and not app.screen.searching)
        assert "sample run" in shown(app) and "new run" in shown(app)
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen) and bool(app.screen.list.names))
        form = app.screen
        assert isinstance(form, LaunchScreen)
        await pilot.press("f5")  # refused: nothing is filled in yet
        await pilot.pause(0.3)
        assert app.screen is form
        for name, value in {"base_model": str(SAMPLE / "tiny-qwen2"), "train_path": "train.jsonl",
                            "eval_path": "eval.jsonl", "max_seq_length": "128", "batch_size": "2",
                            "gradient_accumulation_steps": "1", "learning_rate": "5e-4", "max_steps": "15", "save_steps": "10",
                            "output_dir": "mine/first run"}.items():  # fmt: skip
            await fill(app, pilot, name, value)
        await until(pilot, lambda: form.model.config is not None and form.model.plan is not None)
        await pilot.press("f5")
        await until(pilot, lambda: "Before it starts" in shown(app), 60)
        assert "cuts off" in shown(app)
        await pilot.press("f5")
        await until(pilot, lambda: isinstance(app.screen, WatchScreen), 30)
        await until(pilot, lambda: "completed" in shown(app), 120)
        assert "first run" in shown(app) and "15 / 15" in shown(app)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await until(pilot, lambda: "completed" in shown(app) and "first run" in shown(app))
        assert "15/15" in shown(app)
        await pilot.press("q")

    summary = summarise(tmp_path / "mine/first run")
    assert summary is not None and summary.state == "completed" and summary.points == 15
    assert (RunDir(summary.path).path / "adapter_model.safetensors").is_file()

    again = TunedeckApp(theme_name="dark")
    async with again.run_test(size=size) as pilot:
        await until(pilot, lambda: "first run" in shown(again) and "completed" in shown(again))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(again.screen, DetailScreen) and "first run" in shown(again))
        await pilot.press("w")
        await until(pilot, lambda: isinstance(again.screen, WatchScreen) and "15 / 15" in shown(again))
