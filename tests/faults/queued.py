"""20 real runs over 2 slots: supervisors are killed, one is cancelled, two are moved; all others complete, two at a time."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import psutil

from engine import process
from engine.rundir import RunDir
from engine.snapshot import RunFollower
from tests.faults import home, realrun
from tests.faults.trial import Trial
from tests.support import launch_fake

SLOTS = 2
# None ends before all are launched and moved, however slow the machine is.
FAKE = "while not os.path.exists({gate!r}):\n    time.sleep(0.02)\nfor n in range(1, 9):\n    step(n, 8)\n    time.sleep(0.15)\nevents.write('state', state='completed', reason='all done')\n"


class Watcher(threading.Thread):
    """Counts the workers of this trial that live, often, and remembers when each was first seen."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self.first: dict[str, float] = {}
        self.over = threading.Event()

    def run(self) -> None:
        """Look until told to end."""
        mark = os.environ[home.MARK]
        while not self.over.wait(0.05):
            now = []
            for pid in home.marked(mark):
                with contextlib.suppress(psutil.Error):
                    words = psutil.Process(pid).cmdline()
                    if "engine.worker" in words:
                        now.append(words[-1])
            for path in now:
                self.first.setdefault(path, time.monotonic())
            self.most = max(self.most, len(set(now)))


def do(numbers: Sequence[int], folder: Path) -> list[Trial]:
    """20 real runs over 2 slots, the supervisor of every third killed, one cancelled, two reordered."""
    return scenario(list(numbers), folder, real=True)


def quick(numbers: Sequence[int], folder: Path) -> list[Trial]:
    """The same with 10 runs of a stand-in worker, for a quick look."""
    return scenario(list(numbers), folder, real=False)


def scenario(numbers: list[int], folder: Path, *, real: bool) -> list[Trial]:
    """Launch a run a number; returns a trial for each."""
    os.environ["TUNEDECK_SLOTS"] = str(SLOTS)
    watcher = Watcher()
    watcher.start()
    trials = [
        Trial("queue" if real else "queue-quick", number, "run left alone", time=round(time.time(), 1))
        for number in numbers
    ]
    gate = folder / "all launched"
    runs = [_launch(folder / f"{n:02d}", real, gate) for n in numbers]
    ids = [str((run.read_run() or {})["id"]) for run in runs]
    count = len(runs)
    cancelled, moved = count - 2, (count - 4, count - 6)
    notes: list[str] = []
    answer = realrun.tunedeck("queue", "cancel", ids[cancelled])
    trials[cancelled].where = "cancelled"
    notes.append(f"cancel: {answer.returncode} {answer.stderr.strip()}" if answer.returncode else "")
    for index in moved:
        answer = realrun.tunedeck("queue", "move", ids[index], "1")
        trials[index].where = "moved to the front"
        notes.append(f"move: {answer.returncode} {answer.stderr.strip()}" if answer.returncode else "")
    gate.touch()
    listed = realrun.tunedeck("queue", "--json")
    notes.append(f"queue --json: {listed.stderr.strip()}" if listed.returncode else "")
    victims = {i for i in range(2, count, 3) if i != cancelled}
    _kill_supervisors(runs, trials, victims, cancelled, 25.0 * count if real else 60.0)
    watcher.over.set()
    watcher.join()
    for index, (run, trial) in enumerate(zip(runs, trials, strict=True)):
        follower = RunFollower(run.path)
        view = follower.read_all()
        trial.outcome = f"{view.state.state}: {view.state.reason}"
        trial.ok = view.state.state == ("stopped" if index == cancelled else "completed")
        if trial.ok and real and index != cancelled:
            with contextlib.suppress(AssertionError):
                realrun.assert_like_control(run, view)
                trial.count(**{"like control": 1})
    _judge_all(trials, runs, watcher, moved, victims, [note for note in notes if note])
    return trials


def _launch(folder: Path, real: bool, gate: Path) -> RunDir:
    if real:
        folder.mkdir()
        return realrun.launch(folder, queue=True)
    return launch_fake(folder, FAKE.format(gate=str(gate)), queue=True)


def _kill_supervisors(
    runs: list[RunDir], trials: list[Trial], victims: set[int], cancelled: int, seconds: float
) -> None:
    """Kill the victims' supervisors, half of them while they wait and half while they train; then wait for all."""
    waiting = {i for n, i in enumerate(sorted(victims)) if n % 2}
    training = victims - waiting
    for index in sorted(waiting):
        status = runs[index].read_status() or {}
        trials[index].where = f"supervisor killed while {status.get('state')}"
        with contextlib.suppress(ProcessLookupError, KeyError, TypeError):
            os.kill(status["supervisor_pid"], signal.SIGKILL)
    realrun.tunedeck("queue")  # the next command of anybody brings them back
    deadline = time.monotonic() + seconds
    followers = [RunFollower(run.path) for run in runs]
    while time.monotonic() < deadline:
        live = 0
        for index, follower in enumerate(followers):
            follower.poll()
            live += follower.view.state.live or follower.view.state.state == "unknown"
            status = follower.view.status
            if index in training and status.get("state") == "running" and process.is_alive(status):
                training.discard(index)
                trials[index].where = "supervisor killed while running"
                with contextlib.suppress(ProcessLookupError):
                    os.kill(status["supervisor_pid"], signal.SIGKILL)
        if not live:
            return
        time.sleep(0.05)


def _judge_all(
    trials: list[Trial],
    runs: list[RunDir],
    watcher: Watcher,
    moved: tuple[int, ...],
    victims: set[int],
    notes: list[str],
) -> None:
    """What holds for the whole queue is written into its first trial."""
    first = trials[0]
    first.count(**{"most at once": watcher.most})
    problems = list(notes)
    if watcher.most > SLOTS:
        problems.append(f"{watcher.most} workers at once")
    if watcher.most < SLOTS:
        problems.append("never two at once: the slots stayed empty")
    begun = [watcher.first.get(str(run.path)) for run in runs]
    order = [i for i, _ in sorted(((i, t) for i, t in enumerate(begun) if t is not None), key=lambda pair: pair[1])]
    # Those that nobody touched start in the order in which they were launched (two slots: neighbours may swap in what is seen).
    plain = [i for i in order if i not in moved and i not in victims]
    swaps = sum(a > b + 1 for a, b in pairwise(plain))
    if swaps:
        problems.append(f"not first come first served: {order}")
    late = [i for i in moved if i in order and order.index(i) > 8]
    if late:
        problems.append(f"moved to the front, yet started late: {late} in {order}")
    first.outcome += f"; order {order}"
    if problems:
        first.ok = False
        first.outcome += "; " + "; ".join(problems)
