"""The comparison of tests/benchmarks/real_data.py: the sample model in place of SmolLM2, six updates in place of a hundred."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from engine import paths
from tests import preloaded
from tests.benchmarks.real_data import Settings, Side, apart, classic, judge, ours, wrong
from tests.families.templates import SMOLLM

pytestmark = pytest.mark.slow
SAMPLE = paths.sample_data_dir()


@pytest.mark.parametrize("answers", [False, True], ids=["whole text", "answers"])
def test_the_classic_script_and_ours_learn_the_same_and_are_judged_alike(tmp_path: Path, answers: bool) -> None:
    python = preloaded.interpreter(tmp_path / "python")
    held_out = tmp_path / "held-out.jsonl"
    rows = [line for line in (SAMPLE / "eval.jsonl").read_text().splitlines() if len(json.loads(line)["messages"]) == 2]
    # Two rows are one batch of each side's own evaluation, so that it weights tokens as the judge does.
    held_out.write_text("\n".join(rows[:2]) + "\n")
    settings = Settings(updates=6, answers=answers, learning_rate=2e-3, max_seq_length=160)
    model = tmp_path / "model"
    shutil.copytree(SAMPLE / "tiny-qwen2", model)
    (model / "chat_template.jinja").write_text(SMOLLM)
    parts = model, SAMPLE / "train.jsonl", held_out
    sides = [classic(*parts, tmp_path, settings, str(python))]
    sides.append(ours("exact", *parts, tmp_path, settings, worker_python=python))
    base = judge(model, held_out, sides, tmp_path, settings, str(python))
    assert wrong(base, sides) == []
    assert [len(side.losses) for side in sides] == [6, 6] and sides[0].tokens == sides[1].tokens
    assert max(apart(*sides)) < 1e-4
    assert math.isclose(sides[0].eval_loss, sides[1].eval_loss, rel_tol=1e-4)
    for side in sides:
        alike = math.isclose(side.judged, side.eval_loss, rel_tol=1e-4)
        assert alike == answers, "the judge counts the assistant's tokens alone, whatever was learned"


@pytest.mark.parametrize(
    ("judged", "said"),
    [((1.5, 1.514), ""), ((1.5, 1.516), "more than 1%"), ((1.5, 1.48), "more than 1%"), ((2.0, 1.5), "classic: the loss"),
     ((1.995, 2.0), "exact: the loss"), ((1.5, math.nan), "did not fall"), ((math.nan, 1.5), "did not fall")],
)  # fmt: skip
def test_what_is_no_success_is_named(judged: tuple[float, float], said: str) -> None:
    sides = [Side(name, Path(name), judged=loss) for name, loss in zip(("classic", "exact"), judged, strict=True)]
    found = wrong(2.0, sides)
    assert said in " ".join(found) if said else found == []
