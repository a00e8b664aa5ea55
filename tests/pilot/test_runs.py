"""The list of runs by keyboard: what it shows of every kind of run, and what its keys do."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from engine import registry
from engine.history import RunSummary
from engine.rundir import RunDir, write_json
from tests.support import append_step, make_run, until
from tui.app import TunedeckApp
from tui.launch.dialogs import PickScreen
from tui.runlist import table as table_module
from tui.runlist.filterline import FilterLine
from tui.screens.confirm import ConfirmScreen
from tui.screens.folder import FolderScreen
from tui.screens.problems import ProblemsScreen
from tui.screens.runs import RunsScreen
from tui.widgets.chrome import KeyBar, TopBar
from tui.widgets.lines import Lines

SIZES = [(80, 24), (120, 40), (160, 50)]
NAMES = {"/": "slash", " ": "space", "-": "minus", "_": "underscore", ".": "full_stop"}


def picture(app: TunedeckApp) -> list[str]:
    """What stands on the screen, line by line."""
    return [strip.text for strip in app.screen._compositor.render_strips()]


def shown(app: TunedeckApp) -> str:
    return "\n".join(picture(app))


def home(app: TunedeckApp) -> RunsScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, RunsScreen)
    return screen


def names(app: TunedeckApp) -> list[str]:
    return [run.name for run in home(app).table.runs]


def selected(app: TunedeckApp) -> str:
    run = home(app).table.selected
    assert run is not None
    return run.name


def footer(app: TunedeckApp) -> str:
    bar = app.screen.query_one(KeyBar)
    return "".join(text for text, _ in bar.parts(bar.size.width))


async def found(pilot: Any) -> RunsScreen:
    """The list, once the first search is over."""
    screen = home(pilot.app)
    await until(pilot, lambda: not screen.searching)
    await pilot.pause()
    return screen


async def write(pilot: Any, text: str) -> None:
    await pilot.press(*(NAMES.get(character, character) for character in text))


def six(folder: Path) -> None:
    """One run of each kind, the newest first: n5 (running), n4, … n0."""
    now = time.time()
    for number, state in enumerate(["completed", "failed", "stopped", "killed", "lost", "running"]):
        make_run(folder / f"n{number}", name=f"n{number}-{state}", state=state, created=now - 100_000 + 10_000 * number, steps=20,
                 total=20 if state == "completed" else 40, reason=f"because of {state}", base_model=f"org/model-{number}",
                 run_id=f"2026112{number}-000000-aaaa{number}")  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose ``runs`` holds six runs."""
    monkeypatch.chdir(tmp_path)
    six(tmp_path / "runs")
    return tmp_path / "runs"


def app_of(*roots: Path) -> TunedeckApp:
    return TunedeckApp(roots, theme_name="dark")


# Showing.


@pytest.mark.parametrize("size", SIZES)
async def test_all_runs_stand_there_newest_first(folder: Path, size: tuple[int, int]) -> None:
    app = app_of()
    async with app.run_test(size=size, notifications=True) as pilot:
        await found(pilot)
        assert names(app) == ["n5-running", "n4-lost", "n3-killed", "n2-stopped", "n1-failed", "n0-completed"]
        lines = picture(app)
        rows = [next(line for line in lines if name in line) for name in names(app)]
        assert rows[0].startswith("▌  ● running") and "20/40" in rows[0]
        assert [row.split()[1] for row in rows[1:]] == ["lost", "killed", "stopped", "failed", "completed"]
        assert "6 runs · 1 running" in lines[0]
        assert all(cell_len(line) == size[0] for line in lines)
        assert "help" in lines[-1] and "quit" in lines[-1]


@pytest.mark.parametrize("size", SIZES)
async def test_an_empty_list_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.chdir(tmp_path)
    app = app_of()
    async with app.run_test(size=size, notifications=True) as pilot:
        await found(pilot)
        text = shown(app)
        assert "No runs yet" in text and "sample run" in text and "of your own" in text
        assert "open" not in footer(app) and "new run" in footer(app)
        for key in ("enter", "c", "s", "slash", "o", "O", "b", "C", "v", "X", "D", "p", "t", "w", "space", "m", "M", "at", "z", "left",
                    "right", "y", "down", "end"):  # fmt: skip
            await pilot.press(key)  # keys without a run do nothing, and break nothing
        assert app.screen is home(app)


