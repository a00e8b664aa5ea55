"""The list of runs without a screen: feed, order and filter, columns, the selected run in words."""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from engine import registry
from engine.history import RunSummary, query
from engine.rundir import RunDir, write_json
from tests.support import make_run, wait_for
from tui.glyphs import ASCII
from tui.palette import candidates
from tui.runlist import choices, columns, detail, groups, values
from tui.runlist.catalogue import COLUMNS
from tui.runlist.choices import Choices
from tui.runlist.feed import Batch, Progress, RunsFeed
from tui.runlist.groups import Group
from tui.runlist.model import RunList
from tui.runlist.spark import Growing, spark

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


def ordered(found: RunList, column: str, falling: bool = False) -> list[str]:
    found.order_by(column, falling)
    return names(found)


def test_newest_runs_stand_first_and_unknown_times_last() -> None:
    found = listed(
        summary("old", started=1.0), summary("none", started=None, created=None), summary("new", started=3.0)
    )
    assert names(found) == ["new", "old", "none"]
    assert ordered(found, "started") == ["old", "new", "none"]


def test_every_column_orders_both_ways_and_what_is_unknown_stands_last() -> None:
    found = listed(summary("b", state="completed", best_eval_loss=0.5, lora_r=8, tags=["keep"]),
                   summary("a", state="running", best_eval_loss=0.1, base_model="org/Zed"),
                   summary("c", state="failed", best_eval_loss=math.nan, lora_r=64, base_model="org/alpha"))  # fmt: skip
    assert ordered(found, "name") == ["a", "b", "c"] and ordered(found, "name", True) == ["c", "b", "a"]
    assert ordered(found, "state") == ["a", "c", "b"] and ordered(found, "state", True) == ["b", "c", "a"]
    assert ordered(found, "best_eval") == ["a", "b", "c"] and ordered(found, "best_eval", True) == ["b", "a", "c"]
    assert ordered(found, "r") == ["b", "c", "a"] and ordered(found, "r", True) == ["c", "b", "a"]
    assert ordered(found, "model") == ["c", "a", "b"] and ordered(found, "model", True) == ["a", "c", "b"]
    for column in COLUMNS:
        for falling in (False, True):
            assert sorted(ordered(found, column, falling)) == ["a", "b", "c"], column


def test_the_order_holds_while_runs_come_change_and_go() -> None:
    found = listed(*(summary(f"r{n}", last_loss=float(n)) for n in range(50)))
    found.order_by("loss", False)
    found.update([replace(found.runs["/runs/r7"], last_loss=99.0), summary("new", last_loss=7.5)], ["/runs/r3"])
    assert names(found)[-1] == "r7" and names(found)[6:8] == ["new", "r8"] and "r3" not in names(found)
    assert [run.last_loss for run in found.visible] == sorted(run.last_loss or 0.0 for run in found.visible)


def filtered(found: RunList, text: str) -> list[str]:
    wanted = query.parse(text)
    found.set_filter(None if wanted.empty else wanted)
    return sorted(names(found))


def test_the_filter_is_that_of_the_command_line() -> None:
    found = listed(summary("Chat-KO", base_model="Qwen/Qwen2.5-7B", state="failed"), summary("chat-en", base_model="meta/Llama"),
                   summary("stuck", state="running", stalled=True))  # fmt: skip
    assert filtered(found, "CHAT qwen state:failed") == ["Chat-KO"]
    assert filtered(found, "is:stalled or model:llama") == ["chat-en", "stuck"]
    assert filtered(found, "chat nothing") == []
    assert len(filtered(found, "  ")) == 3


def test_news_go_through_the_filter_also_while_it_is_being_applied() -> None:
    found = listed(*(summary(f"r{n}", state="running") for n in range(1000)))
    found.begin_filter(query.parse("state:failed"))
    assert not found.go_on_filtering(0.0) and len(names(found)) == 1000  # a while at a time; until then all are there
    found.update([replace(found.runs["/runs/r1"], state="failed"), replace(found.runs["/runs/r900"], state="failed")])
    while not found.go_on_filtering(0.0):
        pass
    assert sorted(names(found)) == ["r1", "r900"]
    found.update([replace(found.runs["/runs/r1"], state="lost"), summary("late", state="failed")])
    assert sorted(names(found)) == ["late", "r900"]


