"""Twelve ways for a run to end, each brought about for real; the reader must name each rightly within 3 s."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import process
from engine.history import summarise
from engine.rundir import RunDir
from engine.snapshot import RunFollower
from tests.faults import home, memory, realrun
from tests.faults.trial import Trial
from tests.support import launch_fake

LIVE = "for n in range(1, 4): step(n, 100)\ntime.sleep(60)\n"
DONE = 'events.write("state", state="completed", reason="all steps done, adapter saved")\n'
SEGFAULT = "    import ctypes\n    ctypes.string_at(0)\n"
# As the real worker does, it removes what is half written before it says why it ends.
FILLS_THE_DISK = """
from engine.worker.failure import explain
step(1)
time.sleep(0.4)
weights = str(run.path / "weights")
try:
    with open(weights, "wb") as file:
        while True:
            file.write(b"x" * 4096)
except OSError as error:
    os.unlink(weights)
    why = explain(error, 1, {"output_dir": str(run.path)})
    print(why, flush=True)
    events.write("state", state="failed", reason=why)
    sys.exit(1)
"""
LIMIT = 3.0


class Case:
    """One ending of one run: how it was launched, the reader that watches it, when its cause was set."""

    def __init__(self, trial: Trial, folder: Path, real: bool) -> None:
        self.trial, self.folder, self.real = trial, folder, real
        self.run: RunDir = RunDir(folder / "out")
        self.caused = 0.0
        self.worker: dict[str, Any] = {}

    def launch(
        self, body: str, *, at: int | str | None = None, extra: str = "", until: str = "running", **more: object
    ) -> None:
        """Launch the real worker (with a barrier ``at`` a step and ``extra`` done there), or the fake one that does ``body``."""
        if self.real:
            if at is not None:
                more["worker_python"] = realrun.barrier_python(self.folder, at, extra)
            self.run = realrun.launch(self.folder, **more)
        else:
            self.run = launch_fake(self.folder, body, queue=more.pop("queue", False), **more)
        if until:
            self.await_state(until)
            self.remember()

    def await_state(self, *states: str) -> None:
        """Wait until the recorded state is one of these (or the run is over)."""
        wanted = (*states, "completed", "stopped", "failed", "killed", "lost")
        home.Until(60, 0.01)(lambda: (self.run.read_status() or {}).get("state") in wanted, f"a state of {states}")

    def remember(self) -> None:
        """Remember who the worker is, to see it end."""
        self.worker = {
            k: v for k, v in (self.run.read_status() or {}).items() if k.startswith(("pid", "boot", "machine"))
        }

    def await_worker_end(self) -> None:
        """Wait for the worker's end and start the clock."""
        if not self.worker.get("pid"):
            self.remember()
        home.Until(60, 0.005)(lambda: not self._worker_lives(), "the worker's end")
        self.caused = time.monotonic()

    def _worker_lives(self) -> bool:
        pid = self.worker.get("pid")
        return isinstance(pid, int) and process.started(pid) == self.worker.get("pid_started")

    def signal(self, number: int) -> None:
        """Send a signal to the worker and start the clock."""
        os.kill(self.worker["pid"], number)
        self.caused = time.monotonic()

    def expect(self, state: str, words: str) -> None:
        """The reader comes to say this, in time, and keeps to it; lists and ``show`` agree; nothing of the run lives."""
        follower = RunFollower(self.run.path)
        deadline = max(self.caused, 1.0) + 12
        while True:
            follower.poll()
            found = follower.view.state
            if not found.live and found.state != "unknown":
                break
            assert time.monotonic() < deadline, (
                f"still reads {found.state}: {found.reason}; {realrun.last_words(self.run)}"
            )
            time.sleep(0.01)
        detect = time.monotonic() - self.caused
        self.trial.saw(detect)
        said = f"{found.state}: {found.reason} ({detect:.2f} s)"
        self.trial.outcome = f"{'real' if self.real else 'fake'}: {said}"
        assert found.state == state, f"reads {said}, not {state}; {realrun.last_words(self.run)}"
        assert re.search(words, found.reason), (
            f"the reason of {said} does not say {words!r}; {realrun.last_words(self.run)}"
        )
        assert detect < LIMIT, f"only after {detect:.2f} s: {said}"
        summary = summarise(self.run.path)
        assert summary is not None and summary.state == state, (
            f"the list says {summary and summary.state}, the reader {state}"
        )
        if self.trial.number // 12 % 4 == 1:
            shown = json.loads(realrun.tunedeck("show", self.run.path, "--json").stdout)
            assert shown["state"] == state and re.search(words, shown["reason"] or ""), (
                f"show says {shown['state']}: {shown['reason']}"
            )
        home.Until(5)(lambda: not self._living(), f"the end of the run's processes {self._living()} after {said}")
        follower.poll()
        assert follower.view.state.state == state, f"first {state}, later {follower.view.state.state}: a ghost"

    def _living(self) -> list[int]:
        status = self.run.read_status() or {}
        pairs = (("pid", "pid_started"), ("supervisor_pid", "supervisor_started"))
        return [status[pid] for pid, begun in pairs if process.is_alive(status, pid, begun)]


