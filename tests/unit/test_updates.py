"""Recipe fastest: how many samples an update takes: the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.config import RunConfig, parse
from engine.preflight import check, updates
from engine.preflight.checks import plan
from engine.preflight.lengths import Lengths
from engine.preflight.sheet import Sheet, _of_lengths

SAMPLE = paths.sample_data_dir()


def config(**more: Any) -> RunConfig:
    values = {"base_model": SAMPLE / "tiny-qwen2", "train_path": SAMPLE / "train.jsonl", "output_dir": "/tmp/none", "recipe": "fastest",
              "batch_size": 1, "gradient_accumulation_steps": 4, **more}  # fmt: skip
    return parse({name: str(value) for name, value in values.items()})


@pytest.mark.parametrize(
    ("more", "rows", "mean", "samples"),
    [
        ({}, 3000, 600.0, 24),  # 16,384 tokens are 27 rows: the next of 16, 24, 32
        ({}, 3000, 512.0, 32),
        ({}, 3000, 100.0, 128),  # 163 would fill it, and 150 would leave 20 updates an epoch
        ({}, 100, 100.0, 4),  # 5 would leave 20 updates an epoch: as many as are set
        ({}, 3000, 9000.0, 4),  # one row nearly fills it: never fewer than are set
        ({"gradient_accumulation_steps": 40}, 3000, 600.0, 40),
        (
            {"batch_size": 5},
            3000,
            600.0,
            20,
        ),  # whole batches: 16,384 tokens are five of them, the next of 4, 6, 8 is what is set
        ({"num_gpus": 2}, 3000, 600.0, 24),
        ({"num_gpus": 2, "keep_samples_per_update": "true"}, 3000, 600.0, 24),
        ({}, 0, 0.0, 4),
    ],
)
def test_samples_of_an_update(more: dict[str, Any], rows: int, mean: float, samples: int) -> None:
    settings = config(**more)
    number = updates.accumulation(settings, rows, rows * mean)
    assert updates.samples(settings, number) == samples
    assert plan(settings, rows, accumulation=number).samples_per_update == samples
    # A mean that is a little off, as that of a sample is, gives the same number.
    if samples > 4:
        assert updates.accumulation(settings, rows, rows * mean * 0.99) == number


def test_the_sheet_tells_once_lengths_are_known(tmp_path: Path) -> None:
    settings = config(output_dir=tmp_path / "out")
    checked = check(settings)
    assert checked.ok and checked.plan is None, "nobody knows the steps before the rows are counted"
    out = Sheet(settings, checked=checked)
    lengths = Lengths(2048, rows=400, usable=400, tokens=400 * 300, kept=400 * 300, trained=400 * 200)
    _of_lengths(settings, out, lengths)
    assert out.plan is not None and out.plan.samples_per_update == 16 and out.plan.steps_per_epoch == 25
    (said,) = out.warnings
    assert (said.kind, said.setting) == ("free-updates", "recipe")
    assert "makes 75 updates of 16 samples, not 300 of 4" in said.message
    few = Sheet(settings, checked=checked)
    _of_lengths(settings, few, Lengths(2048, rows=40, usable=40, tokens=4000, kept=4000, trained=4000))
    assert few.plan is not None and few.plan.samples_per_update == 4 and not few.warnings
