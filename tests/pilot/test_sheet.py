"""What a run costs, beside the form and in full, by keyboard alone."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import launchers, paths, rehearsal
from engine.errors import Problem
from engine.preflight import sheet as sheets
from engine.rehearsal import Refusal, Rehearsal
from engine.rundir import write_json
from tests.costing import CostingInspector, card, install, with_card
from tests.inspected import refusal
from tests.pilot.test_launch import SIZE, Launched, form, go, launch_app, shown, write
from tests.support import fake_model, make_run, until, write_rows
from tui.app import TunedeckApp
from tui.screens.launch import LaunchScreen
from tui.screens.sheet import CostScreen
from tui.sheet import work
from tui.sheet.others import others

SAMPLE = paths.sample_data_dir()


@pytest.fixture(autouse=True)
def inspector(monkeypatch: pytest.MonkeyPatch) -> CostingInspector:
    monkeypatch.setattr(work, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(work, "SETTLE_SECONDS", 0.05)
    with_card(monkeypatch, card(79.1))
    return install(monkeypatch)


@pytest.fixture
def values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    return {"base_model": str(fake_model(tmp_path / "model")), "train_path": str(write_rows(tmp_path / "rows.jsonl", 40)),
            "output_dir": str(tmp_path / "out"), "batch_size": 4}  # fmt: skip


@pytest.fixture
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launched:
    stand_in = Launched(tmp_path)
    monkeypatch.setattr(launchers, "launch", stand_in)
    return stand_in


def told(app: TunedeckApp) -> str:
    return "\n".join(notice.message for notice in app._notifications)


async def known(pilot: Any, screen: LaunchScreen) -> None:
    """Wait until the figures are of the settings as they stand."""
    await until(pilot, lambda: screen.costs.known.current and screen.costs.known.sheet is not None)
    await pilot.pause()


async def touched(app: TunedeckApp, pilot: Any) -> LaunchScreen:
    """The form, one value changed, its costs worked out."""
    screen = await form(app, pilot)
    await go(pilot, screen, "seed")
    await pilot.press("7", "enter")
    await known(pilot, screen)
    return screen


async def opened(app: TunedeckApp, pilot: Any) -> tuple[LaunchScreen, CostScreen]:
    """The whole sheet, worked out."""
    screen = await form(app, pilot)
    await pilot.press("f11")
    await until(pilot, lambda: isinstance(app.screen, CostScreen) and app.screen.is_mounted)
    await known(pilot, screen)
    assert isinstance(app.screen, CostScreen)
    return screen, app.screen


# Beside the form.


async def test_nothing_is_started_for_somebody_who_only_looks(
    inspector: CostingInspector, values: dict[str, Any]
) -> None:
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await pilot.press("down", "down", "f6", "f6", "up")
        await pilot.pause(0.8)
        assert inspector.asked == [] and "F11 works it out" in shown(app) and "Memory   –" in shown(app)
        await go(pilot, screen, "lora_r")
        await pilot.press("3", "2")
        await known(pilot, screen)
        assert screen.list.entry is not None, "while one still types"
        assert "80.7 M parameters" in shown(app)


async def test_the_model_that_is_not_here_costs_no_process(inspector: CostingInspector, values: dict[str, Any]) -> None:
    app = launch_app({**values, "base_model": "org/none"})
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        screen.model.file_problems.clear()
        screen.costs.wake()
        await until(pilot, lambda: screen.costs.known.current)
        assert inspector.asked == [] and "Memory   –" in shown(app)


async def test_what_stands_in_the_pane(inspector: CostingInspector, values: dict[str, Any]) -> None:
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await touched(app, pilot)
        text = shown(app)
        sheet = screen.costs.known.sheet
        assert sheet is not None and sheet.memory is not None
        gigabytes = f"{sheet.memory.total / 2**30:.1f} GiB"
        assert f"≈ {gigabytes} of 79.1 GiB free" in text and "fits, by estimate" in text
        assert "40.4 M parameters, 0.53%" in text and "none cut" in text and "not measured here yet" in text
        assert "Ready: press F5" in text


async def test_updates_that_the_run_chooses_stand_there_once_rows_are_counted(
    inspector: CostingInspector, values: dict[str, Any], tmp_path: Path
) -> None:
    inspector.held["lengths"] = threading.Event()
    more = {"train_path": str(write_rows(tmp_path / "many.jsonl", 2000)), "batch_size": 2, "recipe": "fastest"}
    app = launch_app({**values, **more})
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await go(pilot, screen, "seed")
        await pilot.press("7", "enter")
        await until(pilot, lambda: inspector.times("costs") > 0)
        assert "by fastest" not in shown(app) and screen.model.plan is None
        inspector.held["lengths"].set()
        await known(pilot, screen)
        sheet = screen.costs.known.sheet
        assert sheet is not None and sheet.plan is not None and sheet.plan.samples_per_update == 96
        line = next(line for line in shown(app).splitlines() if "Samples per update" in line)
        assert " 96 " in line and "by fastest" in line
        # Another recipe has the updates that are set, at once.
        await go(pilot, screen, "recipe")
        await pilot.press("enter")
        await write(pilot, "exact")
        await pilot.press("enter")
        line = next(line for line in shown(app).splitlines() if "Samples per update" in line)
        assert " 8 " in line and "= 2 × 4" in line


async def test_a_limit_is_not_called_free(values: dict[str, Any]) -> None:
    app = launch_app({**values, "max_gpu_memory": 17})
    async with app.run_test(size=SIZE) as pilot:
        _, sheet = await opened(app, pilot)
        assert "17.0 GiB of 79.6 GiB allowed" in shown(app) and "17.0 GiB of 79.6 GiB free" not in shown(app)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is not sheet)
        assert "of 17.0 GiB allowed" in shown(app)


async def test_one_line_of_it_in_a_small_terminal(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    app = launch_app(values)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await form(app, pilot)
        assert "F11 works it out" in shown(app)
        await go(pilot, screen, "seed")
        await pilot.press("8", "enter")
        await known(pilot, screen)
        line = next(line for line in shown(app).splitlines() if line.lstrip().startswith("Memory"))
        assert "of 79.1 GiB free" in line and "fits" in line and "40 rows, none to evaluate on" in shown(app)


async def test_figures_of_earlier_settings_are_grey_until_the_new_are_there(
    inspector: CostingInspector, values: dict[str, Any]
) -> None:
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await touched(app, pilot)
        pane = screen.query_one("#launch-side")
        before = screen.costs.known.sheet
        inspector.held["costs"] = threading.Event()
        await go(pilot, screen, "lora_r")
        await pilot.press("6", "4")
        await until(pilot, lambda: inspector.asked and not screen.costs.known.current)
        lines = {
            "".join(text for text, _ in line): {colour for text, colour in line if text.strip()} for line in pane.lines
        }
        trained = next(colours for text, colours in lines.items() if text.startswith("Trained"))
        assert trained == {"muted"} and "working it out" in shown(app) and screen.costs.known.sheet is before
        assert "Still checking: F5 starts it after that" in shown(app) and "Ready" not in shown(app)
        inspector.held["costs"].set()
        await known(pilot, screen)
        assert "161 M parameters" in shown(app) and "working it out" not in shown(app)
        assert "Ready: press F5" in shown(app) and "Still checking" not in shown(app)


async def test_only_the_newest_settings_are_worked_out_and_answers_are_kept(
    inspector: CostingInspector, values: dict[str, Any]
) -> None:
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await touched(app, pilot)
        assert inspector.times("open") == inspector.times("costs") == 1
        await go(pilot, screen, "learning_rate")
        await pilot.press(*"3e-4", "enter")
        await known(pilot, screen)
        assert screen.costs.known.sheet.config.learning_rate == 3e-4
        assert inspector.times("costs") == 1, "no size of the model depends on it"
        await go(pilot, screen, "lora_r")
        await pilot.press(*"123", "backspace", "backspace", "backspace", *"48", "enter")
        await known(pilot, screen)
        assert inspector.times("costs") <= 3 and screen.costs.known.sheet.config.lora_r == 48


async def test_a_sample_first_then_all_rows(
    inspector: CostingInspector, values: dict[str, Any], tmp_path: Path
) -> None:
    values["train_path"] = str(write_rows(tmp_path / "many.jsonl", 3000))
    inspector.held["exact"] = threading.Event()
    real = inspector._lengths

    def lengths(fields: dict[str, Any]) -> dict[str, Any]:
        if not fields.get("sample"):
            inspector.held["exact"].wait(10)
        return real(fields)

    inspector._lengths = lengths  # type: ignore[method-assign]
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await touched(app, pilot)
        text = shown(app)
        assert "counting all rows" in text and "none cut in a sample" in text and "Tokens   ≈ " in text
        inspector.held["exact"].set()
        await until(pilot, lambda: not screen.costs.known.sheet.lengths.estimated)
        await pilot.pause(0.1)
        text = shown(app)
        assert "counting" not in text and "in a sample" not in text and "Tokens   ≈" not in text
        assert inspector.times("open") == 1


async def test_an_idle_form_sends_nothing_and_a_gpu_that_fills_up_is_noticed(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "LOOK_SECONDS", 0.1)
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await touched(app, pilot)
        await pilot.pause(0.3)
        painted: list[Any] = []
        display = app._display
        app._display = lambda *args: (painted.append(args), display(*args))[1]  # type: ignore[method-assign]
        await pilot.pause(1.0)
        assert painted == []
        with_card(monkeypatch, card(5.0))
        await until(pilot, lambda: "of 5.0 GiB free" in shown(app))
        assert "does not fit: F11 shows" in shown(app) and screen.costs.known.current


async def test_a_bug_is_said_and_the_form_lives_on(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("oops")

    monkeypatch.setattr(sheets, "sheet", broken)
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await go(pilot, screen, "seed")
        await pilot.press("7", "enter")
        await until(pilot, lambda: screen.costs.known.problem is not None)
        await pilot.pause()
        assert "F11 says why it is not known" in shown(app)
        await pilot.press("f11")
        await until(pilot, lambda: "cannot be worked out" in shown(app) and "a bug of its own" in shown(app))


# The whole sheet.


@pytest.mark.parametrize("key", ["f11", "ctrl+x"])
async def test_it_opens_while_a_value_is_edited(values: dict[str, Any], key: str) -> None:
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await go(pilot, screen, "lora_r")
        await pilot.press("3", "2", key)
        await until(pilot, lambda: isinstance(app.screen, CostScreen))
        await known(pilot, screen)
        assert screen.model.text("lora_r") == "32" and "80.7 M parameters" in shown(app)
        await pilot.press(key)
        await until(pilot, lambda: app.screen is screen)
        assert screen.list.current.name == "lora_r" and screen.list.entry is None


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 50)])
async def test_all_of_it_can_be_read_at_every_size(values: dict[str, Any], size: tuple[int, int]) -> None:
    app = launch_app(values)
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot)
        seen = shown(app)
        for _ in range(4):
            await pilot.press("pagedown")
            seen += shown(app)
        for words in ("Nothing speaks against this run", "GPU 0, NVIDIA H100", "Weights", "Adapters", "Gradients", "Optimizer",
                      "Activations", "Scores of words", "Overhead", "In all, estimated", "40.4 M parameters, 0.53% of 7.62 B",
                      "bfloat16, attention sdpa", "Dry run", "40 of 40 usable", "Cut at 2,048", "Lengths up to", "Padding",
                      "Suggested length", "Steps", "an update", "Disk", "Time", "not measured here yet"):  # fmt: skip
            assert words in seen, words


async def test_a_remedy_goes_into_the_form_and_back(
    inspector: CostingInspector, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = launch_app({**values, "batch_size": 16, "gradient_accumulation_steps": 1, "max_seq_length": 2048})
    rows = [{"messages": [{"role": "user", "content": "word " * 1500}, {"role": "assistant", "content": "yes"}]}] * 20
    write_rows(Path(values["train_path"]), rows)
    with_card(monkeypatch, card(40.0))
    async with app.run_test(size=SIZE) as pilot:
        screen, sheet = await opened(app, pilot)
        text = shown(app)
        assert "does not fit" in text and "40.0 GiB free" in text and "1 first remedy" in text
        fixes = screen.costs.known.sheet.fixes
        assert 1 <= len(fixes) <= 3
        first = fixes[0]["settings"]
        assert all(f"{name} {str(value).lower()}" in text for name, value in first.items())
        before = dict(screen.model.texts)
        await pilot.press("1")
        await known(pilot, screen)
        assert all(screen.model.text(name) == str(value).lower() for name, value in first.items())
        assert f"{next(iter(first))} {before[next(iter(first))]} is {screen.model.text(next(iter(first)))} now" in told(
            app
        )
        await until(pilot, lambda: "In all, estimated" in shown(app) and "does not fit" not in shown(app))
        await pilot.press("f9")
        assert screen.model.texts == before
        await known(pilot, screen)
        assert "does not fit" in shown(app) and app.screen is sheet
        await pilot.press("8")
        assert screen.model.texts == before, "no such remedy"


async def test_errors_and_warnings_stand_with_their_place(inspector: CostingInspector, values: dict[str, Any]) -> None:
    said = [{"kind": "cannot-mark", "message": "the template \x1b[31mhides the answers", "hint": "Set it to false",
             "severity": "error"}]  # fmt: skip
    inspector.facts["problems"] = said
    app = launch_app({**values, "max_seq_length": 9})
    async with app.run_test(size=SIZE) as pilot:
        screen, _ = await opened(app, pilot)
        text = shown(app)
        assert "1 error: a start would be refused" in text
        assert "assistant_only_loss: the template hides the answers" in text and "Set it to false" in text
        assert "\x1b" not in text
        await pilot.press("d")
        await until(pilot, lambda: "so would the dry run" in told(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        await until(pilot, lambda: "A start would be refused" in shown(app))


async def test_keys_lead_on_to_the_preview_and_to_the_start(
    inspector: CostingInspector, values: dict[str, Any], launched: Launched
) -> None:
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        await pilot.press("f10")
        await until(pilot, lambda: app.screen.__class__.__name__ == "PreviewScreen")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
        await pilot.press("f11")
        await until(pilot, lambda: isinstance(app.screen, CostScreen))
        await pilot.press("f5")
        await until(pilot, lambda: launched.configs)


async def test_others_on_the_card_are_named(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from engine import registry

    run = make_run(tmp_path / "runs" / "chat", state="running", name="chat\x1b]0;x\x07 한국어")
    status = run.read_status() or {}
    write_json(run.status_json, {**status, "pid": os.getpid(), "ended": None})
    registry.remember_run("20260921-150000-aaaaa", run.path)
    found = others(card(10, pids=(os.getpid(), os.getppid(), 2**22 + 1)))
    assert [other.run for other in found] == ["chat 한국어", "", ""] and "of somebody" in {o.words[-11:] for o in found}
    with_card(monkeypatch, card(60, pids=(os.getpid(),)))
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        assert "run chat 한국어" in shown(app)
        await pilot.press("d")
        await until(pilot, lambda: "Dry run on GPU 0?" in shown(app))
        assert "run chat 한국어" in " ".join(shown(app).split())


# The dry run.

MEASURED = Rehearsal(gpu=0, gpu_name="NVIDIA H100 80GB HBM3", peak=17 * 2**30, reserved=18 * 2**30, host_peak=5 * 2**30,
                     step_seconds=1.25, first_step_seconds=3.5, load_seconds=12.0, tokens_per_step=4096,
                     tokens_per_second=3276.8, longest=1024, rows=8)  # fmt: skip


class Tried:
    """Stands in for the dry run: tells a phase, waits, then ends as it is told."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.go, self.error, self.settings = threading.Event(), None, []  # type: ignore[var-annotated]
        self.done = False
        patch.setattr(rehearsal, "rehearse", self)
        patch.setattr(sheets, "remembered", lambda *_: MEASURED if self.done else None)

    def __call__(
        self, config: Any, *, tell: Callable[[str, int, int], None], cancelled: threading.Event, **_: Any
    ) -> Rehearsal:
        self.settings.append(config)
        tell("loading", 1, 4)
        until_then = time.monotonic() + 20
        while not self.go.wait(0.01):
            assert time.monotonic() < until_then
            if cancelled.is_set():
                raise refusal("cancelled", "was taken back")
        if self.error is not None:
            raise self.error
        self.done = True
        return MEASURED


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Tried:
    return Tried(monkeypatch)