def _completed(case: Case) -> None:
    case.launch("for n in range(1, 4): step(n, 3)\ntime.sleep(0.4)\n" + DONE)
    case.await_worker_end()
    case.expect("completed", "all steps done")


def _graceful_stop(case: Case) -> None:
    body = (
        'step(1)\nwait_for_stop()\nevents.write("state", state="stopped", reason="stopped on request")\nsys.exit(130)'
    )
    case.launch(body, num_train_epochs=200)
    case.run.request("stop")
    case.await_worker_end()
    case.expect("stopped", "request")


def _stop_now(case: Case) -> None:
    deaf = "signal.signal(signal.SIGINT, signal.SIG_IGN)\n" if case.trial.number // 12 % 2 else ""
    case.launch(deaf + LIVE, num_train_epochs=200)
    case.run.request("stop-now")
    begun = time.monotonic()
    case.await_worker_end()
    assert case.caused - begun < 5, f"the worker lived on for {case.caused - begun:.1f} s"
    case.expect("stopped", "request")


def _cancelled(case: Case) -> None:
    os.environ["TUNEDECK_SLOTS"] = "1"
    first = launch_fake(case.folder / "first", LIVE, queue=True)
    case.launch(LIVE, until="queued", queue=True)
    run_id = (case.run.read_run() or {})["id"]
    state = (case.run.read_status() or {}).get("state")
    assert state == "queued", f"with one slot taken, the second run is {state}"
    answer = realrun.tunedeck("queue", "cancel", run_id)
    case.caused = time.monotonic()
    assert answer.returncode == 0, f"queue cancel: {answer.stdout}{answer.stderr}"
    case.expect("stopped", "cancel|queue")
    first.request("stop-now")
    realrun.ended(first)


def _sigterm(case: Case) -> None:
    case.launch(LIVE, num_train_epochs=200)
    case.signal(signal.SIGTERM)
    case.await_worker_end()
    case.expect("stopped", "SIGTERM")


