"""The live screen by keyboard: what it shows of every kind of run, and what its keys do."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine.events import EventWriter
from engine.rundir import RunDir, write_json
from tests.support import append_step, make_run, until
from tui.app import TunedeckApp
from tui.keys import TABLES
from tui.screens.confirm import ConfirmScreen
from tui.screens.watch import WatchScreen
from tui.widgets.lines import Lines
from tui.widgets.logtail import LogTail

SIZES = [(80, 24), (120, 40), (160, 50)]


def watching(path: Path) -> TunedeckApp:
    return TunedeckApp(initial="watch", watch=path)


def screen_of(app: TunedeckApp) -> WatchScreen:
    for screen in reversed(app.screen_stack):
        if isinstance(screen, WatchScreen):
            return screen
    raise AssertionError("the watch screen is not open")


async def opened(pilot: Any) -> WatchScreen:
    await until(pilot, lambda: isinstance(pilot.app.screen, WatchScreen) and pilot.app.screen._ready)
    await pilot.pause()
    return screen_of(pilot.app)


def picture(app: TunedeckApp) -> str:
    """What stands on the screen, as text."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def head(app: TunedeckApp) -> str:
    return screen_of(app).query_one("#watch-head", Lines).text


def values(app: TunedeckApp) -> str:
    return screen_of(app).query_one("#watch-values", Lines).text


def live_run(path: Path, **more: Any) -> RunDir:
    """A run of this process whose steps were made just now."""
    options = {"steps": 40, "total": 100, "step_seconds": 0.5, "state": "running", **more}
    return make_run(path, created=time.time() - 20 - options["steps"] * options["step_seconds"], **options)


@pytest.mark.parametrize("size", SIZES)
async def test_a_live_run_moves(tmp_path: Path, size: tuple[int, int]) -> None:
    run = live_run(tmp_path / "run", name="support-chat")
    app = watching(run.path)
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        text = picture(app)
        assert "support-chat" in text and "● running" in text and "40 / 100" in text and "left" in text
        charts = screen_of(app).deck.charts
        points = charts[0].model.series["loss"].buckets.count
        assert points == 40
        append_step(run, 41, 0.4321, samples_per_second=8.0)
        await until(pilot, lambda: "41 / 100" in head(app) and "0.4321" in values(app))
        assert charts[0].model.series["loss"].buckets.count == 41
        assert "0.4321" in picture(app)


@pytest.mark.parametrize("size", [(50, 12), (80, 24), (120, 40), (160, 50), (300, 80)])
async def test_charts_fill_their_place(tmp_path: Path, size: tuple[int, int]) -> None:
    app = watching(make_run(tmp_path / "run").path)
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot)
        shown = [chart for chart in screen.deck.charts if chart.display]
        assert len(shown) == (4 if size[0] >= 110 and size[1] >= 34 else 1)
        for chart in shown:
            assert (chart.model.width, chart.model.height) == (chart.size.width, chart.size.height)
            assert chart.region.right <= size[0] and chart.region.bottom <= size[1]


async def test_keys_choose_charts(tmp_path: Path) -> None:
    app = watching(make_run(tmp_path / "run").path)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        assert "1 loss" in picture(app)
        await pilot.press("2")
        await until(pilot, lambda: "2 learning rate" in picture(app) and "1 loss" not in picture(app))
        await pilot.press("tab")
        await until(pilot, lambda: "3 samples/s" in picture(app))
        await pilot.press("shift+tab", "shift+tab", "shift+tab")
        await until(pilot, lambda: "4 memory" in picture(app))


async def test_full_screen_and_log_axis(tmp_path: Path) -> None:
    app = watching(make_run(tmp_path / "run", name="wide").path)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        await pilot.press("f", "l")
        await until(pilot, lambda: "1 loss (log)" in picture(app) and screen.deck.charts[0].size.height > 30)
        assert "train.log" not in picture(app) and "wide" in picture(app)
        await pilot.press("escape")
        await until(pilot, lambda: "train.log" in picture(app) and "2 learning rate" in picture(app))
        assert isinstance(app.screen, WatchScreen)
        await pilot.press("l")
        await until(pilot, lambda: "(log)" not in picture(app))


