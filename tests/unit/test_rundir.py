"""Locks, requests, atomic files, who may start where, and who may be signalled."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import process, runlock
from engine.checkpoints import checkpoints, newest_valid
from engine.errors import RunInUseError
from engine.rundir import RunDir, new_run_id, read_json, refuse_foreign_work, write_json
from tests.support import make_run


def test_ids_sort_by_time_and_differ() -> None:
    ids = [new_run_id(1_790_000_000 + n) for n in range(50)]
    assert ids == sorted(ids) and len({new_run_id(0) for _ in range(200)}) == 200


def test_permissions(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "private")
    run.make()
    write_json(run.run_json, {"a": 1}, run.file_mode())
    assert stat.S_IMODE(run.meta.stat().st_mode) == 0o700 and stat.S_IMODE(run.run_json.stat().st_mode) == 0o600
    shared = RunDir(tmp_path / "shared")
    shared.make("group")
    assert stat.S_IMODE(shared.meta.stat().st_mode) == 0o750 and shared.file_mode("group") == 0o640


def test_of_two_launches_one_wins(tmp_path: Path) -> None:
    RunDir(tmp_path).make(exclusive=True)
    with pytest.raises(RunInUseError):
        RunDir(tmp_path).make(exclusive=True)


def test_the_lock_is_held_by_whoever_inherits_it(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.make()
    fd = run.acquire_lock()
    with pytest.raises(RunInUseError):
        run.acquire_lock()
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=(fd,)
    )
    os.close(fd)
    assert run.locked and run.lock_state is True
    child.communicate()
    assert not run.locked and run.lock_state is False
    run.release_lock(run.acquire_lock())
    assert not (run.meta / "lock.owner").exists()


def test_the_owner_is_recorded_beside_the_lock(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.make()
    fd = run.acquire_lock()
    owner = read_json(run.meta / "lock.owner")
    assert owner is not None and owner["pid"] == os.getpid() == int(run.lock.read_text()) and process.is_alive(owner)
    run.release_lock(fd)


def test_an_owner_on_another_host_is_believed_while_its_run_beats(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    other = {**process.identity(4242), "machine_id": "other", "host": "gpu7"}
    owner, status = run.meta / "lock.owner", {**(run.read_status() or {}), **other, "state": "running"}
    write_json(owner, other)
    for now, refused in ((time.time(), True), (time.time() - 300, False)):
        write_json(run.status_json, {**status, "heartbeat": now})
        if refused:
            with pytest.raises(RunInUseError):
                run.acquire_lock()
        else:
            run.release_lock(run.acquire_lock())
    write_json(owner, other)
    write_json(run.status_json, {**status, "heartbeat": time.time(), "state": "completed"})
    run.release_lock(run.acquire_lock())


NO_FLOCK = """
import json, os, sys
sys.path.insert(0, sys.argv[2])
from engine.errors import RunInUseError
from engine.rundir import RunDir
run = RunDir(sys.argv[1])
try:
    fd = run.acquire_lock()
except RunInUseError:
    print("refused", run.lock_state, run.locked, flush=True)
else:
    print("taken", run.lock_state, run.locked, json.load(open(run.meta / "lock.owner"))["pid"] == os.getpid(), flush=True)
sys.stdin.readline()
if "give" in sys.argv:
    run.release_lock(fd)