async def begin(app: TunedeckApp, pilot: Any) -> None:
    await pilot.press("d")
    await until(pilot, lambda: "Dry run on GPU 0?" in shown(app))
    await pilot.press("y")
    await until(pilot, lambda: "Loading 1 of 4" in shown(app))


async def test_a_dry_run_measures(values: dict[str, Any], tried: Tried) -> None:
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen, _ = await opened(app, pilot)
        await pilot.press("d")
        await until(pilot, lambda: "Dry run on GPU 0?" in shown(app))
        assert "about a minute" in " ".join(shown(app).split())
        await pilot.press("n")
        await pilot.pause()
        assert tried.settings == []
        await begin(app, pilot)
        assert "esc cancels it" in shown(app)
        tried.go.set()
        await until(pilot, lambda: "measured on GPU 0" in shown(app))
        text = shown(app)
        assert "In all, measured" in text and "17.6 GiB" in text and "1.25 s measured" in text and "by estimate" in text
        assert screen.costs.known.sheet.time_from == "dry run" and len(tried.settings) == 1
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        await until(pilot, lambda: "17.6 GiB of 79.1 GiB free" in shown(app))
        assert "fits, measured" in shown(app) and "by the dry run" in shown(app) and "≈ 17.6" not in shown(app)


async def test_a_dry_run_is_cancelled(values: dict[str, Any], tried: Tried) -> None:
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen, sheet = await opened(app, pilot)
        await begin(app, pilot)
        await pilot.press("f5", "1", "d", "f10")
        await pilot.pause()
        assert app.screen is sheet, "only esc means something now"
        await pilot.press("escape")
        await until(pilot, lambda: "was cancelled" in told(app))
        await known(pilot, screen)
        assert app.screen is sheet and "measures the true peak" in shown(app)