async def test_the_end_and_its_reason_are_told_below(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        await pilot.press("end", "up")
        await until(pilot, lambda: "✗ failed  because of failed" in shown(app))
        assert "org/model-1" in shown(app) and "0/runs/n1" in shown(app)


async def test_a_stall_and_another_host_are_told_honestly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    now = time.time()
    stuck = make_run(tmp_path / "runs" / "stuck", state="running", created=now)
    write_json(stuck.status_json, {**(stuck.read_status() or {}), "stalled": True})
    away = make_run(tmp_path / "runs" / "away", state="running", created=now - 1000)
    write_json(
        away.status_json, {**(away.read_status() or {}), "machine_id": "another", "host": "gpu7", "heartbeat": now - 42}
    )
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        rows = {line[24:28].strip(): line for line in picture(app) if "running" in line}
        assert "● running (stalled)" in shown(app) and "● running on gpu7" in shown(app), rows
        await pilot.press("down")
        await until(pilot, lambda: "● running on gpu7, last heard 4" in shown(app))


HOSTILE = ["\x1b[2J\x1b]52;c;aGk=\x07esc", "[/foo] [bold]markup[/] [@click=app.quit]x", "한국어 이름 시험 한국어 이름 시험 한국어 이름", "\u202egpj.exe",
           "long" * 400, "tab\tnew\nline\rback", "👩‍👩‍👧‍👦 family", "e\u0301 combining \u200bzero"]  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
async def test_hostile_names_are_only_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(HOSTILE):
        make_run(
            tmp_path / "runs" / f"h{number}",
            name=name,
            base_model=name,
            state="failed",
            reason=name,
            steps=3,
            created=1.79e9 - number,
        )
    app = app_of()
    async with app.run_test(size=size, notifications=True) as pilot:
        screen = await found(pilot)
        for _ in HOSTILE:
            await pilot.press("down")
            await pilot.pause()
            lines = picture(app)
            assert all(character.isprintable() for line in lines for character in line)
            assert all(cell_len(line) == size[0] for line in lines)
        await pilot.press("home", "down")
        await pilot.pause()
        assert "[/foo]" in shown(app)
        # The columns right of the names stand in one line.
        ends = {cell_len(line[: line.index("3/3") + 3]) for line in picture(app) if "3/3" in line}
        assert len(ends) == 1
        for key in ("y", "ctrl+p"):
            await pilot.press(key)
            await pilot.pause(0.2)
            assert all(character.isprintable() for line in picture(app) for character in line)
        await pilot.press("escape")
        assert screen.is_attached


async def test_a_curve_of_the_selected_run_stands_where_there_is_room(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(120, 40)) as pilot:
        await found(pilot)
        await until(pilot, lambda: "loss of n5-running" in shown(app))
        await pilot.press("end")
        await until(pilot, lambda: "loss of n0-completed" in shown(app))
        await pilot.resize_terminal(120, 24)
        await until(pilot, lambda: "loss of" not in shown(app))
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: "loss of n0-completed" in shown(app))


async def test_the_curve_follows_a_live_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.runlist.preview.LIVE_SECONDS", 0.05)
    app = app_of()
    async with app.run_test(size=(120, 40)) as pilot:
        await found(pilot)
        await until(pilot, lambda: "loss of n5-running" in shown(app))
        append_step(RunDir(folder / "n5"), 21, 7.4321)
        await until(pilot, lambda: "7.4321" in shown(app))


async def test_a_long_record_is_left_to_the_live_screen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.runlist.preview.MAX_BYTES", 100)
    app = app_of()
    async with app.run_test(size=(120, 40)) as pilot:
        await found(pilot)
        await until(pilot, lambda: "a long record" in shown(app))


# Moving.


async def test_only_the_lines_that_changed_are_repainted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        screen = await found(pilot)
        drawn: list[int] = []
        real = table_module.RunTable.render_line
        monkeypatch.setattr(table_module.RunTable, "render_line", lambda self, y: drawn.append(y) or real(self, y))
        await pilot.press("down")
        await pilot.pause()
        assert sorted(set(drawn)) == [0, 1]
        drawn.clear()
        for _ in range(3):
            screen.table.renew()
            await pilot.pause()
        assert len(drawn) <= 3  # the running run's time may have moved on
        run = RunDir(folder / "n5")
        write_json(run.status_json, {**(run.read_status() or {}), "step": 21})
        drawn.clear()
        await until(pilot, lambda: "21/40" in shown(app))
        assert set(drawn) == {0}


