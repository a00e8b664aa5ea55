"""Rows that come from files through the cache are the rows that are tokenised by hand; the cache is never trusted blindly."""

from __future__ import annotations

import fcntl
import gzip
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from engine.config import parse
from engine.errors import InputError
from engine.worker import crew, dataset, tokencache, tokenising
from engine.worker.failure import CannotTrain
from engine.worker.marking import Marked, Marker
from engine.worker.tokenising import Data
from tests.families import chats, tokenizer

REFUSED = {"messages": [{"role": "assistant", "content": "first"}, {"role": "assistant", "content": "again"}]}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tokencache.paths, "cache_dir", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "tokens"


def write(path: Path, count: int, *, seed: int = 0, more: tuple[dict[str, Any], ...] = ()) -> Path:
    rows = [{"messages": messages} for messages, _ in chats(count, seed=seed, system=False, tools=False, strict=True)]
    text = "".join(json.dumps(row) + "\n" for row in [*rows, *more])
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def settings(train: str, **more: Any) -> dict[str, Any]:
    return parse({"base_model": "/model", "train_path": train, "output_dir": "out", **more}).model_dump(mode="json")


def marker_of(config: dict[str, Any], name: str = "gemma", before: str = "") -> Marker:
    made = tokenizer(name, before + tokenizer(name).chat_template if before else None)
    return Marker(made, assistant_only=config["assistant_only_loss"] is not False, limit=config["max_seq_length"])


def rows_in(found: dataset.Tokenised | None) -> list[Any]:
    return [] if found is None else [(row["input_ids"], row["labels"]) for row in found.dataset]


def counted(found: dataset.Tokenised | None) -> Any:
    return found and [
        getattr(found, name)
        for name in ("given", "cut", "empty", "unproven", "unplaced", "unwritten", "refused", "first")
    ]


def prepare(config: dict[str, Any], marker: Marker, told: list[Any] | None = None) -> tokenising.Prepared:
    return Data(config).tokenise(marker, lambda done, total: None if told is None else told.append((done, total)))


def test_the_rows_of_files_are_those_tokenised_by_hand(tmp_path: Path) -> None:
    unanswered = {"messages": [{"role": "user", "content": "hello"}]}
    a = write(tmp_path / "a.jsonl", 150, more=(unanswered, REFUSED, REFUSED))
    b, e = write(tmp_path / "b.jsonl.gz", 90, seed=1), write(tmp_path / "e.jsonl", 20, seed=2, more=(unanswered,))
    both = f"{a},{b}"
    cases: list[tuple[str, dict[str, Any]]] = [
        (str(a), {}), (both, {"max_seq_length": 64}), (f"{a}:40,{b}:x2", {}), (f"{a}:25%", {"data_seed": 3}), (f"{b}:1000", {}),
        (both, {"eval_path": str(e)}), (both, {"eval_fraction": 0.1}), (f"{a}:x2,{b}:30", {"eval_fraction": 0.3, "seed": 9}),
        (both, {"assistant_only_loss": False}),
    ]  # fmt: skip
    for train, more in cases:
        config = settings(train, **more)
        marker = marker_of(config)
        given, measured, notice = dataset.load(config)
        for _ in range(2):  # made, then from the cache
            found = prepare(config, marker)
            for rows, part in ((given, found.train), (measured, found.evaluation)):
                wanted = dataset.tokenised(rows, marker)
                assert rows_in(part) == rows_in(wanted), (train, more)
                assert (counted(part) or counted(wanted)) == counted(wanted), (train, more)
                if part is not None:
                    assert part.lengths().tolist() == [len(ids) for ids, _ in rows_in(part)]
            assert dataset.left_out(found.unanswered) == notice
        assert found.train.refused or "a.jsonl" not in train or ":" in train.split("a.jsonl")[1]


