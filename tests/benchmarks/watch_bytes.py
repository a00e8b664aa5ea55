"""What the live screen sends to the terminal: bytes, processor time and memory, through a pseudo-terminal.

Run: python -m tests.benchmarks.watch_bytes [SECONDS]
"""

from __future__ import annotations

import fcntl
import math
import os
import pty
import random
import select
import signal
import struct
import sys
import tempfile
import termios
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from engine.events import EventWriter
from engine.rundir import RunDir
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
        self.random = random.Random(1)

    def run(self) -> None:
        while not self.done.wait(1 / STEPS_PER_SECOND):
            self.step += 1
            self.events.write("step", **fields(self.step, self.total, self.random))
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


def measure(path: Path, seconds: float) -> Reading:
    """Watch the run in a pseudo-terminal and count what arrives."""
    pid, master = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", TUNEDECK_THEME="dark")
        os.execv(sys.executable, [sys.executable, "-m", "tui", "watch", str(path)])
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
    os.kill(pid, signal.SIGWINCH)
    try:
        start = sum(drain(master, SETTLE_SECONDS))
        before = processor(pid)
        counts = drain(master, seconds)
        used = processor(pid) - before
        return Reading(start, sum(counts) / seconds, max(counts, default=0), used / seconds, resident(pid))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(master)


def drain(master: int, seconds: float) -> list[int]:
    """Bytes of each second."""
    counts = [0] * math.ceil(seconds)
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        if select.select([master], [], [], min(0.2, seconds - now))[0]:
            try:
                data = os.read(master, 1 << 16)
            except OSError:
                break
            counts[min(len(counts) - 1, int(time.monotonic() - began))] += len(data)
    return counts


def processor(pid: int) -> float:
    """Seconds of processor time used so far."""
    values = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """Resident memory in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def live(folder: Path, history: int, total: int, seconds: float) -> Reading:
    """A run that makes ten steps a second."""
    run = make_run(folder / f"live-{history}", steps=1, total=total, state="running", created=time.time())
    run.events.unlink()
    rng = random.Random(0)
    writer = EventWriter(run.events)
    for step in range(1, history + 1):
        writer.write("step", **fields(step, total, rng))
    writer.close()
    thread = Writer(run, history, total)
    thread.start()
    try:
        return measure(run.path, seconds)
    finally:
        thread.done.set()
        thread.join()


def finished(folder: Path, steps: int, seconds: float) -> Reading:
    """A run that has ended."""
    return measure(make_run(folder / f"done-{steps}", steps=steps).path, seconds)


def main() -> None:
    """Print the table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in ("STATE", "CACHE", "CONFIG"):
            os.environ[f"XDG_{kind}_HOME"] = str(folder / kind.lower())
        rows = [
            ("live, 2,000 steps before", live(folder, 2000, 10_000, seconds)),
            ("live, from an empty run", live(folder, 0, 10_000, seconds)),
            ("finished, 1,000 steps", finished(folder, 1000, min(10.0, seconds))),
        ]
    print(f"{SIZE[0]}×{SIZE[1]}, {STEPS_PER_SECOND:g} steps/s, {seconds:g} s")
    print(f"{'':26} {'start KB':>9} {'bytes/s':>9} {'worst s':>9} {'CPU %':>7} {'MB':>6}")
    for label, r in rows:
        print(f"{label:26} {r.start / 1e3:9.1f} {r.rate:9.0f} {r.worst:9d} {100 * r.cpu:7.1f} {r.megabytes:6.0f}")


if __name__ == "__main__":
    main()
