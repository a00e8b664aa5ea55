"""Who may be signalled: the recorded process that holds the run's lock, and nobody else, whatever a record says."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from engine import process
from engine.rundir import RunDir


def _run(path: Path) -> RunDir:
    run = RunDir(path)
    run.make()
    return run


def test_a_process_is_known_by_more_than_its_number(tmp_path: Path) -> None:
    run = _run(tmp_path)
    lock = run.acquire_lock()
    child = subprocess.Popen(["sleep", "60"], pass_fds=(lock,))
    record = process.identity(child.pid)
    assert process.is_alive(record)
    for change in ({"pid_started": 1}, {"boot_id": "x"}, {"machine_id": "x"}, {"pid_namespace": "x"}, {"pid": os.getpid()},
                   {"pid": None}, {"pid": "7"}, {"pid": 1}, {"pid": -1}, {"pid_started": None}):  # fmt: skip
        assert not process.is_alive({**record, **change}), change
        assert not process.signal_exactly({**record, **change}, signal.SIGKILL, run.lock)
    assert child.poll() is None
    assert process.signal_exactly(record, signal.SIGTERM, run.lock) and child.wait() == -signal.SIGTERM
    assert not process.is_alive(record) and not process.signal_exactly(record, signal.SIGTERM, run.lock)
    os.close(lock)


def test_copies_of_one_disk_image_are_other_machines() -> None:
    mine = process.identity(os.getpid())
    assert process.is_here(mine) and process.is_here({**mine, "boot_id": "before the restart"})
    assert process.is_here({**mine, "host": "renamed since"})
    assert not process.is_here({**mine, "boot_id": "other", "host": "twin"})


def test_only_the_holder_of_the_lock_is_signalled(tmp_path: Path) -> None:
    """The victim's true identity is recorded; it even has the file open that a forger calls the lock."""
    victim_file = tmp_path / "victims own"
    victim_file.write_text("x")
    with victim_file.open("rb") as file:
        victim = subprocess.Popen(["sleep", "60"], pass_fds=(file.fileno(),), stdin=subprocess.DEVNULL)
    record = process.identity(victim.pid)
    forged = _run(tmp_path / "forged")
    ways = {
        "no lock": lambda: None,
        "free lock": lambda: forged.lock.touch(),
        "link to what it has open": lambda: forged.lock.symlink_to(victim_file),
        "link to /dev/null": lambda: forged.lock.symlink_to("/dev/null"),
        "second name": lambda: forged.lock.hardlink_to(victim_file),
        "its own file": lambda: shutil.move(victim_file, forged.lock),
    }
    for name, way in ways.items():
        forged.lock.unlink(missing_ok=True)
        way()
        assert not process.signal_exactly(record, signal.SIGKILL, forged.lock), name
    lock = forged.acquire_lock()  # somebody holds it: still not the victim, though it has the file open
    assert process.has_open(victim.pid, forged.lock)
    assert not process.signal_exactly(record, signal.SIGKILL, forged.lock)
    os.close(lock)
    assert victim.poll() is None
    victim.kill()
    victim.wait()


def test_a_process_of_another_user_is_not_ours(tmp_path: Path) -> None:
    assert process.is_mine(os.getpid())
    if os.getuid() == 0:
        run = _run(tmp_path)
        lock = run.acquire_lock()
        child = subprocess.Popen(["sleep", "60"], pass_fds=(lock,), user=65534)
        assert not process.is_mine(child.pid)
        assert not process.signal_exactly(process.identity(child.pid), signal.SIGKILL, run.lock)
        assert child.poll() is None
        child.kill()
        child.wait()
        os.close(lock)
    else:
        assert not process.is_mine(1)
