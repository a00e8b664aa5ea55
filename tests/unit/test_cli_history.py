"""runs, show, compare and export over runs of any tool: complete, strict for programs, plain for people."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from engine import registry
from engine.cli import main
from engine.cli.listing import joined
from tests.support import make_run

KEYS = {"id", "path", "name", "tool", "state", "base_model", "step", "total_steps", "last_loss", "best_loss", "last_eval_loss",
        "best_eval_loss", "points", "created", "started", "ended", "bytes", "problems"}  # fmt: skip


def foreign(
    path: Path,
    *,
    losses: tuple[Any, ...] = (2.0, 1.5, 1.25),
    evals: tuple[Any, ...] = (),
    r: int = 8,
    base: str = "org/m",
) -> Path:
    """A directory of a trainer with LoRA."""
    path.mkdir(parents=True)
    rows = [{"step": n, "epoch": n / 10, "loss": loss, "learning_rate": 1e-4} for n, loss in enumerate(losses, 1)]
    rows += [{"step": n, "epoch": n / 10, "eval_loss": loss} for n, loss in enumerate(evals, 1)]
    state = {"global_step": len(losses), "max_steps": 10, "num_train_epochs": 1, "log_history": rows}
    (path / "trainer_state.json").write_text(json.dumps(state))
    adapter = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": r,
        "lora_alpha": 2 * r,
        "target_modules": ["q_proj"],
    }
    (path / "adapter_config.json").write_text(json.dumps(adapter))
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    make_run(root / "own", steps=20, base_model="Qwen/Qwen2.5-0.5B", name="=own", config={"lora_r": 16})
    foreign(root / "good", evals=(1.0, 0.5))
    foreign(root / "deep" / "nan", losses=(1.0, float("nan")), r=4)
    (foreign(root / "torn") / "all_results.json").write_text("{")
    return root


def speak(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=pytest.fail)


def test_runs_lists_what_every_tool_left(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = speak(capsys, "runs", tree, "--json")
    rows = {row["name"]: row for row in strict(out)}
    assert code == 0 and set(rows) == {"=own", "good", "nan", "torn"}
    assert all(set(row) >= KEYS for row in rows.values())
    good = rows["good"]
    assert (good["tool"], good["state"]) == ("transformers", "unknown") and good["base_model"] == "org/m"
    assert (good["last_loss"], good["best_eval_loss"], good["points"], good["step"], good["total_steps"]) == (
        1.25,
        0.5,
        3,
        3,
        10,
    )
    assert rows["nan"]["last_loss"] == "NaN" and rows["nan"]["best_loss"] == 1.0
    assert all(row["bytes"] > 0 for row in rows.values()) and rows["torn"]["problems"]
    assert rows["=own"]["tool"] == "tunedeck" and rows["=own"]["state"] == "completed"
    code, out, err = speak(capsys, "runs", tree)
    assert code == 0 and out.count("\n") == 5 and "transformers" in out and "NaN" in out
    assert "1 run could not be read whole" in err


def test_runs_are_filtered_sorted_cut_and_shown_by_field(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = speak(
        capsys,
        "runs",
        tree,
        "--filter",
        "-tool:tunedeck loss<2 or loss:nan",
        "--sort",
        "-r",
        "--columns",
        "name,r,loss",
    )
    lines = [line.split() for line in out.splitlines()]
    assert code == 0 and lines[0] == ["NAME", "R", "LOSS"] and lines[-1] == ["nan", "4", "NaN"] and len(lines) == 4
    code, out, err = speak(capsys, "runs", tree, "--sort", "loss", "--columns", "name", "--limit", 2)
    assert out.split()[1:] == ["good", "torn"]
    assert "2 more fit" in err
    found = strict(speak(capsys, "runs", tree, "--json", "--sort=r", "--columns", "name,r")[1])
    assert [row["r"] for row in found] == [4, 8, 8, 16] and set(found[0]) == {"name", "r"}
    assert speak(capsys, "runs", tree, "--filter", "loss>100")[1] == "No run fits.\n"
    assert strict(speak(capsys, "runs", tree, "--filter", "loss>100", "--json")[1]) == []
    sizes = strict(speak(capsys, "runs", tree, "--filter", "bytes>1k", "--json", "--columns", "name,bytes")[1])
    assert {row["name"] for row in sizes} >= {"=own"} and all(row["bytes"] > 1000 for row in sizes)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--columns", "id,lss"], "no field 'lss'. Did you mean loss"),
        (["--sort", "lrr"], "no field 'lrr'. Did you mean lr"),
        (["--sort", "-zzzzzz"], "no field 'zzzzzz'. See: tunedeck runs --columns help"),
        (["--filter", "los<1"], "no field 'los'. Did you mean loss"),
        (["--filter", "loss<"], "filter"),
        (["--columns", ","], "names no field"),
        (["--limit", "-1"], "--limit"),
    ],
)
def test_wrong_words_are_refused_with_near_ones(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, err = speak(capsys, "runs", tmp_path, *words)
    assert code == 2 and said in err and out == "" and err.count("\n") == 1


def test_columns_help_names_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    from engine.history.fields import FIELDS

    code, out, _ = speak(capsys, "runs", "--columns", "help")
    assert code == 0 and [line.split()[0] for line in out.splitlines()[1:]] == list(FIELDS)


def test_the_list_as_csv_and_lines(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = speak(capsys, "runs", tree, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert code == 0 and err == "" and {row["name"] for row in rows} == {"'=own", "good", "nan", "torn"}
    whole = {row["name"]: row for row in strict(speak(capsys, "runs", tree, "--json")[1])}
    for row in rows:
        told = whole[row["name"].removeprefix("'")]
        assert row["path"] == told["path"] and row["tool"] == told["tool"]
        for ours, theirs in (("loss", "last_loss"), ("best", "best_loss"), ("r", "lora_r"), ("bytes", "bytes")):
            assert row[ours] == ("" if told[theirs] is None else str(told[theirs]))
    lines = speak(capsys, "runs", tree, "--format", "jsonl")[1].splitlines()
    assert len(lines) == 4 and {strict(line)["id"] for line in lines} == {run["id"] for run in whole.values()}


def test_a_changed_run_is_listed_as_it_is_now(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def losses() -> dict[str, Any]:
        return {row["name"]: row["last_loss"] for row in strict(speak(capsys, "runs", tree, "--json")[1])}

    before = losses()
    state = tree / "good" / "trainer_state.json"
    kept = state.stat()
    state.write_text(state.read_text().replace("1.25", "1.75"))
    os.utime(state, ns=(kept.st_atime_ns, kept.st_mtime_ns + 1_000_000))
    assert before["good"] == 1.25 and losses()["good"] == 1.75
    (tree / "good").rename(tree / "moved")
    assert "good" not in losses() and losses()["moved"] == 1.75


def test_a_folder_that_does_not_answer_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gather(roots: Any, registered: bool, unreachable: dict[str, str]) -> list[Any]:
        unreachable.update({"/mnt/hung": "does not answer", "/gone": os.strerror(2)})
        return []

    monkeypatch.setattr("engine.history.gather", gather)
    code, out, err = speak(capsys, "runs", tmp_path, "--json")
    assert code == 0 and strict(out) == [] and err.count("\n") == 1 and "/mnt/hung: does not answer" in err


def test_show_tells_what_a_foreign_directory_tells(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = speak(capsys, "show", tree / "good", "--json")
    shown = strict(out)
    assert code == 0 and set(shown) >= KEYS | {"config", "auto", "data", "versions", "checkpoints", "reason", "stalled"}
    assert shown["config"]["lora_r"] == 8 and shown["sources"]["lora_r"] == "adapter_config.json"
    assert (
        shown["reason"] is None and shown["stalled"] is False and shown["created"] is None and shown["command"] is None
    )
    assert shown["logged"] == {"steps": {"learning_rate": 3, "loss": 3}, "evals": {"eval_loss": 2}}
    code, out, _ = speak(capsys, "show", tree / "good")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "setting lora_r 8 (adapter_config.json)" in lines and "setting learning_rate -" in lines
    assert "tool transformers" in lines and "steps 3/10" in lines and "data -" in lines
    everything = speak(capsys, "show", tree / "good", "--all")[1]
    assert "weight_decay" in everything and "worker_python" not in everything
    (name,) = [
        row["id"]
        for row in strict(speak(capsys, "runs", tree, "--json", "--filter", "name:torn", "--columns", "id")[1])
    ]
    registry.remember_root(tree)
    code, out, _ = speak(capsys, "show", name)
    assert code == 0 and [
        line for line in out.splitlines() if line.startswith("problem") and "all_results.json" in line
    ]


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for verb in ("show", "export"):
        code, out, err = speak(capsys, verb, tmp_path / "empty")
        assert code == 2 and out == "" and "holds no run" in err
    code, _, err = speak(capsys, "compare", tmp_path / "empty", tmp_path)
    assert code == 2 and "holds no run" in err


def test_compare_says_what_differs_and_who_won(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [tree / "good", tree / "deep" / "nan", tree / "own"]
    code, out, _ = speak(capsys, "compare", *runs)
    lines = [line.split() for line in out.splitlines()]
    assert code == 0 and ["lora_r", "8", "4", "16"] in lines and ["target_modules"] not in [line[:1] for line in lines]
    assert "By eval_loss (best value; lower is better):" in out
    ranking = lines[-3:]
    assert (
        ranking[0][:3] == ["1", "A", "0.5"]
        and ranking[1][1] == "C"
        and ranking[2] == ["-", "B", "-", "-", "nan", "has", "no", "eval_loss"]
    )
    code, out, _ = speak(capsys, "compare", *runs[:2], "--metric", "loss", "--by", "last", "--json")
    found = strict(out)
    assert [row["name"] for row in found["ranking"]] == ["good", "nan"] and found["ranking"][1]["value"] == "NaN"
    assert found["ranking"][1]["note"] == "1 of 2 values are no numbers"
    assert {d["name"]: d["values"] for d in found["differences"]}["lora_r"] == [8, 4]
    assert "The same:" in speak(capsys, "compare", *runs[:2], "--all")[1]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "needs two runs"),
        (["good"], "is named twice"),
        (["torn", "--metric", "los"], "Did you mean loss"),
        (["torn", "--by", "worst"], "invalid choice"),
        (["torn", "--smoothing", "1"], "--smoothing"),
    ],
)
def test_compare_refuses(tree: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [tree / word if word in ("good", "torn") else word for word in more]
    try:
        code, out, err = speak(capsys, "compare", tree / "good", *words)
    except SystemExit as left:
        code, (out, err) = int(left.code or 0), capsys.readouterr()
    assert code == 2 and said in err and out == ""


def test_export_to_the_screen_and_into_files(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = speak(capsys, "export", tree / "good")
    assert code == 0 and err == "" and out.startswith("kind,step,epoch,") and out.count("\r\n") == 6
    code, out, _ = speak(capsys, "export", tree / "deep" / "nan", "--format", "jsonl", "--what", "steps")
    assert [strict(line)["loss"] for line in out.splitlines()] == [1.0, "NaN"]
    target = tmp_path / "out.jsonl"
    code, out, _ = speak(capsys, "export", tree / "own", "-o", target)
    rows = [strict(line) for line in target.read_text().splitlines()]
    assert code == 0 and out == f"25 rows written to {target}\n" and len(rows) == 25
    code, out, err = speak(capsys, "export", tree / "good", "-o", target)
    assert code == 2 and "exists already" in err and len(target.read_text().splitlines()) == 25
    code, out, _ = speak(capsys, "export", tree / "good", "-o", target, "--force", "--format", "csv", "--what", "evals")
    assert code == 0 and target.read_bytes().count(b"\r\n") == 3


def test_a_value_may_begin_with_a_hyphen() -> None:
    assert joined(["x", "--filter", "-tag:old", "--sort", "-loss", "--json"], ("--filter", "--sort")) == [
        "x", "--filter=-tag:old", "--sort=-loss", "--json"
    ]  # fmt: skip
    assert joined(["--", "--filter", "-x"], ("--filter",)) == ["--", "--filter", "-x"]
