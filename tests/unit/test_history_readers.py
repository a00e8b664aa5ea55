"""Every directory of the corpus, read: what each tells, that none crashes, is mislabelled, written to or unpickled."""

from __future__ import annotations

import os
import pickle
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.history import readers, walk
from tests.corpus import build, layouts, many
from tests.corpus.fuzz import fuzz
from tests.corpus.judging import TOOLS, differences, same, sound
from tests.corpus.reading import Readings, Watched, read_all


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readings]:
    folder = tmp_path_factory.mktemp("corpus")
    yield read_all(folder, build(folder))
    shutil.rmtree(folder, ignore_errors=True)


def test_the_corpus_is_rich(readings: Readings) -> None:
    listed = [case for case in readings.cases if case.listed]
    assert len(listed) >= 200 and len(readings.cases) - len(listed) >= 10
    assert {case.expected.get("tool") for case in listed} >= TOOLS


@pytest.mark.parametrize("name", layouts())
def test_each_layout_is_read_rightly(readings: Readings, name: str) -> None:
    found = []
    for case in readings.cases:
        if case.path == readings.folder / name or readings.folder / name in case.path.parents:
            row, record = readings.rows[case.name], readings.records[case.name]
            if case.listed:
                found += differences(case, row, record)
            elif row is not None:  # asked for by name, it tells that it knows nothing
                found += [case.name] * any(
                    (row.step, row.points, row.last_loss, row.state != "unknown", row.tool != "unknown")
                )
    assert not found, "\n" + "\n".join(found)


def test_every_row_is_sound(readings: Readings) -> None:
    for case in readings.cases:
        for row in (readings.rows[case.name], (record := readings.records[case.name]) and record.summary):
            if row is not None:
                sound(row, case.path)
        if record is not None:
            assert all(isinstance(name, str) for name in (*record.settings, *record.other, *record.results))
            for curves in (record.steps, record.evals):
                assert all(len(xs) == len(ys) for xs, ys in (curves.pair(name) for name in curves.names))


def test_curves_hold_what_the_row_tells(readings: Readings) -> None:
    for case in readings.cases:
        record = readings.records[case.name]
        if record is None or case.expected.get("points") is None or case.name == "own-events-lost":
            continue
        losses, evals = record.steps.values("loss"), record.evals.values("eval_loss")
        assert len(losses) == case.expected["points"], case.name
        assert not losses or same(losses[-1], record.summary.last_loss), case.name
        assert not evals or same(evals[-1], record.summary.last_eval_loss), case.name


def test_a_tree_is_split_into_its_runs(readings: Readings) -> None:
    expected = {case.path for case in readings.cases if case.listed}
    found = list(walk.find([readings.folder]))
    assert len(found) == len(set(found))
    assert {str(p) for p in set(found) - expected} == set() and {str(p) for p in expected - set(found)} == set()
    assert [case.name for case in readings.cases if walk.is_run(case.path) != case.listed] == []


def test_a_root_that_is_a_run_is_one(readings: Readings) -> None:
    for case in readings.cases[::7]:
        if case.listed:
            assert case.path in list(walk.find([case.path]))


def test_a_checkpoint_given_as_root_is_a_run(readings: Readings) -> None:
    case = next(case for case in readings.cases if case.name == "trl-sft-whole")
    place = case.path / "checkpoint-200"
    assert list(walk.find([place])) == [place] and walk.is_run(place)
    row, record = readers.read_summary(place), readers.read_record(place)
    assert row is not None and record is not None
    assert (row.tool, row.step, row.total_steps, row.points) == ("trl", 200, 300, 20)
    assert record.checkpoints == [] or [c.step for c in record.checkpoints] == [200]


def test_a_checkpoint_alone_still_names_its_tool(readings: Readings) -> None:
    known = {
        "ms-swift-v0": "ms-swift",
        "unsloth-outputs": "unsloth",
        "trl-sft-no-card": "trl",
        "transformers-4-36-adapter": "transformers",
    }
    for case in readings.cases:
        if case.name in known:
            [place] = case.path.glob("checkpoint-*0")
            row = readers.read_summary(place)
            assert row is not None
            told = (row.tool, row.points, row.base_model, row.last_loss)
            assert told == (known[case.name], *(case.expected[name] for name in ("points", "base_model", "last_loss")))


def test_roots_that_are_none_yield_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    places = [
        tmp_path / "gone",
        tmp_path / "file",
        tmp_path / "loop",
        tmp_path / "pipe",
        tmp_path / "file" / "below",
        tmp_path / ("n" * 300),
    ]
    assert list(walk.find(places)) == []
    for place in places:
        assert readers.read_summary(place) is None and readers.read_record(place) is None and not walk.is_run(place)


def test_nothing_is_written_and_nothing_unpickled(readings: Readings) -> None:
    # Whether an own run lives is asked of its lock, which is opened for that and not written to.
    assert [deed for deed in readings.misdeeds if "/.tunedeck/lock'" not in deed] == []
    assert readings.before == readings.after
    assert not list(readings.folder.rglob("SPRUNG"))


def test_the_audit_sees_misdeeds(tmp_path: Path) -> None:
    with Watched(Readings(tmp_path, [])) as watched:
        (tmp_path / "file").write_text("x")
        pickle.loads(b"cos\ngetpid\n.")
    assert any("opened for writing" in line for line in watched.misdeeds) and any(
        "pickle" in line for line in watched.misdeeds
    )


def test_no_reading_takes_long(readings: Readings) -> None:
    slow = {name: round(seconds, 2) for name, seconds in readings.seconds.items() if seconds > 1.5}
    assert slow == {}


def test_a_gigabyte_costs_no_memory(readings: Readings) -> None:
    places = [case.path for case in readings.cases if "gigabyte" in case.name or "-zero-" in case.name]
    assert len(places) >= 9
    for place in places:
        tracemalloc.start()
        try:
            readers.read_summary(place), readers.read_record(place)
            assert tracemalloc.get_traced_memory()[1] < 80_000_000, place
        finally:
            tracemalloc.stop()


def test_prints_follow_changes(tmp_path: Path) -> None:
    [case] = many(tmp_path, 1, 3000)
    first = readers.prints(case.path)
    assert readers.prints(case.path) == first and hash(first) is not None
    file = next(case.path.rglob("trainer_state.json"))
    os.utime(file, ns=(1, file.stat().st_mtime_ns + 1))
    second = readers.prints(case.path)
    other = case.path / "checkpoint-99999999"
    other.mkdir()
    shutil.copy(file, other)
    third = readers.prints(case.path)
    (case.path / "all_results.json").write_text('{"train_runtime": 1.0}')
    fourth = readers.prints(case.path)
    assert len({first, second, third, fourth}) == 4


def test_many_runs_are_read_rightly(tmp_path: Path) -> None:
    cases = many(tmp_path, 60, 3000)
    assert {case.expected["tool"] for case in cases} == TOOLS - {"tunedeck", "unknown"}
    assert sorted(walk.find([tmp_path])) == sorted(case.path for case in cases)
    found = [
        line
        for case in cases
        for line in differences(case, readers.read_summary(case.path), readers.read_record(case.path))
    ]
    assert not found, "\n" + "\n".join(found)


def test_fuzzed_files_never_crash(readings: Readings, tmp_path: Path) -> None:
    assert fuzz(readings.cases, tmp_path, sound, rounds=500, seed=20) == 500
