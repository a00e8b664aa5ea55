"""The remaining time of simulated runs: true from a tenth of the run on, and without jumps at evaluations."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import pytest

from engine import status as states
from engine.snapshot import RunFollower
from engine.status import RunState

STEPS = 500


def simulate(seed: int, *, every: int = 25, evaluation: float = 20.0, saving: float = 2.0, spread: float = 0.1,
             config: dict[str, Any] | None = None, first: float = 15.0,
             answers: float = 0.0) -> list[tuple[int, str, float, float]]:  # fmt: skip
    """(step, event, estimate, truth) at every event of a run whose first step compiles for ``first`` seconds."""
    rng = random.Random(seed)
    follower = RunFollower(Path("nowhere"))
    view = follower.view
    view.state = RunState(states.RUNNING)
    view.run = {"config": {"save_steps": every, "eval_steps": every, "eval_path": "x"} if config is None else config}
    now, seen = 1e9, []

    def emit(type: str, step: int, **fields: Any) -> None:
        follower._apply({"type": type, "time": now, "attempt": 1, "step": step, **fields})
        seen.append((step, type, view.remaining, now))

    def answer(step: int) -> None:
        nonlocal now
        for number in range(8 if answers else 0):
            emit("phase", step, name="evaluating", done=number, total=8)
            now += answers * rng.lognormvariate(0, 0.02) / 8
            emit("sample", step, prompt="x", completion="y")

    for step in range(1, STEPS + 1):
        seconds = 0.5 * rng.lognormvariate(0, spread) + (first if step == 1 else 0)
        now += seconds
        emit("step", step, total_steps=STEPS, step_seconds=seconds, samples_per_second=4 / seconds)
        if step % every and step < STEPS:
            continue
        if evaluation:
            emit("phase", step, name="evaluating", done=0, total=10)
            for part in range(1, 11):
                now += evaluation * rng.lognormvariate(0, 0.05) / 10
                emit("phase", step, name="evaluating", done=part, total=10)
            emit("eval", step, eval_loss=1.0)
            answer(step)
        emit("phase", step, name="saving")
        now += saving
        emit("checkpoint", step, seconds=saving)
        if not evaluation:
            answer(step)
        emit("phase", step, name="training")
    return [(step, event, left, now - when) for step, event, left, when in seen if left is not None]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"evaluation": 60.0},
        {"config": {}},
        {"every": 40, "saving": 10.0},
        {"evaluation": 0.5, "saving": 0.1},
        {"answers": 60.0, "config": {"save_steps": 25, "eval_path": "x", "sample_prompts": ["x"] * 8}},
        {"answers": 60.0, "evaluation": 0.0, "config": {"save_steps": 25, "sample_prompts": ["x"] * 8}},
        {
            "answers": 5.0,
            "saving": 10.0,
            "evaluation": 0.0,
            "config": {"save_steps": 25, "eval_steps": 7, "sample_prompts": ["x"]},
        },
    ],
)
def test_the_estimate_is_true_and_does_not_jump(seed: int, options: dict[str, Any]) -> None:
    rows = simulate(seed, **options)
    end = 30 if options.get("answers") else 15  # a pause that varies by 2 s is not foreseen better
    checked = [row for row in rows if row[0] > STEPS / 10 and row[3] > end]
    errors = [(abs(left - truth) / truth, step, event) for step, event, left, truth in checked]
    assert max(errors)[0] < 0.05, max(errors)
    jumps = []
    for before, after in itertools.pairwise(checked):
        expected = before[2] - (before[3] - after[3])
        jumps.append((abs(after[2] - expected) / before[2], after[0], after[1]))
    assert max(jumps)[0] < 0.10, max(jumps)


def test_a_first_evaluation_that_is_foreseen_makes_no_jump() -> None:
    config = {"save_steps": 200, "eval_steps": 200, "eval_path": "x"}
    rows = simulate(0, every=200, evaluation=60.0, saving=1.0, config=config)
    unforeseen = [left for step, event, left, _ in rows if step == 199]
    assert unforeseen
    from engine.remaining import FORWARD_SHARE

    follower = RunFollower(Path("nowhere"))
    view = follower.view
    view.state = RunState(states.RUNNING)
    view.run = {"config": config, "data": {"eval": {"rows": 1200}}}
    for step in range(1, 101):
        follower._apply({"type": "step", "time": step * 0.5, "attempt": 1, "step": step, "total_steps": 400,
                         "step_seconds": 0.5, "samples_per_second": 8.0})  # fmt: skip
    assert view.remaining == pytest.approx(300 * 0.5 + 2 * 1200 / 8 * FORWARD_SHARE, rel=0.01)


def test_a_machine_that_slept_and_a_resume_do_not_count() -> None:
    follower = RunFollower(Path("nowhere"))
    view = follower.view
    view.state = RunState(states.RUNNING)
    now = 0.0
    for step in range(1, 201):
        now += 8 * 3600 if step == 150 else 0.5
        follower._apply({"type": "step", "time": now, "attempt": 1 if step < 100 else 2, "step": step, "total_steps": 400,
                         "step_seconds": 0.5})  # fmt: skip
    assert view.remaining == pytest.approx(200 * 0.5, rel=0.1)
    assert view.pace.saves_to_come(view) == 0, "nothing says that this run saves"


@pytest.mark.parametrize(
    ("config", "total", "step", "evals", "saves"),
    [
        ({"save_steps": 100}, 1000, 950, 0, 1),
        ({"save_steps": 100, "eval_path": "x"}, 1000, 950, 1, 1),
        ({"save_steps": 100, "eval_path": "x", "eval_steps": 50}, 1010, 5, 21, 11),
        ({"save_steps": 0, "eval_steps": "x", "eval_path": 7}, 1000, 5, 0, 0),
    ],
)
def test_what_is_to_come(config: dict[str, Any], total: int, step: int, evals: int, saves: int) -> None:
    follower = RunFollower(Path("nowhere"))
    view = follower.view
    view.run = {"config": config}
    last = 900 if step > 100 else 0
    if last:
        follower._apply({"type": "step", "time": 1.0, "attempt": 1, "step": last, "total_steps": total})
        follower._apply(
            {"type": "eval", "time": 1.0, "attempt": 1, "step": last, "eval_loss": 1.0} if evals else {"type": "x"}
        )
        follower._apply({"type": "checkpoint", "time": 1.0, "attempt": 1, "step": last})
    follower._apply({"type": "step", "time": 2.0, "attempt": 1, "step": step, "total_steps": total})
    assert (view.pace.evals_to_come(view), view.pace.saves_to_come(view)) == (evals, saves)