# Groups and marks.


def rows_of(found: RunList) -> list[str]:
    return [row.title if isinstance(row, Group) else row.name for row in found.rows]


def test_groups_stand_in_the_order_of_their_runs_and_fold() -> None:
    found = listed(summary("a1", base_model="org/A", started=5.0), summary("b1", base_model="other/B", started=4.0),
                   summary("a2", base_model="/models/a", started=3.0), summary("x", base_model=None, started=2.0))  # fmt: skip
    assert found.next_group() == "model"
    assert rows_of(found) == ["A", "a1", "a2", "B", "b1", "model unknown", "x"]
    found.fold(["model:a"], True)
    assert rows_of(found) == ["A", "B", "b1", "model unknown", "x"] and len(found.visible) == 4
    found.fold(["model:a"], False)
    found.order_by("started", False)
    assert rows_of(found) == ["model unknown", "x", "a", "a2", "a1", "B", "b1"]
    assert [found.next_group() for _ in range(4)] == ["root", "tool", "state", ""]
    assert rows_of(found) == ["x", "a2", "b1", "a1"]


@pytest.mark.parametrize("width", [20, 40, 77, 157])
def test_a_group_is_exactly_as_wide_as_the_list(width: int) -> None:
    runs = [
        summary(
            "a", base_model="한국어 모델 이름이 아주 길다 " * 5, state="running", best_eval_loss=0.5, last_loss=math.nan
        )
    ]
    for by in ("model", "root", "tool", "state"):
        for group in groups.gather(runs, by, set()):
            assert cell_len(text_of(groups.row(group, width))) == width


def test_marks_go_with_their_runs() -> None:
    found = listed(summary("a"), summary("b"), summary("c"))
    assert found.toggle([found.runs["/runs/b"]]) and found.toggle([found.runs["/runs/a"]])
    assert [run.name for run in found.marked] == ["b", "a"]
    found.update([], ["/runs/b"])
    assert [run.name for run in found.marked] == ["a"]
    assert found.toggle(found.visible) and len(found.marked) == 2  # some were: now all are
    assert not found.toggle(found.visible) and not found.marked


def test_of_many_runs_the_palette_looks_at_few() -> None:
    runs = [summary(f"run-{n}") for n in range(5000)]
    found = candidates(runs, "RUN 499")
    assert [run.name for run in found[:3]] == ["run-499", "run-1499", "run-2499"] and len(found) < 600
    assert len(candidates(runs, "run")) == 40 and len(candidates(runs, "zzz")) == 400


# What is kept.


def test_choices_are_kept_and_nonsense_is_left_out() -> None:
    assert choices.load() == Choices()
    wanted = Choices(("name", "lr", "state"), "lr", False, "tool")
    choices.save(wanted)
    assert choices.load() == wanted
    choices._file().write_text('{"columns": ["lr", 7, "nope", "lr"], "sort": "gone", "falling": false, "group": ["x"]}')
    assert choices.load() == Choices(("lr",))
    choices._file().write_text("[" * 100_000)
    assert choices.load() == Choices()


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
    assert cell_len(text_of(columns.header(placed, "started", True))) == width


@pytest.mark.parametrize("width", [20, 40, 77, 157])
def test_all_columns_can_be_chosen_at_any_width(width: int) -> None:
    runs = [summary("한국어" * 30, tags=["한국어" * 20], last_loss=math.nan, problems=["x" * 400], sparkline=[1.0, math.nan, math.inf]),
            summary("a", step=None, total_steps=None, last_loss=None, started=None, created=None)]  # fmt: skip
    for chosen in (tuple(COLUMNS), tuple(reversed(COLUMNS)), ("lr", "name"), ("reason", "name", "path")):
        placed = columns.layout(width, columns.widths(runs), chosen)
        assert any(one.column.key == "name" for one in placed)
        assert all(cell_len(text_of(columns.row(run, placed, NOW))) == width for run in runs)
        for key in chosen:
            assert cell_len(text_of(columns.header(placed, key))) == width


