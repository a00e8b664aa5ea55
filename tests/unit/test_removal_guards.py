"""What must not be removed: live runs, places that are no run's, what others need; and what the system refuses."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import registry
from engine.errors import InputError
from engine.history import removal
from engine.history.removal import planning
from engine.history.removal.survey import quarantined
from engine.rundir import write_json
from tests.support import fake_model, make_run
from tests.unit.test_removal import checkpoint, foreign, going, kept, names

OTHER = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's files")


def refusal(path: Path, **options: object) -> str:
    """Why a plan is refused; the plan must hold nothing then."""
    plan = removal.plan(path, **options)  # type: ignore[arg-type]
    assert not plan.ok or not plan.refused
    if plan.refused:
        with pytest.raises(InputError):
            removal.carry_out(plan)
    return "; ".join(problem.message for problem in plan.refused)


def as_nobody(do: Callable[[], None]) -> None:
    """Run this in a child process without root's powers; it must raise nothing."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(OTHER)
            os.setuid(OTHER)
            do()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("state", ["queued", "starting", "running", "stopping"])
def test_a_live_run_is_refused(tmp_path: Path, state: str) -> None:
    run = make_run(tmp_path / "a", state=state)
    checkpoint(run.path, 10)
    for options in ({}, {"checkpoints_only": True}, {"optimizer_states": True}, {"everything": True}):
        assert refusal(run.path, **options) == f"is {state}"


def test_a_process_that_outlived_its_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    lock = run.acquire_lock()
    assert refusal(run.path) == "has ended, but one of its processes still holds its lock"
    run.release_lock(lock)
    assert removal.plan(run.path).ok


