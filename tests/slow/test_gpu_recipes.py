"""On a machine with an NVIDIA GPU: recipe exact learns what the plain one learns, with and without its parts."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine import hardware, paths
from engine.config import parse
from engine.launchers import launch
from engine.rundir import RunDir
from tests.support import ended, read_events

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hardware.gpus(), reason="needs an NVIDIA GPU")]
SAMPLE = paths.sample_data_dir()
STEPS = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of about 200 million parameters behind the sample tokenizer."""
    folder = tmp_path_factory.mktemp("model") / "model"
    code = f"""
import torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
tokenizer = AutoTokenizer.from_pretrained({str(SAMPLE / "tiny-qwen2")!r})
config = Qwen2Config(vocab_size=2560, hidden_size=1024, intermediate_size=2816, num_hidden_layers=16, num_attention_heads=16,
                     num_key_value_heads=4, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
torch.manual_seed(0)
with torch.device("cuda"):
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained({str(folder)!r})
tokenizer.save_pretrained({str(folder)!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    return folder


def train(output: Path, model: Path, **more: Any) -> tuple[list[float], list[str], RunDir]:
    values = {"base_model": model, "train_path": SAMPLE / "train.jsonl", "output_dir": output, "max_seq_length": 256, "lora_dropout": 0,
              "learning_rate": 1e-3, "max_steps": STEPS, "save_steps": 1000, "queue": "false", **more}  # fmt: skip
    run = launch(parse({name: str(value) for name, value in values.items()}))
    assert ended(run, 240)["state"] == "completed"
    events = read_events(run)
    return (
        [event["loss"] for event in events if event["type"] == "step"],
        [event["text"] for event in events if event["type"] == "notice"],
        run,
    )


def apart(one: list[float], two: list[float]) -> float:
    """Mean relative difference of two loss curves."""
    return statistics.fmean(abs(a - b) / a for a, b in zip(one, two, strict=True))


def test_the_loss_curve_is_the_plain_way_s_within_the_noise_of_bfloat16(tmp_path: Path, model: Path) -> None:
    plain, _, _ = train(tmp_path / "plain", model, recipe="plain")
    again, _, _ = train(tmp_path / "again", model, recipe="plain", batch_size=4, gradient_accumulation_steps=1)
    noise = apart(plain, again)
    exact, said, run = train(tmp_path / "exact", model, recipe="exact")
    record = run.read_run() or {}
    assert {name: record["auto"][name]["value"] for name in ("cuda_graphs", "fused_lora")} == {
        "cuda_graphs": True,
        "fused_lora": True,
    }
    assert not [text for text in said if "CUDA graphs" in text]
    print(
        f"plain 1×4 against plain 4×1: {noise:.2%}; against exact: {apart(plain, exact):.2%}; {plain[0]:.3f} to {plain[-1]:.3f}"
    )
    assert apart(plain, exact) < max(0.01, 2 * noise)
    assert exact[-1] < 0.9 * exact[0]
    loose, _, _ = train(tmp_path / "loose", model, recipe="exact", cuda_graphs="false", fused_lora="false")
    assert apart(plain, loose) < max(0.01, 2 * noise)


def test_dropout_is_drawn_anew_each_step_and_the_same_again(tmp_path: Path, model: Path) -> None:
    one, _, _ = train(tmp_path / "one", model, recipe="exact", lora_dropout=0.1)
    two, _, _ = train(tmp_path / "two", model, recipe="exact", lora_dropout=0.1)
    without, _, _ = train(tmp_path / "three", model, recipe="exact")
    assert apart(one, two) < 0.01 and one[-1] < 0.9 * one[0]
    assert one[3:] != without[3:]
