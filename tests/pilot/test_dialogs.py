"""Dialogs close once: keys that were typed ahead reach neither the screen below nor the app's end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import make_run, until
from tui.app import TunedeckApp
from tui.launch.dialogs import PickScreen
from tui.screens.confirm import ConfirmScreen
from tui.screens.folder import FolderScreen
from tui.screens.help import HelpScreen


@pytest.mark.parametrize("kind", ["help", "folder", "confirm", "pick"])
async def test_of_quick_answers_only_the_first_counts(tmp_path: Path, kind: str) -> None:
    run = make_run(tmp_path / "runs" / "one", steps=3)
    app = TunedeckApp(roots=[tmp_path / "runs"], initial="watch", watch=run.path)
    answers: list[object] = []
    async with app.run_test() as pilot:
        await pilot.pause()
        below = app.screen
        dialog: Any = {
            "help": lambda: HelpScreen("watch"),
            "folder": lambda: FolderScreen([]),
            "confirm": lambda: ConfirmScreen("Stop it?"),
            "pick": lambda: PickScreen("Which?", [("a", "one", ""), ("b", "two", "")]),
        }[kind]()
        app.push_screen(dialog, answers.append)
        await until(pilot, lambda: dialog.is_current)
        await pilot.pause()
        # All of them are on their way before the first is answered, as over a slow line.
        for _ in range(3 if kind in ("pick", "confirm") else 0):
            app.simulate_key("enter")
        dialog.dismiss(None)
        dialog.dismiss(None)
        await until(pilot, lambda: app.screen is below)
        await pilot.pause()
        assert app.screen is below and len(app.screen_stack) == 2 and len(answers) == 1
    assert app.return_code in (None, 0)


async def test_a_dialog_behind_another_closes_neither(tmp_path: Path) -> None:
    app = TunedeckApp(roots=[tmp_path])
    answers: list[object] = []
    async with app.run_test() as pilot:
        behind, front = ConfirmScreen("Behind?"), ConfirmScreen("In front?")
        for dialog in (behind, front):
            app.push_screen(dialog, answers.append)
            await until(pilot, lambda dialog=dialog: app.screen is dialog)
        behind.action_no()  # an Esc that was on its way to it while the other opened
        await pilot.pause()
        assert app.screen is front and answers == []
        front.action_yes()
        await until(pilot, lambda: app.screen is behind)
        behind.action_no()
        await until(pilot, lambda: len(app.screen_stack) == 1 and answers == [True, False])
    assert app.return_code in (None, 0)
