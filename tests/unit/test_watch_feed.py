"""What the live screen is told about a run, from its files alone."""

from __future__ import annotations

import math
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from engine import snapshot
from engine.events import EventWriter, encode
from engine.rundir import RunDir, write_json
from tests.support import append_step, make_run
from tui.watch import feed as feed_module
from tui.watch import values, words
from tui.watch.curves import SMOOTH_LOSS, Curve
from tui.watch.facts import Control, Facts
from tui.watch.feed import WatchFeed, WatchUpdate
from tui.watch.query import CurveQuery
from tui.watch.smooth import Smoother


def read(feed: WatchFeed) -> list[WatchUpdate]:
    """Poll until nothing is new."""
    found = []
    for _ in range(200):
        update = feed.poll()
        if update is None:
            return found
        found.append(update)
        if not update.facts.state.live and update.caught_up:
            return found
    return found


def points(updates: list[WatchUpdate], key: str) -> list[tuple[int, float]]:
    found: list[tuple[int, float]] = []
    for update in updates:
        if update.reset:
            found = []
        curve = update.curves.get(key, Curve([], []))  # type: ignore[arg-type]
        found += zip(curve.xs, curve.ys, strict=True)
    return found


def said(facts: Facts, width: int = 120, asked: Control | None = None) -> str:
    lines = words.head(facts, time.time(), width, asked)
    return "\n".join("".join(text for text, _ in line) for line in lines)


def test_all_points_come_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=300, state="running")
    feed = WatchFeed(run.path)
    updates = [feed.poll()]
    append_step(run, 301, 0.5)
    append_step(run, 302, 0.25)
    updates.append(feed.poll())
    updates.append(feed.poll())
    got = points([u for u in updates if u], "loss")
    assert [x for x, _ in got] == list(range(1, 303))
    assert got[-1] == (302, 0.25)
    assert len(points([u for u in updates if u], "eval_loss")) == 5
    assert len(points([u for u in updates if u], SMOOTH_LOSS)) == 302


def test_a_finished_run_sends_nothing_more(tmp_path: Path) -> None:
    feed = WatchFeed(make_run(tmp_path / "run").path)
    assert read(feed)
    assert feed.poll() is None and feed.poll() is None
    assert not feed.live


def test_a_resume_supersedes_what_was_sent(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=20, state="running")
    feed = WatchFeed(run.path)
    updates = [feed.poll()]
    writer = EventWriter(run.events, attempt=2)
    for step in range(11, 14):
        writer.write("step", step=step, total_steps=20, loss=9.0)
    writer.close()
    updates.append(feed.poll())
    assert updates[1] is not None and updates[1].reset
    got = points([u for u in updates if u], "loss")
    assert [x for x, _ in got] == list(range(1, 14))
    assert got[-1][1] == 9.0


def test_of_a_record_that_is_still_being_read_nothing_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "PIECE", 1 << 14)
    monkeypatch.setattr(feed_module, "BUDGET_SECONDS", 0.0)
    # Its first steps are an hour old; to its end it goes on to this moment.
    run = make_run(
        tmp_path / "run", steps=400, total=800, state="running", created=time.time() - 3600, step_seconds=0.1
    )
    with run.events.open("ab") as file:
        for step in range(401, 601):
            file.write(encode({"type": "step", "time": time.time() - (600 - step) * 0.1, "attempt": 1, "step": step,
                               "total_steps": 800, "loss": 1.0, "step_seconds": 0.1}))  # fmt: skip
    feed = WatchFeed(run.path)
    updates = [update for update in (feed.poll() for _ in range(40)) if update is not None]
    early, late = updates[0], updates[-1]
    assert early.facts.step < 400 and not early.caught_up and late.caught_up and late.facts.step == 600
    assert early.facts.median_step is not None
    for update in updates[:-1]:
        if not update.caught_up:
            facts = update.facts
            assert facts.remaining is None and facts.signs == () and not facts.state.stalled
            assert "reading" in said(facts) and "progressing" not in said(facts)
    assert late.facts.remaining is not None and late.facts.signs and "reading" not in said(late.facts)
    append_step(run, 601, 1.0)
    again = feed.poll()
    assert again is not None and not again.facts.reading


def test_host_memory_only_without_a_gpu(tmp_path: Path) -> None:
    run = make_run(tmp_path / "cpu")
    assert "host_memory" in read(WatchFeed(run.path))[-1].curves
    run = make_run(tmp_path / "gpu", steps=1, state="running")
    run.events.unlink()
    append_step(run, 1, 1.0, gpu_memory_allocated=5, gpu_memory_reserved=6, host_memory=7)
    curves = read(WatchFeed(run.path))[0].curves
    assert "gpu_memory_reserved" in curves and "host_memory" not in curves