def test_a_run_that_came_to_life_after_the_look(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    run.release_lock(run.acquire_lock())
    plan = removal.plan(run.path)
    lock = run.acquire_lock()
    before = names(run.path)
    with pytest.raises(InputError, match="still alive"):
        removal.carry_out(plan)
    run.release_lock(lock)
    (run.meta / "new").write_text("")
    (run.meta / "new").replace(run.lock)
    with pytest.raises(InputError, match="lock is another"):
        removal.carry_out(plan)
    assert names(run.path) | {".tunedeck/lock.owner"} == before | {".tunedeck/lock.owner"}
    assert removal.carry_out(removal.plan(run.path)).gone


def test_nobody_starts_a_run_while_it_is_removed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    for step in range(10):
        checkpoint(run.path, step)
    held: list[bool | None] = []
    outcome = removal.carry_out(removal.plan(run.path), lambda *figures: held.append(run.lock_state))
    assert outcome.gone and held[0] is True


def test_a_run_of_another_machine(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    status = {**(run.read_status() or {}), "state": "running", "machine_id": "other", "host": "far"}
    write_json(run.status_json, {**status, "heartbeat": time.time() - 3600})
    assert refusal(run.path).startswith("is running on far, last heard 3600 s ago")
    write_json(run.status_json, {**status, "heartbeat": time.time() - 9 * 86400})
    plan = removal.plan(run.path)
    assert plan.ok and "has not been heard for 9 days" in plan.warnings[0].message


def test_somebody_writes_there(tmp_path: Path) -> None:
    run = foreign(tmp_path / "out")
    program = "import sys; file = open(sys.argv[1], sys.argv[2]); print('ready', flush=True); sys.stdin.read()"
    for mode, refused in (("a", True), ("r", False)):
        child = subprocess.Popen([sys.executable, "-c", program, str(run / "trainer_state.json"), mode],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
        assert child.stdin is not None and child.stdout is not None and child.stdout.readline() == b"ready\n"
        why = refusal(run)
        child.stdin.close()
        child.wait()
        child.stdout.close()
        assert ("has trainer_state.json open for writing" in why) is refused
    assert removal.plan(run).ok


def test_places_that_are_no_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fake_model(tmp_path / "model")
    assert "is a model without any sign of training" in refusal(model)
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty") == "holds no run"
    assert "there is no such directory" in refusal(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    assert refusal(tmp_path / "file") == "is no directory"
    for place in ("/", "/etc", "/tmp", "/home", "/proc", "/usr", "~", str(Path(__file__).parent), "a\0b", ""):
        assert refusal(Path(place) if "\0" not in place else place), place  # type: ignore[arg-type]
    run = foreign(tmp_path / "out")
    monkeypatch.setenv("HOME", str(run / "runs"))
    assert "holds a home directory" in refusal(run)
    monkeypatch.undo()
    for where in (run, run / "runs"):
        monkeypatch.chdir(where)
        assert "is the directory in which you are" in refusal(run)
        assert removal.plan(run, checkpoints_only=True).ok
    monkeypatch.chdir("/")
    (run / ".git").mkdir()
    assert refusal(run) == "is a git checkout"
    assert removal.plan(run, checkpoints_only=True).ok


def test_a_checkpoint_is_not_removed_by_itself(tmp_path: Path) -> None:
    run = foreign(tmp_path / "out")
    assert refusal(run / "checkpoint-10") == f"is a checkpoint of the run {run}"
    alone = checkpoint(tmp_path / "downloads", 5)
    assert removal.carry_out(removal.plan(alone)).gone


def test_a_newer_format_and_a_record_that_is_a_link(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    write_json(run.run_json, {**(run.read_run() or {}), "format": 2})
    assert "newer version" in refusal(run.path)
    other = make_run(tmp_path / "b")
    other.meta.rename(tmp_path / "record")
    other.meta.symlink_to(tmp_path / "record")
    assert ".tunedeck is a link" in refusal(other.path)


def test_runs_that_need_this_one(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", run_id="20261124-083000-aaaaa")
    for step in (10, 20, 30):
        checkpoint(run.path, step)
    other = make_run(tmp_path / "b", name="second", run_id="20261124-083000-bbbbb", state="running")
    write_json(
        other.run_json, {**(other.read_run() or {}), "attempts": [{"checkpoint": str(run.path / "checkpoint-10")}]}
    )
    registry.remember_run("20261124-083000-bbbbb", other.path)
    text = "checkpoint-10 is used by the run second, which has not ended: it is the checkpoint that it began from"
    assert refusal(run.path) == text
    pruned = removal.plan(run.path, checkpoints_only=True)
    assert (
        pruned.ok
        and "the run second uses it" in kept(pruned)["checkpoint-10"]
        and "checkpoint-20/optimizer.pt" in going(pruned)
    )
    freed = removal.plan(run.path, optimizer_states=True)
    assert going(freed) == {"checkpoint-20/optimizer.pt", "checkpoint-30/optimizer.pt"}
    make_run(other.path, name="second", run_id="20261124-083000-bbbbb")
    write_json(other.run_json, {**(other.read_run() or {}), "config": {"base_model": str(run.path)}})
    plan = removal.plan(run.path)
    assert plan.ok and "the run second can no longer begin from" in plan.warnings[0].message
    write_json(other.status_json, {**(other.read_status() or {}), "state": "running"})
    lock = other.acquire_lock()
    with pytest.raises(InputError, match="used by the run second"):
        removal.carry_out(plan)
    other.release_lock(lock)


@needs_root
def test_other_owners(tmp_path: Path) -> None:
    run = foreign(tmp_path / "out")
    os.chown(run / "checkpoint-10", OTHER, -1)
    os.chown(run / "tokenizer.json", OTHER, -1)
    plan = removal.plan(run)
    assert {path: why.split()[0] for path, why in kept(plan).items()} == {
        "checkpoint-10": "belongs",
        "tokenizer.json": "belongs",
    }
    os.chown(run / "adapter_config.json", OTHER, -1)
    outcome = removal.carry_out(plan)
    assert [path for path, why in outcome.left if why.startswith("belongs to")] == ["adapter_config.json"]
    assert {"checkpoint-10/optimizer.pt", "tokenizer.json", "adapter_config.json"} <= names(run)
    os.chown(run, OTHER, -1)
    assert "belongs to" in refusal(run)


@needs_root
def test_directories_that_may_not_be_changed(tmp_path: Path) -> None:
    run, whole, shared = foreign(tmp_path / "out"), foreign(tmp_path / "whole"), foreign(tmp_path / "sticky" / "shared")
    fixed = foreign(tmp_path / "fixed" / "run")
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, OTHER, -1)
    os.chmod(run / "checkpoint-10", 0o555)
    os.chmod(whole, 0o555)
    os.chown(tmp_path / "sticky", 0, -1)
    os.chmod(tmp_path / "fixed", 0o555)
    os.chmod(tmp_path / "sticky", 0o1777)
    for parent in [tmp_path, *tmp_path.parents][:4]:
        os.chmod(parent, 0o755)

    def do() -> None:
        outcome = removal.carry_out(removal.plan(run))
        assert not outcome.complete and {why for _, why in outcome.left} == {"its directory may not be changed"}
        try:
            removal.carry_out(removal.plan(whole))
        except InputError as error:
            assert "its directory may not be changed" in str(error)
        else:
            raise AssertionError("was begun")
        assert removal.carry_out(removal.plan(shared)).gone
        plan = removal.plan(fixed)
        assert [p.message.partition(":")[0] for p in plan.warnings if p.kind == "parent"] == ["stays, empty"]
        outcome = removal.carry_out(plan)
        assert outcome.complete and not outcome.gone and outcome.left == [(".", "its directory may not be changed")]

    as_nobody(do)
    assert names(fixed) == set()
    assert len(names(run / "checkpoint-10")) == 7 and not (run / "checkpoint-20").exists()
    os.chmod(run / "checkpoint-10", 0o755)


@needs_root
def test_immutable_files(tmp_path: Path) -> None:
    run, other = make_run(tmp_path / "out"), make_run(tmp_path / "other")
    checkpoint(run.path, 10)
    for path, file in ((run.path, run.path / "checkpoint-10" / "optimizer.pt"), (other.path, other.train_log)):
        if subprocess.run(["chattr", "+i", str(file)], capture_output=True, check=False).returncode:
            pytest.skip("this file system knows no immutable files")
        try:
            outcome = removal.carry_out(removal.plan(path))
            why = dict(outcome.left)[str(file.relative_to(path))]
            assert not outcome.complete and why.startswith("the system does not allow it")
        finally:
            subprocess.run(["chattr", "-i", str(file)], check=True)
        assert (path / ".tunedeck" / "run.json").exists()  # still listed
        assert removal.carry_out(removal.plan(path)).gone


def test_what_an_interrupted_removal_left(tmp_path: Path) -> None:
    """Killed between two steps, something lies in the place where it was looked at for the last time."""
    run = foreign(tmp_path / "out")
    place = run / ".tunedeck.removing-0123456789ab"
    place.mkdir(mode=0o700)
    for name in ("optimizer.pt", "scheduler.pt"):
        file = run / "checkpoint-10" / name
        file.rename(place / (quarantined(file.stat()) if name == "optimizer.pt" else "file-1"))
    plan = removal.plan(run)
    assert kept(plan) == {f"{place.name}/file-1": "is not known as a part of a run"}
    assert removal.carry_out(plan).complete
    assert names(run) == {place.name, f"{place.name}/file-1"}
    run = foreign(tmp_path / "more", ())
    for file in run.iterdir():
        if file.is_file():
            file.unlink()
    (run / place.name).mkdir(mode=0o700)
    assert removal.carry_out(removal.plan(run)).gone


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """Whenever the process dies, a second removal finishes; until then the run is listed."""
    for number in range(16):
        run = make_run(tmp_path / f"r{number}", steps=5, evals=0)
        checkpoint(run.path, 10)
        plan = removal.plan(run.path)
        child = os.fork()
        if child == 0:
            count = [0]

            def audit(
                event: str, arguments: tuple[object, ...], count: list[int] = count, limit: int = 2 * number + 1
            ) -> None:
                if event in ("os.rename", "os.remove", "os.rmdir"):
                    count[0] += 1
                    if count[0] > limit:
                        os._exit(0)

            sys.addaudithook(audit)
            removal.carry_out(plan)
            os._exit(0)
        os.waitpid(child, 0)
        again = removal.plan(run.path)
        if again.own or names(run.path):
            assert again.own or all(name.startswith(".tunedeck.removing-") for name in names(run.path))
            assert removal.carry_out(again).gone, number


def test_the_plan_writes_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    checkpoint(run.path, 10)
    before = {name: os.lstat(run.path / name).st_mtime_ns for name in [*names(run.path), "."]}
    removal.plan(run.path)
    removal.plan(run.path, checkpoints_only=True, optimizer_states=True)
    assert {name: os.lstat(run.path / name).st_mtime_ns for name in [*names(run.path), "."]} == before
    assert planning.BEST == "best"