async def test_a_dry_run_ends_with_its_form(values: dict[str, Any], tried: Tried) -> None:
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen, _ = await opened(app, pilot)
        await begin(app, pilot)
        trial = screen.costs.trial
        app.open_runs()
        await until(pilot, lambda: trial.cancelled.is_set())


async def test_a_dry_run_that_runs_out_of_memory_offers_remedies(
    values: dict[str, Any], tried: Tried, launched: Launched
) -> None:
    problem = Problem("out-of-memory", "ran out of GPU memory in step 1", "Make it smaller", setting="batch_size")
    tried.error = Refusal(problem, needed=80 * 2**30)
    tried.go.set()
    app = launch_app({**values, "load_in_4bit": False})
    async with app.run_test(size=SIZE) as pilot:
        screen, _ = await opened(app, pilot)
        await pilot.press("d")
        await until(pilot, lambda: "Dry run on GPU 0?" in shown(app))
        await pilot.press("y")
        await until(pilot, lambda: "ran out of GPU memory in step 1" in shown(app))
        await known(pilot, screen)
        assert "does not fit" in shown(app)
        if screen.costs.known.sheet.fixes:
            assert "1 first remedy" in shown(app)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        await go(pilot, screen, "lora_r")
        await pilot.press("8", "enter")
        await known(pilot, screen)
        assert "does not fit" not in shown(app), "that was of other settings"