async def test_a_screen_without_live_runs_is_not_painted_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tui.runlist.feed.BEAT_SECONDS", 0.05)
    make_run(tmp_path / "runs" / "a")
    app = app_of()
    async with app.run_test(size=(120, 40)) as pilot:
        await found(pilot)
        await until(pilot, lambda: "loss of a" in shown(app))
        await pilot.pause(0.3)
        updates: list[object] = []
        monkeypatch.setattr(type(app), "_display", lambda self, screen, renderable: updates.append(renderable))
        await pilot.pause(1.5)
        assert [update for update in updates if update is not None] == []


async def test_the_cursor_keeps_to_its_run_when_others_come(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        await pilot.press("down", "down")
        assert selected(app) == "n3-killed"
        run = make_run(folder.parent / "new", name="newest", created=time.time())
        registry.remember_run(str((run.read_run() or {})["id"]), run.path)
        await until(pilot, lambda: "newest" in names(app), 3.0)
        assert names(app)[0] == "newest" and selected(app) == "n3-killed"


async def test_an_untouched_cursor_stays_at_the_newest(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        run = make_run(folder.parent / "new", name="newest", created=time.time())
        registry.remember_run(str((run.read_run() or {})["id"]), run.path)
        await until(pilot, lambda: selected(app) == "newest", 3.0)


async def test_long_lists_scroll_with_the_cursor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        screen = await found(pilot)
        many = [
            RunSummary(f"id{i:05d}", f"/nowhere/{i}", f"run-{i:05d}", "tunedeck", "completed", created=1e9 - i)
            for i in range(10_000)
        ]
        screen.feed.stop()
        screen.list.update(many)
        begun = time.perf_counter()
        screen.draw()
        await pilot.pause()
        assert time.perf_counter() - begun < 1.0
        assert "run-00000" in shown(app) and "10,000 runs" in shown(app)
        await pilot.press("end")
        await pilot.pause()
        assert selected(app) == "run-09999" and "run-09999" in shown(app)
        await pilot.press("pageup")
        await pilot.pause()
        assert selected(app) in shown(app) and selected(app) != "run-09999"
        await pilot.press("home")
        await pilot.pause()
        assert selected(app) == "run-00000" and "run-00000" in shown(app)


async def test_a_removed_run_leaves_the_list(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        await pilot.press("end")
        shutil.rmtree(folder / "n0")
        await pilot.press("R")
        await until(pilot, lambda: "n0-completed" not in names(app))
        assert selected(app) == "n1-failed"


async def test_a_folder_that_is_gone_is_named_and_searched_again(folder: Path) -> None:
    app = app_of(folder)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await found(pilot)
        away = folder.rename(folder.with_name("away"))
        await pilot.press("R")
        await until(pilot, lambda: "No runs yet" in shown(app) and "is not there now" in shown(app))
        await pilot.press("R")  # nothing new is found
        await until(pilot, lambda: not home(app).searching and "No runs yet" in shown(app))
        away.rename(folder)
        await pilot.press("R")
        await until(pilot, lambda: "n1-failed" in names(app))


# Keys.


async def test_filter_by_words_keep_it_and_clear_it(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        await pilot.press("slash")
        await write(pilot, "model-1")
        await until(pilot, lambda: names(app) == ["n1-failed"])
        assert "1 of 6 runs" in shown(app) and "keep the filter" in footer(app)
        await pilot.press("enter")
        assert not isinstance(app.focused, FilterLine) and names(app) == ["n1-failed"]
        assert "open" in footer(app)
        await pilot.press("slash")
        await write(pilot, " nothing")
        await until(pilot, lambda: "No run passes the filter" in shown(app))
        assert "open" not in footer(app)
        await pilot.press("escape")
        await until(pilot, lambda: len(names(app)) == 6 and not screen_has_filter(app))
        await pilot.press("slash", "enter")  # an empty filter closes
        await until(pilot, lambda: not screen_has_filter(app))


def screen_has_filter(app: TunedeckApp) -> bool:
    return bool(home(app).query(FilterLine))


async def test_letters_typed_into_the_filter_are_no_keys(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        await pilot.press("slash")
        await write(pilot, "qnsdcoar?")
        await pilot.pause()
        assert app.is_running and app.screen is home(app)
        assert home(app).query_one(FilterLine).value.startswith("qnsdcoar")


async def order_by(pilot: Any, column: str) -> None:
    """Choose the order in its dialog, by typing."""
    await pilot.press("o")
    await until(pilot, lambda: isinstance(pilot.app.screen, PickScreen))
    await write(pilot, column)
    await pilot.press("enter")
    await until(pilot, lambda: pilot.app.screen is home(pilot.app))
    await pilot.pause()


async def test_orders(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        await order_by(pilot, "name")
        await until(pilot, lambda: names(app) == sorted(names(app)))
        assert "by name" in shown(app)
        await order_by(pilot, "state")
        await until(pilot, lambda: names(app)[0] == "n5-running" and "by state" in shown(app))
        await pilot.press("O")
        await until(pilot, lambda: names(app)[-1] == "n5-running")
        await order_by(pilot, "date")
        await until(pilot, lambda: names(app)[-1] == "n0-completed" and "newest first" in shown(app))
        await order_by(pilot, "date")  # the same again
        await until(pilot, lambda: names(app)[0] == "n0-completed" and "oldest first" in shown(app))


async def test_the_selected_run_is_kept_by_an_order_and_by_the_end_of_a_filter(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        await pilot.press("down")
        assert selected(app) == "n4-lost"
        for _ in range(4):
            await pilot.press("O")
            assert selected(app) == "n4-lost"
        await pilot.press("slash")
        await write(pilot, "model-1")
        await until(pilot, lambda: names(app) == ["n1-failed"])
        await pilot.press("escape")
        await until(pilot, lambda: len(names(app)) == 6)
        await pilot.pause()
        assert selected(app) == "n1-failed"


async def test_enter_watches_what_lives_and_opens_what_has_ended(folder: Path) -> None:
    from tui.screens.detail import DetailScreen
    from tui.screens.watch import WatchScreen

    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, WatchScreen))
        assert app.screen.path == folder / "n5"  # type: ignore[attr-defined]
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is home(app))
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: isinstance(app.screen, DetailScreen))
        assert app.screen.path == folder / "n3"  # type: ignore[attr-defined]
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is home(app))
        assert selected(app) == "n3-killed"
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, WatchScreen))


