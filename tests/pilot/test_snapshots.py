"""Every screen as a picture, at 80×24 and 160×50."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import paths, process
from engine.rundir import write_json
from tests.pictures import compare, picture, plain
from tests.showcase import SITUATIONS, showcase
from tests.support import append_step, fake_model, make_run, until, write_rows
from tui.app import TunedeckApp

NOW = 1_790_003_600.0  # 2026-09-21 15:13:20 UTC
SIZES = [(80, 24), (160, 50)]
WATCH_SIZES = [(80, 24), (120, 40), (200, 60)]
PLACE = Path("/tmp/tunedeck-pictures")


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, xdg: Path) -> Iterator[Path]:
    """A directory of always the same name, a stopped clock, one time zone, one locale; one test at a time has it."""
    held = os.open(PLACE.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir()
    monkeypatch.chdir(PLACE)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("TUNEDECK_ASCII", "0")
    monkeypatch.setattr(process, "host", lambda: "gpu1")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: NOW)
    strftime = time.strftime
    monkeypatch.setattr(
        time, "strftime", lambda form, when=None: strftime(form, time.gmtime(NOW) if when is None else when)
    )
    yield PLACE
    shutil.rmtree(PLACE, ignore_errors=True)
    os.close(held)


def several_runs(place: Path) -> None:
    runs = place / "runs"
    make_run(
        runs / "chat-style-r16",
        steps=150,
        created=NOW - 400,
        run_id="20260921-150000-aaaaa",
        base_model="/models/Qwen2.5-7B-Instruct",
    )
    make_run(
        runs / "support-ko",
        steps=62,
        total=150,
        state="running",
        created=NOW - 30,
        run_id="20260921-151250-bbbbb",
        name="고객 지원 한국어",
    )
    make_run(runs / "long-context", steps=3, total=900, state="failed", created=NOW - 90_000, run_id="20260920-140000-ccccc",
             reason="out of GPU memory at step 4; lower batch_size (4) or max_seq_length (8192), or set load_in_4bit")  # fmt: skip
    make_run(runs / "evening", steps=40, total=200, state="stopped", created=NOW - 200_000, run_id="20260919-080000-ddddd",
             reason="stopped on request, at step 40 of 200; adapter saved")  # fmt: skip
    make_run(
        runs / "night",
        steps=120,
        total=600,
        state="killed",
        created=NOW - 300_000,
        run_id="20260918-040000-eeeee",
        reason="killed by SIGKILL",
    )
    away = make_run(
        runs / "other-machine", steps=70, total=100, state="running", created=NOW - 500, run_id="20260921-150459-fffff"
    )
    write_json(
        away.status_json, {**(away.read_status() or {}), "machine_id": "x", "host": "gpu7", "heartbeat": NOW - 12}
    )


async def shoot(
    app: TunedeckApp, size: tuple[int, int], name: str, request: pytest.FixtureRequest, ready: Any, *keys: str
) -> None:
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: ready(app), 20)
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await pilot.pause(0.3)
        update = request.config.getoption("--update-snapshots")
        if update:
            await pilot.pause(2.0)  # whatever threads still bring must be on the picture
        for patience in range(30, -1, -1):
            try:
                return compare(app, f"{name}-{size[0]}x{size[1]}", update=update)
            except AssertionError:
                if not patience:
                    raise
                await pilot.pause(0.2)


@pytest.mark.parametrize("size", SIZES)
async def test_welcome(size: tuple[int, int], place: Path, request: pytest.FixtureRequest) -> None:
    app = TunedeckApp(theme_name="dark")
    await shoot(app, size, "runs-none", request, lambda app: not app.screen.searching)


@pytest.mark.parametrize("size", SIZES)
async def test_runs(size: tuple[int, int], place: Path, request: pytest.FixtureRequest) -> None:
    several_runs(place)
    app = TunedeckApp(theme_name="dark")
    await shoot(
        app, size, "runs", request, lambda app: len(app.known_runs()) == 6 and not app.screen.searching, "down", "down"
    )


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 50)])
async def test_the_list_with_runs_of_others(size: tuple[int, int], place: Path, request: pytest.FixtureRequest) -> None:
    from tests.pilot.test_browser import foreign

    several_runs(place)
    for number, name in enumerate(("해마-7b-존댓말-데이터로-미세조정한-실험", "trl-sft", "old-lora")):
        run = foreign(
            place / "runs" / "others" / name, 40, "org/Qwen2.5-7B-Instruct" if number < 2 else "meta-llama/Llama-3.1-8B"
        )
        for path in [*run.rglob("*"), run]:
            os.utime(path, (NOW - 9e6 - number * 1e6,) * 2)

    def ready(app: TunedeckApp) -> bool:
        return len(app.known_runs()) == 9 and not app.screen.searching

    for name, keys in (
        ("runs-groups", ("b", "down", "space", "space", "end", "up", "left")),
        ("runs-wrong", ("slash", *"modle", "colon", "q")),
    ):
        await shoot(TunedeckApp(theme_name="dark"), size, name, request, ready, *keys)
        shutil.rmtree(paths.state_dir(), ignore_errors=True)  # the next one is not grouped


@pytest.mark.parametrize("size", SIZES)
async def test_help_and_confirmation(size: tuple[int, int], place: Path, request: pytest.FixtureRequest) -> None:
    several_runs(place)
    for name, key in (("help", "question_mark"), ("confirm", "s")):
        app = TunedeckApp(theme_name="dark")
        await shoot(app, size, name, request, lambda app: len(app.known_runs()) == 6 and not app.screen.searching, key)


def is_form(app: TunedeckApp) -> bool:
    from tui.screens.launch import LaunchScreen

    return isinstance(app.screen, LaunchScreen) and bool(app.screen.list.names) and not app.screen._reading


@pytest.mark.parametrize("size", SIZES)
async def test_the_empty_form(size: tuple[int, int], place: Path, request: pytest.FixtureRequest) -> None:
    await shoot(TunedeckApp(initial="launch", theme_name="dark"), size, "launch-empty", request, is_form)


@pytest.mark.parametrize("size", SIZES)
async def test_the_form_with_a_run_and_a_mistake(
    size: tuple[int, int], place: Path, request: pytest.FixtureRequest
) -> None:
    fake_model(place / "model")
    write_rows(place / "train.jsonl", 400)
    write_rows(place / "eval.jsonl", 60)
    values = {"base_model": str(place / "model"), "train_path": str(place / "train.jsonl"), "eval_path": str(place / "eval.jsonl"),
              "learning_rate": 2e-4, "lora_r": 32, "batch_size": 4}  # fmt: skip
    await shoot(TunedeckApp(initial="launch", values=values, theme_name="dark"), size, "launch", request, is_form)
    values["lora_dropout"] = "1.5"
    values["train_path"] = str(place / "missing.jsonl")
    await shoot(TunedeckApp(initial="launch", values=values, theme_name="dark"), size, "launch-wrong", request, is_form)


def watching(path: Path) -> TunedeckApp:
    return TunedeckApp(initial="watch", watch=path, theme_name="dark")


def is_drawn(app: TunedeckApp) -> bool:
    from tui.screens.watch import WatchScreen

    return isinstance(app.screen, WatchScreen) and app.screen.is_mounted


@pytest.mark.parametrize("size", WATCH_SIZES)
@pytest.mark.parametrize("situation", SITUATIONS)
async def test_watch(size: tuple[int, int], situation: str, place: Path, request: pytest.FixtureRequest) -> None:
    run = showcase(place / "runs" / "support-chat-ko-r16", situation, NOW)
    await shoot(watching(run.path), size, f"watch-{situation}", request, is_drawn)


@pytest.mark.parametrize("size", SIZES)
async def test_watch_a_loss_that_is_no_number(
    size: tuple[int, int], place: Path, request: pytest.FixtureRequest
) -> None:
    run = make_run(place / "runs" / "chat-style-r16", run_id="20260921-150000-aaaaa", total=300, steps=199, state="running",
                   base_model="/models/Qwen2.5-7B-Instruct", created=NOW - 121)  # fmt: skip
    append_step(run, 200, float("nan"), total_steps=300)
    await shoot(watching(run.path), size, "watch-nan", request, is_drawn)


def resumable(place: Path) -> Path:
    """A killed run with three checkpoints, made on another version of torch."""
    from tests.unit.test_resume import checkpoint

    config = {"base_model": str(fake_model(place / "model")), "train_path": str(write_rows(place / "rows.jsonl", 400)),
              "num_train_epochs": 3, "learning_rate": 2e-4, "max_steps": None}  # fmt: skip
    run = make_run(place / "runs" / "night", steps=140, total=300, state="killed", reason="killed by SIGKILL", created=NOW - 3000,
                   run_id="20260921-142320-aaaaa", config=config)  # fmt: skip
    for step in (50, 100, 130):
        path = checkpoint(run, step)
        os.utime(path, (NOW - 3000 + step, NOW - 3000 + 10 * step))
    return run.path


@pytest.mark.parametrize("size", SIZES)
async def test_going_on_with_a_run(size: tuple[int, int], place: Path, request: pytest.FixtureRequest) -> None:
    from tui.screens.resume import ResumeScreen

    def planned(app: TunedeckApp) -> bool:
        curve = size[1] < 32 or "train" in plain(picture(app))  # the list behind the dialog has drawn its chart
        if not isinstance(app.screen, ResumeScreen) and len(app.known_runs()) == 1 and curve and not opened:
            opened.append(True)
            app.simulate_key("r")
        return isinstance(app.screen, ResumeScreen) and app.screen.plan is not None and not app.screen.busy

    resumable(place)
    opened: list[bool] = []
    app = TunedeckApp(theme_name="dark")
    await shoot(app, size, "resume", request, planned, "down", "backspace", "5")
    opened.clear()
    app = TunedeckApp(theme_name="dark")
    await shoot(app, size, "resume-new", request, planned, "tab", "tab", "tab", *"seed", "equals_sign", "7", "f6")


@pytest.mark.parametrize("size", SIZES)
async def test_a_queued_run(size: tuple[int, int], place: Path, request: pytest.FixtureRequest) -> None:
    several_runs(place)
    run = make_run(place / "runs" / "next-one", steps=1, total=300, state="queued", evals=0, created=NOW - 20,
                   run_id="20260921-151300-ggggg")  # fmt: skip
    run.events.write_bytes(b"")
    status = {**(run.read_status() or {}), "started": None, "step": None, "points": None, "last_loss": None, "best_loss": None,
              "queue_position": 2, "waits_for": "1 run is before it; GPU 0 is used by run 20260921-150000-aaaaa of anna"}  # fmt: skip
    write_json(run.status_json, status)
    app = TunedeckApp(theme_name="dark")
    await shoot(app, size, "runs-queued", request, lambda app: len(app.known_runs()) == 7 and not app.screen.searching)
    await shoot(watching(run.path), size, "watch-queued", request, is_drawn)
