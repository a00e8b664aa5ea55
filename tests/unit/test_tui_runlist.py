"""The list of runs without a screen: feed, order and filter, columns, the selected run in words."""

from __future__ import annotations

import math
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from engine import registry
from engine.history import RunSummary
from engine.rundir import RunDir, write_json
from tests.support import make_run, wait_for
from tui.runlist import columns, detail
from tui.runlist.feed import Batch, RunsFeed
from tui.runlist.model import RunList

NOW = 1_790_000_000.0


def summary(name: str = "run", **more: Any) -> RunSummary:
    fields: dict[str, Any] = {
        "id": f"id-{name}", "path": f"/runs/{name}", "name": name, "tool": "tunedeck", "state": "completed", "step": 10,
        "total_steps": 10, "last_loss": 1.0, "created": NOW, "started": NOW, "ended": NOW + 60, **more,
    }  # fmt: skip
    return RunSummary(**fields)


def text_of(parts: list[tuple[str, str]]) -> str:
    return "".join(text for text, _ in parts)


# Order and filter.


def listed(*runs: RunSummary) -> RunList:
    found = RunList()
    found.update(runs)
    return found


def names(found: RunList) -> list[str]:
    return [run.name for run in found.visible]


def test_newest_runs_stand_first_and_unknown_times_last() -> None:
    found = listed(
        summary("old", started=1.0), summary("none", started=None, created=None), summary("new", started=3.0)
    )
    assert names(found) == ["new", "old", "none"]


def test_orders_go_round() -> None:
    found = listed(summary("b", state="completed", best_eval_loss=0.5), summary("a", state="running", last_loss=0.1),
                   summary("c", state="failed", best_eval_loss=math.nan, last_loss=math.inf))  # fmt: skip
    assert found.next_order() == "name" and names(found) == ["a", "b", "c"]
    assert found.next_order() == "state" and names(found) == ["a", "c", "b"]
    assert found.next_order() == "loss" and names(found) == ["b", "a", "c"]  # evaluated ones first, none last
    assert found.next_order() == "started"


def test_every_word_of_the_filter_must_occur_somewhere() -> None:
    found = listed(summary("Chat-KO", base_model="Qwen/Qwen2.5-7B", state="failed"), summary("chat-en", base_model="meta/Llama"),
                   summary("stuck", state="running", stalled=True))  # fmt: skip
    found.set_filter("CHAT qwen failed")
    assert names(found) == ["Chat-KO"]
    found.set_filter("stalled")
    assert names(found) == ["stuck"]
    found.set_filter("chat nothing")
    assert names(found) == []
    found.set_filter("  ")
    assert len(names(found)) == 3


def test_news_replace_add_and_remove() -> None:
    found = listed(summary("a"), summary("b"))
    found.update([replace(found.runs["/runs/a"], state="running")], ["/runs/b"])
    assert names(found) == ["a"] and [run.name for run in found.live] == ["a"]


# Columns.


@pytest.mark.parametrize("width", [20, 40, 60, 78, 79, 100, 118, 158, 238])
def test_rows_and_header_are_exactly_as_wide_as_the_list(width: int) -> None:
    runs = [
        summary("존댓말 데이터로 미세조정한 아주아주 긴 이름의 실험 번호 스물일곱"), summary("x" * 500, step=1_000_000, total_steps=2_000_000),
        summary("a", state="running", stalled=True, last_loss=math.nan, best_eval_loss=-math.inf, base_model="m" * 300),
        summary("b", state="running", here=False, host="gpu-node-with-a-long-name", started=None, created=None, step=None, total_steps=None),
        summary("👩‍👩‍👧‍👦", last_loss=1e300, started=-5.0, ended=1e18),
    ]  # fmt: skip
    placed = columns.layout(width, columns.widths(runs))
    assert all(cell_len(text_of(columns.row(run, placed, NOW))) == width for run in runs)
    assert cell_len(text_of(columns.header(placed, "started"))) == width


def test_narrow_lists_keep_what_matters_most() -> None:
    shown = {
        width: [p.column.key for p in columns.layout(width, {"state": 11, "steps": 9})] for width in (40, 78, 118, 158)
    }
    assert shown[40] == ["state", "name", "steps"]
    assert shown[78] == ["state", "name", "steps", "loss", "eval", "time"]
    assert shown[118] == ["state", "name", "model", "bar", "steps", "loss", "eval", "time", "started"]
    assert shown[158] == [column.key for column in columns.COLUMNS]


