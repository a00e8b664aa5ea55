"""Exports: every number comes back as it was, no text becomes a formula, and nothing that stands is overwritten."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import random
import struct
import threading
from pathlib import Path

import pytest

from engine.errors import InputError, TunedeckError
from engine.history import export
from engine.history.fields import FIELDS
from engine.history.record import RunRecord
from engine.history.summary import RunSummary

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "＋1", "－1", "＠x", " =1", "'=1", "''=1",
            "=HYPERLINK(\"http://x\",\"y\")", "=cmd|' /C calc'!A0", "-Infinity", "\x1b[31m=1", "−1"]  # fmt: skip
PLAIN = ["", "plain", "a,b", 'say "hi"', "two\nlines", "a;=1", "한국어, 대화", "it's", "'quoted'", "1e5", "NaN"]


def record(rows: int = 0) -> RunRecord:
    return RunRecord(RunSummary("id", "/runs/one", "one", "trl", "completed"), steps=_filled(rows))


def _filled(rows: int):
    from engine.history.record import Curves

    curves = Curves()
    for step in range(1, rows + 1):
        curves.add({"step": step, "epoch": step / 7}, [("loss", 1 / step), ("learning_rate", 1e-4 / step)])
    return curves


def written(made: RunRecord, kind: str = "all") -> tuple[list[list[str]], str]:
    file = io.StringIO(newline="")
    export.write_csv(made, file, kind)
    text = file.getvalue()
    return list(csv.reader(io.StringIO(text, newline=""), strict=True)), text


def test_every_number_comes_back_as_it_was() -> None:
    made, chance = record(), random.Random(7)
    values = [5e-324, 1.7976931348623157e308, 0.1 + 0.2, -0.0, 1e16, 123456789.12345678, -1.5, 3.0, 1e-7]
    values += [struct.unpack("<d", chance.randbytes(8))[0] for _ in range(500)]
    values += [math.nan, math.inf, -math.inf]
    for step, value in enumerate(values, 1):
        made.steps.add({"step": step, "tokens": 2.0**52 + step}, [("loss", value)])
    table, text = written(made, "steps")
    assert table[0] == ["step", "tokens", "loss"] and text.endswith("\r\n") and "\n" not in text.replace("\r\n", "")
    for (step, tokens, loss), value in zip(table[1:], values, strict=True):
        back = float(export.plain(loss))
        assert back == value or (back != back and value != value), (loss, value)
        assert math.copysign(1, back) == math.copysign(1, value) or value != value
        assert int(tokens) == 2**52 + int(step)
    lines = io.StringIO()
    export.write_jsonl(made, lines, "steps")
    read = [json.loads(line, parse_constant=pytest.fail) for line in lines.getvalue().splitlines()]
    assert [row["loss"] for row in read[:-3]] == values[:-3]
    assert [row["loss"] for row in read[-3:]] == ["NaN", "Infinity", "-Infinity"]


def test_evaluations_stand_after_the_step_that_they_measure() -> None:
    made = record(4)
    for step in (2, 4):
        made.evals.add({"step": step}, [("eval_loss", step / 10)])
    table, _ = written(made)
    assert table[0] == ["kind", "step", "epoch", "loss", "learning_rate", "eval_loss"]
    assert [(row[0], row[1]) for row in table[1:]] == [
        ("step", "1"), ("step", "2"), ("eval", "2"), ("step", "3"), ("step", "4"), ("eval", "4")
    ]  # fmt: skip
    assert table[3] == ["eval", "2", "", "", "", "0.2"]
    assert [row[0] for row in written(made, "evals")[0][1:]] == ["2", "4"]
    with pytest.raises(InputError, match="no 'gradients'"):
        written(made, "gradients")


def test_a_run_without_rows_is_a_header() -> None:
    assert written(record())[0] == [["kind", "step"]]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_becomes_a_formula(text: str) -> None:
    cell = next(csv.reader([export.cell(text)]))[0] if "\n" not in text else export.cell(text).strip('"')
    assert cell.startswith("'"), cell
    assert export.plain(cell) == cell[1:]
    if "\x1b" not in text and "\r" not in text:
        assert export.plain(cell) == text


@pytest.mark.parametrize("text", PLAIN)
def test_all_other_texts_stay_as_they_are(text: str) -> None:
    row = next(csv.reader(io.StringIO(export.cell(text) + ",1\r\n", newline=""), strict=True))
    assert row == [text, "1"] and export.plain(row[0]) == text


@pytest.mark.parametrize("text", ["\ufeff=1", "\u200b=1", "\x00=1", "\ud800=1", "\u202e=1"])
def test_signs_that_nobody_sees_do_not_hide_a_formula(text: str) -> None:
    assert export.cell(text).strip('"') == "\ufffd=1"


def test_a_reader_that_splits_elsewhere_finds_no_cell_inside_a_text() -> None:
    for text in ("a;=1+1", "a\t=1+1", "a|=1+1"):
        assert export.cell(text).startswith('"') and export.cell(text).endswith('"')


def test_numbers_stay_numbers() -> None:
    assert [export.cell(v) for v in (-1, -0.5, 1e-05, True, None, 7, ["a", "b"])] == [
        "-1", "-0.5", "1e-05", "true", "", "7", '"a, b"'
    ]  # fmt: skip


def test_names_of_metrics_are_untrusted_too() -> None:
    made = record()
    made.steps.add({"step": 1}, [("=cmd|' /C calc'!A0", 1.0), ("\x1b]52;c;AAAA\x07", 2.0)])
    table, text = written(made, "steps")
    assert table[0][1] == "'=cmd|' /C calc'!A0" and "\x1b" not in text and table[1] == ["1", "1.0", "2.0"]


def test_a_list_of_runs_is_a_table() -> None:
    run = RunSummary("=1+1", "/runs/=x", "@name", "trl", "completed", last_loss=-0.25, best_loss=math.nan, created=1.5e9,
                     tags=["keep", "+1"], step=3, learning_rate=2e-4, bytes=123)  # fmt: skip
    file = io.StringIO(newline="")
    names = ("id", "name", "loss", "best", "created", "tags", "step", "lr", "bytes", "eval")
    assert export.write_runs(file, [run], [FIELDS[name] for name in names]) == 1
    table = list(csv.reader(io.StringIO(file.getvalue(), newline="")))
    assert table[0] == list(names)
    assert table[1] == ["'=1+1", "'@name", "-0.25", "NaN", "2017-07-14 02:40:00", "keep, +1", "3", "0.0002", "123", ""]


def test_a_file_is_new_or_nothing_is_written(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    assert export.to_file(target, lambda file: export.write_csv(record(3), file)) == 3
    before = target.read_bytes()
    assert before.count(b"\r\n") == 4 and not list(tmp_path.glob(".*"))
    with pytest.raises(InputError, match="exists already"):
        export.to_file(target, lambda file: file.write("x"))
    assert target.read_bytes() == before
    export.to_file(target, lambda file: file.write("new"), force=True)
    assert target.read_text() == "new"


def test_a_writer_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(file: object) -> int:
        raise OSError(28, "No space left on device")

    with pytest.raises(TunedeckError, match="No space left"):
        export.to_file(tmp_path / "out.csv", fail)
    assert os.listdir(tmp_path) == []
    with pytest.raises(TunedeckError, match="No such file"):
        export.to_file(tmp_path / "missing" / "out.csv", lambda file: 0)


def test_only_plain_files_are_ever_replaced(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link, pipe, folder = tmp_path / "link", tmp_path / "pipe", tmp_path / "folder"
    link.symlink_to(victim)
    os.mkfifo(pipe)
    folder.mkdir()
    for path in (link, pipe, folder):
        for force in (False, True):
            with pytest.raises(InputError):
                export.to_file(path, lambda file: file.write("x"), force=force)
    assert victim.read_text() == "precious" and link.is_symlink() and folder.is_dir()


def test_of_two_writers_at_once_one_wins(tmp_path: Path) -> None:
    target, gate, outcomes = tmp_path / "out.csv", threading.Barrier(2), []

    def work(text: str) -> None:
        def write(file) -> int:
            file.write(text)
            gate.wait(5)  # both have looked, neither has named its file
            return 1

        try:
            export.to_file(target, write)
            outcomes.append(text)
        except InputError:
            outcomes.append("refused")

    threads = [threading.Thread(target=work, args=(text,)) for text in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes)[0] in ("one", "refused") and "refused" in outcomes and target.read_text() in outcomes
