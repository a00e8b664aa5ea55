"""Choosing a chat template in the form, by keyboard alone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from tests.families import templates as t
from tests.pictures import compare
from tests.pilot.test_launch import form, go, row, shown, write
from tests.support import fake_model, until, write_rows
from tui.app import TunedeckApp
from tui.screens.launch import LaunchScreen
from tui.sheet.costs import Costs
from tui.widgets.lines import Lines

PLACE = Path("/tmp/tunedeck-pictures-templates")


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a model of ChatML's tokens and no template, chats, and plain text. The costs are not worked out."""
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir()
    monkeypatch.chdir(PLACE)
    monkeypatch.setenv("TUNEDECK_ASCII", "0")
    monkeypatch.setattr(Costs, "follow", lambda self: None)
    model = fake_model(PLACE / "model")
    (model / "chat_template.jinja").unlink()
    shutil.copy(paths.sample_data_dir() / "tiny-qwen2" / "tokenizer.json", model)
    write_rows(PLACE / "rows.jsonl", 40)
    (PLACE / "text.jsonl").write_text("".join(json.dumps({"text": f"once upon a time {n}"}) + "\n" for n in range(40)))
    yield PLACE
    shutil.rmtree(PLACE, ignore_errors=True)


def app_with(**values: Any) -> TunedeckApp:
    return TunedeckApp(initial="launch", values={"base_model": "model", "train_path": "rows.jsonl", "output_dir": "out", **values},
                       theme_name="dark")  # fmt: skip


def beside(screen: LaunchScreen) -> str:
    """What is said beside the list, or below it in a small terminal."""
    return " ".join(" ".join(screen.query_one(f"#launch-{name}", Lines).text for name in ("side", "foot")).split())


async def looked(pilot: Any, screen: LaunchScreen) -> None:
    await until(pilot, lambda: not screen._reading)


async def pictured(pilot: Any, app: TunedeckApp, name: str, update: bool) -> None:
    """Compare, once whatever threads still bring is on the screen."""
    await pilot.pause(1.0 if update else 0.1)
    for patience in range(20, -1, -1):
        try:
            return compare(app, f"{name}-{app.size.width}x{app.size.height}", update=update)
        except AssertionError:
            if not patience:
                raise
            await pilot.pause(0.2)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 50)], ids=lambda size: "x".join(map(str, size)))
async def test_a_missing_template_is_chosen_with_one_key(
    size: tuple[int, int], place: Path, request: pytest.FixtureRequest
) -> None:
    app, update = app_with(), request.config.getoption("--update-snapshots")
    async with app.run_test(size=size) as pilot:
        screen = await form(app, pilot)
        await until(pilot, lambda: "no chat template" in row(app, "chat_template_path"))
        await pilot.press("down", "f5")
        assert (
            screen.list.current is not None
            and screen.list.current.name == "chat_template_path"
            and screen.list.entry is None
        )
        await until(pilot, lambda: "Set chat_template_path to qwen2_5, chatml or smollm2" in beside(screen))
        await pictured(pilot, app, "templates-missing", update)
        await pilot.press("right")
        await looked(pilot, screen)
        assert screen.model.text("chat_template_path") == "qwen2_5" and not screen.model.wrong
        await pilot.press("right")
        await looked(pilot, screen)
        await until(pilot, lambda: "ChatML: Hermes" in beside(screen) and "smollm2 →" in row(app, "chat_template_path"))
        await pictured(pilot, app, "templates-chosen", update)
        await pilot.press("left", "left", "left")
        await looked(pilot, screen)
        await until(pilot, lambda: "its tokenizer splits the control tokens" in beside(screen))
        await pictured(pilot, app, "templates-split", update)


async def test_names_and_files_are_completed(place: Path) -> None:
    (place / "templates").mkdir()
    (place / "templates" / "mine.jinja").write_text(t.CHATML)
    app = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await form(app, pilot)
        await go(pilot, screen, "chat_template_path")
        await write(pilot, "zep")
        await pilot.press("tab")
        await until(pilot, lambda: screen.model.text("chat_template_path") == "zephyr")
        await pilot.press("enter", "delete")
        await write(pilot, "temp")
        await pilot.press("tab")
        await until(pilot, lambda: screen.model.text("chat_template_path") == "templates/")
        await pilot.press("tab")
        await until(pilot, lambda: screen.model.text("chat_template_path") == "templates/mine.jinja")
        await pilot.press("enter")
        await looked(pilot, screen)
        assert not screen.model.wrong
        # While it is edited, up and down go round.
        await pilot.press("delete", "enter", "down")
        assert screen.model.text("chat_template_path") == "qwen2_5" and screen.list.entry is not None


async def test_what_is_no_template_is_said_at_its_setting(place: Path) -> None:
    (place / "bad.jinja").write_text("{% for m in messages %}\n{{ m.content }}")
    app = app_with(chat_template_path="bad.jinja")
    async with app.run_test(size=(160, 50)) as pilot:
        screen = await form(app, pilot)
        await until(pilot, lambda: "cannot be read as a template" in row(app, "chat_template_path"))
        await pilot.press("f5", "f10")
        await until(pilot, lambda: "cannot be read as a template" in shown(app))
        assert app.screen is screen
        await go(pilot, screen, "chat_template_path")
        await pilot.press("delete")
        await write(pilot, "chatlm")
        await pilot.press("enter")
        await until(pilot, lambda: "Did you mean chatml" in beside(screen))


async def test_plain_text_and_another_model_ask_for_none(place: Path) -> None:
    own = fake_model(place / "own")
    (own / "chat_template.jinja").write_text(t.CHATML)
    app = app_with(train_path="text.jsonl")
    async with app.run_test(size=(160, 50)) as pilot:
        screen = await form(app, pilot)
        assert not screen.model.wrong
        await go(pilot, screen, "train_path")
        await pilot.press("enter", "ctrl+u")
        await write(pilot, "rows.jsonl")
        await pilot.press("enter")
        await until(pilot, lambda: screen.model.wrong == ["chat_template_path"])
        await go(pilot, screen, "base_model")
        await pilot.press("enter", "ctrl+u")
        await write(pilot, "own")
        await pilot.press("enter")
        await looked(pilot, screen)
        await until(pilot, lambda: not screen.model.wrong)
        await go(pilot, screen, "chat_template_path")
        await until(pilot, lambda: "the model's own (chatml)" in shown(app))
        await pilot.press("right")
        await until(pilot, lambda: "It takes the place of the model's own" in beside(screen))


def test_the_fixture_leaves_nothing_behind() -> None:
    assert not os.path.exists(PLACE)
