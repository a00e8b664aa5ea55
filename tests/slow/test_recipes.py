"""Recipe exact learns what the plain one learns, through the real worker."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from engine import paths, resume
from engine.config import parse
from engine.inspecting import Inspector
from engine.launchers import launch
from engine.preflight.sheet import sheet
from tests import preloaded
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


def test_fastest_chooses_its_updates_as_the_sheet_says_and_keeps_to_them(tmp_path: Path) -> None:
    python = preloaded.interpreter(tmp_path / "python")
    rows = (SAMPLE / "train.jsonl").read_text().splitlines()[:80]
    data = tmp_path / "rows.jsonl"
    data.write_text("\n".join(rows) + "\n")
    flags = {"base_model": SAMPLE / "tiny-qwen2", "train_path": data, "output_dir": tmp_path / "run", "recipe": "fastest", "num_train_epochs": 1,
             "gradient_accumulation_steps": 1, "max_seq_length": 128, "save_steps": 4, "max_steps": 6, "worker_python": python}  # fmt: skip
    settings = parse({name: str(value) for name, value in flags.items()})
    inspector = Inspector(str(python))
    try:
        found = sheet(settings, inspector)
    finally:
        inspector.close()
    assert found.plan is not None and found.plan.samples_per_update == 4  # 80 rows leave 20 such updates
    run = launch(settings)
    assert ended(run, 240)["state"] == "completed"
    record = run.read_run() or {}
    assert record["auto"]["gradient_accumulation_steps"]["value"] == 4
    steps = [event for event in read_events(run) if event["type"] == "step"]
    assert len(steps) == 6 and math.isclose(steps[-1]["epoch"], 6 / 20)
    # Where the rule would choose otherwise today, the checkpoint has its own.
    otherwise = preloaded.interpreter(tmp_path / "otherwise", "from engine.preflight import updates; updates.GOAL = 64")
    plan = resume.plan(run, checkpoint=4, overrides={"worker_python": str(otherwise)})
    assert plan.ok and plan.accumulation == 4
    resume.start(plan)
    assert ended(run, 240)["state"] == "completed"
    record = run.read_run() or {}
    assert record["auto"]["gradient_accumulation_steps"]["value"] == 4
    again = [event for event in read_events(run) if event["type"] == "step" and event["attempt"] == 2]
    assert [event["step"] for event in again] == [5, 6] and math.isclose(again[-1]["epoch"], 6 / 20)