"""


def _without_flock(run: RunDir, *words: str) -> subprocess.Popen[str]:
    """A process for which the kernel really refuses every flock, as some network file systems do."""
    trace = ["strace", "-f", "-qq", "-e", "trace=flock", "-e", "inject=flock:error=EOPNOTSUPP", "-o", "/dev/null"]
    root = str(Path(__file__).parent.parent.parent)
    return subprocess.Popen(
        [*trace, sys.executable, "-c", NO_FLOCK, str(run.path), root, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_without_flock_the_owner_record_decides(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.make()
    first = _without_flock(run)
    assert first.stdout is not None and first.stdout.readline() == "taken None False True\n"
    second = _without_flock(run)
    assert second.communicate("\n")[0] == "refused None False\n"
    first.communicate("\n")  # ends without giving back: its record is stale now
    third = _without_flock(run, "give")
    assert third.communicate("\n")[0] == "taken None False True\n"
    assert not (run.meta / "lock.owner").exists()
    child = subprocess.Popen(["sleep", "60"])  # a worker that outlived its supervisor
    write_json(run.status_json, {"state": "running", **process.identity(child.pid)})
    assert _without_flock(run).communicate("\n")[0] == "refused None False\n"
    child.kill()
    child.wait()
    assert _without_flock(run).communicate("\n")[0] == "taken None False True\n"


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_without_flock_one_of_many_wins(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.make()
    write_json(run.meta / "lock.owner", {**process.identity(os.getpid()), "pid_started": 1})  # stale
    rivals = [_without_flock(run) for _ in range(6)]
    words = [rival.stdout.readline() for rival in rivals if rival.stdout is not None]
    for rival in rivals:
        rival.communicate("\n")
    assert sorted(word.split()[0] for word in words) == ["refused"] * 5 + ["taken"]


@pytest.mark.parametrize("dead_claims", [0, 2])
def test_without_flock_a_stale_record_is_replaced_by_one_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead_claims: int
) -> None:
    """Rivals come just before and just after the moment in which the stale record goes."""

    def refuse(*args: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no flock here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    run = RunDir(tmp_path)
    run.make()
    stale = {**process.identity(os.getpid()), "pid_started": 1}
    record = run.meta / "lock.owner"
    write_json(record, stale)
    for _ in range(dead_claims):  # of some who died while they replaced it
        seen = runlock._look(record)
        assert seen is not None
        record = run.meta / f".lock.owner.{runlock._name(seen)}"
        write_json(record, stale)
    won: list[int] = []

    def rival() -> None:
        try:
            won.append(run.acquire_lock())
        except RunInUseError:
            pass

    def moves(real: Callable[..., None]) -> Callable[..., None]:
        def move(*args: Any, **more: Any) -> None:
            monkeypatch.setattr(os, "rename", real_rename)
            monkeypatch.setattr(os, "replace", real_replace)
            rival()
            real(*args, **more)
            rival()

        return move

    real_rename, real_replace = os.rename, os.replace
    monkeypatch.setattr(os, "rename", moves(real_rename))
    monkeypatch.setattr(os, "replace", moves(real_replace))
    rival()
    assert len(won) == 1 and sorted(os.listdir(run.meta)) == ["control", "lock", "lock.owner"]
    run.release_lock(won[0])


def test_a_reader_sees_the_old_or_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    code = "import sys; from pathlib import Path; from engine.rundir import write_json\n" \
           "for n in range(400): write_json(Path(sys.argv[1]), {'n': n, 'pad': 'x' * 20000}, durable=False)"  # fmt: skip
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=Path(__file__).parent.parent.parent)
    seen = set()
    while child.poll() is None:
        if path.exists():
            record = read_json(path)
            assert record is not None and len(record["pad"]) == 20000
            seen.add(record["n"])
    assert child.returncode == 0 and len(seen) > 3 and os.listdir(tmp_path) == ["x.json"]


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"old": True})

    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"new": True})
    assert read_json(path) == {"old": True} and os.listdir(tmp_path) == ["x.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff", b"[" * 100000, b'{"a": 1} x'])
def test_damaged_records_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    assert read_json(tmp_path / "x.json") is None


def test_requests_are_taken_once(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.make()
    run.request("stop")
    run.request("stop")
    assert run.requests() == ["stop"] and run.take("stop") and not run.take("stop") and run.requests() == []


def test_foreign_work_is_refused(tmp_path: Path) -> None:
    refuse_foreign_work(tmp_path / "new")
    refuse_foreign_work(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(RunInUseError, match="training results"):
        refuse_foreign_work(tmp_path)
    with pytest.raises(RunInUseError, match="holds the run"):
        refuse_foreign_work(make_run(tmp_path / "old").path)


def _checkpoint(path: Path, step: int) -> Path:
    import struct

    folder = path / f"checkpoint-{step}"
    folder.mkdir()
    header = json.dumps({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"1234")
    for name in ("optimizer.pt", "scheduler.pt"):
        (folder / name).write_bytes(b"x")
    (folder / "trainer_state.json").write_text(
        json.dumps({"global_step": step, "log_history": [{"loss": float("nan")}]})
    )
    return folder


def test_torn_checkpoints_are_not_offered(tmp_path: Path) -> None:
    _checkpoint(tmp_path, 10)
    torn, stateless, wrong = _checkpoint(tmp_path, 20), _checkpoint(tmp_path, 30), _checkpoint(tmp_path, 40)
    (torn / "adapter_model.safetensors").write_bytes((torn / "adapter_model.safetensors").read_bytes()[:-1])
    (stateless / "trainer_state.json").unlink()
    (wrong / "trainer_state.json").write_text('{"global_step": 39}')
    (tmp_path / "checkpoint-x").mkdir()
    (tmp_path / "checkpoint-50").symlink_to(tmp_path / "checkpoint-10")
    found = checkpoints(tmp_path)
    assert [(c.step, c.valid) for c in found] == [(10, True), (20, False), (30, False), (40, False)]
    newest = newest_valid(tmp_path)
    assert newest is not None and newest.step == 10 and newest.bytes > 0
    assert checkpoints(tmp_path / "missing") == []


def test_what_a_launch_left_that_was_cut_off_is_taken_over(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "out")
    run.make()
    run.release_lock(run.acquire_lock())
    refuse_foreign_work(run.path)
    lock = run.acquire_lock()
    with pytest.raises(RunInUseError):
        refuse_foreign_work(run.path)
    run.release_lock(lock)
    run.events.write_text("")  # a run's record whose run.json was lost is no such leftover
    with pytest.raises(RunInUseError):
        refuse_foreign_work(run.path)
