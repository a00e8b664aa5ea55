"""From the settings on data to the checks before a run, its record, the form, and what removals keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.config import check as check_settings
from engine.config import flags, parse, yaml_file
from engine.data import check_sources, sources
from engine.errors import InputError
from engine.history import removal
from engine.launchers.local import with_absolute_paths
from engine.preflight import Preflight, check
from engine.rundir import write_json
from tests import datafiles
from tests.support import ROW, fake_model, make_run, write_rows
from tui.launch.probe import Asked, Probe

ALPACA = [{"instruction": f"Do {n}", "output": "done"} for n in range(10)]


@pytest.fixture
def good(tmp_path: Path) -> dict[str, Any]:
    return {"base_model": str(fake_model(tmp_path / "model")), "output_dir": str(tmp_path / "out"),
            "train_path": str(datafiles.table(tmp_path / "a.csv", ALPACA))}  # fmt: skip


def checked(values: dict[str, Any]) -> Preflight:
    return check(parse(values))


def test_a_run_on_a_table_is_planned_and_recorded(good: dict[str, Any]) -> None:
    result = checked(good)
    assert result.ok and result.plan is not None and result.plan.train_rows == 10 and not result.warnings
    assert result.data_record()["train"] == {
        **result.data_record()["train"],
        "format": "CSV",
        "shape": "alpaca",
        "rows": 10,
    }


def test_several_files_are_planned_by_what_is_taken_of_them(good: dict[str, Any], tmp_path: Path) -> None:
    more = write_rows(tmp_path / "b.jsonl", 20)
    result = checked({**good, "train_path": [good["train_path"], f"{more}:5"], "eval_path": f"{more}:25%"})
    assert result.ok and result.plan is not None and (result.plan.train_rows, result.plan.eval_rows) == (15, 5)
    files = result.data_record()["train"]["files"]
    assert [(part["shape"], part.get("amount")) for part in files] == [("alpaca", None), ("messages", "5")]  # type: ignore[attr-defined]
    assert [p.kind for p in checked({**good, "train_path": f"{more}:0"}).errors] == ["bad-amount"]
    assert [p.kind for p in checked({**good, "train_path": " , "}).errors] == ["missing-file"]


def test_bad_rows_are_refused_or_skipped(good: dict[str, Any], tmp_path: Path) -> None:
    bad = write_rows(tmp_path / "b.jsonl", [ROW, 3, {"messages": 4}])
    assert [(p.kind, p.line) for p in checked({**good, "train_path": str(bad)}).errors] == [
        ("not-a-chat", 2),
        ("no-messages", 3),
    ]
    result = checked({**good, "train_path": str(bad), "on_bad_rows": "skip"})
    assert result.ok and result.plan is not None and result.plan.train_rows == 1
    warning, *rows = result.warnings
    assert [(p.kind, p.file, p.line, p.severity) for p in rows] == [
        ("not-a-chat", str(bad), 2, "warning"),
        ("no-messages", str(bad), 3, "warning"),
    ]
    assert warning.kind == "skipped-rows" and "2 of 3 rows" in warning.message and "not-a-chat 1" in warning.message
    assert result.data_record()["train"]["skipped"] == {"not-a-chat": 1, "no-messages": 1}


def test_warnings_are_told_by_kind_with_count_and_lines(good: dict[str, Any], tmp_path: Path) -> None:
    path = write_rows(tmp_path / "b.jsonl", [ROW] * 4)
    (warning,) = checked({**good, "train_path": str(path)}).warnings
    assert (warning.kind, warning.line, warning.setting) == ("duplicate", 2, "train_path")
    assert "3 of 4 rows repeat an earlier row" in warning.message and "3, 4" in warning.message


def test_a_kind_of_error_beyond_the_first_ten_is_named_too(good: dict[str, Any], tmp_path: Path) -> None:
    path = write_rows(tmp_path / "b.jsonl", [ROW, *[3] * 20, {"messages": 4}])
    errors = checked({**good, "train_path": str(path)}).errors
    assert [p.kind for p in errors] == ["not-a-chat"] * 10 + ["no-messages", "more-errors"] and errors[10].line == 22


def test_plain_text(good: dict[str, Any], tmp_path: Path) -> None:
    text = datafiles.jsonl(tmp_path / "t.jsonl", [{"text": f"a {n}"} for n in range(5)])
    values = {**good, "train_path": str(text)}
    result = checked(values)
    assert result.ok and result.plan is not None and result.plan.train_rows == 5
    assert [p.kind for p in checked({**values, "assistant_only_loss": True}).errors] == ["no-roles"]
    assert [p.kind for p in checked({**values, "eval_path": good["train_path"]}).errors] == ["mixed-shapes"]


def test_the_shape_can_be_overruled(good: dict[str, Any], tmp_path: Path) -> None:
    path = datafiles.jsonl(tmp_path / "q.jsonl", [{"frage": f"q{n}", "antwort": "a"} for n in range(3)])
    values = {**good, "train_path": str(path)}
    assert {p.kind for p in checked(values).errors} == {"unknown-shape"}
    named = {**values, "data_format": "query_response", "data_fields": "query=frage, response=antwort"}
    assert checked(named).ok
    for fields, word in (("frage", "NAME=COLUMN"), ("foo=frage", "'foo'"), ("query=", "NAME=COLUMN")):
        config, problems = check_settings({**values, "data_fields": fields})
        assert config is None and [p.setting for p in problems] == ["data_fields"] and word in problems[0].message


def test_files_in_a_list_come_back_from_yaml_and_the_command_line(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl", "c,d.jsonl"):
        write_rows(tmp_path / name)
    file = tmp_path / "run.yaml"
    file.write_text("train_path: [a.jsonl, 'b.jsonl:3', /no/c.jsonl]\neval_path: 'c,d.jsonl'\noutput_dir: out\n")
    config = parse(yaml_file.load(file))
    assert (
        config.train_path == f"{tmp_path}/a.jsonl,{tmp_path}/b.jsonl:3,/no/c.jsonl"
        and config.eval_path == f"{tmp_path}/c,d.jsonl"
    )
    again = parse(yaml_file.loads(yaml_file.dumps(config), "x"))
    assert again == config and f"{tmp_path}/b.jsonl:3" in flags.command_line(config)
    file.write_text("train_path: a.jsonl,b.jsonl:x2\noutput_dir: out\n")
    assert parse(yaml_file.load(file)).train_path == f"{tmp_path}/a.jsonl,{tmp_path}/b.jsonl:x2"


def test_paths_of_several_files_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "a,b.jsonl")
    config = with_absolute_paths(
        parse({"train_path": "a,b.jsonl:3,c.jsonl", "eval_path": "a,b.jsonl", "output_dir": "out"})
    )
    assert (
        config.train_path == f"{tmp_path}/a,b.jsonl:3,{tmp_path}/c.jsonl"
        and config.eval_path == f"{tmp_path}/a,b.jsonl"
    )
    assert [source.amount for source in sources.parse(config.train_path)] == ["3", ""]


@pytest.mark.parametrize(("amount", "rows", "taken"), [
    ("", 10, 10), ("3", 10, 3), ("30", 10, 10), ("25%", 10, 2), ("100%", 10, 10), ("12.5%", 80, 10), ("x3", 10, 30)])  # fmt: skip
def test_what_is_taken_of_a_file(tmp_path: Path, amount: str, rows: int, taken: int) -> None:
    source = sources.Source(tmp_path, amount)
    picked = source.pick(list(range(rows)), seed=1)
    assert source.taken(rows) == len(picked) == taken and picked == source.pick(list(range(rows)), seed=1)
    assert set(picked) <= set(range(rows)) and (taken >= rows or picked == sorted(set(picked)))
    if taken in (3, 10) and rows > taken:
        assert picked != source.pick(list(range(rows)), seed=2)


def test_a_pattern_stands_for_the_files_that_fit(tmp_path: Path) -> None:
    for name in ("part-2.jsonl", "part-1.jsonl", "other.jsonl", "a[1].jsonl"):
        write_rows(tmp_path / name)
    named = sources.parse(f"{tmp_path}/part-*.jsonl:3")
    assert [(source.path.name, source.amount) for source in named] == [("part-1.jsonl", "3"), ("part-2.jsonl", "3")]
    assert [source.path.name for source in sources.parse(f"{tmp_path}/a[1].jsonl")] == ["a[1].jsonl"]
    assert [p.kind for p in check_sources(f"{tmp_path}/none-*.jsonl").errors] == ["missing-file"]
    assert sources.resolved("part-*.jsonl", tmp_path) == f"{tmp_path}/part-*.jsonl"
    assert check_sources(f"{tmp_path}/part-*.jsonl").rows == 16


@pytest.mark.parametrize("amount", ["0", "0%", "x0"])
def test_nothing_of_a_file_is_refused(amount: str) -> None:
    with pytest.raises(InputError):
        sources.parse(f"/no/a.jsonl:{amount}")


def test_the_form_reads_as_the_settings_say(tmp_path: Path) -> None:
    probe = Probe(lambda found: None)
    path = datafiles.jsonl(tmp_path / "q.jsonl", [{"frage": "q", "antwort": "a"}, {"x": 1}])

    def look(**more: str) -> Any:
        return probe.look(Asked("", str(path), "", "", **more))

    assert look().problems["train_path"].kind == "unknown-shape"
    named = {"data_format": "query_response", "data_fields": "query=frage,response=antwort"}
    assert look(**named).problems["train_path"].line == 2
    report = look(**named, on_bad_rows="skip").train
    assert (
        report.usable == 1 and report.skipped == {"missing-field": 1} and report.summary == "JSONL, query and response"
    )
    assert look(data_format="no such", data_fields="x").problems["train_path"].kind == "unknown-shape"


def test_no_removal_takes_any_of_several_data_files(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    for name in ("a.jsonl", "b.csv"):
        (run.path / name).write_text("{}")
    record = json.loads(run.run_json.read_text())
    record["config"]["train_path"] = f"{run.path}/a.jsonl,{run.path}/b.csv:10"
    record["data"] = {
        "train": {"path": "both", "files": [{"path": f"{run.path}/a.jsonl"}, {"path": f"{run.path}/b.csv"}]}
    }
    write_json(run.run_json, record)
    plan = removal.plan(run.path, everything=True)
    assert {"a.jsonl", "b.csv"} <= {found.path for found in plan.kept}