def _sigkill(case: Case) -> None:
    case.launch(LIVE, num_train_epochs=200)
    time.sleep(case.trial.number // 12 * 0.05)
    case.signal(signal.SIGKILL)
    case.expect("killed", "SIGKILL")


def _segfault(case: Case) -> None:
    extra = f"def barrier(at):\n{SEGFAULT}" if case.real else ""
    case.launch(f"step(1)\ntime.sleep(0.4)\nif 1:\n{SEGFAULT}", at=4, extra=extra)
    case.await_worker_end()
    case.expect("killed", "SIGSEGV")


def _own_exception(case: Case) -> None:
    body = 'step(1)\nevents.write("state", state="failed", reason="out of GPU memory at step 2")\nsys.exit(1)'
    extra = 'def barrier(at):\n    raise RuntimeError("a fault of the suite")\n'
    case.launch(body, at=4, extra=extra, until="starting")
    case.await_worker_end()
    case.expect("failed", "^a fault of the suite.*step 5" if case.real else "^out of GPU memory at step 2$")


def _before_first_step(case: Case) -> None:
    extra = 'def barrier(at):\n    raise RuntimeError("a fault of the suite")\n'
    case.launch('print("KeyError: 7")\nsys.exit(3)', at=0, extra=extra, until="starting")
    case.await_worker_end()
    case.expect("failed", "^failed to start: .*" + ("a fault of the suite" if case.real else "KeyError: 7"))


def _memory_killer(case: Case) -> None:
    take = "held = []\nwhile len(held) < {count}:\n    held.append(bytearray(b'x' * (1 << 24)))\n"
    limit = (3 << 30) if case.real else (160 << 20)
    code = take.format(count=400 if case.real else 40)
    extra = "def barrier(at):\n" + "".join(f"    {line}\n" for line in code.splitlines()) if case.real else ""
    with memory.limited(limit):
        case.launch("step(1)\ntime.sleep(0.5)\n" + code, at=4, extra=extra, until="running")
        case.await_worker_end()
    case.expect("killed", "memory")


def _disk_full(case: Case) -> None:
    disk = case.folder / "disk"
    with home.small_disk(disk, "24m"):
        out = disk / "out"
        if case.real:
            case.launch("", at=4, output_dir=out)
            realrun.reached(case.folder, case.run, 4)
            home.fill(disk)
            realrun.go(case.folder, 4)
        else:
            case.launch(FILLS_THE_DISK, output_dir=str(out))
        case.await_worker_end()
        case.expect("failed", "disk full")


def _reboot(case: Case) -> None:
    """A power cut: supervisor and worker are gone in one moment, and the next reader lives in another boot."""
    case.launch(LIVE, num_train_epochs=200)
    status = case.run.read_status() or {}
    for pid in (status["supervisor_pid"], status["pid"]):
        os.kill(pid, signal.SIGKILL)
    boot = case.folder / "boot_id"
    boot.write_text("0badb007-0000-4000-8000-000000000000\n")
    code = ("import sys, time, json\nfrom engine.snapshot import RunFollower\nf = RunFollower(sys.argv[1])\nt = time.monotonic()\n"
            "while (f.poll(), f.view.state.live)[1] and time.monotonic() - t < 10: time.sleep(0.02)\n"
            "print(json.dumps([f.view.state.state, f.view.state.reason, time.monotonic() - t]))")  # fmt: skip
    if not os.access("/proc/sys/kernel/random/boot_id", os.R_OK) or _bind(boot):
        answer = subprocess.run(
            [sys.executable, "-c", code, str(case.run.path)], capture_output=True, text=True, check=True
        )
        subprocess.run(["umount", "/proc/sys/kernel/random/boot_id"], check=False)
    else:
        path = case.run.status_json
        path.write_text(path.read_text().replace(process.boot_id(), boot.read_text().strip()))
        answer = subprocess.run(
            [sys.executable, "-c", code, str(case.run.path)], capture_output=True, text=True, check=True
        )
    state, reason, seconds = json.loads(answer.stdout)
    case.trial.saw(seconds)
    case.trial.outcome = f"{'real' if case.real else 'fake'}: {state}: {reason} ({seconds:.2f} s)"
    assert state == "lost" and "restart" in reason, f"reads {state}: {reason}"
    assert seconds < LIMIT, f"only after {seconds:.2f} s"


def _bind(source: Path) -> bool:
    answer = subprocess.run(
        ["mount", "--bind", str(source), "/proc/sys/kernel/random/boot_id"], capture_output=True, check=False
    )
    return answer.returncode == 0


ENDINGS: dict[str, Callable[[Case], None]] = {
    "completed": _completed, "graceful stop": _graceful_stop, "stop-now": _stop_now, "cancelled in the queue": _cancelled,
    "SIGTERM": _sigterm, "SIGKILL": _sigkill, "segmentation fault": _segfault, "own exception": _own_exception,
    "exit before the first step": _before_first_step, "memory killer": _memory_killer, "disk full": _disk_full,
    "reboot": _reboot,
}  # fmt: skip


def trial(trial: Trial, folder: Path) -> None:
    """Twelve endings; every fourth trial of each with the real worker, the others with a stand-in under a real supervisor."""
    name = list(ENDINGS)[trial.number % 12]
    trial.where = name
    real = trial.number // 12 % 4 == 0 and name != "cancelled in the queue"
    trial.count(**{"with the real worker": real})
    ENDINGS[name](Case(trial, folder, real))


def stall_trial(trial: Trial, folder: Path) -> None:
    """A stopped worker is flagged as stalled within 10 s of the threshold (30 s), and no longer once it goes on."""
    trial.where = "worker stopped (SIGSTOP)"
    run = launch_fake(folder, "n = 0\nwhile True:\n    n += 1\n    step(n, 100000)\n    time.sleep(0.2)\n", queue=False)
    status = home.Until(20)(lambda: (s := run.read_status() or {}).get("state") == "running" and s, "a running run")
    assert isinstance(status, dict)
    follower = RunFollower(run.path)
    time.sleep(0.5 + trial.number * 0.05)
    os.kill(status["pid"], signal.SIGSTOP)
    stopped = time.monotonic()
    try:
        home.Until(45, 0.1)(lambda: (follower.poll(), follower.view.state.stalled)[1], "the flag stalled")
        seconds = time.monotonic() - stopped
        trial.saw(seconds - 30)
        trial.outcome = f"flagged after {seconds:.1f} s"
        assert follower.view.state.state == "running", (
            f"stalled is a flag on running, not on {follower.view.state.state}"
        )
        assert 29 <= seconds <= 40, trial.outcome
    finally:
        os.kill(status["pid"], signal.SIGCONT)
    home.Until(5)(
        lambda: (follower.poll(), not follower.view.state.stalled)[1], "the flag's end once the worker goes on"
    )
    os.kill(status["pid"], signal.SIGKILL)
    view = realrun.ended(run)
    assert view.state.state == "killed", f"reads {view.state.state}"
