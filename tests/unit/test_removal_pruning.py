"""Freeing space: which checkpoints stay, and what of those that stay can be spared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.checkpoints import newest_valid
from engine.history import removal
from engine.rundir import write_json
from tests.support import make_run
from tests.unit.test_removal import checkpoint, foreign, going, kept, names


def rows(*evals: tuple[float, object]) -> list[dict[str, object]]:
    return [{"step": 1, "loss": 2.0}, *({"step": step, "eval_loss": loss} for step, loss in evals)]


def tops(plan: removal.Plan) -> set[str]:
    return {entry.top for entry in plan.entries}


def test_the_best_by_eval_loss_and_the_last_stay(tmp_path: Path) -> None:
    run = foreign(tmp_path / "out", ())
    found = rows((10, 1.5), (20, 1.1), (30, float("nan")), (40, "1.3"))
    for step in (10, 20, 30, 40):
        checkpoint(run, step, found)
    (run / "checkpoint-10" / "mine.txt").write_text("mine")
    before = names(run)
    plan = removal.plan(run, checkpoints_only=True)
    assert plan.what == removal.CHECKPOINTS and plan.ok and {p.kind for p in plan.warnings} == {"fresh"}
    assert tops(plan) == {"checkpoint-10", "checkpoint-30"}
    assert kept(plan) == {"checkpoint-20": "the best by eval_loss, 1.1", "checkpoint-40": "the last one",
                          "checkpoint-10/mine.txt": "is not known as a part of a run"}  # fmt: skip
    outcome = removal.carry_out(plan)
    assert outcome.complete and not outcome.gone and outcome.bytes == plan.bytes > 0
    gone = {
        name
        for name in before
        if name.startswith(("checkpoint-10/", "checkpoint-30")) and not name.endswith("mine.txt")
    }
    assert names(run) == before - gone
    assert not removal.plan(run, checkpoints_only=True, keep=("last", 20, 10)).ok


def test_the_trainers_own_best(tmp_path: Path) -> None:
    run = foreign(tmp_path / "out", ())
    for step in (10, 20, 30, 40):
        checkpoint(run, step, rows((10, 1.1), (20, 1.3)), best=30)
    plan = removal.plan(run, checkpoints_only=True)
    assert tops(plan) == {"checkpoint-20"}
    assert kept(plan) == {"checkpoint-30": "the best by the trainer's own record", "checkpoint-10": "the best by eval_loss, 1.1",
                          "checkpoint-40": "the last one"}  # fmt: skip
    assert tops(removal.plan(run, checkpoints_only=True, keep=("last",))) == {
        "checkpoint-10",
        "checkpoint-20",
        "checkpoint-30",
    }
    assert len(tops(removal.plan(run, checkpoints_only=True, keep=()))) == 4


def test_the_record_that_went_furthest_counts(tmp_path: Path) -> None:
    """The directory's own state may have been left by an earlier attempt."""
    run = foreign(tmp_path / "out", ())
    for step in (10, 20, 30):
        checkpoint(run, step, rows((10, 1.4), (20, 1.3), (30, 1.2)), best=20)
    old = {"global_step": 10, "log_history": rows((10, 1.0)), "best_model_checkpoint": "out/checkpoint-10"}
    (run / "trainer_state.json").write_text(json.dumps(old))
    assert tops(removal.plan(run, checkpoints_only=True)) == {"checkpoint-10"}


def test_evaluations_between_the_saves(tmp_path: Path) -> None:
    run = foreign(tmp_path / "out", ())
    for step in (10, 20, 30):
        checkpoint(run, step, rows((7, 1.4), (14, 1.0), (28, 1.2)))
    assert kept(removal.plan(run, checkpoints_only=True))["checkpoint-20"] == "the best by eval_loss, 1 at step 14"


def test_evaluations_of_another_log(tmp_path: Path) -> None:
    run = foreign(tmp_path / "out", (10, 20, 30))
    log = [
        {"current_steps": step, "total_steps": 30, "eval_loss": loss}
        for step, loss in ((10, 1.2), (20, 1.4), (30, 1.3))
    ]
    (run / "trainer_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    assert kept(removal.plan(run, checkpoints_only=True))["checkpoint-10"] == "the best by eval_loss, 1.2"


def test_unknown_which_is_best(tmp_path: Path) -> None:
    run = foreign(tmp_path / "out", (10, 20))
    (run / "checkpoint-20" / "trainer_state.json").write_text("version https://git-lfs.github.com/spec/v1")
    plan = removal.plan(run, checkpoints_only=True)
    assert set(kept(plan)) == {"checkpoint-20"} and "no evaluation says" in plan.warnings[0].message


def test_the_one_that_a_resume_begins_from_stays(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", steps=30, evals=3)
    for step in (10, 20, 30):
        checkpoint(run.path, step)
        (run.path / f"checkpoint-{step}" / "adapter_model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
        for name in ("optimizer.pt", "scheduler.pt"):
            (run.path / f"checkpoint-{step}" / name).write_bytes(b"\x80\x02.")
    (run.path / "checkpoint-30" / "optimizer.pt").unlink()
    newest = newest_valid(run.path)
    assert newest is not None and newest.step == 20
    whys = kept(removal.plan(run.path, checkpoints_only=True))
    assert whys["checkpoint-20"] == "the one that a resume begins from" and "the last one" in whys["checkpoint-30"]


def test_optimizer_states(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", steps=30, evals=3)
    write_json(run.status_json, {**(run.read_status() or {}), "resumable": True}, 0o640)
    for step in (10, 20, 30):
        checkpoint(run.path, step)
    deep = run.path / "checkpoint-30" / "global_step30"
    deep.mkdir()
    for name in ("bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", "mp_rank_00_model_states.pt"):
        (deep / name).write_bytes(b"x" * 50)
    (run.path / "checkpoint-30" / "optimizer_0").mkdir()
    (run.path / "checkpoint-30" / "optimizer_0" / "__0_0.distcp").write_bytes(b"x" * 50)
    both = removal.plan(run.path, checkpoints_only=True, optimizer_states=True)
    assert {"checkpoint-10", "checkpoint-20"} <= going(both) and "checkpoint-30/optimizer.pt" in going(both)
    plan = removal.plan(run.path, optimizer_states=True)
    state = "checkpoint-30/global_step30/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"
    assert going(plan) == {*(f"checkpoint-{step}/optimizer.pt" for step in (10, 20, 30)), state,
                           "checkpoint-30/optimizer_0", "checkpoint-30/optimizer_0/__0_0.distcp"}  # fmt: skip
    assert "checkpoint-10, checkpoint-20, checkpoint-30 cannot be resumed from afterwards" in plan.warnings[0].message
    assert removal.carry_out(plan).complete
    status = run.read_status() or {}
    assert status["resumable"] is False and status["state"] == "completed"
    assert run.status_json.stat().st_mode & 0o777 == 0o640
    assert (run.path / "checkpoint-30" / "global_step30" / "mp_rank_00_model_states.pt").exists()
    assert (run.path / "checkpoint-30" / "scheduler.pt").exists()
    assert json.loads((run.path / "checkpoint-30" / "trainer_state.json").read_text())["global_step"] == 30


@pytest.mark.parametrize("own", [True, False])
def test_nothing_to_prune(tmp_path: Path, own: bool) -> None:
    path = make_run(tmp_path / "a").path if own else foreign(tmp_path / "a", (5,))
    plan = removal.plan(path, checkpoints_only=True)
    assert not plan.ok and not plan.refused and not plan.entries
    assert removal.carry_out(plan).removed == 0
