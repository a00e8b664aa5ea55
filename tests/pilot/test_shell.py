"""The shell by keyboard: help, palette, dialogs, themes, ways in and out."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual.widgets import Input

from engine import paths
from engine.errors import Problem
from tests.support import make_run, until
from tui import glyphs, leaving, report, theme
from tui.app import TunedeckApp
from tui.keys import TABLES
from tui.launch.dialogs import PickScreen
from tui.palette import Palette
from tui.screens.confirm import ConfirmScreen
from tui.screens.detail import DetailScreen
from tui.screens.help import HelpScreen
from tui.screens.problems import ProblemsScreen
from tui.screens.runs import RunsScreen
from tui.screens.watch import WatchScreen

ROOT = Path(__file__).parents[2]
EVIL = "\x1b]0;title\x07[/foo][@click=app.quit]x[/] \u202egpj 한국어"


def shown(app: TunedeckApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def home(app: TunedeckApp) -> RunsScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, RunsScreen)
    return screen


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with two runs, one of them live."""
    monkeypatch.chdir(tmp_path)
    now = time.time()
    make_run(tmp_path / "runs" / "alpha", created=now - 100, run_id="20261124-000000-aaaaa")
    make_run(tmp_path / "runs" / "beta", created=now - 50, state="running", run_id="20261124-000001-bbbbb")
    return tmp_path


async def ready(pilot: Any) -> None:
    await until(pilot, lambda: len(home(pilot.app).table.runs) == 2 and not home(pilot.app).searching)


# Help, palette, dialogs.


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_help_names_every_key_of_the_screen(folder: Path, size: tuple[int, int]) -> None:
    app = TunedeckApp()
    async with app.run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen) and "Open the run: live" in shown(app))
        seen = shown(app)
        for _ in range(60):
            await pilot.press("down")
            await pilot.pause()
            seen += shown(app)
        assert all(row.help in seen for row in (*TABLES["runs"], *TABLES["app"]))
        await pilot.press("escape")
        assert app.screen is home(app)
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.press("question_mark")
        assert app.screen is home(app)


async def test_where_a_text_is_typed_the_help_is_on_f1(folder: Path) -> None:
    app = TunedeckApp()

    def bar() -> str:
        return shown(app).splitlines()[-1]

    async def typed(pilot: Any) -> None:
        await until(pilot, lambda: "F1 help" in bar() and "? help" not in bar())
        below = app.screen
        await pilot.press("question_mark")
        await until(pilot, lambda: "?" in shown(app))
        assert app.screen is below, "it is a letter"
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is below)

    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        assert "? help" in bar() and "F1 help" not in bar()
        await pilot.press("slash")
        await typed(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: "? help" in bar())
        await pilot.press("n")
        await until(pilot, lambda: "New run" in shown(app))
        await typed(pilot)  # the path of the data, empty yet
        await pilot.press("f12")
        await until(pilot, lambda: "search again" in bar())
        await typed(pilot)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: "New run" in shown(app) and "? help" in bar())
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen), 5)


async def test_the_palette_finds_actions_and_runs(folder: Path) -> None:
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: "Sample run" in shown(app))
        assert all(not field.cursor_blink for field in app.screen.query(Input))
        await pilot.press(*"alph")
        await until(pilot, lambda: "alpha" in shown(app) and "Sample run" not in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, DetailScreen))
        assert app.screen.path.name == "alpha"  # type: ignore[attr-defined]
        await pilot.press("escape")
        await pilot.press("ctrl+p", *"light")
        await until(pilot, lambda: "Light or dark" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.theme == theme.LIGHT)


async def test_the_palette_runs_the_actions_of_its_screen(folder: Path) -> None:
    app = TunedeckApp()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await pilot.press("ctrl+p", *"order")
        await until(pilot, lambda: "Order by any column" in shown(app))
        await pilot.press("ctrl+p")  # a second one does not open
        assert sum(isinstance(screen, Palette) for screen in app.screen_stack) == 1
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, PickScreen))


@pytest.mark.parametrize(("keys", "answer"), [(["y"], True), (["n"], False), (["escape"], False), (["enter"], False),
                                              (["right", "enter"], True), (["tab", "enter"], True), (["right", "left", "enter"], False)])  # fmt: skip
async def test_a_question_is_answered_no_unless_yes_is_meant(keys: list[str], answer: bool) -> None:
    app = TunedeckApp()
    answers: list[bool | None] = []
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(
            ConfirmScreen(f"Sure {EVIL}?", f"detail {EVIL}\nsecond line", "Do it", "Leave it"), answers.append
        )
        await until(pilot, lambda: "Sure" in shown(app))
        assert "[/foo]" in shown(app) and "second line" in shown(app) and "Do it" in shown(app)
        assert all(character.isprintable() or character == "\n" for character in shown(app))
        await pilot.press(*keys)
        await until(pilot, lambda: answers == [answer])


