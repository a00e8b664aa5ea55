"""A very long run opened: its first picture, all of it, all of it again from the cache; time and memory of each.

Against reading it line by line with ``json`` and against tables in memory. Each measurement has a process of its own,
held to one processor. Run: python -m tests.benchmarks.long_run [STEPS]
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.events import encode
from engine.rundir import RunDir, write_json
from tests.benchmarks.watch_bytes import fields

# The columns that the live screen's first charts are made of.
CHARTS = ("loss", "learning_rate", "samples_per_second", "gpu_memory_allocated", "gpu_memory_reserved", "epoch")
BUDGET = 0.05


def write_run(path: Path, steps: int) -> RunDir:
    """A finished run of so many steps. Its values repeat after 20,000 steps; only their numbers go on."""
    run, rng = RunDir(path), random.Random(0)
    run.meta.mkdir(parents=True)
    write_json(run.run_json, {"format": 1, "id": "long", "attempts": [{"attempt": 1, "step": 0}], "config": {}})
    write_json(run.status_json, {"state": "completed", "attempts": 1, "step": steps, "total_steps": steps})
    some = [fields(step, steps, rng) for step in range(1, min(steps, 20_000) + 1)]
    with run.events.open("wb") as file:
        for step in range(1, steps + 1):
            event = {"type": "step", "time": 1_790_000_000 + step / 10, "attempt": 1, **some[step % len(some)]}
            file.write(encode({**event, "step": step, "epoch": 3 * step / steps, "num_tokens": 900 * step}))
            if step % 1000 == 0:
                file.write(
                    encode({"type": "eval", "time": event["time"], "attempt": 1, "step": step, "eval_loss": 1.0})
                )
    return run


def by_lines(path: Path) -> dict[str, float]:
    """Baseline: each line through ``json``, three columns kept."""
    import json

    columns: dict[str, list[float]] = {"step": [], "loss": [], "learning_rate": []}
    with RunDir(path).events.open("rb") as file:
        for line in file:
            event = json.loads(line)
            if event["type"] == "step":
                for name, column in columns.items():
                    column.append(event[name])
    return {}


def in_memory(path: Path) -> dict[str, float]:
    """Baseline: one event at a time, all columns in memory, as it was before."""
    from engine import events
    from engine.columns import cache, table
    from engine.snapshot import RunFollower

    events._decode_all = lambda lines: None  # type: ignore[assignment]
    cache.WORTH_BYTES, table.BLOCK = 1 << 60, 1 << 40
    RunFollower._apply_all = lambda self, found: [self._apply(e) for e in found]  # type: ignore[method-assign,assignment,return-value]
    return opened(path)


def sketched(path: Path) -> dict[str, float]:
    """The first picture."""
    from engine.columns import sketch

    table = sketch(RunDir(path).events)
    assert table is not None and len(table) > 1000, "no sketch"
    return {}


def opened(path: Path) -> dict[str, float]:
    """All of it, in polls of the live screen's length, and what the charts read."""
    from engine.snapshot import RunFollower

    follower, worst, polls = RunFollower(path), 0.0, 0
    while not follower.caught_up or not polls:
        began = time.perf_counter()
        follower.poll(BUDGET)
        worst, polls = max(worst, time.perf_counter() - began), polls + 1
    steps = follower.view.steps
    for name in CHARTS:
        for row in range(0, len(steps), 65536):
            steps.column(name)[row : row + 65536], steps.steps[row : row + 65536]
    assert len(steps) == follower.view.step and follower.view.damaged == 0
    return {"worst poll ms": 1000 * worst, "polls": polls}


def resident() -> float:
    """Resident memory in MB, what is mapped from files included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def highest() -> float:
    """The most resident memory that there ever was, in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def measured(task: Callable[[Path], dict[str, float]], path: Path) -> dict[str, Any]:
    """Seconds, growth of memory at its highest and what the task tells, from a process of its own."""
    code = f"from tests.benchmarks.long_run import *; child({task.__name__}, Path({str(path)!r}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return dict(eval(result.stdout))


def child(task: Callable[[Path], dict[str, float]], path: Path) -> None:
    """Measure a task in this process and print what was found."""
    import engine.columns
    import engine.snapshot  # noqa: F401

    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    before, cpu, began = resident(), time.process_time(), time.perf_counter()
    told = task(path)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(repr({"seconds": seconds, "cpu": cpu, "growth MB": highest() - before, **told}))


def main() -> None:
    """Print the table."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        run = write_run(folder / "run", steps)
        print(f"{steps:,} steps, {run.events.stat().st_size / 1e6:.0f} MB")
        print(f"{'':42} {'seconds':>8} {'cpu s':>7} {'growth MB':>10} {'worst poll ms':>14}")
        tasks: list[tuple[str, Callable[[Path], dict[str, float]]]] = [
            ("baseline: json, line by line, 3 columns", by_lines), ("baseline: event by event, all in memory", in_memory),
            ("first picture (sketch)", sketched), ("complete, the first time", opened),
            ("complete, from the cache", opened)]  # fmt: skip
        for label, task in tasks:
            found = measured(task, run.path)
            worst = found.get("worst poll ms")
            print(f"{label:42} {found['seconds']:8.2f} {found['cpu']:7.2f} {found['growth MB']:10.1f} "
                  f"{f'{worst:.0f}' if worst is not None else '–':>14}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