async def test_new_sample_and_clone_open_the_form(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[Any, str]] = []
    monkeypatch.setattr(
        TunedeckApp, "open_launch", lambda self, values=None, title="", *more: opened.append((values, title))
    )
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        await pilot.press("n")
        await pilot.press("d")
        await pilot.press("down", "c")
        await until(pilot, lambda: len(opened) == 3)
    assert opened[0] == (None, "")
    assert opened[1][1] == "Sample run" and "base_model" in opened[1][0] and "output_dir" not in opened[1][0]
    values, title = opened[2]
    assert title == "Clone of n4-lost" and values["base_model"] == "org/model-4" and "output_dir" not in values


async def test_a_run_without_settings_cannot_be_cloned_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "a").run_json.write_text("not json")
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, ProblemsScreen))
        assert "cannot be cloned" in shown(app) and "no record of its settings" in shown(app)
        await pilot.press("escape")
        assert app.screen is home(app)


async def test_stop_asks_first_and_only_live_runs_can_be_stopped(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        assert "stop" in footer(app)
        await pilot.press("s")
        await until(pilot, lambda: "Stop n5-running?" in shown(app) and "step 20 of 40" in shown(app))
        await pilot.press("enter")  # the focus is on "no"
        await until(pilot, lambda: app.screen is home(app))
        assert RunDir(folder / "n5").requests() == []
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("escape")
        assert RunDir(folder / "n5").requests() == []
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: RunDir(folder / "n5").requests() == ["stop"])
        await until(pilot, lambda: "was asked to stop" in shown(app))
        await pilot.press("down")
        await until(pilot, lambda: "stop" not in footer(app))
        await pilot.press("s")
        await pilot.pause()
        assert app.screen is home(app) and RunDir(folder / "n4").requests() == []


async def test_a_stop_that_cannot_be_written_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: RunDir, verb: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(RunDir, "request", refuse)
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, ProblemsScreen))
        assert "Permission denied" in shown(app) and "could not be asked" in shown(app)


