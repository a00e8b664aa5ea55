"""Runs trials, each batch in a process of its own, some side by side; nothing of a trial outlives it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults import home
from tests.faults.registry import FAULTS
from tests.faults.trial import Fault, Trial


def run(
    name: str,
    numbers: Iterable[int],
    *,
    jobs: int = 1,
    keep: Path | None = None,
    done: Callable[[list[Trial]], None] = lambda trials: None,
) -> list[Trial]:
    """Do the trials; ``done`` is called with each finished batch. Folders of bad ones are moved to ``keep``."""
    fault = FAULTS[name]
    batches: dict[int, list[int]] = {}
    for number in numbers:
        batches.setdefault(number // fault.batch, []).append(number)
    if fault.training:
        from tests.faults import realrun

        realrun.control()  # made before, so that trials do not compete for making it
    commit = _commit()
    found: list[Trial] = []
    lock = threading.Lock()

    def do(batch: list[int]) -> None:
        trials = _batch(fault, batch, keep)
        for trial in trials:
            trial.commit = commit
        with lock:
            found.extend(trials)
            done(trials)

    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(do, batch) for batch in batches.values()]:
            future.result()
    return sorted(found, key=lambda trial: trial.number)


def _batch(fault: Fault, numbers: Sequence[int], keep: Path | None) -> list[Trial]:
    folder = Path(tempfile.mkdtemp(prefix="tdf-"))  # short: sockets and hash-bang lines have limits
    mark = folder.name
    words = [sys.executable, "-m", "tests.faults", "--do", fault.name, *map(str, numbers), "--folder", str(folder)]
    begun = time.monotonic()
    with (folder / "said.txt").open("wb") as said:
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=home.ROOT,
                                 env=home.environment(folder, mark))  # fmt: skip
        try:
            child.wait(fault.limit)
            why = f"the trial's own process ended with {child.returncode}"
        except subprocess.TimeoutExpired:
            why = f"not done within {fault.limit:g} s"
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
    left = home.end_all(mark)
    trials = _results(folder, fault, numbers, why)
    for trial in trials:
        trial.seconds = trial.seconds or round(time.monotonic() - begun, 2)
        if left:
            trial.ok, trial.outcome = False, f"processes that would not end: {left}; {trial.outcome}"
    if keep is not None and any(not trial.ok and not trial.skipped for trial in trials):
        keep.mkdir(parents=True, exist_ok=True)
        leave_out = shutil.ignore_patterns("ctl", "filler", "inodes", "tmux")
        with contextlib.suppress(shutil.Error):
            shutil.copytree(folder, keep / f"{fault.name}-{numbers[0]}-{mark}", symlinks=True, ignore=leave_out)
    shutil.rmtree(folder, ignore_errors=True)
    return trials


def _results(folder: Path, fault: Fault, numbers: Sequence[int], why: str) -> list[Trial]:
    try:
        lines = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
        trials = [Trial(**json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError):
        trials = []
    there = {trial.number for trial in trials}
    try:
        tail = (folder / "said.txt").read_text(encoding="utf-8", errors="replace")[-600:]
    except OSError:
        tail = ""
    missing = [Trial(fault.name, n, outcome=f"{why}: {tail}", time=time.time()) for n in numbers if n not in there]
    return trials + missing


def do(name: str, numbers: Sequence[int], folder: Path) -> None:
    """The trial's own process: mounts of its own, then the trials, then their results in a file."""
    home.own_mounts()
    trials = FAULTS[name].doer(numbers, folder)
    text = "".join(json.dumps(trial.as_dict()) + "\n" for trial in trials)
    (folder / "results.jsonl").write_text(text, encoding="utf-8")


def _commit() -> str:
    answer = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=home.ROOT
    )
    return answer.stdout.strip()
