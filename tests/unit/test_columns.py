"""Long streams: tables whose old rows are in a file, the fast way of reading, the cache; all against the plain way."""

from __future__ import annotations

import errno
import gc
import json
import math
import os
import random
import stat
import time
import tomllib
from array import array
from bisect import bisect_left
from pathlib import Path
from typing import Any

import pytest

from engine import events as events_module
from engine.columns import cache, sketch, sketching, store
from engine.columns import table as tables
from engine.columns.batch import batch
from engine.columns.remembered import recall, remember
from engine.events import EventReader, encode, number
from engine.history import summarise
from engine.rundir import RunDir, write_json
from engine.snapshot import RunFollower, RunView
from engine.tables import NOT_METRICS, MetricTable
from tests.support import make_run

ODD = [None, True, "NaN", "Infinity", "-Infinity", "text", [1], 7, 1 << 62, 0.1, 1e300, -0.0, 1e308]
KEYS = ("loss", "grad_norm", "learning_rate", "gpu_memory_peak", "late", "entropy")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Blocks, caches and reads of toy size, so that every edge is met often."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tables, "BLOCK", 16)
    monkeypatch.setattr(cache, "WORTH_BYTES", 4000)
    monkeypatch.setattr(cache, "MORE_BYTES", 2000)
    monkeypatch.setattr(cache, "LAST_BYTES", 1)
    monkeypatch.setattr(store, "SPARE_BYTES", 0)


def files(tmp_path: Path, kind: str = ".cols") -> list[Path]:
    return sorted((tmp_path / "cache" / "tunedeck" / "columns").glob(f"*{kind}"))