def test_states_say_what_is_known() -> None:
    assert columns.state_words(summary(state="running", stalled=True)) == "● running (stalled)"
    assert columns.state_words(summary(state="running", here=False, host="gpu7")) == "● running on gpu7"
    assert columns.state_words(summary(state="no such state")) == "· no such state"
    assert columns.widths([summary(state="running", stalled=True)])["state"] == 19
    assert columns.widths([])["state"] == 11


def test_time_of_a_run_elsewhere_ends_when_it_was_last_heard() -> None:
    away = summary(state="running", here=False, started=NOW - 100, heard=NOW - 40, ended=None)
    assert columns.elapsed(away, NOW) == 60
    assert columns.elapsed(replace(away, here=True), NOW) == 100
    assert columns.elapsed(summary(state="lost", started=NOW, ended=None), NOW + 9) is None


def test_nothing_raw_is_in_a_row_or_its_details() -> None:
    evil = "\x1b]52;c;aGk=\x07\x1b[31mred\x1b[0m [/foo] [@click=app.quit]x[/] \u202egpj.exe\x9b2J\r\n"
    run = summary(evil, base_model=evil, state="failed", reason=evil, problems=[evil], path=f"/runs/{evil}", id=evil, host=evil,
                  resumable=True)  # fmt: skip
    placed = columns.layout(158, columns.widths([run]))
    shown = text_of(columns.row(run, placed, NOW)) + "".join(text_of(line) for line in detail.lines(run, 158, NOW))
    assert all(character.isprintable() for character in shown)
    assert "[/foo]" in shown  # markup is text like any other


def test_the_order_is_marked_in_the_header() -> None:
    placed = columns.layout(158, {})
    for order, word in (("started", "started"), ("name", "name"), ("state", "state"), ("loss", "best eval")):
        marked = [text.strip() for text, colour in columns.header(placed, order) if colour == "accent"]
        assert len(marked) == 1 and word in marked[0]


# The selected run in words.


def words_of(run: RunSummary, width: int = 158) -> list[str]:
    found = [text_of(line) for line in detail.lines(run, width, NOW + 120)]
    assert all(cell_len(line) <= width for line in found)
    return found


def test_the_reason_and_what_can_be_done_are_said() -> None:
    run = summary(
        state="failed", reason="out of GPU memory at step 3", resumable=True, problems=["status.json is damaged"]
    )
    assert words_of(run)[0] == "✗ failed  out of GPU memory at step 3  can be resumed  status.json is damaged"
    away = summary(state="running", here=False, host="gpu7", heard=NOW + 108)
    assert words_of(away)[0] == "● running on gpu7, last heard 12s ago"
    assert "no sign of the worker" in words_of(summary(state="running", stalled=True))[0]


def test_facts_are_whole_or_left_out() -> None:
    run = summary(
        base_model="Qwen/Qwen2.5-7B-Instruct", best_loss=0.9, last_eval_loss=1.1, best_eval_loss=1.05, points=10
    )
    wide = words_of(run)[1]
    assert "model Qwen/Qwen2.5-7B-Instruct" in wide and "eval 1.1000, best 1.0500" in wide and "took 1m 00s" in wide
    narrow = words_of(run, 78)[1]
    assert narrow.startswith("model Qwen/Qwen2.5-7B-Instruct   started ") and narrow.endswith("took 1m 00s")
    assert words_of(run, 60)[1].startswith("model Qwen2.5-…Instruct   started ")


# Feed.


class Seen:
    def __init__(self, *roots: Path) -> None:
        self.batches: list[Batch] = []
        self.list = RunList()
        self.feed = RunsFeed(lambda: list(roots), self.take)

    def take(self, batch: Batch) -> None:
        self.batches.append(batch)
        self.list.update(batch.changed, batch.gone)


def test_registered_runs_and_those_below_the_roots_are_found_once(tmp_path: Path) -> None:
    one, two = make_run(tmp_path / "elsewhere" / "one"), make_run(tmp_path / "root" / "deep" / "two")
    registry.remember_run(str(one.read_run()["id"]), one.path)  # type: ignore[index]
    registry.remember_run(str(two.read_run()["id"]), two.path)  # type: ignore[index]
    (tmp_path / "link").symlink_to(tmp_path / "root")
    seen = Seen(tmp_path / "root", tmp_path / "link")
    seen.feed.poll()
    assert sorted(names(seen.list)) == ["one", "two"]
    assert sum(len(batch.changed) for batch in seen.batches) == 2
    assert seen.batches[-1].searching is False