def test_narrow_lists_keep_what_matters_most() -> None:
    shown = {
        width: [p.column.key for p in columns.layout(width, {"state": 11, "step": 9})] for width in (40, 76, 116, 156)
    }
    assert shown[40] == ["state", "name", "step"]
    assert shown[76] == ["state", "name", "curve", "step", "loss", "best_eval"]
    assert shown[116] == ["state", "name", "model", "tool", "curve", "step", "loss", "best_eval", "started"]
    assert shown[156] == list(columns.DEFAULT)


def test_of_chosen_columns_the_first_are_kept_longest() -> None:
    chosen = ("name", "lr", "data", "r", "tags", "state")
    assert [p.column.key for p in columns.layout(200, {}, chosen)] == list(chosen)
    assert [p.column.key for p in columns.layout(60, {}, chosen)][:3] == ["name", "lr", "data"]


def test_states_say_what_is_known() -> None:
    assert values.state_words(summary(state="running", stalled=True)) == "● running (stalled)"
    assert values.state_words(summary(state="running", here=False, host="gpu7")) == "● running on gpu7"
    assert values.state_words(summary(state="no such state")) == "· no such state"
    assert columns.widths([summary(state="running", stalled=True)])["state"] == 19
    assert columns.widths([])["state"] == 11


def test_time_of_a_run_elsewhere_ends_when_it_was_last_heard() -> None:
    away = summary(state="running", here=False, started=NOW - 100, heard=NOW - 40, ended=None)
    assert values.elapsed(away, NOW) == 60
    assert values.elapsed(replace(away, here=True), NOW) == 100
    assert values.elapsed(summary(state="lost", started=NOW, ended=None), NOW + 9) is None


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
    for key, falling, mark in (
        ("started", True, "↓"),
        ("name", False, "↑"),
        ("state", False, "↑"),
        ("best_eval", True, "↓"),
    ):
        marked = [text.strip() for text, colour in columns.header(placed, key, falling) if colour == "accent"]
        assert len(marked) == 1 and COLUMNS[key].title in marked[0] and mark in marked[0]


# The curve in a row.


def drawn(values: list[float], width: int = 8) -> str:
    parts = spark(values, width)
    assert cell_len(text_of(parts)) == width
    return text_of(parts)


def test_a_curve_is_as_high_as_the_loss_and_a_loss_that_is_no_number_is_a_cross() -> None:
    assert drawn([8.0, 4.0, 2.0, 1.0], 4) == "█▆▃▁"
    assert drawn([1.0, 1.0], 4) == "▄▄  " and drawn([], 4) == "–   "
    assert drawn([3.0, math.nan, 1.0, math.inf], 4) == "█×▁×"
    assert ("×", "error") in spark([3.0, math.nan, 1.0], 3)
    assert drawn([-1.0, 0.0, 1.0], 3) == "▁▅█"
    long = drawn([10.0 - 0.01 * n for n in range(1000)], 8)
    assert long[0] == "█" and long[-1] == "▁" and list(long) == sorted(long, reverse=True)
    assert drawn([1.0] * 500 + [math.nan] + [1.0] * 499, 4) == "▄▄×▄"


def test_a_curve_can_be_drawn_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.runlist.spark.glyphs", lambda: ASCII)
    shown = drawn([8.0, 4.0, 2.0, 1.0, math.nan], 5)
    assert shown.isascii() and len(set(shown)) == 5


def test_the_curve_of_a_live_run_grows_and_never_gets_long() -> None:
    growing = Growing([3.0, 2.0], 20)
    growing.add(20, 2.0)
    assert growing.values == [3.0, 2.0]
    growing.add(21, 1.5)
    assert growing.values == [3.0, 2.0, 1.5]
    for step in range(22, 5000):
        growing.add(step, 1.0)
        assert len(growing.values) <= 34
    assert growing.values[0] > growing.values[-1] == 1.0
    growing.add(5001, math.nan)
    assert math.isnan(growing.values[-1])
    growing.add(3, 9.0)  # begun again
    assert growing.values == [9.0]


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
    """What a feed hands over, with its threads' work done here, one thing after the other."""

    def __init__(self, *roots: Path) -> None:
        self.batches: list[Batch] = []
        self.list = RunList()
        self._lock = threading.Lock()  # the app has its messages instead
        self.feed = RunsFeed(lambda: list(roots), self.take)

    def take(self, batch: Batch) -> None:
        with self._lock:
            self.batches.append(batch)
            self.list.update(batch.changed, batch.gone)

    @property
    def progress(self) -> list[Progress]:
        return [batch.progress for batch in self.batches if batch.progress is not None]


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Callable[..., Seen]]:
    made: list[Seen] = []

    def make(*roots: Path) -> Seen:
        made.append(Seen(*roots))
        return made[-1]

    yield make
    for one in made:
        one.feed.stop()


