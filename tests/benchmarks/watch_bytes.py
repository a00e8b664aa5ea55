"""What the live screen sends to the terminal: bytes, processor time and memory, into a terminal emulator.

Run: python -m tests.benchmarks.watch_bytes [SECONDS]
"""

from __future__ import annotations

import math
import os
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from engine.events import EventWriter
from engine.rundir import RunDir
from tests.benchmarks.emulated import Emulated
from tests.support import make_run

SIZE = (160, 50)
SETTLE_SECONDS = 4.0
STEPS_PER_SECOND = 10.0


@dataclass
class Reading:
    """One measurement."""

    start: int
    rate: float
    worst: int
    cpu: float
    megabytes: float


class Writer(threading.Thread):
    """A run that makes steps, an evaluation now and then, and nothing else."""

    def __init__(self, run: RunDir, first: int, total: int) -> None:
        super().__init__(daemon=True)
        self.step, self.total = first, total
        self.events = EventWriter(run.events)
        self.done = threading.Event()
        self.path, self.log = run.train_log, False
        self.random = random.Random(1)

    def run(self) -> None:
        while not self.done.wait(1 / STEPS_PER_SECOND):
            self.step += 1
            self.events.write("step", **fields(self.step, self.total, self.random))
            if self.log and self.step % 10 == 0:
                with open(self.path, "a", encoding="utf-8") as file:
                    file.write(f"step {self.step}: a line of the log, as trainers write them\n")
            if self.step % 100 == 0:
                self.events.write("eval", step=self.step, eval_loss=1.0 + 1.5 * math.exp(-self.step / 400))


def fields(step: int, total: int, rng: random.Random) -> dict[str, object]:
    """A step like that of a run on one GPU."""
    return {
        "step": step, "total_steps": total, "epoch": 3 * step / total,
        "loss": 0.9 + 1.5 * math.exp(-step / 400) + rng.gauss(0, 0.1), "learning_rate": 1e-4 * (1 - step / (total + 1)),
        "grad_norm": rng.uniform(0.5, 1.5), "samples_per_second": rng.gauss(40, 3),
        "tokens_per_second": rng.gauss(9000, 300), "num_tokens": 900 * step, "step_seconds": 0.1,
        "gpu_memory_allocated": 18_000_000_000 + rng.randrange(10**8), "gpu_memory_reserved": 30_000_000_000,
        "gpu_memory_peak": 31_000_000_000, "host_memory": 4_000_000_000,
    }  # fmt: skip


def measure(path: Path, seconds: float, plain: bool = False) -> Reading:
    """Watch the run in a terminal emulator and count what arrives."""
    terminal = Emulated("watch", str(path), size=SIZE, env={"TUNEDECK_PLAIN": "1"} if plain else {})
    try:
        count(terminal, SETTLE_SECONDS)
        start, before = terminal.total, processor(terminal.pid)
        counts = count(terminal, seconds)
        used = processor(terminal.pid) - before
        return Reading(start, sum(counts) / seconds, max(counts, default=0), used / seconds, terminal.memory())
    finally:
        terminal.close()


def count(terminal: Emulated, seconds: float) -> list[int]:
    """Bytes of each second."""
    counts = [0] * math.ceil(seconds)
    began, seen = time.monotonic(), terminal.total
    while (now := time.monotonic() - began) < seconds:
        terminal.turn(min(0.2, seconds - now))
        counts[min(len(counts) - 1, int(time.monotonic() - began))] += terminal.total - seen
        seen = terminal.total
    return counts


def processor(pid: int) -> float:
    """Seconds of processor time used so far."""
    values = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def live(
    folder: Path, history: int, seconds: float, total: int = 10_000, *, plain: bool = False, log: bool = False
) -> Reading:
    """A run that makes ten steps a second; its log is quiet, or gets a line a second."""
    run = make_run(folder / f"live-{history}-{plain}-{log}", steps=1, total=total, state="running", created=time.time())
    run.events.unlink()
    rng = random.Random(0)
    writer = EventWriter(run.events)
    for step in range(1, history + 1):
        writer.write("step", **fields(step, total, rng))
    writer.close()
    thread = Writer(run, history, total)
    thread.log = log
    thread.start()
    try:
        return measure(run.path, seconds, plain)
    finally:
        thread.done.set()
        thread.join()


def finished(folder: Path, steps: int, seconds: float, *, plain: bool = False) -> Reading:
    """A run that has ended."""
    return measure(make_run(folder / f"done-{steps}-{plain}", steps=steps).path, seconds, plain)


def main() -> None:
    """Print the table, each row as soon as it is there."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 120.0
    short = min(30.0, seconds)
    print(
        f"{SIZE[0]}×{SIZE[1]}, {STEPS_PER_SECOND:g} steps/s, {seconds:g} s (Textual's own driver and finished runs: {short:g} s)"
    )
    print("targets: start 25 KB, 500 B/s with a quiet log, 0 B/s when finished, CPU 4%")
    print(f"{'':42} {'start KB':>9} {'bytes/s':>9} {'worst s':>9} {'CPU %':>7} {'MB':>6}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in ("STATE", "CACHE", "CONFIG"):
            os.environ[f"XDG_{kind}_HOME"] = str(folder / kind.lower())
        for label, work in (
            ("live, 2,000 steps before", lambda: live(folder, 2000, seconds)),
            ("live, from an empty run", lambda: live(folder, 0, seconds)),
            ("live, a line a second in the log", lambda: live(folder, 2000, short, log=True)),
            ("finished, 1,000 steps", lambda: finished(folder, 1000, short)),
            ("Textual's driver: live, 2,000 steps before", lambda: live(folder, 2000, short, plain=True)),
            ("Textual's driver: finished, 1,000 steps", lambda: finished(folder, 1000, short, plain=True)),
        ):
            r = work()
            print(
                f"{label:42} {r.start / 1e3:9.1f} {r.rate:9.0f} {r.worst:9d} {100 * r.cpu:7.1f} {r.megabytes:6.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
