"""Removing runs: what goes, what stays, and what is left of it outside."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from engine import paths, registry
from engine.errors import InputError
from engine.history import notes, removal
from engine.notes import Notes
from engine.rundir import RunDir
from tests.support import make_run

STATES = ("optimizer.pt", "scheduler.pt", "rng_state.pth")
FILES = ("adapter_model.safetensors", "adapter_config.json", "tokenizer.json", *STATES)


def checkpoint(run: Path, step: int, rows: list[dict[str, Any]] | None = None, best: int | None = None) -> Path:
    """A checkpoint as a trainer leaves it, by name."""
    path = run / f"checkpoint-{step}"
    path.mkdir(parents=True)
    for name in FILES:
        (path / name).write_bytes(name.encode() * 10)
    state = {"global_step": step, "log_history": rows or []}
    if best is not None:
        state["best_model_checkpoint"] = f"/elsewhere/out/checkpoint-{best}"
    (path / "trainer_state.json").write_text(json.dumps(state))
    return path


def foreign(path: Path, steps: tuple[int, ...] = (10, 20), **more: Any) -> Path:
    """Another tool's run."""
    path.mkdir(parents=True)
    for step in steps:
        checkpoint(path, step, **more)
    for name in (
        "adapter_model.safetensors",
        "adapter_config.json",
        "tokenizer.json",
        "training_args.bin",
        "trainer_state.json",
    ):
        (path / name).write_text("{}")
    (path / "runs" / "Nov30").mkdir(parents=True)
    (path / "runs" / "Nov30" / "events.out.tfevents.1.host.2.0").write_bytes(b"x" * 99)
    return path