def test_registered_runs_and_those_below_the_roots_are_found_once(tmp_path: Path, seen: Callable[..., Seen]) -> None:
    one, two = make_run(tmp_path / "elsewhere" / "one"), make_run(tmp_path / "root" / "deep" / "two")
    registry.remember_run(str(one.read_run()["id"]), one.path)  # type: ignore[index]
    registry.remember_run(str(two.read_run()["id"]), two.path)  # type: ignore[index]
    (tmp_path / "link").symlink_to(tmp_path / "root")
    found = seen(tmp_path / "root", tmp_path / "link")
    found.feed.search()
    assert sorted(names(found.list)) == ["one", "two"]
    assert sum(len(batch.changed) for batch in found.batches) == 2
    assert found.progress[-1].searching is False


def test_runs_of_other_tools_are_found_too(tmp_path: Path, seen: Callable[..., Seen]) -> None:
    folder = tmp_path / "theirs"
    (folder / "checkpoint-5").mkdir(parents=True)
    rows = [{"step": step, "loss": 2.0 / step, "epoch": step / 5} for step in range(1, 6)]
    state = {"global_step": 5, "max_steps": 5, "epoch": 1.0, "log_history": rows}
    (folder / "checkpoint-5" / "trainer_state.json").write_text(json.dumps(state))
    found = seen(tmp_path)
    found.feed.search()
    run = found.list.visible[0]
    assert run.name == "theirs" and run.tool != "tunedeck" and run.step == 5 and run.root == str(tmp_path)
    assert len(run.sparkline) == 5


def test_an_end_of_the_search_is_told_even_if_nothing_was_found(tmp_path: Path, seen: Callable[..., Seen]) -> None:
    found = seen(tmp_path)
    found.feed.search()
    assert [progress.searching for progress in found.progress] == [False]


def test_a_quiet_list_sends_nothing_and_only_awaited_searches_are_told(
    tmp_path: Path, seen: Callable[..., Seen]
) -> None:
    make_run(tmp_path / "a")
    found = seen(tmp_path)
    found.feed.search()
    found.batches.clear()
    found.feed.search()
    found.feed.beat()
    assert found.batches == []
    found.feed.rescan()
    found.feed.search()
    assert not any(batch.changed for batch in found.batches)


