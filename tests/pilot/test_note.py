"""The dialog for a run's name, tags and note."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import TextArea

from engine import notes
from engine.history import summarise
from engine.rundir import RunDir, write_json
from tests.support import make_run, until
from tui.app import TunedeckApp
from tui.screens.note import NoteScreen


def shown(app: TunedeckApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


async def open_note(app: TunedeckApp, pilot: Any, path: Path, said: list[str | None]) -> NoteScreen:
    screen = NoteScreen(path)
    app.push_screen(screen, said.append)
    await until(pilot, lambda: app.screen is screen and screen.ready)
    await pilot.pause()
    return screen


async def test_words_are_written_and_the_list_knows_the_new_name(tmp_path: Path) -> None:
    run = make_run(tmp_path / "first", steps=3)
    said: list[str | None] = []
    app = TunedeckApp([tmp_path], theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "first" in shown(app))
        screen = await open_note(app, pilot, run.path, said)
        await pilot.press(*"fine", "enter", *"yes", "shift+tab", "shift+tab", *"eggs", "tab", *"a", "space", *"b")
        assert screen.query_one("#note-text", TextArea).text == "fine\nyes"
        assert "F5 or ^r saves" in shown(app) and "eggs" in shown(app) and "fine" in shown(app)
        await pilot.press("escape")
        assert app.screen is screen and "Not saved yet" in shown(app)
        await pilot.press("f5")
        await until(pilot, lambda: said == ["name, tags and note are saved"])
        await until(pilot, lambda: "eggs" in shown(app), 15)
    assert notes.load(run) == notes.Notes("eggs", "fine\nyes", ("a", "b"))
    summary = summarise(run.path)
    assert summary is not None and summary.name == "eggs"


async def test_leaving_without_a_change_asks_nothing_and_writes_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=3)
    said: list[str | None] = []
    write_json(run.notes_json, {"tags": ["two words"], "notes": "old "})
    before = run.notes_json.read_bytes()
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(160, 50)) as pilot:
        await open_note(app, pilot, run.path, said)
        await pilot.press("escape")
        await until(pilot, lambda: said == [""])
        await open_note(app, pilot, run.path, said)
        await pilot.press("f5")
        await until(pilot, lambda: said == ["", ""])
        screen = await open_note(app, pilot, run.path, said)
        await pilot.press("x", "escape", "escape")  # dropped on purpose
        await until(pilot, lambda: app.screen is not screen)
    assert run.notes_json.read_bytes() == before


async def test_words_on_a_foreign_directory_are_kept_elsewhere(tmp_path: Path) -> None:
    from engine.history.notes import foreign

    (tmp_path / "foreign").mkdir()
    said: list[str | None] = []
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        await open_note(app, pilot, tmp_path / "foreign", said)
        assert "nothing is written into this directory" in shown(app)
        await pilot.press(*"good", "shift+tab", *"keep", "f5")
        await until(pilot, lambda: said == ["name, tags and note are saved"])
        await open_note(app, pilot, tmp_path / "foreign", said)
        assert "good" in shown(app) and "keep" in shown(app)
    assert list((tmp_path / "foreign").iterdir()) == []
    assert foreign(tmp_path / "foreign") == notes.Notes("", "good", ("keep",))


async def test_a_record_of_a_newer_version_is_refused_before_one_writes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "newer", steps=3)
    write_json(run.run_json, {**(run.read_run() or {}), "format": 99})
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_note(app, pilot, run.path, [])
        assert "newer version" in shown(app) and screen.query_one("#note-text", TextArea).disabled
        await pilot.press("x", "f5")
        assert app.screen is screen
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is not screen)
    assert not run.notes_json.exists()


async def test_somebody_else_was_faster(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=3)
    said: list[str | None] = []
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_note(app, pilot, run.path, said)
        await pilot.press(*"ours")
        write_json(RunDir(run.path).notes_json, {"notes": "theirs", "name": "named"})
        await pilot.press("f5")
        await until(pilot, lambda: "Somebody else changed this meanwhile" in shown(app))
        text = screen.query_one("#note-text", TextArea).text
        assert "ours" in text and "theirs" in text and not said
        await pilot.press("f5")
        await until(pilot, lambda: said == ["name, tags and note are saved"])
    found = notes.load(run)
    assert found.name == "named" and "ours" in found.notes and "theirs" in found.notes


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("odd")])
async def test_what_cannot_be_saved_stays_and_one_can_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    run = make_run(tmp_path / "run", steps=3)
    said: list[str | None] = []

    def full(*_arguments: Any) -> None:
        raise error

    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_note(app, pilot, run.path, said)
        monkeypatch.setattr(notes, "load", full)
        await pilot.press(*"mine", "f5")
        await until(pilot, lambda: "Not saved: " in shown(app) and "mine" in shown(app))
        await pilot.press("escape")
        assert app.screen is screen and "Not saved yet" in shown(app)
        monkeypatch.undo()
        await pilot.press("f5")
        await until(pilot, lambda: said == ["name, tags and note are saved"])
    assert notes.load(run).notes == "mine"


async def test_a_disk_that_does_not_answer_holds_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, answered = make_run(tmp_path / "run", steps=3), threading.Event()
    said: list[str | None] = []
    monkeypatch.setattr(notes, "save", lambda *_arguments: answered.wait(10))
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_note(app, pilot, run.path, said)
        await pilot.press("x", "f5", "escape")
        assert app.screen is screen and "still being saved" in shown(app)
        await pilot.press("escape")
        assert app.screen is not screen
        answered.set()