def test_an_end_of_the_search_is_told_even_if_nothing_was_found(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    seen.feed.poll()
    assert [batch.searching for batch in seen.batches] == [False]


def test_a_quiet_list_sends_nothing(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    seen = Seen(tmp_path)
    seen.feed.poll()
    seen.batches.clear()
    seen.feed.poll()
    seen.feed.poll()
    assert seen.batches == []


def test_ended_runs_are_not_read_again_but_changed_ones_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "a")
    seen = Seen(tmp_path)
    seen.feed.poll()
    import engine.history

    real, read = engine.history.summarise, []
    monkeypatch.setattr(engine.history, "summarise", lambda path, **more: read.append(path) or real(path, **more))
    seen.feed.rescan()
    seen.feed.poll()
    assert read == []
    write_json(run.notes_json, {"name": "renamed"})
    seen.feed.rescan()
    seen.feed.poll()
    assert len(read) == 1 and names(seen.list) == ["renamed"]


def test_live_runs_are_read_each_beat(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", steps=3, total=9, state="running")
    seen = Seen(tmp_path)
    seen.feed.poll()
    write_json(run.status_json, {**(run.read_status() or {}), "step": 4})
    seen.feed.poll()
    assert seen.list.visible[0].step == 4
    write_json(run.status_json, {**(run.read_status() or {}), "state": "completed", "ended": time.time()})
    seen.feed.poll()
    assert seen.list.live == []


def test_a_run_registered_elsewhere_comes_at_the_next_beat(tmp_path: Path) -> None:
    seen = Seen()
    seen.feed.poll()
    run = make_run(tmp_path / "a")
    registry.remember_run(str(run.read_run()["id"]), run.path)  # type: ignore[index]
    seen.feed.poll()
    assert names(seen.list) == ["a"]


def test_a_removed_run_goes(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    make_run(tmp_path / "b")
    seen = Seen(tmp_path)
    seen.feed.poll()
    shutil.rmtree(tmp_path / "a")
    seen.feed.rescan()
    seen.feed.poll()
    assert names(seen.list) == ["b"]


def test_many_runs_arrive_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        make_run(tmp_path / f"r{number}", steps=1)
    monkeypatch.setattr("tui.runlist.feed.BATCH_SECONDS", 0.0)
    seen = Seen(tmp_path)
    seen.feed.poll()
    assert len(seen.batches) >= 8 and all(batch.searching for batch in seen.batches[:-1])
    assert len(seen.list.visible) == 8


def test_a_run_that_cannot_be_read_is_told_once_and_the_thread_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "a")

    def fail(path: Path, **more: Any) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("engine.history.summarise", fail)
    monkeypatch.setattr("tui.runlist.feed.BEAT_SECONDS", 0.01)
    monkeypatch.setattr("tui.runlist.feed.WALK_SECONDS", 0.0)
    seen = Seen(tmp_path)
    seen.feed.start()
    try:
        wait_for(lambda: seen.batches)
        monkeypatch.undo()
        wait_for(lambda: seen.list.visible)
        assert len([batch for batch in seen.batches if batch.failure is not None]) == 1
    finally:
        seen.feed.stop()


def test_a_paused_feed_rests_and_a_stopped_one_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.runlist.feed.BEAT_SECONDS", 0.01)
    seen = Seen(tmp_path)
    seen.feed.pause()
    seen.feed.start()
    make_run(tmp_path / "a")
    assert not seen.list.visible
    seen.feed.resume()
    wait_for(lambda: seen.list.visible)
    seen.feed.stop()
    wait_for(lambda: not [t for t in threading.enumerate() if t.name == "tunedeck-runs" and t.is_alive()])


def test_a_damaged_record_is_a_row_with_a_problem(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    run.run_json.write_text("{")
    RunDir(tmp_path / "b").make()
    seen = Seen(tmp_path)
    seen.feed.poll()
    problems = {found.name: found.problems for found in seen.list.visible}
    assert problems["a"] == ["run.json is missing or damaged"] and len(problems["b"]) == 2