def test_the_second_app_has_its_list_from_the_index(
    tmp_path: Path, seen: Callable[..., Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "a")
    live = make_run(tmp_path / "live", state="running", steps=3, total=9)
    seen(tmp_path).feed.search()
    write_json(live.status_json, {**(live.read_status() or {}), "step": 7})
    again = seen(tmp_path)
    again.feed.search()
    assert sorted(names(again.list)) == ["a", "live"]
    assert sorted(run.name for run in again.batches[0].changed) == ["a", "live"], (
        "both at once, before anything is read"
    )
    assert next(run for run in again.batches[0].changed if run.live).step == 7, "what lives is looked at all the same"


def test_changed_runs_are_read_again(tmp_path: Path, seen: Callable[..., Seen]) -> None:
    run = make_run(tmp_path / "a")
    found = seen(tmp_path)
    found.feed.search()
    write_json(run.notes_json, {"name": "renamed"})
    found.feed.visit([str(run.path)])
    found.feed.beat()
    assert names(found.list) == ["renamed"]
    write_json(run.notes_json, {"name": "again"})
    found.feed.search()
    assert names(found.list) == ["again"]


def test_live_runs_are_read_each_beat_and_their_curves_grow(tmp_path: Path, seen: Callable[..., Seen]) -> None:
    run = make_run(tmp_path / "a", steps=3, total=9, state="running", config={"learning_rate": 2e-4, "lora_r": 8})
    found = seen(tmp_path)
    found.feed.search()
    before = list(found.list.visible[0].sparkline)
    write_json(run.status_json, {**(run.read_status() or {}), "step": 4, "last_loss": 0.125})
    found.feed.beat()
    now = found.list.visible[0]
    assert now.step == 4 and now.sparkline == [*before, 0.125] and len(before) == 3
    assert now.learning_rate == 2e-4 and now.lora_r == 8, "what is not read each second is not forgotten"
    write_json(run.status_json, {**(run.read_status() or {}), "state": "completed", "ended": time.time()})
    found.feed.beat()
    assert found.list.live == [] and found.list.visible[0].lora_r == 8


def test_a_run_registered_elsewhere_comes_at_the_next_beat(tmp_path: Path, seen: Callable[..., Seen]) -> None:
    found = seen()
    found.feed.beat()
    run = make_run(tmp_path / "a")
    registry.remember_run(str(run.read_run()["id"]), run.path)  # type: ignore[index]
    found.feed.beat()
    assert names(found.list) == ["a"]


def test_a_run_that_came_and_went_between_two_searches_goes(tmp_path: Path, seen: Callable[..., Seen]) -> None:
    found = seen()
    for name, state in (("ended", "completed"), ("live", "running")):
        run = make_run(tmp_path / name, state=state)
        registry.remember_run(str(run.read_run()["id"]), run.path)  # type: ignore[index]
    found.feed.beat()
    assert sorted(names(found.list)) == ["ended", "live"]
    shutil.rmtree(tmp_path / "live")
    shutil.rmtree(tmp_path / "ended")
    found.feed.beat()
    assert names(found.list) == ["ended"]
    found.feed.search()
    assert names(found.list) == []


def test_a_removed_run_goes(tmp_path: Path, seen: Callable[..., Seen]) -> None:
    make_run(tmp_path / "a")
    make_run(tmp_path / "b")
    found = seen(tmp_path)
    found.feed.search()
    shutil.rmtree(tmp_path / "a")
    found.feed.search()
    assert names(found.list) == ["b"]
    shutil.rmtree(tmp_path / "b")
    found.feed.visit([str(tmp_path / "b")])
    found.feed.beat()
    assert names(found.list) == []


def test_a_run_that_cannot_be_read_is_told_once_and_the_thread_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Callable[..., Seen]
) -> None:
    make_run(tmp_path / "a", state="running", total=99)
    found = seen(tmp_path)
    found.feed.search()

    def fail(path: Path, **more: Any) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("tui.runlist.feed.BEAT_SECONDS", 0.01)
    with pytest.MonkeyPatch.context() as patch:  # and not all that the fixtures have patched
        patch.setattr("engine.history.summarise", fail)
        found.feed.start()
        wait_for(lambda: any(batch.failure for batch in found.batches))
    write_json((run := RunDir(tmp_path / "a")).status_json, {**(run.read_status() or {}), "step": 77})
    wait_for(lambda: found.list.visible[0].step == 77)
    assert len([batch for batch in found.batches if batch.failure is not None]) == 1


def test_a_paused_feed_rests_and_a_stopped_one_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Callable[..., Seen]
) -> None:
    monkeypatch.setattr("tui.runlist.feed.BEAT_SECONDS", 0.01)
    found = seen(tmp_path)
    found.feed.pause()
    found.feed.start()
    make_run(tmp_path / "a")
    time.sleep(0.05)
    assert not found.list.visible
    found.feed.resume()
    wait_for(lambda: found.list.visible)
    found.feed.stop()
    wait_for(
        lambda: (
            not [t for t in threading.enumerate() if t.name in ("tunedeck-runs", "tunedeck-search") and t.is_alive()]
        )
    )


def test_a_damaged_record_is_a_row_with_a_problem(tmp_path: Path, seen: Callable[..., Seen]) -> None:
    run = make_run(tmp_path / "a")
    run.run_json.write_text("{")
    RunDir(tmp_path / "b").make()
    found = seen(tmp_path)
    found.feed.search()
    problems = {run.name: run.problems for run in found.list.visible}
    assert problems["a"] == ["run.json is missing or damaged"] and len(problems["b"]) == 2