async def test_add_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "old" / "first")
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, FolderScreen))
        await pilot.press("enter")
        await until(pilot, lambda: "Type the path" in shown(app))
        await write(pilot, "nowhere")
        await pilot.press("enter")
        await until(pilot, lambda: "no such folder" in shown(app))
        await pilot.press(*["backspace"] * 7)
        await write(pilot, "old")
        await pilot.press("enter")
        await until(pilot, lambda: names(app) == ["first"])
        assert registry.roots() == [tmp_path / "old"]


async def test_copy_gives_the_terminal_the_path(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        await pilot.press("y")
        await until(pilot, lambda: "Copied" in shown(app))
        assert app.clipboard == str(folder / "n5")


async def test_roots_of_the_command_line_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "shared" / "theirs")
    app = app_of(tmp_path / "shared")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        assert names(app) == ["theirs"] and registry.roots() == []


async def test_mouse_selects_and_opens(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    monkeypatch.setattr(TunedeckApp, "open_detail", lambda self, path: opened.append(path))
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        await pilot.click("RunTable", offset=(10, 2))
        assert selected(app) == "n3-killed" and opened == []
        await pilot.click("RunTable", offset=(10, 2), times=2)
        await until(pilot, lambda: opened == [folder / "n3"])


async def test_a_click_on_the_footer_presses_the_key(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await found(pilot)
        await pilot.click("KeyBar", offset=(footer(app).index("filter"), 0))
        await until(pilot, lambda: isinstance(app.focused, FilterLine))


async def test_header_and_bars_follow_the_width(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        screen = await found(pilot)
        assert "model" not in screen.query_one("#runs-header", Lines).text
        await pilot.resize_terminal(160, 24)
        await until(pilot, lambda: "model" in screen.query_one("#runs-header", Lines).text)
        await pilot.pause()
        assert all(cell_len(line) == 160 for line in picture(app))
        assert "6 runs" in screen.query_one(TopBar).right
        await pilot.resize_terminal(40, 10)
        await pilot.pause()
        assert all(cell_len(line) == 40 for line in picture(app)) and "n5-running" in shown(app)


# The queue, and the end of a run.


def queued(folder: Path, count: int) -> list[RunDir]:
    """Runs that wait, with their places in the queue; this process stands for their supervisors."""
    from engine import queue
    from engine.queue import entries

    queue.folder().mkdir(parents=True, exist_ok=True)
    runs = []
    for number in range(1, count + 1):
        name = f"q{number}"
        run = make_run(folder / name, state="queued", steps=1, evals=0, run_id=name, created=time.time() - number)
        waits = "1 run is before it; GPU 0 is used by run x of anna" if number > 1 else "GPU 0 is used by run x of anna"
        status = {
            **(run.read_status() or {}),
            "id": name,
            "started": None,
            "queue_position": number,
            "waits_for": waits,
        }
        write_json(run.status_json, status)
        entries.write(entries.Entry(name, str(run.path), float(number), time.time()))
        runs.append(run)
    return runs


def order_now() -> list[str]:
    from engine.queue import entries

    return [entry.id for entry in entries.read_all()]


@pytest.mark.parametrize("size", SIZES)
async def test_queued_runs_say_their_place_and_what_they_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.chdir(tmp_path)
    queued(tmp_path / "runs", 3)
    app = app_of()
    async with app.run_test(size=size) as pilot:
        await found(pilot)
        lines = picture(app)
        assert [next(line for line in lines if f" q{n} " in line)[3:13].strip() for n in (1, 2, 3)] == [
            f"◦ queued {n}" for n in (1, 2, 3)
        ]
        await until(pilot, lambda: "waits: GPU 0 is used by run x of anna" in shown(app))
        await pilot.press("down")
        await until(pilot, lambda: "waits: 1 run is before it" in shown(app))


async def test_moving_in_the_queue_and_leaving_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = queued(tmp_path / "runs", 3)
    app = app_of()
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await found(pilot)
        assert "[ earlier" not in footer(app) and "] later" in footer(app)
        assert "s cancel" in footer(app) and "s stop" not in footer(app)
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: order_now() == ["q2", "q1", "q3"])
        await until(pilot, lambda: names(app) == ["q2", "q1", "q3"] and "[ earlier" in footer(app))
        numbers = [line[3:13].strip() for line in picture(app) if line[3:].startswith("◦ queued")][:3]
        assert numbers == ["◦ queued 1", "◦ queued 2", "◦ queued 3"]  # at once: nobody writes their records here
        await pilot.press("ctrl+down")
        await until(pilot, lambda: order_now() == ["q2", "q3", "q1"])
        await until(pilot, lambda: "] later" not in footer(app))
        await pilot.press("right_square_bracket")
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: order_now() == ["q2", "q1", "q3"])
        assert selected(app) == "q1"
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen) and "Cancel q1?" in shown(app))
        await pilot.press("y")
        await until(pilot, lambda: runs[0].requests() == ["stop"])


