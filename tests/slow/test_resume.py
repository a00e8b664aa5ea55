"""Going on from a checkpoint: the same bits as without the interruption, and changes that mean what a person means."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.rundir import RunDir
from engine.snapshot import RunFollower
from tests import preloaded
from tests.support import ended, read_events, wait_for

pytestmark = pytest.mark.slow

SAMPLE = paths.sample_data_dir()
EPOCH, EPOCHS, SAVE = 6, 3, 4
TOTAL = EPOCH * EPOCHS


def tunedeck(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tui", *map(str, words)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=300, check=False)  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = (SAMPLE / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    path = tmp_path_factory.mktemp("rows") / "train.jsonl"
    path.write_text("".join(lines[: EPOCH * 4]), encoding="utf-8")
    preloaded.interpreter(path.with_name("python"))
    return path


def flags(rows: Path, output: Path, **more: object) -> list[str]:
    values = {"base_model": SAMPLE / "tiny-qwen2", "train_path": rows, "output_dir": output, "lora_r": 4,
              "max_seq_length": 64, "batch_size": 2, "gradient_accumulation_steps": 2, "learning_rate": 5e-3,
              "num_train_epochs": EPOCHS, "save_steps": SAVE, "logging_steps": 3, "queue": "false", "worker_python": rows.with_name("python"), **more}  # fmt: skip
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


def train(rows: Path, output: Path, **more: object) -> RunDir:
    result = tunedeck("train", *flags(rows, output, **more))
    assert result.returncode == 0, result.stdout + result.stderr
    return RunDir(output)


def adapter(run: RunDir) -> bytes:
    return (run.path / "adapter_model.safetensors").read_bytes()


def column(run: RunDir, name: str) -> dict[int, float]:
    view = RunFollower(run.path).read_all()
    return dict(zip(view.steps.steps, view.steps.column(name), strict=True))


@pytest.fixture(scope="module")
def control(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Undisturbed."""
    return train(rows, tmp_path_factory.mktemp("control") / "out")


def copy_of(run: RunDir, where: Path) -> RunDir:
    shutil.copytree(run.path, where, symlinks=True)
    return RunDir(where)


def test_a_killed_run_goes_on_to_the_same_bits(rows: Path, control: RunDir, tmp_path: Path) -> None:
    """In its third epoch; tests/faults kills in the first two. Each attempt loads the libraries itself."""
    run, kill_at = RunDir(tmp_path / "out"), 2 * EPOCH + 1
    assert tunedeck("train", *flags(rows, run.path, worker_python=sys.executable), "--detach").returncode == 0
    wait_for(lambda: any(e["type"] == "step" and e["step"] >= kill_at for e in read_some(run)), 120)
    os.kill(run.read_status()["pid"], signal.SIGKILL)  # type: ignore[index]
    begun = time.monotonic()
    status = ended(run)
    assert time.monotonic() - begun < 3
    assert (status["state"], status["reason"], status["resumable"]) == ("killed", "killed by SIGKILL", True)
    result = tunedeck("resume", run.path)
    assert result.returncode == 0, result.stdout + result.stderr
    step = int(result.stdout.split("Going on after step ")[1].split(",")[0])
    assert kill_at - SAVE <= step <= TOTAL, "at most one save interval is lost"
    assert adapter(run) == adapter(control)
    losses = column(run, "loss")
    assert list(losses) == list(range(1, TOTAL + 1)), "no step is lost, none is double"
    assert losses == column(control, "loss")
    assert column(run, "num_tokens") == column(control, "num_tokens")
    assert [e["attempt"] for e in read_events(run) if e["type"] == "step"] == sorted(
        e["attempt"] for e in read_events(run) if e["type"] == "step"
    )
    attempts = run.read_run()["attempts"]  # type: ignore[index]
    assert [a["attempt"] for a in attempts] == [1, 2] and attempts[1]["checkpoint"].endswith(
        f"checkpoint-{attempts[1]['step']}"
    )
    assert run.read_status()["attempts"] == 2  # type: ignore[index]


def read_some(run: RunDir) -> list[dict[str, Any]]:
    try:
        lines = run.events.read_bytes().splitlines(keepends=True)
    except OSError:
        return []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def test_more_epochs_and_a_new_rate_after_completion(control: RunDir, rows: Path, tmp_path: Path) -> None:
    run = copy_of(control, tmp_path / "out")
    before = run.run_json.read_bytes()
    refused = tunedeck("resume", run.path)
    assert (
        refused.returncode == 2 and "all 18 steps are done" in refused.stderr and "num_train_epochs" in refused.stderr
    )
    assert run.run_json.read_bytes() == before
    result = tunedeck("resume", run.path, "--num_train_epochs", 4, "--learning_rate", "2e-3")
    assert result.returncode == 0, result.stdout + result.stderr
    assert (
        "changed: num_train_epochs: 3 -> 4" in result.stdout and "changed: learning_rate: 5e-3 -> 2e-3" in result.stdout
    )
    total, rates = 4 * EPOCH, column(run, "learning_rate")
    assert list(rates) == list(range(1, total + 1))
    warmup = math.ceil(total * 0.03)

    def cosine(step: int) -> float:  # transformers' get_cosine_schedule_with_warmup, at the step before the update
        progress = (step - 1 - warmup) / (total - warmup)
        return 2e-3 * 0.5 * (1 + math.cos(math.pi * progress))

    for step in range(TOTAL + 1, total + 1):
        assert rates[step] == pytest.approx(cosine(step), rel=1e-9), step
    assert rates[1] == column(control, "learning_rate")[1], "what has happened stays as it was"
    assert run.read_run()["config"]["num_train_epochs"] == 4  # type: ignore[index]


