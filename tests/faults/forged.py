"""Forged and stale records that name foreign processes: whatever is tried with such a run, none of them is signalled."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import cli, process
from engine.history import summarise
from engine.rundir import RunDir
from engine.snapshot import RunFollower
from tests.faults import home
from tests.faults.trial import Trial

STATES = ("queued", "starting", "running", "stopping", "completed", "killed", "lost", "nonsense", None, 7)
VICTIM = """
import fcntl, os, signal, sys, time
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for number in range(1, 65):
    try:
        signal.signal(number, lambda n, f: os.write(log, b"%d\\n" % n))
    except (OSError, ValueError, RuntimeError):
        pass
held = []
for word in sys.argv[3:]:
    how, path = word.split(":", 1)
    held.append(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    if how != "open":
        fcntl.flock(held[-1], fcntl.LOCK_SH if how == "shared" else fcntl.LOCK_EX)
if sys.argv[2] != "0":
    os.setuid(int(sys.argv[2]))
os.write(1, b"ready\\n")
while True:
    time.sleep(60)
"""


@dataclass
class Victim:
    """A foreign process that writes down every signal; ``lock`` is the lock file that it has to do with."""

    child: subprocess.Popen[bytes]
    log: Path
    lock: Path | None
    kind: str

    def harm(self) -> str:
        """What was done to it, empty if nothing."""
        if self.child.poll() is not None:
            return f"{self.kind} has ended with {self.child.returncode}"
        numbers = self.log.read_text().split()
        if numbers:
            return f"{self.kind} got signals {numbers}"
        state = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return f"{self.kind} is stopped" if state in "Tt" else ""


def _victim(folder: Path, name: str, lock: Path | None, how: str = "", user: int = 0) -> Victim:
    log = folder / f"{name}.signals"
    words = [f"{how}:{lock}"] if lock is not None and how else []
    child = subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(log), str(user), *words], stdout=subprocess.PIPE, start_new_session=True
    )
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    return Victim(child, log, lock, name)


def victims(folder: Path) -> list[Victim]:
    """Foreign processes, from plain ones to some that have their hands on a run's lock."""
    locks = folder / "locks"
    locks.mkdir(parents=True)
    found = [
        _victim(folder, "a plain process", None),
        _victim(folder, "the worker of another run", locks / "other", "exclusive"),
        _victim(folder, "a program that has the lock open", locks / "opened", "open"),
        _victim(folder, "a reader with a shared lock", locks / "shared", "shared"),
    ]
    if os.getuid() == 0:
        found.append(_victim(folder, "another user's process with the lock", locks / "foreign", "exclusive", 65534))
    return found


def do(numbers: Sequence[int], folder: Path) -> list[Trial]:
    """Random and cleverly valid records of foreign processes; every path that can signal is tried, nobody is signalled."""
    folder.mkdir(parents=True, exist_ok=True)
    found = victims(folder)
    trials = []
    try:
        for number in numbers:
            trial = Trial("forged", number, "records", time=round(time.time(), 1))
            try:
                kind = one(number, folder / f"r{number % 50}", found)
                harm = "; ".join(filter(None, (v.harm() for v in found)))
                trial.ok, trial.outcome = not harm, f"{kind}: {harm or 'nobody was signalled'}"
            except Exception as error:
                trial.outcome = f"{type(error).__name__}: {error}"
            trials.append(trial)
            if not trial.ok:
                for victim in found:
                    victim.child.kill()
                    victim.child.wait()
                found = victims(folder / f"again-{number}")
        trials[0].ok = trials[0].ok and _the_true_one_is_signalled(folder)
    finally:
        for victim in found:
            victim.child.kill()
            victim.child.wait()
    return trials


def one(number: int, path: Path, found: list[Victim]) -> str:
    """Forge a run that names a victim, and try everything with it; returns what was forged."""
    choose = random.Random(number)
    victim = choose.choice(found)
    run = RunDir(path)
    run.make()
    with contextlib.suppress(OSError):
        run.lock.unlink()
    record = _record(choose, victim)
    with _lock(choose, run, victim) as how:
        status = json.dumps(record, default=str)
        run.status_json.write_text(status if choose.random() > 0.02 else status[: choose.randrange(len(status))])
        config = {"base_model": "none", "train_path": "none", "output_dir": str(path)}
        run.run_json.write_text(
            json.dumps({"format": 1, "id": f"20261124-000000-{number:05d}", "name": "forged", "config": config})
        )
        if choose.random() < 0.3:
            owner = {**process.identity(victim.child.pid), "pid": victim.child.pid}
            (run.meta / "lock.owner").write_text(json.dumps(owner))
        _try_everything(choose, run, record)
    for verb in run.requests():
        run.take(verb)
    return f"{victim.kind}, {how}"


def _record(choose: random.Random, victim: Victim) -> dict[str, Any]:
    pid = victim.child.pid
    right = process.identity(pid)
    record: dict[str, Any] = {"state": choose.choice(STATES), "reason": "forged", "heartbeat": time.time() - choose.choice((0, 5, 5e3)), **right,
                              "supervisor_pid": pid, "supervisor_started": right["pid_started"], "ranks": [{"rank": 0, "pid": pid}],
                              "attempts": 1}  # fmt: skip
    if choose.random() < 0.6:  # all right, as the cleverest forger would have it
        return record
    key = choose.choice(
        (
            "pid",
            "pid_started",
            "supervisor_pid",
            "supervisor_started",
            "boot_id",
            "pid_namespace",
            "machine_id",
            "ranks",
            "host",
        )
    )
    record[key] = choose.choice(
        (None, 0, 1, -1, -pid, True, float(pid), str(pid), pid + 1, 2**31, 2**70, os.getpid(), [], "", {"a": 1})
    )
    return record


@contextlib.contextmanager
def _lock(choose: random.Random, run: RunDir, victim: Victim) -> Any:
    """The forged run's lock file: missing, free, held by somebody else, or leading to one that the victim has."""
    ways: list[str] = ["no lock file", "a free lock", "a lock that another process holds"]
    if victim.lock is not None:
        ways += ["a link to its lock", "its lock by a second name", "its own lock file"] * 2
    how = choose.choice(ways)
    held = -1
    if how == "a free lock":
        run.lock.touch()
    elif how.startswith("a lock"):
        held = os.open(run.lock, os.O_RDWR | os.O_CREAT)
        fcntl.flock(held, fcntl.LOCK_EX)
    elif how == "a link to its lock":
        assert victim.lock is not None
        run.lock.symlink_to(victim.lock)
    elif how == "its lock by a second name":
        assert victim.lock is not None
        os.link(victim.lock, run.lock)
    elif how == "its own lock file" and victim.kind != "the worker of another run":
        # The very file, under its one name: what the victim has open or shared is then the forged run's true lock.
        assert victim.lock is not None
        os.rename(victim.lock, run.lock)
    try:
        yield how
    finally:
        if how == "its own lock file" and victim.kind != "the worker of another run":
            assert victim.lock is not None
            os.rename(run.lock, victim.lock)
        with contextlib.suppress(OSError):
            run.lock.unlink()
        if held >= 0:
            os.close(held)


def _try_everything(choose: random.Random, run: RunDir, record: dict[str, Any]) -> None:
    RunFollower(run.path).poll()
    summarise(run.path)
    for pid, started in (
        ("pid", "pid_started"),
        ("supervisor_pid", "supervisor_started"),
        ("pid", "supervisor_started"),
    ):
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
            assert not process.signal_exactly(record, number, run.lock, pid, started), (
                f"signal_exactly says that it signalled by {pid}"
            )
    if choose.random() < 0.05:
        quiet: Callable[[], Any] = lambda: contextlib.redirect_stdout(io.StringIO())  # noqa: E731
        words = choose.choice((["stop", str(run.path), "--timeout", "0.02"], ["stop", str(run.path), "--now", "--timeout", "0.02"],
                               ["checkpoint", str(run.path), "--timeout", "0.02"], ["resume", str(run.path), "--detach"],
                               ["queue", "cancel", str(run.path)], ["show", str(run.path), "--json"]))  # fmt: skip
        with quiet(), contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
            cli.main(words)


def _the_true_one_is_signalled(folder: Path) -> bool:
    """That nobody is signalled must not be because nothing ever is: the true holder of a run's lock is."""
    run = RunDir(folder / "true")
    run.make()
    true = _victim(folder, "true", run.lock, "exclusive")
    try:
        record = {"state": "running", **process.identity(true.child.pid)}
        if not process.signal_exactly(record, signal.SIGTERM, run.lock):
            return False
        home.Until(5)(lambda: true.log.read_text().split() == [str(int(signal.SIGTERM))], "the signal")
        return True
    finally:
        true.child.kill()
        true.child.wait()
