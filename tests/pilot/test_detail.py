"""The page of one run: read in a thread, nine pages, searching, curves, actions; own runs and other tools'."""

from __future__ import annotations

import csv
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from engine.history.record import Curves, RunRecord
from tests.corpus.many import many
from tests.pictures import picture
from tests.records import record, with_files
from tests.support import make_run, until
from tui.app import TunedeckApp
from tui.history import files, load, pages, settingspage, tables
from tui.keys import TABLES
from tui.screens.detail import DetailScreen
from tui.screens.launch import LaunchScreen


def shown(app: TunedeckApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> dict[Path, RunRecord]:
    """What the reader finds, by path."""
    found: dict[Path, RunRecord] = {}
    monkeypatch.setattr(load, "read", lambda path: found.get(Path(path)))
    return found


async def opened(app: TunedeckApp, pilot: Any, path: Path) -> DetailScreen:
    app.open_detail(path)
    await until(pilot, lambda: isinstance(app.screen, DetailScreen) and app.screen.files is not None)
    await pilot.pause()
    screen = app.screen
    assert isinstance(screen, DetailScreen)
    return screen


def test_every_key_has_an_action() -> None:
    for row in TABLES["detail"]:
        assert hasattr(DetailScreen, f"action_{row.action.partition('(')[0]}"), row.id


async def test_all_pages_of_a_foreign_run(tmp_path: Path, records: dict[Path, RunRecord]) -> None:
    path = tmp_path / "고객지원-r32"
    path.mkdir()
    records[path] = with_files(record(path, "llama-factory"))
    records[path].summary.problems = ["training_args.yaml cannot be read: \x1b[31mbroken\x1b[0m"]
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(app, pilot, path)
        text = shown(app)
        assert "✓ completed" in text and "고객지원-r32" in text and "llama-factory" in text
        assert "step 1,170 of 1,170" in text and "0.9324 best at step 910" in text and "한국어" in text
        assert "! training_args.yaml cannot be read: broken" in text and "\x1b[31mbroken" not in picture(app)
        expected = {
            "2": (
                "changed from our default",
                "default 1e-4",
                "other settings of llama-factory",
                "not known of this run",
            ),
            "3": ("learning rate", "gradient norm", "token accuracy", "◆ eval"),
            "4": ("✓ best", "1,170", "0.9324", "token accuracy"),
            "5": ("No answers were recorded",),
            "6": ("optimizer.pt is missing", "1,040", "✓ complete", "best", "last", "9 checkpoints"),
            "7": ("30 files", "checkpoint-130/", "optimizer.pt", "more lines, PgDn"),
            "8": ("학습 기록.log", "WARNING: low disk", "step 399"),
            "9": ("Nothing is noted yet",),
        }
        for key, words in expected.items():
            await pilot.press(key)
            await until(pilot, lambda words=words: all(word in shown(app) for word in words))
        keys = [binding.binding.action for binding in screen.active_bindings.values() if binding.enabled]
        assert "watch" not in keys and "resume" not in keys and "clone" in keys and "remove" in keys
        await pilot.press("right")
        assert screen.page == pages.SUMMARY
        await pilot.press("left", "left")
        assert screen.page == pages.LOG
        await pilot.press("escape")
        assert not isinstance(app.screen, DetailScreen)


async def test_what_is_not_known_is_called_unknown(tmp_path: Path, records: dict[Path, RunRecord]) -> None:
    from engine.history.summary import RunSummary

    path = tmp_path / "empty"
    path.mkdir()
    records[path] = RunRecord(RunSummary("empty", str(path), "empty", "unknown", "unknown"))
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(app, pilot, path)
        lines = {line.split()[0]: line for line in shown(app).splitlines() if line.strip()}
        assert all(
            "unknown" in lines[label] for label in ("model", "data", "recipe", "reached", "time", "loss", "eval")
        )
        assert "nothing in this directory says how it ended" in shown(app)
        for number in range(2, 10):
            await pilot.press(str(number))
        assert screen.page == pages.NOTES
        await pilot.press("3")
        await until(pilot, lambda: "Nothing was logged" in shown(app))


async def test_a_run_of_ours_from_the_disk(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=40, name="고객 지원")
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(app, pilot, run.path)
        assert screen.own and "고객 지원" in shown(app) and "step 40 of 40" in shown(app)
        await until(pilot, lambda: "━ smooth" in shown(app))  # the curve below the summary
        await pilot.press("8")
        await until(pilot, lambda: "Training started" in shown(app))
        await pilot.press("t")
        await until(pilot, lambda: bool(app.screen.query("#note-text")) and getattr(app.screen, "ready", False))
        await pilot.press(*"good", "f5")
        await until(pilot, lambda: isinstance(app.screen, DetailScreen))
        await pilot.press("9")
        await until(pilot, lambda: "good" in shown(app))
        await pilot.press("w")
        await until(pilot, lambda: getattr(app.screen, "KEYS", "") == "watch")


async def test_settings_are_searched_and_one_of_them_is_changed(tmp_path: Path, records: dict[Path, RunRecord]) -> None:
    path = tmp_path / "run"
    path.mkdir()
    records[path] = record(path)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(app, pilot, path)
        await pilot.press("R")
        assert screen.page == pages.SETTINGS and "choose the setting to change" in shown(app)
        await pilot.press("slash", *"lora_a")
        await until(pilot, lambda: "lora_alpha" in shown(app) and "batch_size" not in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: not screen.query(Input) and "/ lora_a" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
        form = app.screen
        assert isinstance(form, LaunchScreen)
        await until(pilot, lambda: form.list.entry is not None and form.list.current.name == "lora_alpha")
        assert form.model.text("lora_alpha") == "64" and form.model.text("lora_r") == "32"
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.screen is screen)
        await pilot.press("escape")  # ends the search
        await until(pilot, lambda: "batch_size" in shown(app))
        assert app.screen is screen


async def test_curves_are_read_zoomed_and_turned(tmp_path: Path, records: dict[Path, RunRecord]) -> None:
    path = tmp_path / "run"
    path.mkdir()
    records[path] = record(path, spoilt=60)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(app, pilot, path)
        await pilot.press("3")
        await until(pilot, lambda: "gradient norm" in shown(app) and "×" in shown(app))  # a NaN is a mark, no gap
        await pilot.press("f")
        await until(pilot, lambda: "gradient norm" not in shown(app))
        await pilot.press("left")
        await until(pilot, lambda: "step 1,170" in shown(app) and "eval 0.9560" in shown(app))
        await pilot.press("plus", "x")
        await until(pilot, lambda: "zoom" in shown(app) and "x epoch" in shown(app))
        await pilot.press("x", "x")
        await until(pilot, lambda: "x time" in shown(app))
        await pilot.press("escape", "escape")
        assert screen.is_current and screen.deck.cursor is None and not screen.deck.zoomed
        await pilot.press("g")
        await until(pilot, lambda: "entropy" in shown(app) or "logs nothing further" in shown(app))
        await pilot.press("right_square_bracket")
        assert screen.page == pages.EVALUATIONS


async def test_reading_that_takes_long_says_so_and_can_be_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = threading.Event()
    monkeypatch.setattr(load, "read", lambda path: ready.wait(20) and None)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_detail(tmp_path)
        await until(pilot, lambda: isinstance(app.screen, DetailScreen) and "reading…" in shown(app))
        await until(pilot, lambda: "esc goes back" in shown(app))
        began = time.monotonic()
        await pilot.press("3", "escape")
        assert not isinstance(app.screen, DetailScreen) and time.monotonic() - began < 1.5
        ready.set()
        app.open_detail(tmp_path)
        await until(pilot, lambda: "nothing in this directory tells of a training run" in shown(app))
        app.open_detail(tmp_path / "gone")
        await until(pilot, lambda: "the directory has gone" in shown(app))


async def test_24_000_rows_are_there_at_once(tmp_path: Path, records: dict[Path, RunRecord]) -> None:
    """The record takes its reader a moment; what is done to it here must not take another."""
    path = tmp_path / "long"
    path.mkdir()
    steps, evals = Curves(), Curves()
    for step in range(1, 24_001):
        steps.add(
            {"step": step, "epoch": step / 8000},
            [("loss", 2.0 / step + 0.1 * (step % 7)), ("learning_rate", 1e-4), ("grad_norm", 1.0)],
        )
        if step % 1000 == 0:
            evals.add({"step": step}, [("eval_loss", 1.0)])
    made = record(path, rows=9)
    made.steps, made.evals = steps, evals
    records[path] = made
    load.charted(made)  # imports are warm
    began = time.process_time()
    assert load.charted(made).update.curves
    assert time.process_time() - began < 0.25
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(app, pilot, path)
        await pilot.press("4")
        await until(pilot, lambda: "24,000" in shown(app))
        await pilot.press("3")
        await until(pilot, lambda: "20k" in shown(app))
        assert screen.deck.shows_points


async def test_export_writes_what_was_logged(
    tmp_path: Path, records: dict[Path, RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    path.mkdir()
    records[path] = record(path)
    monkeypatch.chdir(tmp_path)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(app, pilot, path)
        await pilot.press("x")
        await until(pilot, lambda: "run.csv" in shown(app) and "CSV, for spreadsheets" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is screen and "rows are written to" in shown(app))
        rows = list(csv.DictReader((tmp_path / "run.csv").open(newline="")))
        losses = [float(row["loss"]) for row in rows if row["loss"]]
        assert losses == list(records[path].steps.values("loss"))
        await pilot.press("x", "enter")
        await until(pilot, lambda: "stands there already" in shown(app))
        await pilot.press("f6", "enter")
        await until(pilot, lambda: (tmp_path / "run.jsonl").is_file() and app.screen is screen)


async def test_a_deleted_run_is_left_and_a_pruned_one_read_again(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=6, evals=3)
    for step in (2, 4, 6):
        (run.path / f"checkpoint-{step}").mkdir()
        for name in ("adapter_model.safetensors", "trainer_state.json", "optimizer.pt", "scheduler.pt"):
            (run.path / f"checkpoint-{step}" / name).write_text("{}")
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(app, pilot, run.path)
        assert "3 checkpoints" in shown(app)
        for key, words in (("p", "Pruned"), ("D", "Deleted")):
            await pilot.press(key)
            await until(pilot, lambda: getattr(app.screen, "state", "") == "asking")
            await pilot.press(*"run", "enter")
            await until(pilot, lambda words=words: words in shown(app))
            await pilot.press("enter")
            if key == "p":
                await until(pilot, lambda: app.screen is screen and "3 checkpoints" not in shown(app))
        await until(pilot, lambda: not isinstance(app.screen, DetailScreen))
    assert not run.path.exists()


async def test_a_screen_at_rest_sends_nothing(tmp_path: Path, records: dict[Path, RunRecord]) -> None:
    path = tmp_path / "run"
    path.mkdir()
    records[path] = with_files(record(path))
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(app, pilot, path)
        painted: list[object] = []
        before: Callable[..., Any] = app._display

        def spy(painter: object, *more: Any) -> None:
            painted.append(painter)
            before(painter, *more)

        app._display = spy  # type: ignore[method-assign]
        for page in "341":
            await pilot.press(page)
            await pilot.pause(0.6)
            assert screen in painted
            painted.clear()
            await pilot.pause(1.2)
            assert screen not in painted, page


# Parts without a screen.


def test_rows_without_a_step_are_counted_or_left_out() -> None:
    steps = Curves()
    for loss in (3.0, 2.0, float("nan")):
        steps.add({}, [("loss", loss)])
    made = tables.tables(Path("/x"), steps, Curves())
    assert made.counted and list(made.view.steps.steps[:]) == [1, 2, 3]
    assert list(made.view.steps.nonfinite["loss"]) == [3]
    steps.add({"step": 7}, [("loss", 1.0)])
    made = tables.tables(Path("/x"), steps, Curves())
    assert not made.counted and made.left_out == 3 and list(made.view.steps.steps[:]) == [7]


def test_steps_that_come_again_and_out_of_order_are_put_right() -> None:
    steps = Curves()
    for step, loss in ((10, 3.0), (20, 2.0), (15, 9.0), (20, 1.0), (1e300, 5.0), (-3, 4.0)):
        steps.add({"step": step, "epoch": step / 10}, [("loss", loss)])
    made = tables.tables(Path("/x"), steps, Curves())
    assert list(made.view.steps.steps[:]) == [-3, 10, 15, 20]
    assert list(made.view.steps.column("loss")[:]) == [4.0, 3.0, 9.0, 1.0]


def test_files_are_listed_without_following_links(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for number in (9, 10):
        (run / f"checkpoint-{number}").mkdir(parents=True)
        (run / f"checkpoint-{number}" / "x.bin").write_bytes(b"x" * number)
    (run / "loop").symlink_to(run)
    found = files.read(run)
    assert [entry.path for entry in found.entries] == [
        "checkpoint-9", "checkpoint-9/x.bin", "checkpoint-10", "checkpoint-10/x.bin", "loop",
    ]  # fmt: skip
    assert found.count == 3 and found.bytes == 19 and found.entries[2].bytes == 10
    assert found.entries[-1].note == f"link to {run}"
    assert "cannot be read" in files.read(tmp_path / "missing").trouble


def test_settings_say_what_differs_from_our_defaults(tmp_path: Path) -> None:
    found = settingspage.sections(record(tmp_path / "run", "tunedeck"))
    by_title = {section.title: {s.name: s for s in section.settings} for section in found}
    changed = by_title["changed from our default"]
    assert changed["learning_rate"].value == "2e-4" and changed["learning_rate"].beside == "default 1e-4"
    assert by_title["as our default"]["packing"].value == "auto: false (the chats are short)"
    assert by_title["data"]["train.rows"].value == "6240" and "optim" in by_title["not known of this run"]


async def test_a_directory_that_changes_meanwhile_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "LOOK_SECONDS", 0.05)
    [case] = many(tmp_path, 1, 3000)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(app, pilot, case.path)
        await pilot.pause(0.3)
        assert "changed since" not in shown(app)
        shutil.rmtree(case.path)
        await until(pilot, lambda: "F5 reads it again: it has changed since" in shown(app))
        await pilot.press("f5")
        await until(pilot, lambda: screen.trouble == "the directory has gone")
        await pilot.pause()
        assert "changed since" not in shown(app)
