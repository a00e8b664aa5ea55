"""What the form says of the data behind it: what they were taken for, what is odd, and how far the reading has come."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests import datafiles
from tests.costing import install
from tests.pilot.test_launch import SIZE, form, launch_app, row, shown
from tests.support import fake_model, until
from tui.launch import probe

SHARE = [{"conversations": [{"from": "human", "value": f"q{n % 3}"}, {"from": "gpt", "value": "a"}]} for n in range(5)]


@pytest.fixture(autouse=True)
def inspector(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


async def test_what_was_detected_stands_beside_the_form(tmp_path: Path) -> None:
    path = datafiles.json_list(tmp_path / "share.json", SHARE)
    app = launch_app({"train_path": str(path), "base_model": str(fake_model(tmp_path / "model"))})
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await until(pilot, lambda: "ShareGPT" in shown(app))
        assert "JSON, ShareGPT" in shown(app) and "10 messages" in shown(app) and "duplicate 2" in shown(app)
        screen.model.set("data_format", "alpaca")
        screen._ask()
        await until(pilot, lambda: screen.model.problem("train_path") is not None)
        problem = screen.model.problem("train_path")
        assert problem is not None and problem.message.startswith("row 1: has no instruction")
        await until(
            pilot, lambda: "ShareGPT conversations" not in shown(app) and "train_path" in shown(app).split("1 wrong")[0]
        )


async def test_a_long_reading_tells_how_far_it_is_and_makes_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = datafiles.jsonl(tmp_path / "large.jsonl", SHARE * 40_000)
    other = datafiles.jsonl(tmp_path / "other.jsonl", SHARE)
    held, going = threading.Event(), threading.Event()
    monkeypatch.setattr(probe, "TELL_SECONDS", 0.0)
    real = probe.Probe._progress

    def slowly(self: probe.Probe, done: int, total: int) -> None:
        real(self, done, total)
        if total > 1_000_000 and done > total / 2:
            held.set()
            going.wait(10)

    monkeypatch.setattr(probe.Probe, "_progress", slowly)
    app = launch_app({"train_path": str(path)})
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, held.is_set)
        await until(
            pilot,
            lambda: (
                any(f"reading {share}%" in row(app, "Training rows") for share in range(50, 101))
                if "Training rows" in shown(app)
                else False
            ),
        )
        screen = app.screen
        screen.model.set("train_path", str(other))
        screen._ask()
        going.set()
        await until(pilot, lambda: screen.model.train is not None)
        assert screen.model.train.rows == 5 and not any(key[1][0][0] == str(path) for key in screen._probe._reports)
