"""The costs as pictures: beside the form, in full, where they do not fit, and around a dry run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from engine import registry
from engine.rundir import write_json
from tests.costing import CostingInspector, card, install, with_card
from tests.pilot import test_sheet
from tests.pilot.test_sheet import MEASURED
from tests.pilot.test_snapshots import NOW, is_form, place, shoot
from tests.support import fake_model, make_run, write_rows
from tui.app import TunedeckApp
from tui.screens.launch import LaunchScreen
from tui.screens.sheet import CostScreen
from tui.sheet import costs, work

__all__ = ["place"]
SIZES = [(80, 24), (120, 40), (160, 50)]


@pytest.fixture(autouse=True)
def inspector(monkeypatch: pytest.MonkeyPatch) -> CostingInspector:
    monkeypatch.setattr(work, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(work, "SETTLE_SECONDS", 0.05)
    monkeypatch.setattr("engine.preflight.disk.free", lambda path: 800 * 2**30)
    return install(monkeypatch)


@pytest.fixture
def app(place: Path, monkeypatch: pytest.MonkeyPatch) -> TunedeckApp:
    """A form with 7 billion parameters and long rows, on a card with one run on it."""
    fake_model(place / "model")
    rows = [{"messages": [{"role": "user", "content": f"{n} " + "word " * (n * 7)}, {"role": "assistant", "content": "yes " * 90}]}
            for n in range(400)]  # fmt: skip
    write_rows(place / "train.jsonl", rows)
    run = make_run(place / "runs" / "support-ko", steps=62, total=150, state="running", created=NOW - 30, name="고객 지원",
                   run_id="20260921-151250-bbbbb")  # fmt: skip
    write_json(run.status_json, {**(run.read_status() or {}), "pid": os.getpid(), "ended": None})
    registry.remember_run("20260921-151250-bbbbb", run.path)
    with_card(monkeypatch, card(61.4, pids=(os.getpid(),)))
    values: dict[str, Any] = {
        "base_model": str(place / "model"),
        "train_path": str(place / "train.jsonl"),
        "batch_size": 2,
    }
    return TunedeckApp(initial="launch", values=values, theme_name="dark")


def worked_out(app: TunedeckApp) -> bool:
    """The form, its costs known though nothing was changed."""
    if not is_form(app):
        return False
    form = app.screen
    assert isinstance(form, LaunchScreen)
    if not form.costs._asked:
        form.costs.wake()
    return form.costs.known.current and form.costs.known.sheet is not None


@pytest.mark.parametrize("size", SIZES)
async def test_costs_beside_the_form(size: tuple[int, int], app: TunedeckApp, request: pytest.FixtureRequest) -> None:
    await shoot(app, size, "launch-costs", request, worked_out)


@pytest.mark.parametrize("size", SIZES)
async def test_costs_that_do_not_fit(
    size: tuple[int, int], app: TunedeckApp, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_card(monkeypatch, card(23.2, total=23.9))
    app._values = {**(app._values or {}), "batch_size": 8}
    await shoot(app, size, "launch-costs-large", request, worked_out)


@pytest.mark.parametrize("size", SIZES)
async def test_the_sheet(size: tuple[int, int], app: TunedeckApp, request: pytest.FixtureRequest) -> None:
    await shoot(app, size, "sheet", request, worked_out, "f11")


@pytest.mark.parametrize("size", SIZES)
async def test_the_sheet_of_a_run_that_does_not_fit(
    size: tuple[int, int], app: TunedeckApp, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_card(monkeypatch, card(23.2, total=23.9))
    app._values = {**(app._values or {}), "batch_size": 8}
    await shoot(app, size, "sheet-large", request, worked_out, "f11")


@pytest.mark.parametrize("size", SIZES)
async def test_the_sheet_around_a_dry_run(
    size: tuple[int, int], app: TunedeckApp, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = test_sheet.Tried(monkeypatch)
    monkeypatch.setattr(costs.Trial, "seconds", property(lambda self: 12.0))
    values = app._values
    await shoot(app, size, "sheet-ask", request, worked_out, "f11", "d")

    def trying(app: TunedeckApp) -> bool:
        if worked_out(app) and isinstance(app.screen, LaunchScreen):
            app.screen.costs.try_out()
            app.screen.costs.open()
        screen = app.screen
        return isinstance(screen, CostScreen) and screen._costs.trial is not None and screen._costs.trial.total == 4

    await shoot(TunedeckApp(initial="launch", values=values, theme_name="dark"), size, "sheet-trying", request, trying)
    tried.done = True
    again = TunedeckApp(initial="launch", values=values, theme_name="dark")
    await shoot(again, size, "sheet-tried", request, worked_out, "f11")
    assert MEASURED.peak is not None