async def test_stop_asks_first_and_says_how_it_went(tmp_path: Path) -> None:
    run = live_run(tmp_path / "run")
    app = watching(run.path)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, WatchScreen))
        assert run.requests() == []
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: run.requests() == ["stop"])
        await until(pilot, lambda: "stop asked for" in head(app) and "waiting" in head(app))
        run.take("stop")
        writer = EventWriter(run.events)
        writer.write("control", request="stop", outcome="stopping after step 40")
        writer.close()
        await until(pilot, lambda: "stop: stopping after step 40" in head(app))
        status = run.read_status() or {}
        write_json(run.status_json, {**status, "state": "stopping"})
        await until(pilot, lambda: "◍ stopping" in head(app))
        write_json(
            run.status_json, {**status, "state": "stopped", "reason": "stopped on request", "ended": time.time()}
        )
        await until(pilot, lambda: "■ stopped" in head(app) and "stopped on request" in head(app))
        assert "left" not in head(app)


async def test_stop_now_says_what_is_lost(tmp_path: Path) -> None:
    run = live_run(tmp_path / "run")
    app = watching(run.path)
    async with app.run_test(size=(100, 30)) as pilot:
        await opened(pilot)
        await pilot.press("S")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await until(pilot, lambda: "all 40 steps" in " ".join(picture(app).split()))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, WatchScreen))
        assert run.requests() == []
        await pilot.press("S")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: run.requests() == ["stop-now"])


@pytest.mark.parametrize(("key", "verb"), [("k", "checkpoint"), ("e", "evaluate")])
async def test_checkpoint_and_evaluation_on_demand(tmp_path: Path, key: str, verb: str) -> None:
    run = live_run(tmp_path / "run")
    app = watching(run.path)
    async with app.run_test(size=(100, 30)) as pilot:
        await opened(pilot)
        await pilot.press(key)
        await until(pilot, lambda: run.requests() == [verb] and "asked for" in head(app))
        run.take(verb)
        writer = EventWriter(run.events)
        writer.write("control", request=verb, outcome="refused: not now")
        writer.close()
        await until(pilot, lambda: "refused: not now" in head(app))


async def test_a_request_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    run = live_run(tmp_path / "run")
    shutil.rmtree(run.control)
    run.control.write_text("in the way")
    app = watching(run.path)
    async with app.run_test(size=(100, 30)) as pilot:
        await opened(pilot)
        await pilot.press("k")
        await until(pilot, lambda: "could not be asked for" in head(app))


async def test_nothing_can_be_asked_of_an_ended_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    app = watching(run.path)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        assert "stop" not in picture(app).splitlines()[-1] and "clone" in picture(app).splitlines()[-1]
        await pilot.press("s", "S", "k", "e")
        await pilot.pause()
        assert isinstance(app.screen, WatchScreen) and run.requests() == []


async def test_completed_tells_where_the_adapter_is_and_offers_a_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", name="good", config={"lora_r": 8})
    app = watching(run.path)
    cloned: list[dict[str, Any]] = []
    monkeypatch.setattr(TunedeckApp, "open_launch", lambda self, values=None, title="": cloned.append(values))
    async with app.run_test(size=(160, 50)) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "✓ completed" in head(app) and str(run.path) in head(app))
        assert "100%" in head(app)
        await pilot.press("c")
        await until(pilot, lambda: bool(cloned))
        assert cloned[0]["lora_r"] == 8 and "output_dir" not in cloned[0]


@pytest.mark.parametrize("size", SIZES)
async def test_failed_shows_the_whole_reason_and_the_log(tmp_path: Path, size: tuple[int, int]) -> None:
    reason = "out of GPU memory at step 38: lower batch_size or max_seq_length"
    run = make_run(tmp_path / "run", steps=37, total=100, state="failed", reason=reason)
    run.train_log.write_text("Traceback (most recent call last):\ntorch.OutOfMemoryError: CUDA out of memory.\n")
    app = watching(run.path)
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "✗ failed" in head(app) and reason in head(app))
        assert "CUDA out of memory" in picture(app)


async def test_lost_says_that_nothing_is_known(tmp_path: Path) -> None:
    run = live_run(tmp_path / "run")
    status = run.read_status() or {}
    status.update(pid=2**22 - 1, supervisor_pid=2**22 - 1, heartbeat=time.time() - 60)
    write_json(run.status_json, status)
    app = watching(run.path)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "? lost" in head(app) and "left no word" in head(app))
        assert "ended after 40 steps" in head(app)


async def test_stalled_is_said_with_the_silence(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=40, total=100, state="running", created=time.time() - 200)
    app = watching(run.path)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "running (stalled)" in head(app) and "no sign for" in head(app))
        assert "left –" in head(app)