def test_nan_is_told_apart_from_missing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=5, state="running")
    append_step(run, 6, math.nan)
    writer = EventWriter(run.events)
    writer.write("step", step=7, total_steps=10)
    writer.close()
    update = read(WatchFeed(run.path))[-1]
    assert update.curves["loss"].nonfinite == {6}
    assert len(update.curves["loss"].xs) == 7
    assert update.facts.nonfinite_loss == 1
    assert update.facts.values["loss"] is None  # step 7 has none: unknown, not NaN


def test_texts_are_clean(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=2, state="failed", name="a\x1b[31m\u202eb", reason="x\x1b]52;c;aa\x07y\nz")
    run.train_log.write_text("one\n\x1b[2Jtwo \x9b31m\n")
    writer = EventWriter(run.events)
    writer.write("notice", level="warning", text="\x1b[0mbeware\x07")
    writer.write("control", request="stop\x1b[1m", outcome="\x1b[1mdone")
    writer.close()
    update = read(WatchFeed(run.path))[-1]
    facts = update.facts
    texts = [facts.name, facts.reason, facts.notice[2], facts.control.verb, facts.control.outcome, *update.log.texts]  # type: ignore[index, union-attr]
    assert all(text.isprintable() for text in texts)
    assert "beware" in facts.notice[2]  # type: ignore[index]


