"""What the reader's thread answers: questions, a sketch of a long record, a run that is read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.events import EventWriter, encode
from engine.rundir import RunDir
from tests.support import append_step, make_run
from tui.watch.feed import WatchFeed, WatchUpdate
from tui.watch.query import CurveQuery


def long_run(path: Path, steps: int = 50_000) -> RunDir:
    """A record of more than 20 MB."""
    run = make_run(path, steps=1, total=steps, evals=0)
    padding = "x" * 300
    lines = (encode({"type": "step", "time": 1.79e9 + i, "attempt": 1, "step": i, "total_steps": steps, "epoch": i / steps,
                     "loss": 9.0 if i == 31_313 else 1.0 + i % 7, "learning_rate": 1e-4, "note": padding})
             for i in range(1, steps + 1))  # fmt: skip
    run.events.write_bytes(b"".join(lines))
    return run


def updates(feed: WatchFeed) -> Iterator[WatchUpdate]:
    """All until it is caught up."""
    for _ in range(1000):
        update = feed.poll()
        if update is not None:
            yield update
            if update.caught_up:
                return


def test_a_long_record_is_sketched_first_and_then_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = long_run(tmp_path / "run")
    found = list(updates(WatchFeed(run.path)))
    first, last = found[0], found[-1]
    assert first.sketch and first.reset and not first.caught_up
    sketch = first.curves["loss"]
    assert 500 < len(sketch.xs) < 5000 and sketch.xs[-1] == first.last_x == 50_000
    for between in found[1:-1]:
        assert between.sketch and not between.curves and not between.reset  # the sketch stays
    assert last.reset and not last.sketch
    packed = last.curves["loss"].packed
    assert packed is not None and packed.count == 50_000 and packed.max_y == 9.0  # the spike that a sketch may miss
    again = list(updates(WatchFeed(run.path)))
    assert not any(update.sketch for update in again) and again[-1].facts.problem == ""
    assert again[-1].last_x == 50_000 and sum(u.curves["loss"].packed.count for u in again if u.curves) == 50_000  # type: ignore[union-attr]


def test_only_the_last_question_is_answered_and_points_go_on(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=100, total=200, state="running")
    feed = WatchFeed(run.path)
    list(updates(feed))
    for number in range(1, 5):
        feed.ask(CurveQuery(number, window=(10 * number, 150), cursor=90))
    update = feed.poll()
    assert update is not None and update.reset and update.query.number == 4
    assert list(update.curves["loss"].xs) == list(range(40, 101))
    assert update.reading is not None and update.reading.step == 90
    append_step(run, 101, 0.5)
    update = feed.poll()
    assert update is not None and not update.reset and list(update.curves["loss"].xs) == [101]
    feed.ask(CurveQuery(4, window=(40, 150), cursor=50))
    update = feed.poll()
    assert update is not None and not update.reset and not update.curves
    assert update.reading is not None and update.reading.step == 50


def test_a_resume_keeps_the_question(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=20, total=40, state="running")
    feed = WatchFeed(run.path)
    list(updates(feed))
    feed.ask(CurveQuery(1, "epoch", smoothing=0.0))
    assert feed.poll() is not None
    writer = EventWriter(run.events, attempt=2)
    for step in range(11, 14):
        writer.write("step", step=step, total_steps=40, loss=9.0, epoch=step / 10)
    writer.close()
    update = feed.poll()
    assert update is not None and update.reset and update.query.axis == "epoch"
    assert update.curves["loss"].xs[-1] == 1_300_000 and "loss_smooth" not in update.curves


def test_what_a_run_can_be_asked_is_told(tmp_path: Path) -> None:
    update = next(updates(WatchFeed(make_run(tmp_path / "run").path)))
    assert update.axes == ("step", "epoch", "tokens", "time") and update.last_x == 50
    assert [metric.title for metric in update.metrics][:2] == ["gradient norm", "tokens/s"]
    assert update.smooth is not None
