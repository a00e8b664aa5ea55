"""What a resume would start from, and what it refuses; no training here."""

from __future__ import annotations

import hashlib
import json
import struct
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from engine import resume
from engine.errors import InputError
from engine.events import EventWriter
from engine.rundir import RunDir, write_json
from tests.support import ended, launch_fake, make_run, write_rows

PIECES = (
    "trainer_state.json",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "adapter_model.safetensors",
    "adapter_config.json",
)


def checkpoint(run: RunDir, step: int, *, attempt: int = 1, finite: bool = True) -> Path:
    path = run.path / f"checkpoint-{step}"
    path.mkdir()
    for name in PIECES:
        if name.endswith((".pt", ".pth")):
            with zipfile.ZipFile(path / name, "w") as archive:
                archive.writestr("data", bytes(100))
        elif name.endswith(".safetensors"):
            header = json.dumps({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
            (path / name).write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
        else:
            (path / name).write_text(json.dumps({"global_step": step}))
    files = {
        p.name: {"bytes": p.stat().st_size, "sha256": hashlib.sha256(p.read_bytes()).hexdigest()}
        for p in path.iterdir()
    }
    write_json(path / "manifest.json", {"format": 1, "run": (run.read_run() or {}).get("id"), "attempt": attempt, "step": step,
                                        "time": 1.0, "finite": finite, "files": files})  # fmt: skip
    return path


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A killed run of 40 of 100 steps over 400 rows."""
    from tests.support import fake_model

    rows = write_rows(tmp_path / "train.jsonl", 400)
    config = {"base_model": str(fake_model(tmp_path / "model")), "train_path": str(rows), "num_train_epochs": 1}
    made = make_run(tmp_path / "run", steps=40, total=100, state="killed", reason="killed by SIGKILL", config=config)
    for step in (10, 20, 30):
        checkpoint(made, step)
    return made


def set_record(run: RunDir, **changes: Any) -> None:
    write_json(run.run_json, {**(run.read_run() or {}), **changes})


def kinds(plan: resume.ResumePlan) -> list[str]:
    return [problem.kind for problem in plan.errors]


def test_the_newest_complete_one(run: RunDir) -> None:
    plan = resume.plan(run)
    assert plan.ok, plan.errors
    assert (
        plan.step == 30 and [c.step for c in plan.candidates] == [30, 20, 10] and not plan.changes and not plan.as_new
    )
    (run.path / "checkpoint-30" / "optimizer.pt").unlink()
    assert resume.plan(run).step == 20
    data = bytearray((run.path / "checkpoint-20" / "scheduler.pt").read_bytes())
    data[50] ^= 4
    (run.path / "checkpoint-20" / "scheduler.pt").write_bytes(data)
    plan = resume.plan(run)
    assert plan.step == 10 and any("checkpoint-20 is damaged" in str(w) for w in plan.warnings)
    assert kinds(resume.plan(run, checkpoint=20)) == ["bad-checkpoint"]
    assert kinds(resume.plan(run, checkpoint=11)) == ["bad-checkpoint"]
    assert resume.plan(run, checkpoint=10).step == 10


def test_one_that_was_complete_but_not_yet_in_its_place(run: RunDir) -> None:
    made = checkpoint(run, 40)
    (run.meta / "partial").mkdir()
    made.rename(run.meta / "partial" / "checkpoint-40")
    assert resume.plan(run).step == 40 and made.is_dir()
    made.rename(run.meta / "partial" / "checkpoint-40")
    (run.meta / "partial" / "checkpoint-40" / "scheduler.pt").unlink()
    assert resume.plan(run).step == 30 and not made.exists()


def test_spoilt_weights_come_last(run: RunDir) -> None:
    checkpoint(run, 40, finite=False)
    assert resume.plan(run).step == 30
    assert resume.plan(run, checkpoint=40).step == 40


def test_a_branch_that_was_left_is_not_gone_on_with(run: RunDir) -> None:
    """The second attempt began at step 10 and was killed before it saved: 20 and 30 are of the branch before."""
    set_record(
        run, attempts=[{"attempt": 1, "step": 0, "checkpoint": None}, {"attempt": 2, "step": 10, "checkpoint": "x"}]
    )
    assert resume.plan(run).step == 30, "an attempt that never made a step leaves no branch"
    writer = EventWriter(run.events, attempt=2)
    writer.write("step", step=11, total_steps=100, loss=1.0)
    writer.close()
    assert resume.plan(run).step == 10
    checkpoint(run, 15, attempt=2)
    assert resume.plan(run).step == 15
    assert [c.step for c in resume.plan(run).candidates] == [30, 20, 15, 10]
    assert kinds(resume.plan(run, checkpoint=20)) == ["left-branch"]
    assert resume.plan(run, checkpoint=20, output_dir=str(run.path.parent / "new")).ok
    assert resume.plan(run, checkpoint=10).ok


def test_another_runs_checkpoint_is_taken_only_by_choice(run: RunDir) -> None:
    path = checkpoint(run, 40)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "run": "20260101-000000-other"}))
    assert resume.plan(run).step == 30
    chosen = resume.plan(run, checkpoint=40)
    assert chosen.ok and "foreign-checkpoint" in [w.kind for w in chosen.warnings]


def test_a_plan_that_is_old_by_now_is_not_started(run: RunDir) -> None:
    plan = resume.plan(run)
    set_record(run, attempts=[{"attempt": 1, "step": 0}, {"attempt": 2, "step": 30}])
    with pytest.raises(InputError, match="meanwhile"):
        resume.start(plan)
    assert not run.locked


def test_its_own_directory_is_no_new_run(run: RunDir) -> None:
    assert resume.plan(run, output_dir=str(run.path)).as_new is False


def test_nothing_stands(run: RunDir) -> None:
    for path in run.path.glob("checkpoint-*/optimizer.pt"):
        path.unlink()
    plan = resume.plan(run, overrides={"lora_r": 64})
    assert plan.ok and plan.checkpoint is None and plan.step == 0
    assert [w.kind for w in plan.warnings] == ["no-checkpoint"]


def test_what_changed_is_told(run: RunDir) -> None:
    set_record(run, versions={"torch": "1.0.0"}, data={"train": {"rows": 400, "sha256": "0" * 64}})
    plan = resume.plan(run, overrides={"learning_rate": "5e-4", "num_train_epochs": "2"})
    assert plan.ok, plan.errors
    assert {c.name: (c.old, c.new) for c in plan.changes if c.name in ("learning_rate", "num_train_epochs")} == {
        "learning_rate": ("1e-4", "5e-4"), "num_train_epochs": ("1", "2")}  # fmt: skip
    assert {"train data", "version of torch"} <= {c.name for c in plan.changes}
    assert "changed-data" in [w.kind for w in plan.warnings]
    set_record(run, data={"train": {"rows": 399, "sha256": "0" * 64}})
    assert kinds(resume.plan(run)) == ["changed-data"]


@pytest.mark.parametrize(
    ("overrides", "setting"),
    [({"lora_r": 8}, "lora_r"), ({"lora_alpha": 64}, "lora_alpha"), ({"max_seq_length": 4096}, "max_seq_length"), ({"seed": 1}, "seed"), ({"batch_size": 2}, "batch_size"), ({"packing": "true"}, "packing"),
     ({"optim": "sgd"}, "optim"), ({"max_steps": 29}, "max_steps"), ({"lora_r": "x"}, "lora_r")],
)  # fmt: skip
def test_what_is_refused(run: RunDir, overrides: dict[str, Any], setting: str) -> None:
    plan = resume.plan(run, overrides=overrides)
    assert [p.setting for p in plan.errors] == [setting]
    before = run.run_json.read_bytes()
    with pytest.raises(InputError):
        resume.start(plan)
    assert run.run_json.read_bytes() == before


def test_epochs_that_max_steps_would_silence_are_refused(run: RunDir) -> None:
    set_record(run, config={**(run.read_run() or {})["config"], "max_steps": 60})
    assert kinds(resume.plan(run, overrides={"num_train_epochs": 5})) == ["no-effect"]
    assert resume.plan(run, overrides={"num_train_epochs": 5, "max_steps": "none"}).ok
    assert resume.plan(run).last_step == 40


def test_what_an_auto_had_chosen_may_be_written_down(run: RunDir) -> None:
    set_record(run, auto={"optim": {"value": "adamw_torch", "why": "on a CPU"}})
    assert resume.plan(run, overrides={"optim": "adamw_torch"}).ok
    assert kinds(resume.plan(run, overrides={"optim": "adafactor"})) == ["fixed-setting"]


def test_the_same_number_of_samples_in_other_passes(run: RunDir) -> None:
    assert resume.plan(run, overrides={"batch_size": 4, "gradient_accumulation_steps": 1}).ok


def test_a_run_that_chose_its_updates_keeps_to_them(run: RunDir) -> None:
    record = run.read_run() or {}
    config = {**record["config"], "recipe": "fastest"}
    set_record(run, config=config, auto={"gradient_accumulation_steps": {"value": 9, "why": "rows are short"}})
    plan = resume.plan(run)
    assert plan.ok and plan.accumulation == 9 and plan.checked is not None and plan.checked.plan is not None
    assert plan.checked.plan.samples_per_update == 9 * plan.config.batch_size  # type: ignore[union-attr]
    # The same number by hand is the same run; another one is not.
    assert resume.plan(run, overrides={"recipe": "exact", "gradient_accumulation_steps": 9}).ok
    assert kinds(resume.plan(run, overrides={"recipe": "exact"})) == ["fixed-setting"]
    assert kinds(resume.plan(run, overrides={"gradient_accumulation_steps": 12})) == ["fixed-setting"]
    set_record(run, config={**config, "recipe": "exact"})
    other = resume.plan(run, overrides={"recipe": "fastest"})
    assert other.ok and other.accumulation == 4


def test_records_that_are_missing_or_odd(run: RunDir, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    run.path.rename(moved)
    plan = resume.plan(RunDir(moved))
    assert plan.ok and plan.config is not None and plan.config.output_dir == str(moved) and not plan.changes
    for odd in ({"data": 3, "versions": [], "auto": "x", "attempts": "many"}, {"attempts": [None, {"attempt": "1"}]},
                {"config": {**(RunDir(moved).read_run() or {})["config"], "from_the_future": 1}}):  # fmt: skip
        set_record(RunDir(moved), **odd)
        assert resume.plan(RunDir(moved)).ok
    assert any("from_the_future" in str(w) for w in resume.plan(RunDir(moved)).warnings)
    (moved / ".tunedeck" / "run.json").write_text("{")
    assert kinds(resume.plan(RunDir(moved))) == ["no-run"]


def test_a_run_that_lives_is_left_alone(tmp_path: Path) -> None:
    run = launch_fake(
        tmp_path, "step(1)\nwait_for_stop()\nevents.write('state', state='stopped', reason='x')\nsys.exit(130)"
    )
    assert kinds(resume.plan(run)) == ["run-in-use"]
    run.request("stop")
    ended(run)
    assert resume.plan(run).checkpoint is None


def test_two_people_resume_at_once(tmp_path: Path) -> None:
    body = "step(1)\nwait_for_stop()\nevents.write('state', state='stopped', reason='x')\nsys.exit(130)"
    run = launch_fake(tmp_path, body)
    run.request("stop")
    ended(run)
    plans = [resume.plan(run) for _ in range(4)]
    outcomes: list[str] = []

    def go(plan: resume.ResumePlan) -> None:
        try:
            resume.start(plan)
            outcomes.append("started")
        except InputError as error:
            outcomes.append(error.problems[0].kind)

    threads = [threading.Thread(target=go, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["run-in-use"] * 3 + ["started"]
    assert [a["attempt"] for a in (run.read_run() or {})["attempts"]] == [1, 2]
    run.request("stop")
    assert ended(run)["attempts"] == 2


def test_the_best_checkpoint_is_found_where_the_run_was_moved_to(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from engine.worker.resuming import _find_best

    said: list[tuple[str, str]] = []
    (tmp_path / "checkpoint-2").mkdir()
    for gone in ("/nowhere/checkpoint-2", None):  # transformers forgets a path that is gone
        state = SimpleNamespace(best_global_step=2, best_model_checkpoint=gone, best_metric=1.5)
        _find_best(state, tmp_path / "checkpoint-4", lambda text, level: said.append((text, level)))
        assert not said and state.best_model_checkpoint == str(tmp_path / "checkpoint-2")
    state = SimpleNamespace(best_global_step=3, best_model_checkpoint="/nowhere/checkpoint-3", best_metric=1.5)
    _find_best(state, tmp_path / "checkpoint-4", lambda text, level: said.append((text, level)))
    assert len(said) == 1 and "step 3" in said[0][0] and said[0][1] == "warning"
    assert (state.best_metric, state.best_global_step, state.best_model_checkpoint) == (None, None, None)
