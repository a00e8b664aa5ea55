"""Input that nobody means: refused by what it is, in one JSON document, and nothing is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.cli import main

SAMPLE = paths.sample_data_dir()
ROW = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, **settings: Any) -> dict[str, Any]:
    given = {
        "base_model": SAMPLE / "tiny-qwen2",
        "train_path": SAMPLE / "train.jsonl",
        "output_dir": tmp_path / "out",
        **settings,
    }
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    assert main(["preflight", *words, "--json"]) == 2
    out = capsys.readouterr()
    found = json.loads(out.out, parse_constant=lambda word: pytest.fail(word))
    assert not found["ok"] and all(problem["hint"] for problem in found["errors"]) and "Traceback" not in out.err
    return found["errors"][0]


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("base_model", "~nobody-of-that-name/model", "does not exist"),
        ("train_path", "~nobody-of-that-name/rows.jsonl", "does not exist"),
        ("eval_path", "~nobody-of-that-name/rows.jsonl", "does not exist"),
        ("output_dir", "~nobody-of-that-name/out", "home of a user that is not here"),
        ("worker_python", "~nobody-of-that-name/python", "home of a user that is not here"),
        ("chat_template_path", "~nobody-of-that-name/t.jinja", ""),
        ("max_steps", "99999999999999999999", "cannot be more than"),
        ("save_steps", "99999999999999999999", "cannot be more than"),
        ("early_stopping_patience", "99999999999999999999", "cannot be more than"),
        ("base_model", "a" * 3000, "longer than a path"),
        ("chat_template_path", "/t/" * 2000, "longer than a path"),
        ("report_to", "tensorbord", "does not know 'tensorbord'"),
        ("report_to", "wandb,nowhere", "does not know 'nowhere'"),
        ("output_dir", "/tmp/" + "a" * 300, "cannot be created"),
        ("output_dir", "/tmp/" + "a/" * 3000, "cannot be created"),
        ("train_path", f"{SAMPLE / 'train.jsonl'}:150%", "more than all rows"),
    ],
)
def test_settings(capsys: pytest.CaptureFixture[str], tmp_path: Path, setting: str, value: str, says: str) -> None:
    more = {"eval_fraction": "0.1"} if setting == "early_stopping_patience" else {}
    problem = refused(capsys, tmp_path, **more, **{setting: value})
    assert problem["setting"] == setting and says in problem["message"], problem


def test_links_to_nowhere_are_no_place_to_write(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("dangling", "loop"):
        assert refused(capsys, tmp_path, output_dir=tmp_path / name)["setting"] == "output_dir"


def test_half_a_character_in_a_file_of_settings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text('run_name: "\\ud800"\n')
    assert refused(capsys, tmp_path, config=tmp_path / "c.yaml")["setting"] == "run_name"


@pytest.mark.parametrize(
    ("text", "row", "says"),
    [
        (json.dumps([ROW] * 3) + json.dumps([ROW]), 4, "the end of the list"),
        (f"[{json.dumps(ROW)} {json.dumps(ROW)}]", 2, "no comma before this row"),
        (f'{{"data": [{json.dumps(ROW)} {json.dumps(ROW)}]}}', 2, "no comma before this row"),
        (f"[{json.dumps(ROW)}] x", 2, "broken JSON"),
    ],
)
def test_lists_that_are_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, row: int, says: str
) -> None:
    (tmp_path / "rows.json").write_text(text)
    problem = refused(capsys, tmp_path, train_path=tmp_path / "rows.json")
    assert says in problem["message"] and problem["file"] == str(tmp_path / "rows.json") and problem["line"], (
        problem,
        row,
    )


@pytest.mark.parametrize("arguments", [[1, 2], "5", '"text"', 5, True])
def test_arguments_of_a_tool_call_are_an_object(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: object
) -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "look", "arguments": arguments}}]}
    (tmp_path / "rows.jsonl").write_text(
        json.dumps(ROW) + "\n" + json.dumps({"messages": [ROW["messages"][0], call]}) + "\n"
    )
    problem = refused(capsys, tmp_path, train_path=tmp_path / "rows.jsonl")
    assert problem["kind"] == "bad-tool-call" and problem["line"] == 2 and "look are no object" in problem["message"]
