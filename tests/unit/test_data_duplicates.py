"""Rows that stand in data more than once: within a file, in several files, and in the data for evaluation as well."""

from __future__ import annotations

import json
import tempfile
from array import array
from pathlib import Path
from typing import Any

import pytest

from engine.config import parse
from engine.data import Cancelled, DataReport, check_sources, duplicates, rows_in_both
from engine.data.duplicates import Duplicates, Repeat, across, shared
from engine.preflight import check
from tests.support import fake_model
from tui.launch.probe import Asked, Probe


def write(path: Path, questions: str) -> Path:
    """A chat for each letter."""
    rows = [[{"role": "user", "content": letter}, {"role": "assistant", "content": "yes"}] for letter in questions]
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    return path


def hashes(values: list[int]) -> Duplicates:
    out = Duplicates()
    for row, value in enumerate(values, 1):
        out.add(value, row << 32 | row + 100)
    return out


def in_memory(found: Duplicates) -> bool:
    return found._file is None


@pytest.mark.parametrize("kept", [0, 1000])
def test_found_in_memory_and_on_the_disk_alike(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    monkeypatch.setattr(duplicates, "_KEPT_ROWS", kept)
    one, two, three = (hashes(values) for values in ([1, 2, 3, -5, 65], [9, 3, 1, 3], [65, 10, -5, 2**62, 9]))
    for each in (one, two, three):
        each.settle()
        assert in_memory(each) == (kept > 0)
    count, found = across([one, two, three], 10)
    assert count == 6
    assert found == [Repeat(1, 102, 0, 103), Repeat(1, 103, 0, 101), Repeat(1, 104, 0, 103), Repeat(2, 101, 0, 105),
                     Repeat(2, 103, 0, 104), Repeat(2, 105, 1, 101)]  # fmt: skip
    assert across([one, two, three], 2) == (6, found[:2])
    assert shared([one], [two, three], 9) == (5, [Repeat(0, 102, 0, 103), Repeat(0, 103, 0, 101), Repeat(0, 104, 0, 103),
                                                  Repeat(1, 101, 0, 105), Repeat(1, 103, 0, 104)])  # fmt: skip
    assert shared([one, three], [two], 9)[1][0] == Repeat(0, 101, 1, 105)
    assert two.found(5) == (1, [(4 << 32 | 104, 2 << 32 | 102)])
    assert shared([], [one], 5) == shared([one], [], 5) == across([], 5) == (0, [])


def test_without_room_on_the_disk_they_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __init__(self, **_: object) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(duplicates, "_KEPT_ROWS", 0)
    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    one, two = hashes([1, 2]), hashes([2])
    one.settle()
    assert in_memory(one) and across([one, two], 5) == (1, [Repeat(1, 101, 0, 102)])


def test_what_is_kept_of_many_rows_is_not_in_memory() -> None:
    many = Duplicates()
    for number in range(70_000):
        many.add(number, number)
    many.settle()
    assert not in_memory(many) and not many._hashes and isinstance(many.part(3)[0], array)
    assert sum(len(many.part(number)[0]) for number in range(64)) == 70_000


def test_rows_in_several_training_files(tmp_path: Path) -> None:
    one, two, three = (
        write(tmp_path / name, text) for name, text in (("a.jsonl", "abca"), ("b.jsonl", "xbyc"), ("c.jsonl", "xz"))
    )
    report = check_sources(f"{one},{two},{three}")
    tally = report.tallies["duplicate-across-files"]
    assert tally.count == 3
    assert tally.places == [(str(two), 2, f"{one}:2"), (str(two), 4, f"{one}:3"), (str(three), 1, f"{two}:1")]
    across_files, within = (next(p for p in report.warnings("train_path") if p.kind == kind) for kind in
                            ("duplicate-across-files", "duplicate"))  # fmt: skip
    assert (across_files.file, across_files.line, across_files.severity) == (str(two), 2, "warning")
    assert "3 of 10 rows also stand in an earlier file" in across_files.message and f"{one}:2" in across_files.message
    assert (within.file, within.line) == (str(one), 4) and "earlier row" in within.message
    assert "duplicate-across-files" not in check_sources(str(one)).tallies
    assert "duplicate-across-files" not in check_sources(f"{one},{write(tmp_path / 'd.jsonl', 'mn')}").tallies


def test_the_same_chat_in_another_shape_is_the_same(tmp_path: Path) -> None:
    chats = write(tmp_path / "a.jsonl", "ab")
    table = tmp_path / "b.csv"
    table.write_text("query,response\nq,yes\nb,yes\n")
    assert check_sources(f"{chats},{table}").tallies["duplicate-across-files"].places == [(str(table), 3, f"{chats}:2")]


def run_of(tmp_path: Path, **more: Any) -> Any:
    model = tmp_path / "model"
    return parse(
        {"base_model": str(model if model.exists() else fake_model(model)), "output_dir": str(tmp_path / "out"), **more}
    )


def test_rows_of_the_eval_data_that_are_trained_on(tmp_path: Path) -> None:
    train, evaluation = write(tmp_path / "t.jsonl", "abcd"), write(tmp_path / "e.jsonl", "xcya")
    config = run_of(tmp_path, train_path=str(train), eval_path=str(evaluation))
    (leak,) = [p for p in check(config).warnings if p.kind == "eval-in-train"]
    assert (leak.setting, leak.file, leak.line, leak.severity) == ("eval_path", str(evaluation), 2, "warning")
    assert leak.message == f"2 of 4 rows also stand in the training data, the first in {train}:3 (also lines 4)"
    alone = run_of(tmp_path, train_path=str(train), eval_path=str(write(tmp_path / "f.jsonl", "xd")))
    (leak,) = [p for p in check(alone).warnings if p.kind == "eval-in-train"]
    assert leak.message == f"1 of 2 rows also stands in the training data, in {train}:4" and leak.hint
    other = run_of(tmp_path, train_path=str(train), eval_path=str(write(tmp_path / "g.jsonl", "xyz")))
    assert "eval-in-train" not in {p.kind for p in check(other).warnings}
    same = run_of(tmp_path, train_path=str(train), eval_path=str(train))
    assert {p.kind for p in check(same).warnings} & {"eval-in-train", "same-data"} == {"same-data"}


def test_a_share_held_out_of_rows_that_repeat(tmp_path: Path) -> None:
    for questions, told in (
        ("abcab", ["holds out rows of which some may be trained on as well: 2 repeat others"]),
        ("abcde", []),
    ):
        config = run_of(tmp_path, train_path=str(write(tmp_path / "t.jsonl", questions)), eval_fraction=0.2)
        found = [p for p in check(config).warnings if p.kind == "eval-in-train"]
        assert [p.message for p in found] == told and all(p.setting == "eval_fraction" for p in found)


def test_several_files_on_both_sides(tmp_path: Path) -> None:
    names = [write(tmp_path / f"{at}.jsonl", text) for at, text in enumerate(("ab", "cd", "xc", "yb"))]
    train, evaluation = (check_sources(f"{one},{two}") for one, two in (names[:2], names[2:]))
    tally = rows_in_both(train, evaluation)
    assert tally is not None
    assert tally.places == [(str(names[2]), 2, f"{names[1]}:1"), (str(names[3]), 2, f"{names[0]}:2")]


def test_looking_for_them_can_be_withdrawn(tmp_path: Path) -> None:
    report = check_sources(str(write(tmp_path / "a.jsonl", "ab")))
    with pytest.raises(Cancelled):
        rows_in_both(report, report, lambda: True)


def test_a_report_without_rows_has_nothing_in_common(tmp_path: Path) -> None:
    assert rows_in_both(DataReport(tmp_path), check_sources(str(write(tmp_path / "a.jsonl", "ab")))) is None


def test_the_form_looks_for_them_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, evaluation = write(tmp_path / "t.jsonl", "abcd"), write(tmp_path / "e.jsonl", "xcya")
    probe, asked = Probe(lambda found: None), Asked("", str(train), str(evaluation), "")
    found = probe.look(asked)
    assert found.leak is not None and found.leak.count == 2 and found.eval is not None
    assert "eval-in-train" not in found.eval.tallies  # the report is kept for other training data, too
    monkeypatch.setattr("tui.launch.probe.rows_in_both", None)
    assert probe.look(asked).leak is found.leak
    assert probe.look(Asked("", str(train), "", "")).leak is None