async def test_problems_are_told_in_full_and_hold_no_markup() -> None:
    app = TunedeckApp(theme_name="dark")
    problems = [
        Problem("a", f"is wrong {EVIL}", f"do {EVIL}", file=f"/data/{EVIL}", line=3),
        Problem("b", "odd", severity="warning"),
    ]
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        report.show_problems(app, problems)
        await until(pilot, lambda: isinstance(app.screen, ProblemsScreen) and "2 problems" in shown(app))
        text = shown(app)
        assert "✗ is wrong" in text and "! odd" in text and ":3" in text and "[/foo]" in text
        assert all(character.isprintable() or character == "\n" for character in text)
        await pilot.press("escape")
        report.show_problems(app, [])
        report.show_problems(app, Problem("w", f"small {EVIL}", severity="warning"), title=EVIL)
        await until(pilot, lambda: "small [/foo]" in shown(app))
        assert app.screen is home(app)
        report.show_problems(app, Problem("e", "one error"))
        await until(pilot, lambda: "one error" in shown(app) and isinstance(app.screen, ProblemsScreen))


# Navigation.


async def test_screens_are_pushed_and_escape_pops_them(folder: Path) -> None:
    app = TunedeckApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        app.open_watch(folder / "runs" / "alpha")
        await pilot.pause()
        app.open_launch({"base_model": "x"}, "Form")
        await pilot.pause()
        assert len(app.screen_stack) == 3
        app.open_runs()
        await pilot.pause()
        assert app.screen is home(app)
        app.action_back()
        assert app.screen is home(app)


async def test_the_app_opens_at_a_run_or_the_form(folder: Path) -> None:
    app = TunedeckApp(initial="watch", watch=folder / "runs" / "alpha")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, WatchScreen))
        await pilot.press("escape")
        assert app.screen is home(app)
    app = TunedeckApp(initial="launch", values={"lora_r": 7}, title="Given")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Given" in shown(app))


@pytest.mark.parametrize("name", ["dark", "light", "ansi"])
async def test_every_theme_draws_every_screen(folder: Path, name: str) -> None:
    app = TunedeckApp(theme_name=name)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        for opener in (lambda: app.open_watch(folder / "runs" / "beta"), app.open_launch, app.action_help):
            opener()
            await pilot.pause()
            assert all(cell_len(line) == 80 for line in shown(app).split("\n"))
        app.open_runs()
        app.action_toggle_theme()
        app.action_redraw()
        await pilot.pause()
        assert "alpha" in shown(app)


async def test_plain_ascii_where_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDECK_ASCII", "1")
    glyphs.glyphs.cache_clear()
    try:
        app = TunedeckApp()
        async with app.run_test(size=(120, 24)) as pilot:
            await ready(pilot)
            await until(pilot, lambda: "* running" in shown(app) and "enter open" in shown(app))
            assert shown(app).isascii(), [c for c in shown(app) if not c.isascii()]
    finally:
        glyphs.glyphs.cache_clear()


# Leaving.


async def test_quitting_touches_no_run_and_says_that_they_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(leaving, "say_after", said.append)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    app = TunedeckApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)
    assert said == ["1 run goes on: tunedeck watch 20261124-000001-bbbbb"]
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


async def test_a_signal_while_a_screen_opens_is_no_bug(folder: Path) -> None:
    app = TunedeckApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        app.exit(None, 143)
        await app.push_screen(HelpScreen("runs"))
    assert app.return_code == 143


async def test_a_bug_goes_to_the_log_and_one_line_to_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = TunedeckApp()
    with pytest.raises(RuntimeError, match="inside"):
        async with app.run_test(size=(80, 24)) as pilot:
            await ready(pilot)

            def fail() -> None:
                secret = "hunter2"
                raise RuntimeError(f"inside {len(secret)}")

            app.call_next(fail)
            await until(pilot, lambda: not app.is_running)
    printed = "".join(capsys.readouterr())
    log = paths.state_dir() / "app.log"
    assert "a bug of its own (RuntimeError)" in printed and "Traceback" not in printed
    assert "RuntimeError: inside 7" in log.read_text() and "hunter2" not in printed
    assert log.stat().st_mode & 0o777 == 0o600


# The first frame.

FIRST_FRAME = """
import asyncio, sys
from tui.app import TunedeckApp
async def main():
    app = TunedeckApp()
    async with app.run_test(size=(120, 40)) as pilot:
        first = set(sys.modules)
        while app.screen.searching:
            await pilot.pause(0.02)
        print(*first, "|", *sys.modules)
asyncio.run(main())
"""
NEVER = ("torch", "transformers", "datasets", "trl", "peft", "numpy", "pandas", "pyarrow", "tokenizers")
NOT_YET = (*NEVER, "pydantic", "yaml", "engine.config", "engine.history", "engine.snapshot", "tui.screens.watch",
           "tui.screens.launch", "tui.watch.feed", "tui.widgets.chart", "tui.palette", "rich.traceback", "sqlite3")  # fmt: skip


def test_the_first_frame_loads_only_what_it_shows(tmp_path: Path) -> None:
    answer = subprocess.run([sys.executable, "-c", FIRST_FRAME], capture_output=True, text=True, check=True, cwd=ROOT)
    first, settled = (set(part.split()) for part in answer.stdout.split("|"))
    assert "tui.screens.runs" in first
    assert first & set(NOT_YET) == set()
    assert settled & {*NEVER, "pydantic", "engine.config"} == set()