class Plain:
    """A table as lists."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.names = {"time"}

    def append(self, step: int, when: float, values: dict[str, Any]) -> None:
        self.cut(step)
        numbers = {k: number(v) for k, v in values.items() if k not in NOT_METRICS}
        row = {k: v for k, v in numbers.items() if v is not None}
        self.names |= set(row)
        self.rows.append((step, {**row, "time": when}))

    def cut(self, step: int) -> None:
        self.rows = [row for row in self.rows if row[0] < step]

    def check(self, table: MetricTable) -> None:
        assert list(table.steps) == [s for s, _ in self.rows] and len(table) == len(self.rows)
        assert set(table.names()) == self.names
        for name in self.names:
            expected = [row.get(name, math.nan) for _, row in self.rows]
            assert repr(list(table.column(name))) == repr(expected), name
            odd = [s for s, row in self.rows if name in row and not math.isfinite(row[name])]
            if name != "time":
                assert list(table.nonfinite.get(name, ())) == odd and len(table.nonfinite.get(name, ())) == len(odd)
                marks = table.nonfinite.get(name, [])
                assert list(reversed(marks)) == odd[::-1] and [marks[i] for i in range(len(odd))] == odd
                assert marks[3:20] == odd[3:20] and marks[-5:] == odd[-5:] and marks[::2] == odd[::2]
                assert all(
                    bisect_left(marks, s) == bisect_left(odd, s) and (s in marks) == (s in odd) for s in odd[::5]
                )
                assert table.best(name) == min((v for v in expected if math.isfinite(v)), default=None)
                newest = self.rows[-1][1].get(name) if self.rows else None
                assert repr(table.last(name)) == repr(newest)


def values(choose: random.Random) -> dict[str, Any]:
    keys = KEYS if choose.random() < 0.7 else choose.sample(KEYS, choose.randrange(len(KEYS)))
    return {key: choose.choice(ODD) if choose.random() < 0.1 else choose.gauss(0, 1) for key in keys}


@pytest.mark.parametrize("seed", range(12))
def test_a_table_is_the_same_wherever_its_rows_are(seed: int) -> None:
    choose, table, plain, step = random.Random(seed), MetricTable(), Plain(), 0
    for _ in range(12):
        many = choose.randrange(1, 60)
        rows = [values(choose) for _ in range(many)]
        if choose.random() < 0.4:
            step = choose.randrange(max(1, step))
            table.cut(step)
            plain.cut(step)
        step = max(step, plain.rows[-1][0] + 1 if plain.rows else 0)
        steps = [step := step + choose.choice([1, 1, 1, 5]) for _ in rows]
        for s, row in zip(steps, rows, strict=True):
            plain.append(s, s / 7, row)
        if choose.random() < 0.5:
            names = list(dict.fromkeys(name for row in rows for name in row))
            columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in names}
            table.extend(steps, {"time": [s / 7 for s in steps], **columns})
        else:
            for s, row in zip(steps, rows, strict=True):
                table.append(s, s / 7, row)
        plain.check(table)
    assert table.stored > 0 or len(table) < 32


def test_sequences_behave_like_lists() -> None:
    table = MetricTable()
    for step in range(1, 101):
        table.append(step * 2, 0.0, {"loss": step / 3, "odd": "NaN" if step in (5, 50, 99) else 1})
    expected = [step / 3 for step in range(1, 101)]
    column, steps = table.column("loss"), table.steps
    assert column == expected and column != expected[:-1] and column[-1] == expected[-1] and column[17] == expected[17]
    for where in (slice(None), slice(3, 40), slice(-50, None), slice(90, 10), slice(200, 300), slice(None, None, -1),
                  slice(5, 80, 7), slice(80, 5, -9), slice(-3, -90, -16)):  # fmt: skip
        assert list(column[where]) == expected[where], where
        assert isinstance(column[where], array) and column[where].typecode == "d" and steps[where].typecode == "q"
    assert bisect_left(steps, 60) == 29 and steps[bisect_left(steps, 61) :][0] == 62
    with pytest.raises(IndexError):
        column[100]
    assert all(math.isnan(v) for v in table.column("none")[2:50]) and len(table.column("")) == 100
    marks = table.nonfinite["odd"]
    assert marks == [10, 100, 198] and list(reversed(marks)) == [198, 100, 10] and 100 in marks and 12 not in marks
    assert next(iter(reversed(marks))) == 198 and "loss" not in table.nonfinite and marks[-1] == 198


def test_a_disk_that_takes_nothing_leaves_the_rows_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    table, plain = MetricTable(), Plain()
    for step in range(200):
        table.append(step, 1.0, {"loss": step})
        plain.append(step, 1.0, {"loss": step})
    plain.check(table)
    assert table.stored == 0 and table.store.refused


def test_rows_that_are_scratch_are_private_and_go(tmp_path: Path) -> None:
    table = MetricTable()
    for step in range(100):
        table.append(step, 1.0, {"loss": step})
    (path,) = files(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.unlink()
    assert list(table.column("loss")) == list(range(100)), "a file that was deleted while open is still read"
    del table
    other = MetricTable()
    for step in range(100):
        other.append(step, 1.0, {"loss": step})
    (path,) = files(tmp_path)
    os.truncate(path, 50)
    with pytest.raises(OSError, match="old rows"):
        list(other.column("loss"))
    assert other.store.lost
    del other
    gc.collect()
    assert not files(tmp_path)


def test_names_without_end_do_not_take_the_memory() -> None:
    table = MetricTable()
    for step in range(1000):
        table.append(step, 1.0, {f"name{step}": 1.0})
    assert len(table.names()) == tables.MAX_COLUMNS and len(table) == 1000


# -- streams --------------------------------------------------------------------------------------------------------


def random_stream(choose: random.Random, attempts: int) -> tuple[bytes, list[dict[str, Any]]]:
    """What several attempts write, with all that may go wrong, and run.json's entries for them."""
    data, entries, step, when = b"", [], 0, 1_790_000_000.0
    for attempt in range(1, attempts + 1):
        start = choose.randrange(step + 1) if attempt > 1 else 0
        entries.append({"attempt": attempt, "step": start, "checkpoint": f"/c-{start}" if start else None})
        step = start
        for _ in range(choose.randrange(0, 160)):
            step, when = step + 1, when + choose.random()
            base = {"time": when, "attempt": attempt, "step": step}
            event = {"type": "step", **base, "total_steps": choose.choice([400, 400, 400, None, "x"]), **values(choose)}
            line = encode(event) if choose.random() < 0.97 else json.dumps(event).encode() + b"\n"
            if choose.random() < 0.02:  # something odd that is whole
                line = encode({**event, choose.choice(["step", "time", "attempt"]): choose.choice([-1, None, "1", 0.5, True, 1, 3])})  # fmt: skip
            data += damaged(line, choose) if choose.random() < 0.02 else line
            kind = choose.choice(["eval", "checkpoint", "notice", "control", "sample", "state", "phase", "new"])
            if choose.random() < 0.08:
                data += encode({"type": kind, **base, "eval_loss": choose.choice(ODD), "text": "한국어", "name": kind,
                                "level": "info", "state": "running", "path": str(step)})  # fmt: skip
        if choose.random() < 0.5:
            data += b'{"type":"step","ti' + choose.choice([b"", b"\n"])
    return data, entries


