"""The pages of a run, the comparison and the removal as pictures, at 80×24 and 120×40."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import process
from engine.checkpoints import Checkpoint
from engine.history.record import RunRecord
from engine.rundir import RunDir
from tests.pictures import compare
from tests.records import NOW, record, with_files
from tests.support import make_run, until
from tui.app import TunedeckApp
from tui.history import load

SIZES = [(80, 24), (120, 40)]
# A folder of this file's own: files of pictures run at the same time.
PLACE = Path("/tmp/tunedeck-history-pictures")


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, xdg: Path) -> Iterator[Path]:
    """A directory of always the same name, a stopped clock, one time zone, one locale."""
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir()
    monkeypatch.chdir(PLACE)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("TUNEDECK_ASCII", "0")
    monkeypatch.setattr(process, "host", lambda: "gpu1")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: NOW)
    yield PLACE
    shutil.rmtree(PLACE, ignore_errors=True)


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> dict[Path, RunRecord]:
    found: dict[Path, RunRecord] = {}
    monkeypatch.setattr(load, "read", lambda path: found.get(Path(path)))
    return found


def foreign(place: Path) -> RunRecord:
    """A run of LLaMA-Factory with a damaged file."""
    path = place / "saves" / "qwen2.5-7b-고객지원-sft"
    path.mkdir(parents=True)
    made = with_files(record(path, "llama-factory", spoilt=64))
    made.summary.problems = ["trainer_log.jsonl: 3 damaged lines were skipped",
                             "checkpoint-650/adapter_config.json is the pointer of a large file that was never fetched"]  # fmt: skip
    still(path)
    return made


def still(folder: Path) -> None:
    for path in sorted([*folder.rglob("*"), folder], reverse=True):
        os.utime(path, (NOW - 6400, NOW - 6400), follow_symlinks=False)


async def shoot(pilot: Any, name: str, size: tuple[int, int], request: pytest.FixtureRequest) -> None:
    update = request.config.getoption("--update-snapshots")
    await pilot.pause(2.0 if update else 0.2)  # whatever threads still bring must be on the picture
    for patience in range(40, -1, -1):
        try:
            return compare(pilot.app, f"{name}-{size[0]}x{size[1]}", update=update)
        except AssertionError:
            if not patience:
                raise
            await pilot.pause(0.2)


@pytest.mark.parametrize("size", SIZES)
async def test_pages_of_a_foreign_run(
    size: tuple[int, int], place: Path, records: dict[Path, RunRecord], request: pytest.FixtureRequest
) -> None:
    made = foreign(place)
    path = Path(made.summary.path)
    records[path] = made
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=size) as pilot:
        app.open_detail(path)
        await until(pilot, lambda: getattr(app.screen, "files", None) is not None, 20)
        for key, name in (("1", "summary"), ("2", "settings"), ("3", "curves"), ("4", "evaluations"), ("6", "checkpoints"),
                          ("7", "files"), ("8", "log")):  # fmt: skip
            await pilot.press(key)
            await shoot(pilot, f"detail-{name}", size, request)
        await pilot.press("X")
        await shoot(pilot, "export", size, request)
        await pilot.press("escape", "t")
        await until(pilot, lambda: getattr(app.screen, "ready", False))
        await shoot(pilot, "note-foreign", size, request)


@pytest.mark.parametrize("size", SIZES)
async def test_a_run_of_ours(
    size: tuple[int, int], place: Path, records: dict[Path, RunRecord], request: pytest.FixtureRequest
) -> None:
    run = make_run(place / "runs" / "support-ko", steps=3, run_id="20260921-143300-k3v9q")
    records[run.path] = record(run.path, "tunedeck", state="stopped", step=910, resumable=True,
                               reason="stopped on request, at step 910 of 1170; adapter saved")  # fmt: skip
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=size) as pilot:
        app.open_detail(run.path)
        await until(pilot, lambda: getattr(app.screen, "files", None) is not None, 20)
        for key, name in (("1", "own"), ("5", "samples")):
            await pilot.press(key)
            await shoot(pilot, f"detail-{name}", size, request)


@pytest.mark.parametrize("size", SIZES)
async def test_comparisons(
    size: tuple[int, int], place: Path, records: dict[Path, RunRecord], request: pytest.FixtureRequest
) -> None:
    names = ("고객지원 r16", "고객지원 r32", "llama-chat-2e-4", "qwen2.5-7b-support-long-experiment", "seed 43", "nightly", "packed",
             "baseline")  # fmt: skip
    for number, name in enumerate(names):
        path = place / f"run{number}"
        tool = ("tunedeck", "llama-factory", "trl")[number % 3]
        made = record(path, tool, rows=(117, 234, 58, 1170)[number % 4], seed=number, low=0.7 + 0.06 * (number * 5 % 8))
        made.summary.name = name
        made.settings |= {
            "learning_rate": (1e-4, 2e-4, 3e-4)[number % 3],
            "lora_r": (16, 32)[number % 2],
            "seed": 42 + number,
        }
        made.versions |= {"trl": ("0.24.0", "0.23.1")[number % 2]}
        records[path] = made
    for count in (3, 8):
        app = TunedeckApp(theme_name="dark")
        async with app.run_test(size=size) as pilot:
            app.open_compare(list(records)[:count])
            await until(pilot, lambda: getattr(app.screen, "ready", False), 20)
            await shoot(pilot, f"compare-{count}", size, request)
            await pilot.press("m")
            await shoot(pilot, f"compare-{count}-loss", size, request)
            for key, name in (("2", "differences"), ("3", "ranking")):
                await pilot.press(key)
                await shoot(pilot, f"compare-{count}-{name}", size, request)


def saved(run: RunDir) -> list[Checkpoint]:
    made = with_files(record(run.path, "tunedeck"))
    still(run.path)
    return made.checkpoints


@pytest.mark.parametrize("size", SIZES)
async def test_removals(
    size: tuple[int, int], place: Path, records: dict[Path, RunRecord], request: pytest.FixtureRequest
) -> None:
    run = make_run(
        place / "runs" / "support-ko", steps=150, state="stopped", run_id="20260921-143300-k3v9q", created=NOW - 9000
    )
    records[run.path] = record(run.path, "tunedeck")
    saved(run)
    for prune, name in ((False, "removal"), (True, "prune")):
        app = TunedeckApp(theme_name="dark")
        async with app.run_test(size=size) as pilot:
            app.open_detail(run.path)
            await until(pilot, lambda: getattr(app.screen, "files", None) is not None, 20)
            await pilot.press("6")
            app.ask_removal([run.path], prune)
            await until(pilot, lambda: getattr(app.screen, "state", "") == "asking")
            await shoot(pilot, name, size, request)