@pytest.mark.parametrize("size", SIZES)
async def test_starting_shows_the_phase(tmp_path: Path, size: tuple[int, int]) -> None:
    run = live_run(tmp_path / "run", steps=0, total=100, state="starting")
    writer = EventWriter(run.events)
    writer.write("phase", name="tokenising", done=3400, total=12000)
    app = watching(run.path)
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "◌ starting" in head(app) and "tokenising the data 3,400 / 12,000" in head(app))
        assert "no steps yet" in picture(app)
        writer.write("phase", name="loading")
        await until(pilot, lambda: "loading the model" in head(app))
        writer.close()


async def test_nan_is_shown_as_nan(tmp_path: Path) -> None:
    run = live_run(tmp_path / "run")
    append_step(run, 41, math.nan)
    app = watching(run.path)
    async with app.run_test(size=(160, 50)) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "NaN" in values(app) and "not finite" in head(app))
        assert "×" in picture(app)


async def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    evil = "\x1b]52;c;aGk=\x07\x1b[2J[bold]x[/foo][@click=app.quit]y\u202e"
    run = make_run(tmp_path / "run", steps=5, state="failed", name=evil, reason=evil, base_model=evil)
    run.train_log.write_text(f"{evil}\n" + "".join(f"\r{i}%|#" for i in range(100)) + "\n\x9b31mend\n")
    writer = EventWriter(run.events)
    writer.write("notice", level="error", text=evil)
    writer.close()
    app = watching(run.path)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "[/foo]" in head(app) and "99%|#" in picture(app))
        text = picture(app)
        assert "98%|#" not in text
        assert not any(
            (ord(char) < 32 and char != "\n") or 0x7F <= ord(char) < 0xA0 or char == "\u202e" for char in text
        )


async def test_korean_keeps_every_line_in_place(tmp_path: Path) -> None:
    from rich.cells import cell_len

    run = make_run(
        tmp_path / "실행", name="한국어 상담 모델 " * 6, reason="데이터 파일이 없습니다 " * 8, state="failed"
    )
    run.train_log.write_text("학습을 시작합니다. " * 30 + "\n")
    app = watching(run.path)
    async with app.run_test(size=(81, 24)) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "한국어" in picture(app) and "학습을" in picture(app))
        assert {cell_len(line) for line in picture(app).splitlines()} == {81}


async def test_log_scrolls_and_follows(tmp_path: Path) -> None:
    run = live_run(tmp_path / "run")
    run.train_log.write_text("".join(f"line {i}\n" for i in range(100)))
    app = watching(run.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        log = screen_of(app).query_one(LogTail)
        await until(pilot, lambda: "line 99" in log.text)
        await pilot.press("pageup", "pageup")
        await until(pilot, lambda: "line 99" not in log.text and "lines below" in log.text)
        top = log.text.splitlines()[1]
        with run.train_log.open("a") as file:
            file.write("line 100\n")
        await until(pilot, lambda: len(log._kept.rows) == 101)
        assert log.text.splitlines()[1] == top  # the reader keeps their place
        await pilot.press("escape")
        await until(pilot, lambda: "line 100" in log.text)
        assert isinstance(app.screen, WatchScreen)


async def test_a_directory_that_vanishes(tmp_path: Path) -> None:
    run = live_run(tmp_path / "run")
    app = watching(run.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        shutil.rmtree(run.path)
        await until(pilot, lambda: "this directory is gone" in head(app))
        assert screen_of(app).deck.charts[0].model.series["loss"].buckets.count == 40  # what was seen stays


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", json.dumps({"config": [1], "state": {}}).encode()])
async def test_damaged_records(tmp_path: Path, content: bytes) -> None:
    run = make_run(tmp_path / "run")
    run.run_json.write_bytes(content)
    run.status_json.write_bytes(content)
    app = watching(run.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "unknown" in head(app))
        await pilot.press("c")
        await until(pilot, lambda: "not known" in head(app) or "missing or damaged" in head(app))


async def test_nothing_is_there(tmp_path: Path) -> None:
    app = watching(tmp_path / "nowhere")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "gone" in head(app))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, WatchScreen))


async def test_a_resize_redraws(tmp_path: Path) -> None:
    app = watching(make_run(tmp_path / "run").path)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await pilot.resize_terminal(160, 50)
        await until(pilot, lambda: "4 memory" in picture(app) and "2 learning rate" in picture(app))
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "4 memory" not in picture(app))
        chart = screen.deck.charts[0]
        assert (chart.model.width, chart.model.height) == (chart.size.width, chart.size.height)


async def test_first_picture_of_a_long_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=24_000, evals=20)
    app = watching(run.path)
    async with app.run_test(size=(160, 50)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, WatchScreen))
        began = time.perf_counter()
        chart = screen_of(app).deck.charts[0]
        await until(pilot, lambda: chart.model.lines and chart.model.has_points)
        first = time.perf_counter() - began
        await opened(pilot)
        assert chart.model.series["loss"].buckets.count == 24_000
        assert chart.model.x.column(24_000) > chart.model.x.columns * 0.8
        # generous: two cores are shared; it is 0.1 s and 0.5 s alone
        assert first < 1.0 and time.perf_counter() - began < 2.5