async def test_a_dry_run_that_fails_says_why(values: dict[str, Any], tried: Tried) -> None:
    tried.error = refusal("cannot-train", "the model \x1b[2Jhas no weights", "Take another one")
    tried.go.set()
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        await pilot.press("d")
        await until(pilot, lambda: "Dry run on GPU 0?" in shown(app))
        await pilot.press("y")
        await until(pilot, lambda: "the model has no weights" in shown(app))
        assert "Take another one" in shown(app) and "\x1b" not in shown(app)


# Before a start.


async def test_a_start_uses_what_is_known_and_asks_about_memory(
    inspector: CostingInspector, values: dict[str, Any], launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await touched(app, pilot)
        asked = inspector.times("lengths")
        with_card(monkeypatch, card(5.0))
        await pilot.press("f5")
        await until(pilot, lambda: "Before it starts" in shown(app))
        assert "5.0 GiB are free on GPU 0" in " ".join(shown(app).split()), "the card is looked at anew"
        assert inspector.times("open") == 1 and inspector.times("lengths") == asked
        assert launched.configs == []
        await pilot.press("escape")
        await until(pilot, lambda: screen.is_current)
        with_card(monkeypatch, card(79.0))
        await pilot.press("f5")
        await until(pilot, lambda: launched.configs)


async def test_a_start_without_anything_known_asks_first(
    inspector: CostingInspector, values: dict[str, Any], launched: Launched
) -> None:
    inspector.facts["problems"] = [
        {"kind": "cannot-mark", "message": "hides the answers", "hint": "Set it to false", "severity": "error"}
    ]
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await pilot.press("f5")
        await until(pilot, lambda: "Nothing was started" in shown(app))
        assert "hides the answers" in shown(app)
        await pilot.press("escape")
        await until(pilot, lambda: screen.is_current)
        assert screen.list.current.name == "assistant_only_loss" and launched.configs == []


async def test_a_start_goes_on_where_not_all_can_be_checked(
    inspector: CostingInspector, values: dict[str, Any], launched: Launched
) -> None:
    inspector.failing["open"] = inspector.failing["costs"] = refusal(
        "timeout", "the inspector did not answer within 30 s"
    )
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        await form(app, pilot)
        await pilot.press("f5")
        await until(pilot, lambda: "did not answer within 30 s" in shown(app))
        await pilot.press("f5")
        await until(pilot, lambda: launched.configs)


async def test_the_time_of_a_start_is_limited(
    inspector: CostingInspector, values: dict[str, Any], launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.sheet.costs.START_SECONDS", -1.0)
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        await form(app, pilot)
        await pilot.press("f5")
        await until(pilot, lambda: "Before it starts" in shown(app))
        assert "could be checked" in " ".join(shown(app).split()) and inspector.asked == []


async def test_escape_gives_the_sheet_of_a_start_up(
    inspector: CostingInspector, values: dict[str, Any], launched: Launched
) -> None:
    inspector.held["open"] = threading.Event()
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await pilot.press("f5")
        await until(pilot, lambda: inspector.pid is not None)
        assert "Checking everything" in shown(app) and "esc cancels" in shown(app)
        await pilot.press("escape")
        inspector.held["open"].set()
        await pilot.pause(0.2)
        assert screen.is_current and launched.configs == [] and "Ready" in shown(app)
        await pilot.press("f5")
        await until(pilot, lambda: launched.configs)


# All of it for real.


@pytest.mark.slow
async def test_a_sheet_and_a_dry_run_of_the_sample_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    with_card(monkeypatch)
    lines = (SAMPLE / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "train.jsonl").write_text("".join(lines[:60]), encoding="utf-8")
    values = {"base_model": str(SAMPLE / "tiny-qwen2"), "train_path": "train.jsonl", "max_seq_length": 128,
              "output_dir": "out", "batch_size": 2}  # fmt: skip
    app = launch_app(values)
    async with app.run_test(size=(120, 50)) as pilot:
        screen = await form(app, pilot)
        await pilot.press("f11")
        await until(pilot, lambda: isinstance(app.screen, CostScreen))
        await until(pilot, lambda: screen.costs.known.current, 60)
        sheet = screen.costs.known.sheet
        assert sheet.costs["trainable"] == 217_088 and sheet.lengths.counted == 60 and not sheet.lengths.estimated
        await pilot.press("d")
        await until(pilot, lambda: "Dry run on the processor?" in shown(app))
        await pilot.press("y")
        await until(pilot, lambda: screen.costs.trying)
        await until(pilot, lambda: not screen.costs.trying, 120)
        await until(pilot, lambda: screen.costs.known.current and screen.costs.known.sheet.rehearsal is not None, 30)
        await pilot.pause(0.2)
        assert "measured on the processor" in shown(app)
        assert screen.costs.known.sheet.rehearsal.longest == 128
        assert not (tmp_path / "out").exists()
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        await until(pilot, lambda: "by the dry run" in shown(app))


async def test_typed_text_survives_what_is_worked_out(inspector: CostingInspector, values: dict[str, Any]) -> None:
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await touched(app, pilot)
        await go(pilot, screen, "run_name")
        await write(pilot, "half a name")
        await known(pilot, screen)
        assert screen.list.entry is not None and screen.list.entry.text == "half a name"


async def test_what_only_a_start_would_refuse_stands_in_the_sheet(
    inspector: CostingInspector, values: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "text.jsonl").write_text('{"text": "only words"}\n' * 4)
    app = launch_app({**values, "train_path": str(tmp_path / "text.jsonl"), "assistant_only_loss": True})
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        assert screen.model.wrong == [], "the form itself finds nothing wrong"
        await pilot.press("f11")
        await until(pilot, lambda: "a start would be refused" in shown(app))
        assert "cannot be true for plain text" in shown(app)


async def test_a_model_that_is_still_being_typed_is_not_looked_for(
    inspector: CostingInspector, values: dict[str, Any]
) -> None:
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await touched(app, pilot)
        await go(pilot, screen, "base_model")
        await pilot.press("enter", "end", "backspace")
        await pilot.pause(0.3)
        assert not screen.costs.known.ready and "of earlier settings" in shown(app)
        await write(pilot, "l")
        await pilot.press("enter")
        await known(pilot, screen)
        assert inspector.times("open") == 1