def test_an_earlier_checkpoint_and_a_new_run(control: RunDir, tmp_path: Path) -> None:
    source = {p.name: p.stat().st_mtime_ns for p in control.path.iterdir() if p.name != ".tunedeck"}
    new = tmp_path / "new"
    result = tunedeck("resume", control.path, "--checkpoint", 8, "--output_dir", new, "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["state"] == "completed"
    run = RunDir(new)
    record = run.read_run() or {}
    assert record["parent"]["id"] == (control.read_run() or {})["id"] and record["parent"]["step"] == 8
    assert list(column(run, "loss")) == list(range(9, TOTAL + 1))
    assert adapter(run) == adapter(control)
    assert source == {p.name: p.stat().st_mtime_ns for p in control.path.iterdir() if p.name != ".tunedeck"}
    unknown = tunedeck("resume", control.path, "--checkpoint", 7)
    assert unknown.returncode == 2 and "there is no checkpoint-7" in unknown.stderr


def test_what_cannot_be_changed_is_refused_before_anything_starts(control: RunDir, rows: Path, tmp_path: Path) -> None:
    run = copy_of(control, tmp_path / "out")
    for name in ("checkpoint-16", "checkpoint-18"):
        shutil.rmtree(run.path / name)
    before = {p: p.read_bytes() for p in run.meta.iterdir() if p.is_file()}
    for flag, value, words in (
        ("lora_r", 8, "the adapter's shape is fixed"),
        ("seed", 7, "the order of the data"),
        ("optim", "sgd", "the optimizer's state"),
        ("batch_size", 4, "samples per update must stay 4, not 8"),
        ("max_steps", 5, "would end at step 5, before the checkpoint's step 12"),
        ("lora_r", "many", "must be a whole number"),
    ):
        result = tunedeck("resume", run.path, f"--{flag}", value)
        assert result.returncode == 2 and words in result.stderr and "Traceback" not in result.stderr, result.stderr
    changed = tmp_path / "rows.jsonl"
    changed.write_text(rows.read_text(encoding="utf-8").replace("?", "!"), encoding="utf-8")
    dry = tunedeck("resume", run.path, "--train_path", changed, "--dry-run", "--json")
    plan = json.loads(dry.stdout)
    assert plan["ok"] and "train data" in [c["name"] for c in plan["changes"]] and plan["step"] == 12
    changed.write_text("".join(rows.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]), encoding="utf-8")
    refused = tunedeck("resume", run.path, "--train_path", changed, "--dry-run")
    assert refused.returncode == 2 and "has 23 rows now and had 24" in refused.stderr
    assert before == {p: p.read_bytes() for p in run.meta.iterdir() if p.is_file()}


def test_the_same_samples_in_other_passes_and_a_damaged_newest_checkpoint(control: RunDir, tmp_path: Path) -> None:
    run = copy_of(control, tmp_path / "out")
    shutil.rmtree(run.path / "checkpoint-18")
    weights = run.path / "checkpoint-16" / "optimizer.pt"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    result = tunedeck("resume", run.path, "--batch_size", 4, "--gradient_accumulation_steps", 1)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "checkpoint-16 is damaged" in result.stderr and "Going on after step 12" in result.stdout
    ours, theirs = column(run, "loss"), column(control, "loss")
    assert list(ours) == list(theirs)
    assert column(run, "num_tokens") == column(control, "num_tokens"), "the same samples in every update"
    assert all(ours[step] == pytest.approx(theirs[step], rel=0.3) for step in theirs), "but other dropout masks"


def test_a_run_without_a_checkpoint_begins_anew(control: RunDir, tmp_path: Path) -> None:
    run = copy_of(control, tmp_path / "out")
    for path in run.path.glob("checkpoint-*"):
        shutil.rmtree(path)
    (run.path / "adapter_model.safetensors").unlink()
    status = json.loads(run.status_json.read_text())
    run.status_json.write_text(json.dumps({**status, "state": "killed", "reason": "killed by SIGKILL"}))
    result = tunedeck("resume", run.path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "it begins anew at step 1" in result.stderr
    assert adapter(run) == adapter(control)
    assert column(run, "loss") == column(control, "loss")


def test_a_run_that_was_killed_while_it_saved_the_end(control: RunDir, tmp_path: Path) -> None:
    """All steps are done and checkpointed, but no adapter stands at the root."""
    run = copy_of(control, tmp_path / "out")
    (run.path / "adapter_model.safetensors").unlink()
    status = json.loads(run.status_json.read_text())
    run.status_json.write_text(json.dumps({**status, "state": "killed", "reason": "killed by SIGKILL"}))
    result = tunedeck("resume", run.path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert adapter(run) == adapter(control)
    assert column(run, "loss") == column(control, "loss")


def test_a_short_last_update_and_a_new_rhythm_of_saves(rows: Path, tmp_path: Path) -> None:
    """17 rows make 9 batches: the fifth update of an epoch has one batch where the others have two."""
    few = tmp_path / "few.jsonl"
    lines = (SAMPLE / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    few.write_text("".join(sorted(lines, key=len)[:17]), encoding="utf-8")  # of different lengths, none is cut
    preloaded.interpreter(tmp_path / "python")
    control = train(few, tmp_path / "control", num_train_epochs=2, save_steps=4, max_seq_length=512)
    result = tunedeck("resume", control.path, "--checkpoint", 4, "--save_steps", 1, "--output_dir", tmp_path / "new")
    assert result.returncode == 0, result.stdout + result.stderr
    new = RunDir(tmp_path / "new")
    assert adapter(new) == adapter(control)
    assert {p.name for p in new.path.glob("checkpoint-*")} == {f"checkpoint-{step}" for step in range(5, 11)}