async def test_nothing_is_repainted_when_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = watching(make_run(tmp_path / "run").path)
    async with app.run_test(size=(160, 50)) as pilot:
        screen = await opened(pilot)
        await pilot.pause(1.5)
        painted: list[object] = []
        monkeypatch.setattr(app, "_display", lambda screen, renderable: painted.append(renderable))
        for _ in range(5):
            screen.tick()
            screen.deck.paint(screen.facts, ready=True)
            await pilot.pause(0.1)
        assert painted == []


async def test_the_path_goes_to_the_clipboard_only_on_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "run")
    app = watching(run.path)
    copied: list[str] = []
    monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        assert copied == []
        await pilot.press("y")
        await until(pilot, lambda: copied == [str(run.path)] and "clipboard" in head(app))


async def test_help_lists_every_key(tmp_path: Path) -> None:
    app = watching(make_run(tmp_path / "run").path)
    async with app.run_test(size=(120, 50)) as pilot:
        await opened(pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: "Ask for an evaluation" in picture(app) and "more below" in picture(app))
        await pilot.press("end")
        await until(pilot, lambda: "Scroll back in the log" in picture(app) and "more below" not in picture(app))
        await pilot.resize_terminal(160, 50)
        await until(pilot, lambda: "Ask for an evaluation" in picture(app) and "Scroll back in the log" in picture(app))


def test_every_key_has_an_action() -> None:
    for row in TABLES["watch"]:
        action = row.action.partition("(")[0]
        assert hasattr(WatchScreen, f"action_{action}"), row.id


def test_the_screen_needs_no_heavy_library() -> None:
    code = "import sys, tui.screens.watch; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"torch", "transformers", "numpy", "pandas", "pyarrow", "datasets", "trl", "peft", "pydantic"}


async def test_a_loss_that_is_no_number_rings_once_a_streak(tmp_path: Path) -> None:
    run = live_run(tmp_path / "run", steps=10)
    writer = EventWriter(run.events)

    def told(step: int, level: str = "error", what: str = "the loss is NaN") -> None:
        writer.write("notice", level=level, text=f"Step {step}: {what}", kind="nonfinite", step=step, count=1)

    told(3)
    told(5, "warning", "not finite for 2 steps from step 3 on: finite again at step 5")
    app = watching(run.path)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot)
        assert not app._notifications, "what was before the screen was opened does not ring"
        writer.write("step", step=11, total_steps=100, loss=math.nan)
        told(11)
        await until(pilot, lambda: len(app._notifications) == 1)
        await until(pilot, lambda: "Step 11: the loss is NaN" in head(app) and "of no use" in head(app))
        writer.write("step", step=12, total_steps=100, loss=math.nan)
        told(12, what="the loss is NaN, for 2 steps in a row since step 11")
        await until(pilot, lambda: "since step 11" in head(app))
        told(13, "warning", "not finite for 2 steps from step 11 on: finite again at step 13")
        writer.write("step", step=13, total_steps=100, loss=1.0)
        await until(pilot, lambda: "of no use" not in head(app))
        assert len(app._notifications) == 1
        writer.write("step", step=14, total_steps=100, loss=1.0, grad_norm=math.inf)
        told(14, what="the gradient norm is Infinity")
        await until(pilot, lambda: len(app._notifications) == 2 and "gradient norm is Infinity" in head(app))
        climbing = "Step 15: the loss is climbing: 3.2 over the last 20 steps, after 0.5 at step 9"
        writer.write("notice", level="warning", text=climbing, kind="divergence", step=15, count=10)
        writer.write("step", step=15, total_steps=100, loss=3.0, grad_norm=1.0)
        await until(pilot, lambda: len(app._notifications) == 3 and "the loss is climbing" in head(app))


@pytest.mark.parametrize("size", SIZES)
async def test_a_queued_run_says_calmly_what_it_waits_for(tmp_path: Path, size: tuple[int, int]) -> None:
    run = make_run(tmp_path / "run", name="night", steps=1, evals=0, state="queued", created=time.time() - 600)
    run.events.write_bytes(b"")
    status = {**(run.read_status() or {}), "started": None, "step": 0, "queue_position": 2,
              "waits_for": "1 run is before it; GPU 0 is used by run x"}  # fmt: skip
    write_json(run.status_json, status)
    app = watching(run.path)
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        text = head(app)
        assert "◦ queued 2" in text and "waits: 1 run is before it; GPU 0 is used by run x" in text
        assert "it starts by itself" in text and "elapsed –" in text
        write_json(run.status_json, {**status, "queue_position": 1, "waits_for": "a free slot"})
        await until(pilot, lambda: "queued 1" in head(app) and "waits for a free slot" in head(app))