async def test_the_queue_is_one_block_with_the_next_run_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    now = time.time()
    runs = queued(tmp_path / "runs", 3)
    for number, run in enumerate(runs):  # made in the queue's order, so that the newest waits longest
        made = now - 300 + 100 * number
        write_json(run.run_json, {**(run.read_run() or {}), "created": made})
        write_json(run.status_json, {**(run.read_status() or {}), "created": made})
    make_run(tmp_path / "runs" / "between", steps=5, created=now - 150, run_id="between")
    make_run(tmp_path / "runs" / "live", steps=5, total=9, state="running", created=now - 500, run_id="live")
    app = app_of()
    said: list[str] = []
    monkeypatch.setattr("tui.leaving.say_after", said.append)
    async with app.run_test(size=(120, 30)) as pilot:
        await found(pilot)
        assert names(app) == ["q1", "q2", "q3", "between", "live"]
        assert "5 runs · 1 running · 3 queued" in shown(app)
        await order_by(pilot, "state")
        assert names(app) == ["live", "q1", "q2", "q3", "between"]
        await pilot.press("q")
    assert said == ["1 run goes on, 3 wait in the queue: tunedeck watch ID"]


async def test_only_a_queued_run_moves(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(160, 50)) as pilot:
        await found(pilot)
        assert "earlier" not in footer(app)
        await pilot.press("left_square_bracket", "ctrl+up")
        assert app.screen is home(app)


async def test_a_killed_run_is_said_to_be_killed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path / "runs" / "night", state="running", steps=5, total=5)
    status = {**(run.read_status() or {}), "attempts": 2, "started": time.time() - 60, "seconds_before": 3600}
    write_json(run.status_json, status)
    app = app_of()
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await found(pilot)
        await until(pilot, lambda: "attempt 2 since " in shown(app) and ", 1h 01m " in shown(app))
        assert "s in all" in shown(app)
        write_json(run.status_json, {**status, "state": "killed", "reason": "killed by SIGKILL", "ended": time.time()})
        await until(pilot, lambda: "night killed by SIGKILL" in shown(app))
        assert "killed: killed" not in shown(app)


@pytest.mark.parametrize("notify", [["bell"], []])
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_an_end_is_noticed_on_any_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notify: list[str], elsewhere: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path / "runs" / "night", state="running", steps=5, total=5, config={"notify": notify})
    app, rung = app_of(), []
    monkeypatch.setattr(app, "bell", lambda: rung.append(1))
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await found(pilot)
        if elsewhere:
            await pilot.press("n")
            await until(pilot, lambda: app.screen is not home(app))
        status = {**(run.read_status() or {}), "state": "failed", "reason": "disk full at step 5", "ended": time.time()}
        write_json(run.status_json, status)
        await until(pilot, lambda: "night failed: disk full at step 5" in shown(app))
        await until(pilot, lambda: len(rung) == len(notify))
        await pilot.pause(2.5)
        assert len(rung) == len(notify) and len(app._notifications) == 1


async def test_esc_with_a_q_right_behind_it_only_goes_back(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24)) as pilot:
        await found(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is not home(app))
        await pilot.press("alt+q")  # what the terminal's ESC q is read as
        await until(pilot, lambda: app.screen is home(app))
        await pilot.press("slash", "x", "alt+q")
        await pilot.pause()
        assert app.is_running and not app.screen.query(FilterLine)


async def test_the_queue_is_revived_while_the_app_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import queue
    from tui import app as module

    calls: list[float] = []
    monkeypatch.setattr(queue, "revive", lambda: calls.append(time.monotonic()))
    monkeypatch.setattr(module, "REVIVE_SECONDS", 0.2)
    monkeypatch.chdir(tmp_path)
    app = app_of()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(calls) >= 3)
