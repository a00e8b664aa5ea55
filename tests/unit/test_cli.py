"""Headless commands: exit codes, strict JSON on standard output, words for people, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from engine import registry
from engine.cli import main, output
from engine.rundir import write_json
from tests.support import fake_model, fake_python, make_run, write_rows

ROOT = Path(__file__).parent.parent.parent


def tunedeck(*words: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    result = subprocess.run([sys.executable, "-m", "tui", *map(str, words)], capture_output=True, text=True, timeout=60, check=False,
                            stdin=subprocess.DEVNULL, cwd=cwd, env={**os.environ, **env})  # fmt: skip
    assert "Traceback" not in result.stdout + result.stderr, result.stderr
    return result


@pytest.fixture
def flags(tmp_path: Path) -> dict[str, object]:
    return {"base_model": fake_model(tmp_path / "model"), "train_path": write_rows(tmp_path / "train.jsonl"),
            "output_dir": tmp_path / "out"}  # fmt: skip


def words(values: dict[str, object]) -> list[str]:
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


STEPS = "for n in range(1, 6): step(n, 5)\n"


def train(flags: dict[str, object], body: str, tmp_path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    python = fake_python(tmp_path / "python", body)
    return tunedeck("train", *words({**flags, "worker_python": python, "logging_steps": 2}), *more)


def test_train_follows_to_the_end(flags: dict[str, object], tmp_path: Path) -> None:
    result = train(flags, STEPS + 'events.write("state", state="completed", reason="all done")', tmp_path)
    assert result.returncode == 0, result.stderr
    assert (
        "tunedeck watch 2" in result.stdout and "step 4/5" in result.stdout and "completed: all done" in result.stdout
    )


def test_train_json_is_one_document(flags: dict[str, object], tmp_path: Path) -> None:
    result = train(flags, STEPS + 'events.write("state", state="completed", reason="")', tmp_path, "--json")
    record = json.loads(result.stdout)
    assert record["state"] == "completed" and record["points"] == 5 and record["config"]["logging_steps"] == 2


def test_exit_codes_tell_how_it_ended(flags: dict[str, object], tmp_path: Path) -> None:
    failed = train(
        flags, 'step(1)\nevents.write("state", state="failed", reason="disk full at step 2")\nsys.exit(1)', tmp_path
    )
    assert failed.returncode == 1 and "failed: disk full" in failed.stdout
    stopped = train(
        {**flags, "output_dir": tmp_path / "b"},
        'step(1)\nevents.write("state", state="stopped", reason="")\nsys.exit(130)',
        tmp_path,
    )
    assert stopped.returncode == 130
    again = train(flags, STEPS, tmp_path)
    assert again.returncode == 2 and "holds the run" in again.stderr


def test_detach_returns_while_the_run_lives(flags: dict[str, object], tmp_path: Path) -> None:
    result = train(flags, "step(1)\ntime.sleep(30)", tmp_path, "--detach")
    assert result.returncode == 0
    listed = json.loads(tunedeck("runs", "--json").stdout)
    assert [(r["state"] in ("starting", "running"), r["path"]) for r in listed] == [(True, str(tmp_path / "out"))]
    stopped = tunedeck("stop", tmp_path / "out", "--now", "--json")
    assert stopped.returncode == 0 and json.loads(stopped.stdout)["state"] == "stopped"
    late = tunedeck("stop", tmp_path / "out")
    assert late.returncode == 2 and "already ended" in late.stderr


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"train_path": "/no/such.jsonl"}, 2, "/no/such.jsonl: does not exist"),
        ({"lora_r": "0"}, 2, "lora_r: must be a whole number, 1 to 8192"),
        ({"learning_rate": "fast"}, 2, "learning_rate"),
        ({"lr": "1e-4"}, 2, "Did you mean learning_rate"),
        ({"base_model": "/no/model"}, 2, "/no/model"),
        ({"output_dir": "/proc/x"}, 2, "/proc/x"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(flags: dict[str, object], tmp_path: Path, change: dict[str, object], code: int,
                                                     says: str) -> None:  # fmt: skip
    result = tunedeck("train", *words({**flags, **change}))
    assert result.returncode == code and says in result.stderr and result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_bad_rows_are_named_by_line(flags: dict[str, object], tmp_path: Path) -> None:
    write_rows(tmp_path / "train.jsonl", [3] * 12)
    result = tunedeck("train", *words(flags))
    assert result.returncode == 2 and f"{tmp_path}/train.jsonl:1: is a number" in result.stderr
    assert "12 rows in all" in result.stderr and ":11:" not in result.stderr


def test_usage_errors(tmp_path: Path) -> None:
    assert tunedeck("train", "garbage").returncode == 2
    assert "Did you mean train" in tunedeck("trian").stderr
    assert tunedeck("show").returncode == 2 and tunedeck("show", "nope").returncode == 2
    assert tunedeck("show", tmp_path).returncode == 2
    assert tunedeck("runs", "--wrong").returncode == 2
    assert tunedeck("train", "--help").returncode == 0 and "--lora_r" in tunedeck("train", "--help").stdout
    assert tunedeck("--help").returncode == 0 and tunedeck("--version").stdout.startswith("tunedeck ")
    assert tunedeck("--wrong").returncode == 2


def test_yaml_errors_name_the_nearest_key(flags: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("lora_rr: 8\n")
    result = tunedeck("train", "--config", tmp_path / "run.yaml", *words(flags))
    assert result.returncode == 2 and "lora_rr" in result.stderr and "Did you mean lora_r" in result.stderr
    assert tunedeck("train", "--config", tmp_path / "missing.yaml").returncode == 2


def test_runs_and_show_speak_strict_json(tmp_path: Path) -> None:
    make_run(tmp_path / "a", name="ok", created=1_790_000_100)
    bad = make_run(
        tmp_path / "b", name="\x1b]52;c;aGk=\x07evil", state="failed", reason="it \x1b[2J broke", created=1_790_000_000
    )
    write_json(bad.status_json, {**(bad.read_status() or {}), "last_loss": float("nan")})
    result = tunedeck("runs", tmp_path, "--json")
    listed = json.loads(result.stdout, parse_constant=pytest.fail)
    assert [r["name"] for r in listed] == ["ok", "\x1b]52;c;aGk=\x07evil"]
    assert {"id", "path", "name", "tool", "state", "base_model", "step", "total_steps", "last_loss", "best_loss", "last_eval_loss",
            "best_eval_loss", "points", "created", "started", "ended", "bytes", "problems"} <= set(listed[0])  # fmt: skip
    assert listed[0]["bytes"] > 100 and listed[0]["tool"] == "tunedeck"
    human = tunedeck("runs", tmp_path).stdout + tunedeck("show", tmp_path / "b").stdout
    assert "\x1b" not in human and "evil" in human and "broke" in human
    shown = json.loads(tunedeck("show", tmp_path / "a", "--json").stdout, parse_constant=pytest.fail)
    assert {"config", "auto", "data", "versions", "checkpoints", "reason", "stalled"} <= set(shown)


def test_no_runs_says_what_to_do(tmp_path: Path) -> None:
    result = tunedeck("runs")
    assert result.returncode == 0 and "tunedeck demo" in result.stdout
    assert json.loads(tunedeck("runs", "--json").stdout) == []


def test_doctor_looks_at_everything() -> None:
    found = json.loads(tunedeck("doctor", "--json").stdout)
    topics = {f["topic"] for f in found}
    assert {"python", "torch", "gpu", "memory", "disk", "hub", "session"} <= topics
    assert all(f["level"] in ("ok", "note", "warning", "error") for f in found)
    assert tunedeck("doctor").returncode == 0


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    for number in range(200):
        make_run(tmp_path / f"run-{number}", steps=1)
    result = subprocess.run(
        f"{sys.executable} -m tui runs {tmp_path} | head -1", shell=True, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in result.stderr


def test_a_run_is_found_by_its_name_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        run = make_run(tmp_path / f"r{number}", name="evening" if number == 1 else "night", run_id=f"2026112{number}-a")
        registry.remember_run(f"2026112{number}-a", run.path)
    assert main(["show", "night"]) == 0 and "20261122-a" in capsys.readouterr().out
    assert main(["show", "nigh"]) == 2 and "or that name" in capsys.readouterr().err
    assert main(["show", "2026"]) == 2 and "20261121-a" in capsys.readouterr().err


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_line_of_a_table_wraps_on_a_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    rows = [
        [
            "20261124-104516-30e3y",
            "running (stalled)",
            "한국어 이름" * 6,
            "Qwen2.5-7B-Instruct",
            "10/12000",
            "3.763",
            "-",
        ]
    ]
    text = output.table(["ID", "STATE", "NAME", "MODEL", "STEP", "LOSS", "EVAL"], rows, right=(4, 5, 6), drop=(3, 6))
    assert all(cell_len(line) <= width for line in text.splitlines()), text
    assert "20261124-104516-30e3y" in text and ("Qwen" in text) == (width == 160)
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    assert "Qwen" in output.table(["ID", "STATE", "NAME", "MODEL", "STEP", "LOSS", "EVAL"], rows, drop=(3,))