async def test_the_keys_of_a_running_run_come_when_its_turn_comes(tmp_path: Path) -> None:
    run = live_run(tmp_path / "run", steps=1, evals=0, state="queued")
    app = watching(run.path)
    async with app.run_test(size=(160, 50)) as pilot:
        await opened(pilot)
        assert "k checkpoint" not in picture(app) and "s cancel" in picture(app) and "s stop" not in picture(app)
        write_json(run.status_json, {**(run.read_status() or {}), "state": "running"})
        await until(pilot, lambda: all(word in picture(app) for word in ("k checkpoint", "e evaluate", "f full")))


@pytest.mark.parametrize("state", ["queued", "starting", "running"])
async def test_what_a_dead_attempt_did_is_not_shown_as_the_present(tmp_path: Path, state: str) -> None:
    run = live_run(tmp_path / "run", name="night", steps=40, state=state)
    entry = {"attempt": 1, "time": 1.0, "command": "", "checkpoint": None, "step": 0, "changes": {}, "notes": []}
    again = {**entry, "attempt": 2, "checkpoint": "/x/checkpoint-20", "step": 20}
    write_json(run.run_json, {**(run.read_run() or {}), "attempts": [entry, again]})
    write_json(run.status_json, {**(run.read_status() or {}), "attempts": 2, "step": 40, "last_loss": 0.9})
    app = watching(run.path)
    async with app.run_test(size=(160, 50)) as pilot:
        await opened(pilot)
        assert "goes on after step 20 of 100" in head(app) and "left" not in head(app) and "40" not in head(app)
        assert ("will go on after step 20" if state == "queued" else "attempt 2, resumed at step 20") in head(app)
        numbers = {line.rsplit(maxsplit=1)[0]: line.split()[-1] for line in values(app).splitlines() if line.strip()}
        assert numbers["loss"] == numbers["smooth"] == numbers["learning rate"] == "–"
        if state == "running":
            await pilot.press("S")
            await until(pilot, lambda: "It has not done a step since" in picture(app))
            await pilot.press("n")
        write_json(run.run_json, {**(run.read_run() or {}),
                                  "attempts": [entry, {**again, "changes": {"num_train_epochs": ["1", "2"]}}]})  # fmt: skip
        writer = EventWriter(run.events, attempt=2)
        writer.write("step", step=21, total_steps=200, loss=1.5)
        await until(pilot, lambda: "21 / 200" in head(app) and "goes on" not in head(app) and "1.5000" in values(app))


def test_what_a_stop_costs_is_said_in_plain_numbers(tmp_path: Path) -> None:
    from tui.watch.facts import Facts
    from tui.watch.words import loss_of_stopping

    one = loss_of_stopping(Facts(tmp_path, step=11, last_checkpoint=10, median_step=0.2))
    assert one.endswith("The step since the checkpoint at step 10 is lost.")
    some = loss_of_stopping(Facts(tmp_path, step=15, last_checkpoint=10, median_step=2.0))
    assert some.endswith("The 5 steps since the checkpoint at step 10 are lost, about 10s of work.")


@pytest.mark.parametrize("size", SIZES)
async def test_the_head_tells_of_a_resumed_run(tmp_path: Path, size: tuple[int, int]) -> None:
    run = live_run(tmp_path / "run", name="night", steps=40)
    entry = {"attempt": 1, "time": 1.0, "command": "", "checkpoint": None, "step": 0, "changes": {}, "notes": []}
    attempts = [entry, {**entry, "attempt": 2, "checkpoint": "/x/checkpoint-20", "step": 20}]
    write_json(run.run_json, {**(run.read_run() or {}), "attempts": attempts})
    write_json(
        run.status_json,
        {**(run.read_status() or {}), "attempts": 2, "seconds_before": 3600, "started": time.time() - 60},
    )
    writer = EventWriter(run.events, attempt=2)
    for step in range(21, 31):
        writer.write("step", step=step, total_steps=100, loss=1.0)
    app = watching(run.path)
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot)
        assert "attempt 2, resumed at step 20" in head(app) and "1h 01m" in head(app) and "30 / 100" in head(app)
        assert len(screen.feed._follower.view.steps) == 30
