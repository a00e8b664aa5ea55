"""Several processes train one run, here on the CPU: they learn what one learns, act together, and end together."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine import paths, process
from engine.checkpoints import checkpoints, verify
from engine.config import parse
from engine.launchers import launch
from engine.rundir import RunDir
from engine.snapshot import RunFollower
from tests.slow.test_control import model_with_a_spoilt_token
from tests.support import ended, read_events, wait_for

pytestmark = pytest.mark.slow
SAMPLE = paths.sample_data_dir()


def begin(output: Path, **more: Any) -> RunDir:
    values = {"base_model": SAMPLE / "tiny-qwen2", "train_path": SAMPLE / "train.jsonl", "output_dir": output,
              "max_seq_length": 192, "learning_rate": 1e-3, "lora_dropout": 0, "queue": "false", **more}  # fmt: skip
    return launch(parse({name: str(value) for name, value in values.items()}))


def together(output: Path, **more: Any) -> RunDir:
    return begin(output, num_gpus=2, keep_samples_per_update="true", **more)


def figures(run: RunDir) -> list[dict[str, Any]]:
    return [event for event in read_events(run) if event["type"] in ("step", "eval")]


def assert_same_curve(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    assert [(e["type"], e["step"]) for e in one] == [(e["type"], e["step"]) for e in other]
    for a, b in zip(one, other, strict=True):
        name = "loss" if a["type"] == "step" else "eval_loss"
        assert math.isclose(a[name], b[name], rel_tol=1e-4), (a["step"], a[name], b[name])
        if a["type"] == "step":
            assert a["num_tokens"] == b["num_tokens"]
            assert math.isclose(a["grad_norm"], b["grad_norm"], rel_tol=1e-3)
            assert a["learning_rate"] == b["learning_rate"]


def nobody_left(run: RunDir) -> bool:
    told = (run.read_status() or {})["ranks"]
    assert [one["rank"] for one in told] == [0, 1]
    return not any(process.started(one["pid"]) for one in told)


def step_of(run: RunDir) -> int:
    return RunFollower(run.path).read_all().step or 0


@pytest.mark.parametrize("recipe", ["plain", "exact"])
def test_two_learn_what_one_learns(recipe: str, tmp_path: Path) -> None:
    """Same samples in each update, so the same losses; 60 evaluation rows make whole batches for both."""
    more = {"recipe": recipe, "max_steps": 24, "save_steps": 12, "eval_path": SAMPLE / "eval.jsonl", "eval_steps": 12,
            "per_device_eval_batch_size": 2}  # fmt: skip
    alone = begin(tmp_path / "alone", **more)
    assert ended(alone, 240)["state"] == "completed"
    both = together(tmp_path / "both", **more)
    status = ended(both, 240)
    assert (status["state"], status["step"]) == ("completed", 24)
    assert nobody_left(both)
    assert_same_curve(figures(alone), figures(both))
    assert [e["step"] for e in read_events(both) if e["type"] == "step"] == list(
        range(1, 25)
    )  # one writer, nothing twice
    saved = checkpoints(both.path)
    assert [one.step for one in saved] == [12, 24]
    for one in saved:
        assert not one.problem and not verify(one)
        assert {"rng_state_0.pth", "rng_state_1.pth"} <= {file.name for file in one.path.iterdir()}
    assert (both.path / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("recipe", ["plain", "exact"])
def test_a_model_that_is_shared_out_learns_the_same(recipe: str, tmp_path: Path) -> None:
    """Each process holds a part of every layer. With passes of 320 tokens the processes have unequal numbers of them."""
    more = {"recipe": recipe, "max_steps": 8, "save_steps": 4, "eval_path": SAMPLE / "eval.jsonl", "eval_steps": 4,
            "lora_dropout": 0.1, "gradient_checkpointing": "true"}  # fmt: skip
    more |= {"max_tokens_per_pass": 320} if recipe == "exact" else {}
    whole = together(tmp_path / "whole", **more)
    assert ended(whole, 240)["state"] == "completed"
    shared = together(tmp_path / "shared", fsdp="true", sample_prompts=prompts(tmp_path), **more)
    assert ended(shared, 240)["state"] == "completed"
    assert nobody_left(shared)
    assert_same_curve(figures(whole), figures(shared))
    said = [event["text"] for event in read_events(shared) if event["type"] == "notice"]
    parts = [re.search(r"among 2 processes: ([\d.e-]+) of ([\d.e-]+) GiB", text) for text in said]
    held, of = next((float(found[1]), float(found[2])) for found in parts if found)
    assert 0.5 * of < held < 0.8 * of, "embeddings and adapters are whole"
    assert any("spread over several processes" in text for text in said), "one process alone cannot ask the model"
    one, other = (load_file(run.path / "adapter_model.safetensors") for run in (whole, shared))
    assert one.keys() == other.keys() and all(
        torch.allclose(one[name], other[name], rtol=1e-4, atol=1e-6) for name in one
    )

    words = [sys.executable, "-m", "tui", "resume", str(shared.path), "--max_steps", "10"]
    result = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert [e["step"] for e in read_events(shared) if e["type"] == "step" and e["attempt"] == 2] == [9, 10]


def prompts(folder: Path) -> Path:
    (folder / "prompts.jsonl").write_text('{"prompt": "Who are you?"}\n')
    return folder / "prompts.jsonl"


def test_more_samples_in_an_update_without_keeping(tmp_path: Path) -> None:
    """Batch × accumulation × processes: as one process with twice the accumulation."""
    run = begin(tmp_path / "wide", num_gpus=2, max_steps=4, gradient_accumulation_steps=2, save_steps=4)
    same = begin(tmp_path / "same", max_steps=4, gradient_accumulation_steps=4, save_steps=4)
    assert ended(run, 240)["state"] == ended(same, 240)["state"] == "completed"
    assert_same_curve(figures(same), figures(run))


def test_requests_act_on_both_at_one_step_and_a_resume_goes_on(tmp_path: Path) -> None:
    more = {
        "max_steps": 120,
        "save_steps": 1000,
        "eval_path": SAMPLE / "eval.jsonl",
        "eval_steps": 1000,
        "lora_dropout": 0.1,
    }
    run = together(tmp_path / "run", **more)
    wait_for(lambda: step_of(run) >= 2, 120, every=0.1)
    run.request("checkpoint")
    wait_for(lambda: checkpoints(run.path), 60, every=0.1)
    run.request("evaluate")
    wait_for(lambda: any(e["type"] == "eval" for e in read_events(run)), 60, every=0.1)
    run.request("stop")
    status = ended(run, 120)
    assert status["state"] == "stopped"
    assert nobody_left(run)
    events = read_events(run)
    outcomes = {e["request"]: e["outcome"] for e in events if e["type"] == "control"}
    assert outcomes["checkpoint"].startswith("done") and outcomes["evaluate"].startswith("done")
    stopped_at = status["step"]
    last = checkpoints(run.path)[-1]
    assert last.step == stopped_at and not verify(last)
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= {file.name for file in last.path.iterdir()}

    words = [sys.executable, "-m", "tui", "resume", str(run.path), "--max_steps", str(stopped_at + 6)]
    result = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    status = ended(run, 10)
    assert (status["state"], status["step"], status["attempts"]) == ("completed", stopped_at + 6, 2)
    first = next(e["step"] for e in read_events(run) if e["type"] == "step" and e["attempt"] == 2)
    assert first == stopped_at + 1


def test_an_interrupted_run_of_two_goes_on_to_the_same_losses(tmp_path: Path) -> None:
    """Dropout is on: the random numbers of both processes must go on, too. One process is killed, the run is resumed."""
    more = {"max_steps": 16, "save_steps": 6, "lora_dropout": 0.1, "lr_scheduler_type": "constant"}
    whole = together(tmp_path / "whole", **more)
    assert ended(whole, 240)["state"] == "completed"
    run = together(tmp_path / "run", **more)
    wait_for(lambda: step_of(run) >= 7, 120, every=0.05)
    victim = (run.read_status() or {})["ranks"][1]["pid"]
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    status = ended(run, 30)
    assert time.monotonic() - killed < 10
    assert status["state"] == "killed" and "SIGKILL" in status["reason"] and "rank 1" in status["reason"]
    assert nobody_left(run)
    words = [sys.executable, "-m", "tui", "resume", str(run.path)]
    result = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert ended(run, 10)["state"] == "completed"
    wanted = {e["step"]: e["loss"] for e in figures(whole)}
    found = {e["step"]: e["loss"] for e in figures(run)}
    assert found == wanted


def test_stop_now_ends_both(tmp_path: Path) -> None:
    run = together(tmp_path / "run", max_steps=1000)
    wait_for(lambda: step_of(run) >= 1, 120, every=0.1)
    run.request("stop-now")
    status = ended(run, 20)
    assert (status["state"], status["reason"]) == ("stopped", "stopped at once on request")
    assert nobody_left(run)


def test_a_stop_while_loading_ends_both(tmp_path: Path) -> None:
    run = together(tmp_path / "run", max_steps=1000)
    wait_for(lambda: (run.read_status() or {}).get("ranks"), 20)
    run.request("stop")
    assert ended(run, 60)["state"] == "stopped"
    assert nobody_left(run)


@pytest.mark.parametrize("recipe", ["plain", "exact"])
def test_a_loss_that_is_no_number_in_one_process_stops_both(recipe: str, tmp_path: Path) -> None:
    """The reason is told once, in the words that a run of one process would have, and the adapter stays as it was."""
    model = model_with_a_spoilt_token(tmp_path / "model", "☃")
    row = {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello to you"}]}
    bad = {"messages": [{"role": "user", "content": "☃"}, {"role": "assistant", "content": "Hello to you"}]}
    data = tmp_path / "train.jsonl"
    data.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in [*[row] * 39, bad]), encoding="utf-8")
    more = {
        "base_model": model,
        "train_path": data,
        "on_nonfinite": "stop",
        "seed": 3,
        "recipe": recipe,
        "save_steps": 1,
    }
    run = together(tmp_path / "out", **more)
    status = ended(run, 120)
    last = [e["step"] for e in read_events(run) if e["type"] == "step"][-1]
    assert last > 1, "another seed, please: the bad row came first"
    assert status["state"] == "failed", status
    assert status["reason"].startswith(f"the loss is not a number at step {last} (loss NaN, gradient NaN)")
    assert [one.step for one in checkpoints(run.path)][-1] == last - 1
    assert nobody_left(run)