def test_from_the_cache_nothing_is_rendered_and_changes_are_seen(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.jsonl", 30)
    config = settings(str(path))
    first = rows_in(prepare(config, marker_of(config)).train)
    made: list[int] = []
    really = tokenising.marked
    monkeypatch.setattr(tokenising, "marked", lambda *given: made.append(1) or really(*given))
    path.rename(tmp_path / "renamed.jsonl")
    same = settings(str(tmp_path / "renamed.jsonl"))
    assert rows_in(prepare(same, marker_of(same)).train) == first and not made
    for more, name in (({"max_seq_length": 50}, "gemma"), ({}, "qwen2.5"), ({"assistant_only_loss": False}, "gemma"),
                       ({"on_bad_rows": "skip"}, "gemma")):  # fmt: skip
        before = len(made)
        other = settings(str(tmp_path / "renamed.jsonl"), **more)
        prepare(other, marker_of(other, name))
        assert len(made) == before + 1, more
    prepare(same, marker_of(same, before="{# another #}"))
    write(tmp_path / "renamed.jsonl", 31)
    prepare(same, marker_of(same))
    assert len(made) == 6 and len(list(cache.glob("*.arrow"))) == 7
    assert not [path for path in cache.iterdir() if path.suffix != ".arrow"]
    assert (
        all(path.stat().st_mode & 0o777 == 0o600 for path in cache.iterdir()) and cache.stat().st_mode & 0o777 == 0o700
    )


@pytest.mark.parametrize("harm", ["bit", "short", "long", "empty", "note"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, cache: Path, harm: str) -> None:
    config = settings(str(write(tmp_path / "a.jsonl", 40)))
    first = rows_in(prepare(config, marker_of(config)).train)
    (file,) = cache.glob("*.arrow")
    data = bytearray(file.read_bytes())
    place = {"bit": len(data) // 3, "note": len(data) - 40}.get(harm)
    if place is not None:
        data[place] ^= 4
    file.unlink()
    file.write_bytes({"short": data[:-100], "long": data + b"more", "empty": b""}.get(harm, data))
    assert rows_in(prepare(config, marker_of(config)).train) == first
    assert tokencache._open(file.stem) is not None


def test_what_may_change_by_itself_is_not_kept(tmp_path: Path, cache: Path) -> None:
    config = settings(str(write(tmp_path / "a.jsonl", 10)))

    def kept(template: str) -> bool:
        return tokenising._print_of(marker_of(config, before=template)) is not None

    assert kept("") and kept('{%- set d = strftime_now("%d %b %Y") %}')
    assert not kept('{%- set d = strftime_now("%H:%M") %}') and not kept("{%- set d = strftime_now(form) %}")
    assert not kept("{%- set d = [1, 2] | random %}")
    marker = marker_of(config, before="{%- set d = [1, 1] | random %}")
    found = prepare(config, marker)
    (once,) = cache.glob("*.arrow")
    assert once.name.startswith("once-") and len(found.train) == len(rows_in(found.train)) > 5


def test_rows_that_cannot_be_kept_are_held_in_memory(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(str(write(tmp_path / "a.jsonl", 40)))
    wanted = rows_in(dataset.tokenised(dataset.load(config)[0], marker_of(config)))
    monkeypatch.setattr(tokencache, "SPARE", 1 << 60)
    assert rows_in(prepare(config, marker_of(config)).train) == wanted and not list(cache.iterdir())
    monkeypatch.undo()
    monkeypatch.setattr(tokencache.paths, "cache_dir", lambda: tmp_path / "a.jsonl")
    assert rows_in(prepare(config, marker_of(config)).train) == wanted
    monkeypatch.setattr(tokencache.paths, "cache_dir", lambda: tmp_path / "cache")

    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tokencache.os, "replace", full)
    assert rows_in(prepare(config, marker_of(config)).train) == wanted and not list(cache.iterdir())


def test_bad_rows_and_files_that_change_leave_nothing_behind(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.jsonl", 20)
    path.write_text(path.read_text() + "{broken\n")
    config = settings(str(path))
    with pytest.raises(InputError, match="broken JSON"):
        prepare(config, marker_of(config))
    assert not list(cache.iterdir())
    write(path, 20)
    really = tokenising.marked

    def growing(*given: Any) -> Any:
        yield from really(*given)
        with path.open("a") as file:
            file.write("\n")

    monkeypatch.setattr(tokenising, "marked", growing)
    with pytest.raises(CannotTrain, match="was changed while it was read"):
        prepare(config, marker_of(config))
    assert not list(cache.iterdir())
    with pytest.raises(CannotTrain, match="no row of"):
        only = path.with_name("unanswered.jsonl")
        only.write_text('{"messages": [{"role": "user", "content": "hello"}]}\n')
        monkeypatch.setattr(tokenising, "marked", really)
        other = settings(str(path), eval_path=str(only))
        prepare(other, marker_of(other))


def test_the_oldest_unused_files_go_first_and_used_ones_stay(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(writer: tokencache.Writer, told: Any) -> dict[str, Any]:
        for _ in range(5000):
            writer.add(Marked(list(range(20)), [1] * 20, "text"), 1)
        return {}

    for number in range(4):
        tokencache.fetch(f"k{number}", make, expected=0, tell=lambda rows: None)
        os.utime(cache / f"k{number}.arrow", (number + 1, number + 1))
    size = (cache / "k0.arrow").stat().st_size
    (cache / "left.1-x.part").write_bytes(b"x")
    os.utime(cache / "left.1-x.part", (1, 1))
    monkeypatch.setattr(tokencache, "MOST_BYTES", int(2.5 * size))
    tokencache.make_room(0)
    assert len(list(cache.glob("k*.arrow"))) == 4 and not list(cache.glob("*.part")), "all of them are used"
    for fd in tokencache._held[-4:]:
        os.close(fd)
    del tokencache._held[-4:]
    assert tokencache._open("k0") is not None  # used again
    tokencache.make_room(size)
    assert sorted(path.stem for path in cache.iterdir()) == ["k0"]


OTHER = """
import sys, time
from pathlib import Path
from engine.worker import tokencache
from engine.worker.marking import Marked
tokencache.paths.cache_dir = lambda: Path(sys.argv[1])
def make(writer, told):
    print("makes", flush=True)
    for number in range(30):
        writer.add(Marked([number] * 3, [1] * 3, "text"), 1)
        told(writer.rows)
        time.sleep(float(sys.argv[2]))
    return {"by": "other"}
tokencache.fetch("shared", make, expected=0, tell=lambda rows: None)
print("done", flush=True)
"""


def test_of_two_runs_one_makes_the_rows_and_the_other_waits(cache: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(cache.parent), "0.05"], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None and other.stdout.readline() == "makes\n"
    told: list[int] = []

    def make(writer: tokencache.Writer, said: Any) -> dict[str, Any]:
        raise AssertionError("they are made already")

    found = tokencache.fetch("shared", make, expected=0, tell=told.append)
    assert found.note == {"by": "other"} and found.table.num_rows == 30
    assert told and told == sorted(told) and other.wait(10) == 0
    assert [path.name for path in cache.iterdir()] == ["shared.arrow"]


def test_who_stops_or_dies_is_not_waited_for(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(writer: tokencache.Writer, said: Any) -> dict[str, Any]:
        writer.add(Marked([1], [1], "text"), 1)
        return {"by": "me"}

    other = subprocess.Popen([sys.executable, "-c", OTHER, str(cache.parent), "0.2"], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "makes\n"
    threading.Timer(0.3, other.kill).start()
    begun = time.monotonic()
    assert tokencache.fetch("shared", make, expected=0, tell=lambda rows: None).note == {"by": "me"}
    assert time.monotonic() - begun < 5
    other.wait()
    monkeypatch.setattr(tokencache, "_PATIENCE_SECONDS", 0.3)
    with (cache / "hung.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert tokencache.fetch("hung", make, expected=0, tell=lambda rows: None).note == {"by": "me"}


def test_rows_are_written_in_blocks_of_few_tokens(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(tokencache, "_TOKENS", 100)

    def make(writer: tokencache.Writer, told: Any) -> dict[str, Any]:
        for number in range(50):
            writer.add(Marked([number] * 30, [number % 2] * 30, "text", 25) if number % 5 else None, number)
        return {}

    table = tokencache.fetch("k", make, expected=0, tell=lambda rows: None).table
    assert table.column("flags").num_chunks >= 10 and table.column("flags").to_pylist() == list(range(50))
    assert table.column("labels")[7].as_py() == [7] * 25 and table.column("labels")[8].as_py() == [-100] * 25
    assert table.column("input_ids")[5].as_py() == []


def test_what_was_checked_is_known_again(tmp_path: Path) -> None:
    from engine.data import check_sources

    path = write(tmp_path / "a.jsonl", 12)
    config = settings(f"{path}:x2")
    recorded = {"train": check_sources(config["train_path"]).record()}
    told: list[Any] = []
    data = Data(config, recorded)
    assert data.as_checked() and data.chats() and not Data(config).as_checked()
    data.tokenise(marker_of(config), lambda done, total: told.append((done, total)))
    assert told[-1] == (12, 12)
    write(path, 13)
    assert not Data(config, recorded).as_checked()


@pytest.fixture
def crew_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "size", lambda size: 2)
    monkeypatch.setattr(crew, "_ROWS", 16)


@pytest.mark.usefixtures("crew_of_two")
def test_several_processes_mark_as_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = write(tmp_path / "a.jsonl", 90, more=(REFUSED, REFUSED))
    config = settings(f"{a}:x2", max_seq_length=70)
    marker = marker_of(config)
    wanted = dataset.tokenised(dataset.load(config)[0], marker)
    monkeypatch.setattr(tokenising, "marked", None)  # not here
    found = prepare(config, marker).train
    assert (
        rows_in(found) == rows_in(wanted) and counted(found) == counted(wanted) and found.first.startswith(f"{a}:91:")
    )


@pytest.mark.usefixtures("crew_of_two")
def test_nothing_is_left_of_several_processes(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.jsonl", 100)
    path.write_text(path.read_text() + "{broken\n")
    config = settings(str(path))
    with pytest.raises(InputError, match="broken JSON"):
        prepare(config, marker_of(config))
    assert not list(cache.iterdir())
    deadline = time.monotonic() + 5
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not multiprocessing.active_children()


def test_small_files_need_no_other_process() -> None:
    assert crew.size(crew.LEAST_BYTES - 1) == 1 and crew.size(1 << 40) == min(crew.MOST, len(os.sched_getaffinity(0)))


@pytest.mark.usefixtures("crew_of_two")
@pytest.mark.parametrize("fault", ["killed", "hangs"])
def test_without_the_other_processes_it_goes_on_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    config = settings(str(write(tmp_path / "a.jsonl", 100)))
    wanted = rows_in(dataset.tokenised(dataset.load(config)[0], marker_of(config)))
    monkeypatch.setattr(crew, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(crew, "marked", lambda *given: os._exit(3) if fault == "killed" else time.sleep(60))
    assert rows_in(prepare(config, marker_of(config)).train) == wanted
    assert not multiprocessing.active_children()
