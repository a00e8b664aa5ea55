"""A day of a run, followed as the live screen does it, in minutes: does the reader's memory grow?

Ten steps a second, hardware every five seconds, evaluations, checkpoints, notices, samples; every step of the last hour
is NaN. Against tables in memory. Run: python -m tests.benchmarks.day_of_stream [HOURS]
"""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.events import EventWriter
from engine.rundir import RunDir, write_json
from engine.snapshot import RunFollower
from tests.benchmarks.long_run import resident
from tests.benchmarks.watch_bytes import fields

STEPS_PER_SECOND = 10
# Simulated seconds between two looks of the follower.
LOOK_SECONDS = 5
WARM_UP = 1 / 8  # of the whole: until the lists of newest notices, samples and readings are full
PAUSE_STEPS = 2000  # from one evaluation and checkpoint to the next
CARDS = [{"index": i, "name": "GPU", "utilization": 97, "memory_used": 1, "memory_total": 2, "temperature": 60.0, "power": 300.0}
         for i in range(8)]  # fmt: skip


class Day:
    """Writes a run, five simulated seconds at a time."""

    def __init__(self, run: RunDir, steps: int) -> None:
        self.worker, self.supervisor = EventWriter(run.events), EventWriter(run.supervisor_events)
        self.total, self.step = steps, 0
        self.some = [fields(step, steps, random.Random(step)) for step in range(1, 2000)]

    def go_on(self) -> None:
        """Write the next moment."""
        write = self.worker.write
        for _ in range(STEPS_PER_SECOND * LOOK_SECONDS):
            self.step += 1
            event: dict[str, Any] = {**self.some[self.step % len(self.some)], "step": self.step}
            if self.total - self.step < 3600 * STEPS_PER_SECOND:
                event.update(loss="NaN", grad_norm="NaN")
            write("step", **event)
            if self.step % PAUSE_STEPS == 0:
                write("phase", name="evaluating", done=0, total=10)
                write("eval", step=self.step, epoch=1.0, eval_loss=1.0)
                write("checkpoint", step=self.step, path=f"/runs/out/checkpoint-{self.step}", bytes=10**8, seconds=2.0)
                for number in range(4):
                    write("sample", step=self.step, prompt=f"{number}" * 200, completion="y" * 2000)
                write("phase", name="training")
            if self.step % 200 == 0:
                write("notice", level="warning", text=f"something at step {self.step}", kind="x", step=self.step)
        self.supervisor.write("hardware", gpus=CARDS, cpu=50.0, memory=10**10)


def look(follower: RunFollower) -> None:
    """What a screen does with a follower alone."""
    follower.poll()
    view = follower.view
    view.remaining, view.steps.best("loss"), view.steps.column("loss")[-50:], view.steps.last("grad_norm")


def follow(folder: Path, hours: float, *, screen: bool = False) -> Iterator[tuple[float, float, float]]:
    """Hours simulated, resident MB and the longest poll (seconds) since the last one told."""
    run = RunDir(folder / "run")
    run.meta.mkdir(parents=True)
    steps = int(hours * 3600 * STEPS_PER_SECOND)
    write_json(run.run_json, {"format": 1, "id": "day", "attempts": [{"attempt": 1, "step": 0}], "config": {}})
    write_json(run.status_json, {"state": "running", "attempts": 1, "host": "elsewhere", "heartbeat": time.time()})
    day, worst = Day(run, steps), 0.0
    if screen:  # the live screen's own reader, with all that it works out
        from tui.watch.feed import WatchFeed

        feed = WatchFeed(run.path)
        follower: RunFollower = feed._follower
    else:
        follower = RunFollower(run.path)
    tell = max(1, steps // 48)
    told = 0
    while day.step < steps:
        day.go_on()
        began = time.perf_counter()
        feed.poll() if screen else look(follower)
        worst = max(worst, time.perf_counter() - began)
        if day.step - told >= tell or day.step >= steps:
            told = day.step
            gc.collect()
            yield day.step / 3600 / STEPS_PER_SECOND, resident(), worst
            worst = 0.0
    while not follower.caught_up:
        follower.poll()
    assert len(follower.view.steps) == steps and follower.view.damaged == 0
    assert list(follower.view.steps.steps[-3:]) == [steps - 2, steps - 1, steps]


def in_memory() -> None:
    """What the baseline is: nothing is written out, nothing is kept for the next opening."""
    from engine.columns import cache, table

    cache.WORTH_BYTES, table.BLOCK = 1 << 60, 1 << 40


def child(hours: float, way: str) -> None:
    """Print the readings of one way."""
    if way == "plain":
        in_memory()
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = str(Path(name) / "cache")
        for hour, megabytes, worst in follow(Path(name), hours, screen=way == "screen"):
            print(f"{hour} {megabytes} {worst}", flush=True)


def main() -> None:
    """Print the table."""
    if len(sys.argv) > 2:
        return child(float(sys.argv[1]), sys.argv[2])
    hours = float(sys.argv[1]) if len(sys.argv) > 1 else 24.0
    print(f"{hours:g} h of {STEPS_PER_SECOND} steps/s; warm-up: the first {hours * WARM_UP:g} h")
    print(f"{'':28} {'warm MB':>9} {'end MB':>9} {'most MB':>9} {'growth':>8} {'worst look ms':>14} {'seconds':>8}")
    for label, way in (("baseline: all in memory", "plain"), ("old rows in a file", "bounded"),
                       ("the live screen's reader", "screen")):  # fmt: skip
        began = time.perf_counter()
        command = [sys.executable, "-m", "tests.benchmarks.day_of_stream", str(hours), way]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        rows = [tuple(map(float, line.split())) for line in lines]
        warm = next(megabytes for hour, megabytes, _ in rows if hour >= hours * WARM_UP)
        most = max(megabytes for hour, megabytes, _ in rows if hour >= hours * WARM_UP)
        print(f"{label:28} {warm:9.1f} {rows[-1][1]:9.1f} {most:9.1f} {100 * (most / warm - 1):7.1f}% "
              f"{1000 * max(row[2] for row in rows):14.0f} {time.perf_counter() - began:8.0f}", flush=True)  # fmt: skip
    return None


if __name__ == "__main__":
    main()