@pytest.mark.parametrize("name", ["run.json", "status.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"config": "x", "state": 7}', b"\xff\xfe\x00"])
def test_damaged_records_are_said_in_words(tmp_path: Path, name: str, content: bytes) -> None:
    run = make_run(tmp_path / "run")
    (run.meta / name).write_bytes(content)
    facts = read(WatchFeed(run.path))[-1].facts
    assert said(facts)
    if content != b'{"config": "x", "state": 7}':
        assert name in facts.problem


def test_strange_values_do_not_raise(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=3)
    with run.events.open("ab") as file:
        file.write(b'{"type":"step","step":"x"}\n{"type":"checkpoint","step":[1]}\n{"type":"control"}\n')
        file.write(b'{"type":"phase","name":{},"done":"NaN"}\n{"type":"eval","step":2,"eval_loss":"Infinity"}\n\xff\n')
    run.supervisor_events.write_bytes(b'{"type":"hardware","gpus":[{"index":null,"utilization":"x"},7]}\n')
    feed = WatchFeed(run.path)
    facts = read(feed)[-1].facts
    assert said(facts)
    assert values.values(facts, None, 30, 30)


def test_a_missing_and_a_vanishing_directory(tmp_path: Path) -> None:
    facts = read(WatchFeed(tmp_path / "nowhere"))[-1].facts
    assert "gone" in facts.problem
    (tmp_path / "plain").mkdir()
    assert "no run" in read(WatchFeed(tmp_path / "plain"))[-1].facts.problem
    run = make_run(tmp_path / "run")
    feed = WatchFeed(run.path)
    read(feed)
    shutil.rmtree(run.path)
    update = feed.poll()
    assert update is not None and "gone" in update.facts.problem


@pytest.mark.parametrize("where", ["poll", "points", "facts"])
def test_no_point_is_lost_to_a_failure_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    run = make_run(tmp_path / "run", steps=30, state="running")
    feed = WatchFeed(run.path)
    updates = [feed.poll()]
    append_step(run, 31, 0.5)
    with run.train_log.open("a") as log:
        log.write("more\n")
    feed.ask(CurveQuery(number=1, cursor=10))

    def fail(*_arguments: Any, **_more: Any) -> Any:
        raise RuntimeError("of a kind nobody foresaw")

    owner, name = {
        "poll": (feed._follower, "poll"),
        "points": (feed._curves, "_evaluations"),
        "facts": (feed_module, "build"),
    }[where]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        feed._log._next = 0.0
        updates.append(feed.poll())
    assert updates[-1] is not None and "nobody foresaw" in updates[-1].facts.problem and not feed.log_busy
    append_step(run, 32, 0.25)
    updates.append(feed.poll())
    last = updates[-1]
    assert last is not None and last.reset and last.reading is not None and last.query.number == 1
    got = points([u for u in updates if u], "loss")
    assert [x for x, _ in got] == list(range(1, 33))
    assert last.log is not None and (where == "poll" or last.log.texts[-1] == "more")


def test_a_newer_format_is_said(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    record = run.read_run() or {}
    write_json(run.run_json, {**record, "format": 2})
    assert "newer" in read(WatchFeed(run.path))[-1].facts.problem


def test_waiting_requests_of_others_are_seen(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=5, state="running")
    feed = WatchFeed(run.path)
    read(feed)
    RunDir(run.path).request("checkpoint")
    update = feed.poll()
    assert update is not None and "checkpoint asked for" in said(update.facts)


# -- words ---


def test_a_long_reason_is_never_cut_short_of_its_point(tmp_path: Path) -> None:
    reason = "out of GPU memory at step 38: lower batch_size or max_seq_length, or switch gradient_checkpointing on"
    run = make_run(tmp_path / "run", steps=37, state="failed", reason=reason)
    text = said(read(WatchFeed(run.path))[-1].facts, 80)
    assert reason in " ".join(line.strip() for line in text.splitlines())
    assert all(len(line) <= 80 for line in text.splitlines())


def test_completed_says_where_the_adapter_is(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=5)
    assert f"the adapter is in {run.path}" in said(read(WatchFeed(run.path))[-1].facts, 200)


def test_unknown_remaining_time_is_a_dash(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=0, total=10, state="running", created=time.time() - 30)
    assert "left –" in said(read(WatchFeed(run.path))[0].facts)


def test_another_host_is_named_and_nothing_inferred(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=5, state="running")
    status = run.read_status() or {}
    status.update(machine_id="other", boot_id="other", host="node7", pid_namespace="other", machine="other")
    write_json(run.status_json, status)
    facts = read(WatchFeed(run.path))[0].facts
    if facts.state.here:
        pytest.skip("this machine has no identity of its own")
    text = said(facts)
    assert "running" in text and "on node7, last heard" in text


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
@pytest.mark.parametrize("state", ["running", "completed", "failed", "lost", "queued", "unknown"])
def test_head_lines_fit_any_width(tmp_path: Path, width: int, state: str) -> None:
    run = make_run(tmp_path / "한국어 이름이 아주 긴 실행 디렉터리 이름", steps=12, state=state, reason="이유 " * 40)
    from rich.cells import cell_len

    lines = words.head(read(WatchFeed(run.path))[0].facts, time.time(), width, None)
    assert len(lines) == 4
    assert all(sum(cell_len(text) for text, _ in line) <= width for line in lines)


def test_cost_of_stopping_now() -> None:
    facts = Facts(Path("x"), step=250, last_checkpoint=200, median_step=2.0)
    assert "50 steps since the checkpoint at step 200" in words.loss_of_stopping(facts)
    assert "1m 40s" in words.loss_of_stopping(facts)
    assert "all 250 steps" in words.loss_of_stopping(Facts(Path("x"), step=250))
    assert "nothing is lost" in words.loss_of_stopping(Facts(Path("x")))


def test_values_are_right_aligned() -> None:
    facts = Facts(Path("x"), values={"loss": math.nan, "learning_rate": 1e-4, "num_tokens": 1.5e6}, best_loss=0.5)
    lines = values.values(facts, 0.75, 30, 40)
    shown = {"".join(t for t, _ in line)[:14].strip(): "".join(t for t, _ in line) for line in lines if line}
    assert all(len(line) == 30 for line in shown.values())
    assert shown["loss"].endswith("NaN") and shown["learning rate"].endswith(" 1e-4")
    assert shown["tokens seen"].endswith("1.5M") or shown["tokens seen"].endswith("1.50M")


# -- smoothing ---


def test_smoothing_follows_but_shrugs_at_a_spike() -> None:
    rng = random.Random(0)
    smoother = Smoother()
    smoother.feed(1.0 + rng.gauss(0, 0.05) for _ in range(300))
    before = smoother.value
    smoother.feed([50.0])
    assert abs(smoother.value - before) < 0.1
    smoother.feed(3.0 + rng.gauss(0, 0.05) for _ in range(100))
    assert smoother.value == pytest.approx(3.0, abs=0.1)  # a lasting change is followed


def test_smoothing_skips_nan_and_is_the_same_in_pieces() -> None:
    rng = random.Random(1)
    values = [rng.choice((rng.gauss(2, 1), math.nan)) for _ in range(500)]
    once, pieces = Smoother(), Smoother()
    whole = once.feed(values)
    assert [math.isnan(v) for v in whole] == [math.isnan(v) for v in values]
    parts = [pieces.feed(values[i : i + 7]) for i in range(0, 500, 7)]
    assert once.value == pieces.value and sum(map(len, parts)) == 500
