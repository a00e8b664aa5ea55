"""Locks, requests, atomic files, who may start where, and who may be signalled."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from engine import process
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
    assert run.locked
    child.communicate()
    assert not run.locked
    os.close(run.acquire_lock())


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


def test_a_process_is_known_by_more_than_its_number() -> None:
    child = subprocess.Popen(["sleep", "60"])
    record = process.identity(child.pid)
    assert process.is_alive(record)
    for change in ({"pid_started": 1}, {"boot_id": "x"}, {"machine_id": "x"}, {"pid_namespace": "x"}, {"pid": os.getpid()},
                   {"pid": None}, {"pid": "7"}, {"pid": 1}, {"pid": -1}, {"pid_started": None}):  # fmt: skip
        assert not process.is_alive({**record, **change}), change
        assert not process.signal_exactly({**record, **change}, signal.SIGKILL)
    assert child.poll() is None
    assert process.signal_exactly(record, signal.SIGTERM) and child.wait() == -signal.SIGTERM
    assert not process.is_alive(record) and not process.signal_exactly(record, signal.SIGTERM)


def test_forged_records_signal_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *args: sent.append(args))
    rng, mine = random.Random(0), process.identity(os.getpid())
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    for _ in range(2000):
        forged = dict(mine)
        forged["pid"] = rng.choice([*pids, rng.randrange(1, 4_000_000)])
        forged["pid_started"] = rng.choice([None, 0, rng.randrange(1, 10_000_000)])
        process.signal_exactly(forged, signal.SIGTERM)
    assert sent == []


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
