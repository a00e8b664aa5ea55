"""The list as a browser: runs of any tool, filters, groups, columns, marks, and what is done with marked runs."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from engine.history.query import saved
from engine.rundir import write_json
from tests.pilot.test_runs import app_of, footer, found, home, names, picture, selected, shown, write
from tests.support import make_run, until
from tui.app import TunedeckApp
from tui.launch.dialogs import PathScreen
from tui.runlist import table as table_module
from tui.runlist.dialogs import ColumnsScreen, NameScreen, SavedScreen
from tui.runlist.feed import Batch, Progress
from tui.runlist.filterline import FilterBox
from tui.widgets.chrome import TopBar
from tui.widgets.lines import Lines


def foreign(path: Path, steps: int = 6, model: str = "org/Other-7B") -> Path:
    """What a Trainer of somebody else's leaves."""
    folder = path / f"checkpoint-{steps}"
    folder.mkdir(parents=True)
    rows = [{"step": n, "loss": 2.0 / n, "learning_rate": 1e-4, "epoch": n / steps} for n in range(1, steps + 1)]
    state = {"global_step": steps, "max_steps": steps, "epoch": 1.0, "num_train_epochs": 1, "log_history": rows}
    (folder / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
    config = {"base_model_name_or_path": model, "peft_type": "LORA", "r": 8, "lora_alpha": 16}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three runs of ours, the newest alive, and two of others."""
    monkeypatch.chdir(tmp_path)
    now, runs = time.time(), tmp_path / "runs"
    make_run(runs / "live", name="live", state="running", steps=20, total=40, created=now - 50, base_model="org/Small")
    make_run(runs / "good", name="good", steps=20, created=now - 5000, base_model="org/Small", config={"lora_r": 64})
    make_run(
        runs / "bad", name="bad", state="failed", steps=3, created=now - 9000, base_model="org/Big", reason="disk full"
    )
    for name in ("theirs-1", "theirs-2"):
        for place in [*foreign(runs / name).rglob("*"), runs / name]:
            os.utime(place, (now - 90_000, now - 90_000))
    return runs


def hint(app: TunedeckApp) -> str:
    return home(app).query_one(FilterBox).query_one(Lines).text


def right(app: TunedeckApp) -> str:
    return home(app).query_one(TopBar).right


async def clear(pilot: Any) -> None:
    await pilot.press("escape")
    await until(pilot, lambda: not home(pilot.app).query(FilterBox))


# What is shown.


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 50)])
async def test_runs_of_all_tools_stand_side_by_side(folder: Path, size: tuple[int, int]) -> None:
    app = app_of()
    async with app.run_test(size=size) as pilot:
        await found(pilot)
        assert set(names(app)) == {"live", "good", "bad", "theirs-1", "theirs-2"}
        lines = picture(app)
        row = next(line for line in lines if "theirs-1" in line)
        assert "completed" in row and "6/6" in row and "0.3333" in row and "█" in row
        assert all(cell_len(line) == size[0] for line in lines)
        if size[0] >= 120:
            assert "Other-7B" in row
        if size[0] >= 160:
            assert "transformers" in row or "trl" in row or "unknown" in row
        assert "open" in footer(app) and "filter" in footer(app) and "help" in footer(app)


async def test_runs_of_others_are_opened_and_not_watched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, Path]] = []
    monkeypatch.setattr(TunedeckApp, "open_detail", lambda self, path: opened.append(("detail", path)))
    monkeypatch.setattr(TunedeckApp, "open_watch", lambda self, path: opened.append(("watch", path)))
    app = app_of()
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await found(pilot)
        for key in ("enter", "w"):
            await pilot.press(key)
        screen.table.go_to(next(run for run in screen.table.runs if run.name == "theirs-2"))
        await pilot.press("enter", "w", "r", "s")
        await until(pilot, lambda: "loss of theirs-2" in shown(app))
        assert opened == [("watch", folder / "live"), ("watch", folder / "live"), ("detail", folder / "theirs-2")]


async def test_runs_of_others_are_cloned_as_far_as_they_tell(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[dict[str, Any], str, list[str]]] = []
    monkeypatch.setattr(
        TunedeckApp,
        "open_launch",
        lambda self, values=None, title="", unknown=(), remarks=(): opened.append((values, title, list(unknown))),
    )
    app = app_of()
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await found(pilot)
        screen.table.go_to(next(run for run in screen.table.runs if run.name == "theirs-2"))
        await pilot.press("c")
        await until(pilot, lambda: opened)
    values, title, unknown = opened[0]
    assert title == "Clone of theirs-2" and values["base_model"] == "org/Other-7B" and values["lora_r"] == 8
    assert "train_path" in unknown and "train_path" not in values


async def test_the_curve_of_a_live_run_draws_on_and_only_its_line_is_sent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.runlist.feed.BEAT_SECONDS", 0.05)
    app = app_of()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await found(pilot)
        run = next(run for run in screen.list.live)
        points = len(run.sparkline)
        drawn: list[int] = []
        real = table_module.RunTable.render_line
        monkeypatch.setattr(table_module.RunTable, "render_line", lambda self, y: drawn.append(y) or real(self, y))
        status = folder / "live" / ".tunedeck" / "status.json"
        write_json(status, {**json.loads(status.read_text()), "step": 21, "last_loss": 0.0125})
        await until(pilot, lambda: "21/40" in shown(app))
        assert len(screen.list.live[0].sparkline) == points + 1 and set(drawn) == {0}


async def test_searches_in_the_background_paint_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.runlist.feed.BEAT_SECONDS", 0.05)
    monkeypatch.setattr("tui.runlist.feed.WALK_SECONDS", 0.05)
    monkeypatch.setattr("tui.runlist.feed.WALK_SHARE", 0.0)
    write_json(
        (status := folder / "live" / ".tunedeck" / "status.json"),
        {**json.loads(status.read_text()), "state": "stopped"},
    )
    app = app_of()
    async with app.run_test(size=(80, 24)) as pilot:
        await found(pilot)
        await pilot.pause(0.3)
        updates: list[object] = []
        monkeypatch.setattr(type(app), "_display", lambda self, screen, renderable: updates.append(renderable))
        await pilot.pause(1.0)
        assert [update for update in updates if update is not None] == []


async def test_a_search_tells_how_far_it_is_and_what_does_not_answer(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await found(pilot)
        screen.feed.stop()
        silent = (("/mnt/nas/\x1b[31mteam", "does not answer"), ("/gone", "No such file or directory"))
        screen._deliver(Batch(progress=Progress(True, 1200, 10_000, silent)))
        await until(pilot, lambda: "reading 1,200/10,000" in right(app))
        assert "/mnt/nas/team does not answer" in right(app) and "gone" not in right(app)
        screen._deliver(
            Batch(progress=Progress(unreachable=(("/mnt/nas", "Permission denied"), ("/x", "does not answer"))))
        )
        await until(pilot, lambda: "/mnt/nas: permission denied, 1 more" in right(app))
        assert "reading" not in right(app)


async def test_the_curve_comes_back_when_the_list_was_empty_for_a_while(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(120, 40)) as pilot:
        await found(pilot)
        await until(pilot, lambda: "loss of live" in shown(app) and "smooth" in shown(app))
        await pilot.press("slash")
        await write(pilot, "nothing")
        await until(pilot, lambda: "No run passes" in shown(app) and "loss of" not in shown(app))
        await pilot.pause(0.3)
        await clear(pilot)
        await until(pilot, lambda: "loss of live" in shown(app) and "smooth" in shown(app))


# The filter.


async def test_a_filter_asks_for_fields_and_is_completed(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24)) as pilot:
        await found(pilot)
        await pilot.press("slash")
        await until(pilot, lambda: "loss<1.2" in hint(app))
        await write(pilot, "mod")
        await until(pilot, lambda: hint(app).startswith("tab model:"))
        await pilot.press("tab")
        await until(pilot, lambda: home(app).filter_text == "model:" and "org/Other-7B" in hint(app))
        await write(pilot, "org/sm")
        await until(pilot, lambda: hint(app).startswith("tab org/Small"))
        await pilot.press("tab")
        await until(pilot, lambda: set(names(app)) == {"live", "good"} and "2 of 5 runs" in right(app))
        await write(pilot, " is:li")
        await until(pilot, lambda: hint(app).startswith("tab live"))
        await pilot.press("right")  # the rest of the completion stands behind the cursor
        await until(pilot, lambda: home(app).filter_text == "model:org/Small is:live" and names(app) == ["live"])
        await pilot.press("enter")
        assert home(app).table.has_focus and names(app) == ["live"]
        await clear(pilot)
        assert len(names(app)) == 5


async def test_what_is_wrong_is_said_below_its_place(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24)) as pilot:
        await found(pilot)
        await pilot.press("slash")
        await write(pilot, "state:failed modle:big")
        await until(pilot, lambda: "there is no field 'modle'" in hint(app) and "model" in hint(app).split("?")[0])
        assert hint(app).index("^") == len("/ state:failed ")
        assert names(app) == ["bad"], "as far as it is understood"
        await pilot.press(*["backspace"] * 9)
        await write(pilot, "(loss")
        await until(pilot, lambda: "^" in hint(app) or "tab" in hint(app))
        await write(pilot, "<9)")
        await until(pilot, lambda: "^" not in hint(app) and names(app) == ["bad"])
        await write(pilot, " x" * 60 + " )")
        await until(pilot, lambda: "there is no (" in hint(app))
        assert all(cell_len(line) == 80 for line in picture(app)), "far to the right, too"


async def test_arrows_move_in_the_list_while_one_types(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24)) as pilot:
        await found(pilot)
        await pilot.press("slash")
        await write(pilot, "theirs")
        await until(pilot, lambda: len(names(app)) == 2)
        first = selected(app)
        await pilot.press("down")
        assert selected(app) != first and not home(app).table.has_focus


async def test_filters_are_saved_used_and_forgotten(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24)) as pilot:
        await found(pilot)
        await pilot.press("slash")
        await write(pilot, "state:failed")
        await pilot.press("f4")
        await until(pilot, lambda: isinstance(app.screen, NameScreen))
        await pilot.press("enter")
        await until(pilot, lambda: "Type a name" in shown(app))
        await write(pilot, "oh no")
        await pilot.press("enter")
        await until(pilot, lambda: "cannot be called" in shown(app))
        await pilot.press(*["backspace"] * 5)
        await write(pilot, "broken")
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is home(app))
        assert saved.load() == {"broken": "state:failed"}
        await pilot.press("escape")
        await until(pilot, lambda: len(names(app)) == 5)
        await pilot.press("at")
        await until(pilot, lambda: isinstance(app.screen, SavedScreen) and "@broken" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: names(app) == ["bad"] and home(app).filter_text == "@broken")
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, SavedScreen))
        await pilot.press("delete")
        await until(pilot, lambda: "None yet" in shown(app))
        assert saved.load() == {}
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is home(app))


# Groups.


def rows(app: TunedeckApp) -> list[str]:
    return [getattr(row, "name", None) or row.title for row in home(app).table.rows]  # type: ignore[union-attr]


async def test_groups_fold_and_open(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24)) as pilot:
        await found(pilot)
        await pilot.press("b")
        await until(pilot, lambda: {"Small", "Big", "Other-7B"} <= set(rows(app)) and "by base model" in right(app))
        assert selected(app) == "live", "the cursor keeps to its run"
        assert "▾ Small" in picture(app)[3], "and its group is in sight"
        await pilot.press("left")
        await until(pilot, lambda: home(app).table.selected is None and "live" not in rows(app))
        assert "▸ Small   2 runs · 1 live · best" in shown(app) and "opens the group" in shown(app)
        await pilot.press("enter")
        await until(pilot, lambda: "live" in rows(app))
        await pilot.press("z")
        await until(pilot, lambda: sorted(rows(app)) == ["Big", "Other-7B", "Small"])
        await pilot.press("z")
        await until(pilot, lambda: len(rows(app)) == 8)
        await pilot.press("slash")
        await write(pilot, "model:big")
        await until(pilot, lambda: rows(app) == ["Big", "bad"])
        await clear(pilot)
        await pilot.press("b", "b", "b", "b")
        await until(pilot, lambda: len(rows(app)) == 5)


# Columns, and what is kept.


async def test_columns_order_and_groups_are_chosen_and_kept(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(160, 50)) as pilot:
        await found(pilot)
        header = home(app).query_one("#runs-header", Lines)
        assert " r " not in header.text and "model" in header.text
        await pilot.press("C")
        await until(pilot, lambda: isinstance(app.screen, ColumnsScreen))
        place = next(at for at, key in enumerate(app.screen._all) if key == "r")  # type: ignore[attr-defined]
        await pilot.press(*["down"] * place, "space", "less_than_sign", "less_than_sign")
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is home(app) and " r" in header.text)
        assert any("64" in line for line in picture(app) if "good" in line)
        await pilot.press("O", "b")
        await until(pilot, lambda: "oldest first" not in right(app) and "by base model" in right(app))
        await pilot.pause(0.3)
    again = app_of()
    async with again.run_test(size=(160, 50)) as pilot:
        await found(pilot)
        assert "r" in home(again).choices.columns and home(again).list.sort == ("started", False)
        assert "Small" in rows(again)
        await pilot.press("C")
        await until(pilot, lambda: isinstance(again.screen, ColumnsScreen))
        await pilot.press("u")
        await until(pilot, lambda: home(again).choices.columns == ())


# Marks.


def marked(app: TunedeckApp) -> list[str]:
    return [run.name for run in home(app).list.marked]


async def test_marks_are_set_seen_and_kept_through_filters(folder: Path) -> None:
    app = app_of()
    async with app.run_test(size=(80, 24)) as pilot:
        await found(pilot)
        first, second = names(app)[:2]
        await pilot.press("space", "space")
        await until(pilot, lambda: marked(app) == [first, second] and "2 marked" in right(app))
        assert selected(app) == names(app)[2]
        assert [line[1] for line in picture(app)[3:6]] == ["◆", "◆", " "]
        assert "compare" in footer(app) and "no marks" in footer(app) and "help" in footer(app)
        await pilot.press("slash")
        await write(pilot, "theirs")
        await pilot.press("enter", "m")
        await until(pilot, lambda: set(marked(app)) >= {"theirs-1", "theirs-2", first, second})
        await clear(pilot)
        await pilot.press("M")
        await until(pilot, lambda: marked(app) == [] and "marked" not in right(app))
        await pilot.press("b", "home", "space")  # on a group: all of its runs
        await until(pilot, lambda: set(marked(app)) == {"live", "good"})


async def test_marked_runs_are_compared_deleted_and_exported(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, list[str]]] = []

    def note(what: str, paths: Iterable[Path]) -> None:
        asked.append((what, sorted(path.name for path in paths)))

    monkeypatch.setattr(TunedeckApp, "open_compare", lambda self, paths: note("compare", paths))
    monkeypatch.setattr(
        TunedeckApp,
        "ask_removal",
        lambda self, paths, prune=False, then=None: note("prune" if prune else "delete", paths),
    )
    app = app_of()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        screen = await found(pilot)
        await pilot.press("v")
        await until(pilot, lambda: "Mark 2 to 8 runs" in shown(app))
        await pilot.press("D")  # it lives
        assert asked == []
        screen.table.go_to(next(run for run in screen.table.runs if run.name == "bad"))
        await pilot.press("D", "p")
        screen.table.go_to(next(run for run in screen.table.runs if run.name == "theirs-1"))
        await pilot.press("space")
        screen.table.go_to(next(run for run in screen.table.runs if run.name == "good"))
        await pilot.press("v", "space", "v", "D")
        assert asked == [("delete", ["bad"]), ("prune", ["bad"]), ("compare", ["good", "theirs-1"]),
                         ("compare", ["good", "theirs-1"]), ("delete", ["good", "theirs-1"])]  # fmt: skip
        assert "".join(toast.message for toast in app._notifications).count("Mark 2 to 8 runs") == 1
        await pilot.press("X")
        await until(pilot, lambda: isinstance(app.screen, PathScreen) and "Export 2 runs" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is home(app))
        await pilot.press("X", "enter")
        await until(pilot, lambda: "exists already" in shown(app))
        await pilot.press("escape", "M", "m", "D")
        await until(pilot, lambda: "has not ended" in shown(app))
    with open(tmp_path / "runs.csv", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert sorted(row["name"] for row in table) == ["good", "theirs-1"] and {row["step"] for row in table} == {
        "20",
        "6",
    }
