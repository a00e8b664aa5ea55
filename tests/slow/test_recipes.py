"""Recipe exact learns what the plain one learns, through the real worker."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.config import parse
from engine.launchers import launch
from tests.support import ended, read_events

pytestmark = pytest.mark.slow
SAMPLE = paths.sample_data_dir()


def losses(output: Path, **more: Any) -> list[dict[str, Any]]:
    values = {"base_model": SAMPLE / "tiny-qwen2", "train_path": SAMPLE / "train.jsonl", "eval_path": SAMPLE / "eval.jsonl",
              "output_dir": output, "max_seq_length": 192, "learning_rate": 1e-3, "lora_dropout": 0, "max_steps": 100, "eval_steps": 50,
              "save_steps": 50, **more}  # fmt: skip
    run = launch(parse({name: str(value) for name, value in values.items()}))
    assert ended(run, 240)["state"] == "completed"
    return [event for event in read_events(run) if event["type"] in ("step", "eval")]


def test_a_hundred_updates_have_the_plain_way_s_loss_curve(tmp_path: Path) -> None:
    """Float32 on a CPU, four samples an update, 100 of 400 rows' epoch end inside: within 1e-4 at each step."""
    plain = losses(tmp_path / "plain", recipe="plain")
    whole = losses(tmp_path / "whole", recipe="exact")
    split = losses(
        tmp_path / "split", recipe="exact", max_tokens_per_pass=250, batch_size=2, gradient_accumulation_steps=2
    )
    assert len([event for event in plain if event["type"] == "step"]) == 100
    for other in (whole, split):
        assert [event["step"] for event in other] == [event["step"] for event in plain]
        for one, two in zip(plain, other, strict=True):
            name = "loss" if one["type"] == "step" else "eval_loss"
            assert math.isclose(one[name], two[name], rel_tol=1e-4), (one["step"], one[name], two[name])
            if one["type"] == "step":
                assert one["num_tokens"] == two["num_tokens"]
                assert math.isclose(one["grad_norm"], two["grad_norm"], rel_tol=1e-3)