def names(folder: Path) -> set[str]:
    """All that is below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def going(plan: removal.Plan) -> set[str]:
    return {entry.path for entry in plan.entries}


def kept(plan: removal.Plan) -> dict[str, str]:
    return {found.path: found.why for found in plan.kept}


def test_a_run_goes_with_all_that_is_kept_of_it(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "a", run_id="20261124-083000-aaaaa")
    other = make_run(tmp_path / "runs" / "b", run_id="20261124-083000-bbbbb")
    for one in (run, other):
        registry.remember_run(str((one.read_run() or {})["id"]), one.path)
    registry.remember_end("20261124-083000-aaaaa", {"state": "completed"})
    columns = paths.cache_dir() / "columns"
    columns.mkdir(parents=True)
    from engine.columns import store

    cached = [
        columns / f"{store.key(one.events)}-1-x{kind}" for one in (run, other) for kind in (store.DATA, store.INDEX)
    ]
    for file in cached:
        file.write_bytes(b"x")
    checkpoint(run.path, 10)
    plan = removal.plan(run.path)
    before = names(run.path)
    assert plan.ok and plan.own and not plan.kept and going(plan) == before
    assert plan.id == "20261124-083000-aaaaa" and plan.name == "a" and plan.tool == "tunedeck"
    assert plan.confirms("a") and plan.confirms(plan.id) and not plan.confirms("") and not plan.confirms("b")
    assert plan.bytes == sum((run.path / name).stat().st_size for name in before if (run.path / name).is_file())
    told: list[tuple[int, int, int]] = []
    outcome = removal.carry_out(plan, lambda *figures: told.append(figures))
    assert outcome.gone and outcome.complete and not outcome.left and not outcome.stopped
    assert outcome.removed == len(before) + 1 and outcome.bytes == plan.bytes
    assert told[-1] == (len(before) + 1, len(before) + 1, plan.bytes)
    assert names(tmp_path / "runs") == {"b", *(f"b/{name}" for name in names(other.path))}
    assert [run_id for run_id, _ in registry.runs()] == ["20261124-083000-bbbbb"]
    assert registry.recall_end("20261124-083000-aaaaa") is None
    assert [file.exists() for file in cached] == [False, False, True, True]


def test_the_record_goes_last(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    run.release_lock(run.acquire_lock())
    checkpoint(run.path, 10)
    (run.path / "adapter_config.json").write_text("{}")
    order = [entry.path for entry in removal.plan(run.path).entries]
    assert order[-3:] == [".tunedeck/run.json", ".tunedeck/lock", ".tunedeck"]
    record = next(i for i, path in enumerate(order) if path.startswith(".tunedeck"))
    assert all(path.startswith(".tunedeck") for path in order[record:])
    assert order.index(".tunedeck/run.json") > max(
        order.index(f".tunedeck/{n}") for n in ("events.jsonl", "status.json")
    )


def test_a_copys_registration_stays(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", run_id="20261124-083000-aaaaa")
    copy = make_run(tmp_path / "copy", run_id="20261124-083000-aaaaa")
    registry.remember_run("20261124-083000-aaaaa", run.path)
    assert removal.carry_out(removal.plan(copy.path)).gone
    assert registry.runs() == [("20261124-083000-aaaaa", run.path)]


def test_notes_on_another_tools_run_go_along(tmp_path: Path) -> None:
    runs = [foreign(tmp_path / name) for name in ("a", "b")]
    for run in runs:
        notes.save_foreign(run, notes.foreign(run), Notes(tags=("keep",)))
    assert removal.carry_out(removal.plan(runs[0])).gone
    assert len(list(notes.folder().glob("*.json"))) == 1 and notes.tags_of(runs[1]) == ["keep"]


def test_a_forged_id_reaches_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", run_id="../../../victim")
    victim = paths.state_dir().parent / "victim.json"
    victim.parent.mkdir(parents=True, exist_ok=True)
    victim.write_text(json.dumps({"path": str(run.path)}))
    assert removal.carry_out(removal.plan(run.path)).gone
    assert victim.exists()


@pytest.mark.parametrize("everything", [False, True])
def test_what_does_not_belong_to_the_run_stays(tmp_path: Path, everything: bool) -> None:
    run = foreign(tmp_path / "out")
    (run / "notes.txt").write_text("mine")
    (run / "checkpoint-10" / "thoughts.md").write_text("mine")
    (run / "plots").mkdir()
    (run / "plots" / "loss.svg").write_text("mine")
    foreign(run / "second")
    make_run(run / "runs" / "third")
    (run / "base" / "deep").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (run / "base" / "deep" / name).write_text("{}")
    (run / "code" / ".git").mkdir(parents=True)
    plan = removal.plan(run, everything=everything)
    stay = {"second": "is another run", "runs/third": "is another run"}
    if everything:
        stay |= {"base/deep": "is a model", "code": "is a git checkout"}
    else:
        stay |= dict.fromkeys(
            ("notes.txt", "checkpoint-10/thoughts.md", "plots", "base"), "is not known as a part of a run"
        )
        stay["code"] = "is a git checkout"
    assert kept(plan) == stay
    inside = names(run / "second"), names(run / "runs" / "third")
    outcome = removal.carry_out(plan)
    assert outcome.complete and not outcome.gone and not outcome.left
    assert (names(run / "second"), names(run / "runs" / "third")) == inside
    assert (run / "notes.txt").exists() is not everything and (run / "plots" / "loss.svg").exists() is not everything
    assert (run / "base" / "deep" / "model.safetensors").exists() and (run / "code" / ".git").exists()
    assert not (run / "trainer_state.json").exists() and not (run / "checkpoint-20").exists()


def test_training_data_in_the_directory_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    config = {
        "train_path": str(path / "merged" / "config.json"),
        "eval_path": "eval.jsonl",
        "base_model": str(path / "runs"),
    }
    run = make_run(path, config=config)
    (path / "merged").mkdir()
    (path / "runs").mkdir()
    (path / "runs" / "events.out.tfevents.1").write_text("x")
    for name in ("merged/config.json", "merged/README.md", "eval.jsonl"):
        (path / name).write_text("x")
    plan = removal.plan(run.path, everything=True)
    assert kept(plan) == {"merged/config.json": "is the training data of this run", "eval.jsonl": "is the evaluation data of this run",
                          "runs": "is the base model of this run"}  # fmt: skip
    assert removal.carry_out(plan).complete
    assert names(path) == {"merged", "merged/config.json", "eval.jsonl", "runs", "runs/events.out.tfevents.1"}


def test_a_base_model_in_whose_directory_somebody_trained(tmp_path: Path) -> None:
    run = foreign(tmp_path / "model")
    for name in ("model-00001-of-00002.safetensors", "model.safetensors.index.json", "config.json", "merges.txt"):
        (run / name).write_text("{}")
    assert set(kept(removal.plan(run))) == {"model-00001-of-00002.safetensors", "model.safetensors.index.json"}
    assert kept(removal.plan(run, everything=True)) == {}
    (run / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(run)}))
    for everything in (True, False):
        plan = removal.plan(run, everything=everything)
        assert set(kept(plan)) == {"model-00001-of-00002.safetensors", "model.safetensors.index.json", "config.json",
                                   "merges.txt", "tokenizer.json"}  # fmt: skip
    assert removal.carry_out(plan).complete and {"config.json", "model.safetensors.index.json"} < names(run)
    assert not (run / "checkpoint-10").exists() and not (run / "adapter_config.json").exists()


def test_links_pipes_and_hard_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    foreign(outside)
    run = foreign(tmp_path / "out", ())
    before = {name: os.lstat(outside / name).st_mtime_ns for name in names(outside)}
    (run / "checkpoint-10").symlink_to(outside / "checkpoint-10")
    (run / "README.md").symlink_to(outside / "tokenizer.json")
    os.mkfifo(run / "all_results.json")
    os.link(outside / "adapter_config.json", run / "config.json")
    (run / "vocab.json").write_bytes(b"y" * 1000)
    os.link(run / "vocab.json", run / "merges.txt")
    plan = removal.plan(run)
    sizes = {entry.path: entry.bytes for entry in plan.entries}
    assert sizes["config.json"] == 0 and sizes["vocab.json"] + sizes["merges.txt"] == 1000
    assert {p.message.partition(" is a link")[0] for p in plan.warnings if p.kind == "link"} == {
        "checkpoint-10",
        "README.md",
    }
    assert [p.message for p in plan.warnings if p.kind == "fresh"] == [
        "was written to 1 min ago: if it still trains, stop it first"
    ]
    outcome = removal.carry_out(plan)
    assert outcome.gone and not outcome.left
    assert {name: os.lstat(outside / name).st_mtime_ns for name in names(outside)} == before


def test_what_appears_or_changes_after_the_look_stays(tmp_path: Path) -> None:
    run = foreign(tmp_path / "out")
    plan = removal.plan(run)
    (run / "checkpoint-10" / "scheduler.bin").write_text("new")
    (run / "checkpoint-20" / "optimizer.pt").write_text("other contents")
    (run / "tokenizer.json").unlink()
    (run / "tokenizer.json").write_text("{} again")
    (run / "adapter_model.safetensors").unlink()
    outcome = removal.carry_out(plan)
    assert not outcome.complete and not outcome.gone
    left = dict(outcome.left)
    assert left["checkpoint-10/scheduler.bin"] == "appeared meanwhile"
    assert left["checkpoint-20/optimizer.pt"] == "was changed meanwhile"
    assert "meanwhile" in left["tokenizer.json"] and "adapter_model.safetensors" not in left
    assert {"checkpoint-10/scheduler.bin", "checkpoint-20/optimizer.pt", "tokenizer.json"} <= names(run)
    again = removal.plan(run)
    assert again.ok and removal.carry_out(again).gone


def test_a_failure_keeps_the_record(tmp_path: Path) -> None:
    """Until all else has gone, the run is listed, so that it can be removed again."""
    run = make_run(tmp_path / "a")
    checkpoint(run.path, 10)
    plan = removal.plan(run.path)
    (run.path / "checkpoint-10" / "optimizer.pt").write_text("other")
    outcome = removal.carry_out(plan)
    assert not outcome.complete and [path for path, _ in outcome.left] == ["checkpoint-10/optimizer.pt"]
    assert run.read_run() and not (run.path / "checkpoint-10" / "scheduler.pt").exists()
    assert not run.locked
    assert removal.carry_out(removal.plan(run.path)).gone


def test_stopped_and_gone_on_with(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    for step in range(1, 20):
        checkpoint(run.path, step)
    stop = threading.Event()
    calls = 0

    def progress(done: int, total: int, freed: int) -> None:
        nonlocal calls
        calls += 1
        stop.set()

    outcome = removal.carry_out(removal.plan(run.path), progress, stop)
    assert outcome.stopped and not outcome.complete and 0 < outcome.removed < 50 and calls >= 1
    assert run.read_run() and not [name for name in os.listdir(run.path) if "removing" in name]
    assert removal.carry_out(removal.plan(run.path)).gone


def test_another_directory_in_its_place(tmp_path: Path) -> None:
    run = foreign(tmp_path / "out")
    plan = removal.plan(run)
    run.rename(tmp_path / "moved")
    foreign(run)
    with pytest.raises(InputError, match="another directory"):
        removal.carry_out(plan)
    assert names(run) == names(tmp_path / "moved")


def test_a_link_is_refused(tmp_path: Path) -> None:
    run = foreign(tmp_path / "out")
    (tmp_path / "link").symlink_to(run)
    plan = removal.plan(tmp_path / "link")
    assert [p.kind for p in plan.refused] == ["link"] and str(run) in plan.refused[0].hint
    with pytest.raises(InputError):
        removal.carry_out(plan)
    (tmp_path / "parent").symlink_to(tmp_path)  # on the way to it links are anybody's own
    assert removal.plan(tmp_path / "parent" / "out").path == run
    assert removal.carry_out(removal.plan(tmp_path / "parent" / "out")).gone


def test_strange_names(tmp_path: Path) -> None:
    run = foreign(tmp_path / os.fsdecode(b"na\xffme\x1b[31m\n"))
    odd = ["...", "-rf", " ", "a\nb", os.fsdecode(b"\xff\xfe"), "runs/..x", "checkpoint-10/\x1b]0;x\x07"]
    for name in odd:
        (run / name).write_text("x")
    plan = removal.plan(run)
    assert "\x1b" not in plan.name and plan.confirms(plan.name)
    assert set(kept(plan)) == set(odd)
    json.dumps(plan.as_dict()).encode()
    assert removal.carry_out(plan).complete
    assert {name for name in names(run) if (run / name).is_file()} == set(odd)


def test_a_directory_of_many_files(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    many = run.meta / "jobs" / "x"
    many.mkdir(parents=True)
    for number in range(1500):
        os.close(os.open(many / f"{number}", os.O_CREAT | os.O_WRONLY))
    told: list[int] = []
    outcome = removal.carry_out(removal.plan(run.path), lambda done, total, freed: told.append(done))
    assert outcome.gone and outcome.removed > 1500 and told == sorted(told)
    assert RunDir(run.path).exists is False