def damaged(line: bytes, choose: random.Random) -> bytes:
    changed = bytearray(line)
    changed[choose.randrange(len(line))] ^= 1 << choose.randrange(8)
    return choose.choice(
        [bytes(changed), line[: choose.randrange(len(line))], b"\n\r\n" + line[:-1] + b"\r\n", line + b"\0\n"]
    )


def everything(view: RunView) -> dict[str, Any]:
    """All that a view knows, comparable."""
    known: dict[str, Any] = {}
    for name in RunView.__dataclass_fields__:
        value = getattr(view, name)
        if isinstance(value, MetricTable):
            known[name] = (list(value.steps), {n: repr(list(value.column(n))) for n in sorted(value.names())},
                           {n: list(value.nonfinite[n]) for n in sorted(value.nonfinite)}, value.version, value.rewrites,
                           {n: repr((value.last(n), value.best(n))) for n in value.names()})  # fmt: skip
        elif name not in ("pace", "path"):
            known[name] = repr(value)
    return known


def plainly(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The view of one who reads line by line, keeps all in memory and knows no cache."""
    with monkeypatch.context() as patch:
        patch.setattr(events_module, "_decode_all", lambda lines: None)
        patch.setattr(cache, "WORTH_BYTES", 1 << 60)
        patch.setattr(tables, "BLOCK", 1 << 30)
        patch.setattr(RunFollower, "_apply_all", lambda self, found: [self._apply(event) for event in found])
        return everything(RunFollower(run.path).read_all())


def new_run(tmp_path: Path, entries: list[dict[str, Any]], state: str = "completed") -> RunDir:
    run = make_run(tmp_path / "run", steps=1, evals=0, state=state)
    write_json(run.run_json, {**(run.read_run() or {}), "attempts": entries})
    run.events.write_bytes(b"")
    hardware = (encode({"type": "hardware", "time": 5.0 + i, "attempt": 1, "gpus": [{"index": i}]}) for i in range(90))
    run.supervisor_events.write_bytes(b"".join(hardware))
    return run


@pytest.mark.parametrize("seed", range(16))
def test_every_way_of_reading_gives_the_same_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    choose = random.Random(seed)
    data, entries = random_stream(choose, choose.randrange(1, 5))
    run, position = new_run(tmp_path, entries), 0
    follower = RunFollower(run.path)
    while position < len(data):
        grown = data[position : position + choose.choice([10, 500, 5000, 40_000])]
        position += len(grown)
        with run.events.open("ab") as file:
            file.write(grown)
        if choose.random() < 0.3:  # a new opening, from the cache where there is one
            follower = RunFollower(run.path)
        follower.read_all()
        assert everything(follower.view) == plainly(run, monkeypatch)
    again = RunFollower(run.path)
    again._records()
    assert len(data) < 6000 or recall(again.view, again._events, again._supervisor) == len(data), (
        "the cache is of no use"
    )
    again = RunFollower(run.path)
    assert everything(again.read_all()) == everything(follower.view)


def test_usual_steps_go_the_fast_way_and_odd_ones_do_not() -> None:
    usual = [
        {"type": "step", "time": 1.0 + s, "attempt": 2, "step": s, "total_steps": 9, "loss": 0.5} for s in range(1, 9)
    ]
    found = batch(usual)
    assert found is not None and found.attempt == 2 and list(found.steps) == list(range(1, 9))
    assert batch([{**event, **({"entropy": 1.0} if event["step"] % 3 else {})} for event in usual]) is not None
    for key, value in (("step", 3), ("step", True), ("step", -1), ("step", 1 << 60), ("attempt", 1), ("attempt", None), ("attempt", True),
                       ("time", None), ("time", 0), ("time", True), ("time", 1e12)):  # fmt: skip
        assert batch([*usual[:-1], {**usual[-1], key: value}]) is None, (key, value)


@pytest.mark.parametrize("limit", [300, 5000, 1 << 20])
def test_the_fast_reader_gives_out_what_the_careful_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    for seed in range(6):
        data, _ = random_stream(random.Random(100 + seed), 3)
        path = tmp_path / f"{seed}.jsonl"
        path.write_bytes(data)
        found = []
        for decode_all in (events_module._decode_all, lambda lines: None):
            monkeypatch.setattr(events_module, "_decode_all", decode_all)
            reader, events = EventReader(path), []
            while not reader.at_end:
                events += reader.poll(limit)
            found.append((events, reader.damaged, reader.torn, reader.place()))
        assert found[0] == found[1]
        monkeypatch.undo()


def test_whole_lines_that_are_no_records_are_damage_in_both_ways(tmp_path: Path) -> None:
    """With right checksums: two records in one line, a list over two lines, no type, a type that is none."""
    import zlib

    def line(head: bytes) -> bytes:
        return head + b',"crc":"%08x"}\n' % zlib.crc32(head)

    path = tmp_path / "e.jsonl"
    path.write_bytes(line(b'{"type":"a"},{"type":"b"') + line(b'{"type":"a","x":[{"y":1') + line(b'{"type":"b"}],"z":1')
                     + line(b'{"kind":"a"') + line(b'{"type":7') + line(b'{"type":"good"'))  # fmt: skip
    reader = EventReader(path)
    assert [event["type"] for event in reader.poll()][-1] == "good" and reader.damaged == 5


# -- the cache ------------------------------------------------------------------------------------------------------


def long_run(tmp_path: Path, steps: int = 200, state: str = "completed") -> RunDir:
    run = new_run(tmp_path, [{"attempt": 1, "step": 0}], state)
    lines = (encode({"type": "step", "time": 9.0 + s, "attempt": 1, "step": s, "loss": 1 / s}) for s in range(1, steps))
    run.events.write_bytes(b"".join(lines))
    return run


def from_cache(run: RunDir) -> bool:
    return cache.find(run.events, run.supervisor_events) is not None


def test_a_cache_is_private_and_a_moved_run_keeps_it(tmp_path: Path) -> None:
    run = long_run(tmp_path)
    before = everything(RunFollower(run.path).read_all())
    assert from_cache(run) and len(files(tmp_path)) == len(files(tmp_path, ".json")) == 1
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files(tmp_path, ""))
    run.path.rename(tmp_path / "moved")
    moved = RunDir(tmp_path / "moved")
    assert from_cache(moved) and everything(RunFollower(moved.path).read_all()) == before


def test_lists_tell_of_a_long_lost_run_what_is_so(tmp_path: Path) -> None:
    run = long_run(tmp_path, 500, "running")
    run.status_json.unlink()
    for _ in range(2):  # read, then from the cache
        summary = summarise(run.path)
        assert summary is not None and (summary.step, summary.points) == (499, 499)
        assert summary.last_loss == summary.best_loss == 1 / 499
    assert from_cache(run)


@pytest.mark.parametrize("change", ["head", "middle", "tail", "shorter", "replaced", "attempts"])
def test_a_stream_that_is_another_one_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    run = long_run(tmp_path, 2000)
    RunFollower(run.path).read_all()
    data = run.events.read_bytes()
    lines = data.splitlines(keepends=True)
    where = {"head": 0, "middle": 1000, "tail": -1}.get(change, 0)
    lines[where] = encode({"type": "step", "time": 9.0, "attempt": 1, "step": 1, "loss": 5.0})
    new = b"".join(lines)
    if change == "shorter":
        new = data[:-300]
    if change == "attempts":
        write_json(run.run_json, {**(run.read_run() or {}), "attempts": [{"attempt": 1, "step": 50}]})
    elif change == "replaced":
        (tmp_path / "other").write_bytes(data)
        os.replace(tmp_path / "other", run.events)
    else:
        with run.events.open("r+b") as file:
            file.write(new)
            file.truncate()
    if change == "attempts":
        follower = RunFollower(run.path)
        assert everything(follower.read_all()) == plainly(run, monkeypatch)
    else:
        assert not from_cache(run) or (change == "middle" and len(new) == len(data))
        assert everything(RunFollower(run.path).read_all()) == plainly(run, monkeypatch)


@pytest.mark.parametrize("kind", [".cols", ".json"])
def test_a_cache_that_is_damaged_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    run, choose = long_run(tmp_path), random.Random(4)
    before = plainly(run, monkeypatch)
    for _ in range(25):
        RunFollower(run.path).read_all()
        assert from_cache(run)
        path = files(tmp_path, kind)[0]
        used = cache.find(run.events, run.supervisor_events)
        assert used is not None
        blocks = [b for t in ("steps", "evals") for b in used.index[t]["blocks"]]
        end = max(offset + size for _, offset, size, *_ in blocks) if kind == ".cols" else path.stat().st_size
        del used
        data = bytearray(path.read_bytes())
        data[choose.randrange(end)] ^= 1 << choose.randrange(8)
        path.write_bytes(bytes(data) if choose.random() < 0.7 else bytes(data)[: choose.randrange(end)])
        assert everything(RunFollower(run.path).read_all()) == before


def test_several_at_once_do_not_disturb_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = long_run(tmp_path, 300)
    followers = [RunFollower(run.path) for _ in range(3)]
    step = 300
    for round_ in range(6):
        for follower in followers:
            follower.read_all()
        with run.events.open("ab") as file:
            for _ in range(60):
                file.write(encode({"type": "step", "time": 9.0 + step, "attempt": 1, "step": step, "loss": 1 / step}))
                step += 1
        followers[round_ % 3] = RunFollower(run.path)
    expected = plainly(run, monkeypatch)
    assert all(everything(follower.read_all()) == expected for follower in [*followers, RunFollower(run.path)])
    assert len(files(tmp_path, ".json")) == 1 and not files(tmp_path, ".tmp")
    del followers, follower
    gc.collect()
    assert len(files(tmp_path)) == 1, "what is nobody's is gone"


def test_the_old_rows_file_is_lost_while_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = long_run(tmp_path)
    follower = RunFollower(run.path)
    follower.read_all()
    os.truncate(files(tmp_path)[0], 0)
    with pytest.raises(OSError, match="old rows"):
        list(follower.view.steps.steps)
    follower.poll()
    assert everything(follower.read_all())["steps"] == plainly(run, monkeypatch)["steps"]


def test_what_was_left_behind_goes_and_the_whole_is_bounded(tmp_path: Path) -> None:
    run = long_run(tmp_path)
    RunFollower(run.path).read_all()
    (kept,) = files(tmp_path)
    orphan, young = kept.with_name("x-1-a.cols"), kept.with_name("x-1-b.cols")
    orphan.write_bytes(b"x" * 100)
    young.write_bytes(b"x")
    os.utime(orphan, (1, 1))
    store.tidy()
    assert not orphan.exists() and young.exists() and kept.exists()
    young.unlink()
    os.utime(kept, (1, 1))
    store.tidy(total=10)
    assert not files(tmp_path, "")


def test_a_long_stream_has_a_sketch_until_it_has_a_cache(tmp_path: Path) -> None:
    run = long_run(tmp_path, 5000)
    table = sketch(run.events, 100)
    assert table is not None and 90 <= len(table) <= 100 and table.steps[0] == 1 and table.steps[-1] == 4999
    gaps = [b - a for a, b in zip(table.steps, table.steps[1:], strict=False)]
    assert max(gaps) < 200 and all(v == 1 / s for s, v in zip(table.steps, table.column("loss"), strict=True))
    RunFollower(run.path).read_all()
    assert sketch(run.events) is None
    assert sketch(tmp_path / "none") is None and sketch(make_run(tmp_path / "short", steps=1).events) is None


def test_a_sketch_leaves_out_what_a_resume_superseded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = long_run(tmp_path, 2000)
    with run.events.open("ab") as file:
        for step in range(1001, 2500):
            file.write(encode({"type": "step", "time": 9.0, "attempt": 2, "step": step, "loss": -1.0}))
    monkeypatch.setattr(sketching, "SECONDS", 5)
    table = sketch(run.events, 300)
    assert table is not None and list(table.steps) == sorted(set(table.steps))
    assert all(loss == -1.0 for s, loss in zip(table.steps, table.column("loss"), strict=True) if s > 1050)
    assert all(loss > 0 for s, loss in zip(table.steps, table.column("loss"), strict=True) if s <= 1000)


# -- where the cache's file system is odd ---------------------------------------------------------------------------


def add(run: RunDir, *events: dict[str, Any]) -> None:
    with run.events.open("ab") as file:
        file.writelines(encode({"time": 9.0, "attempt": 1, **event}) for event in events)


def test_without_locks_there_is_one_file_and_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(store.fcntl, "flock", refuse)
    run = long_run(tmp_path, 500)
    before = everything(RunFollower(run.path).read_all())
    gc.collect()
    assert from_cache(run) and len(files(tmp_path)) == len(files(tmp_path, ".json")) == 1
    assert everything(RunFollower(run.path).read_all()) == before
    table = MetricTable()
    for step in range(300):
        table.append(step, 1.0, {"loss": step})
    (scratch,) = set(files(tmp_path)) - {path.with_suffix(".cols") for path in files(tmp_path, ".json")}
    os.utime(scratch, (time.time() - 3600, time.time() - 3600))
    store.tidy()
    assert scratch.exists(), "it may be in use"
    os.utime(scratch, (1, 1))
    store.tidy()
    assert not scratch.exists() and from_cache(run)


def test_a_cache_that_cannot_be_written_costs_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = long_run(tmp_path, 500)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    follower = RunFollower(run.path)
    follower.read_all()
    assert follower.view.steps.store.refused and len(follower.view.steps) == 499
    monkeypatch.setattr(cache, "dump", lambda table: pytest.fail("rows are copied for nothing"))
    add(run, *({"type": "step", "step": step, "loss": 1.0} for step in range(500, 600)))
    assert len(follower.read_all().steps) == 599 and not remember(follower.view, follower._events, follower._supervisor)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_cache_that_may_only_be_read_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    run = long_run(tmp_path, 500)
    before = everything(RunFollower(run.path).read_all())
    opened = os.open

    def refuse(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR) and "columns" in str(path):
            raise OSError(number, os.strerror(number))
        return opened(path, flags, *rest, **named)

    def untouched(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(store.os, "open", refuse)
    monkeypatch.setattr(os, "utime", untouched)
    assert from_cache(run) and sketch(run.events) is None
    follower = RunFollower(run.path)
    assert everything(follower.read_all()) == before and follower.view.steps.stored > 0
    add(run, {"type": "step", "step": 500, "loss": 7.0})
    assert follower.read_all().steps.last("loss") == 7.0


def test_a_cache_that_cannot_be_read_leaves_the_sketch(tmp_path: Path) -> None:
    run = long_run(tmp_path, 5000)
    RunFollower(run.path).read_all()
    assert sketch(run.events) is None
    os.truncate(files(tmp_path)[0], 5000)
    assert not from_cache(run) and sketch(run.events) is not None


def test_two_readers_do_not_take_each_others_cache_away(tmp_path: Path) -> None:
    run = long_run(tmp_path, 2)
    first, second = RunFollower(run.path), RunFollower(run.path)
    for follower in (first, second):  # before there is a cache to begin with
        follower.poll()
    add(run, *({"type": "step", "step": step, "loss": 1 / step} for step in range(2, 500)))
    first.read_all()
    (kept,) = files(tmp_path, ".json")
    for step in range(500, 900, 40):
        add(run, *({"type": "step", "step": s, "loss": 1 / s} for s in range(step, step + 40)))
        second.read_all()
        first.read_all()
        assert files(tmp_path, ".json") == [kept] and first.view.steps.store.files[0].named
    found = cache.find(run.events, run.supervisor_events)
    assert found is not None and found.index["events"]["offset"] == run.events.stat().st_size
    del first, found
    gc.collect()
    add(run, {"type": "step", "step": 900, "loss": 5.0})
    second.read_all()
    (kept_now,) = files(tmp_path, ".json")
    assert kept_now != kept, "the reader that is left keeps it now"
    del second, follower
    gc.collect()
    assert len(files(tmp_path)) == 1 and RunFollower(run.path).read_all().steps.last("loss") == 5.0


def test_long_answers_do_not_prevent_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_INDEX", 20_000)
    run = long_run(tmp_path, 500)
    add(run, *({"type": "sample", "step": n, "prompt": "안녕", "completion": "가나다라" * 500} for n in range(60)))
    add(run, {"type": "notice", "level": "info", "text": "하나둘셋" * 1000})
    follower = RunFollower(run.path)
    before = everything(follower.read_all())
    assert from_cache(run)
    size = files(tmp_path)[0].stat().st_size
    add(run, {"type": "step", "step": 500, "loss": 1.0})
    before = everything(follower.read_all())
    assert files(tmp_path)[0].stat().st_size - size < 20_000, "the same answers are kept once"
    again = RunFollower(run.path)
    again._records()
    assert recall(again.view, again._events, again._supervisor) == run.events.stat().st_size
    assert everything(RunFollower(run.path).read_all()) == before


def test_the_guardian_touches_nothing_outside_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = long_run(tmp_path, 500, "running")
    for name in ("cache_dir", "state_dir"):
        monkeypatch.setattr(f"engine.paths.{name}", lambda: pytest.fail("a home that hangs would hold the guardian up"))
    follower = RunFollower(run.path, guards=True)
    view = follower.read_all()
    assert len(view.steps) == 499 and view.steps.last("loss") == view.steps.best("loss") == 1 / 499
    add(run, {"type": "step", "step": 500, "loss": 2.0, "grad_norm": 1.0, "step_seconds": 0.5})
    follower.poll()
    assert set(view.steps.names()) == {"time", "loss", "step_seconds"} and view.steps.last("loss") == 2.0


def test_rows_that_are_lost_are_read_once_more_and_no_oftener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = long_run(tmp_path, 500)
    follower = RunFollower(run.path)
    follower.read_all()

    def broken(self: store.DataFile, code: str, offset: int, count: int) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(store.DataFile, "read", broken)
    with pytest.raises(OSError):
        follower.view.steps.best("loss")
    restarts = []
    monkeypatch.setattr(RunFollower, "_restart", lambda self, real=RunFollower._restart: (restarts.append(1), real(self)))  # fmt: skip
    for _ in range(5):
        assert follower.read_all().steps.best("loss") == 1 / 499
    assert len(restarts) == 1


def test_no_room_but_the_worker_may_load_heavy_libraries() -> None:
    root = Path(store.__file__).parents[2]
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    walled = next(contract["source_modules"] for contract in contracts if "torch" in contract["forbidden_modules"])
    rooms = {
        path.stem for path in (root / "engine").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert {f"engine.{room}" for room in rooms - {"__init__", "worker"}} | {"tui"} == set(walled)
