"""A log that takes 50,000 lines a second under the live screen, against the same screen with a quiet log.

Run: python -m tests.benchmarks.log_flood [SECONDS]
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.benchmarks.watch_bytes import processor
from tests.pty.terminal import Terminal
from tests.support import make_run

SIZE = (160, 50)
LINES_PER_SECOND = 50_000
KEYS = ("2", "3", "4", "1")  # each chooses another chart, which is painted at once


def resident(pid: int) -> float:
    """Resident memory of a process in MB."""
    return psutil.Process(pid).memory_info().rss / 1e6


@dataclass
class Reading:
    """One measurement."""

    lines: int
    rate: float
    cpu: float
    megabytes: float
    grown: float
    latencies: list[float]


class Flood(threading.Thread):
    """Writes lines in fifty portions a second."""

    def __init__(self, path: Path, rate: int) -> None:
        super().__init__(daemon=True)
        self.path, self.rate, self.written = path, rate, 0
        self.done = threading.Event()

    def run(self) -> None:
        portion = self.rate // 50
        began = time.monotonic()
        with self.path.open("ab", buffering=0) as file:
            turn = 0
            while not self.done.wait(max(0.0, began + turn / 50 - time.monotonic())):
                turn += 1
                first = self.written
                file.write(b"".join(b"worker %d: batch of 8 examples took 0.0123 s, loss 0.8213\n" % i
                                    for i in range(first, first + portion)))  # fmt: skip
                self.written += portion


def measure(folder: Path, rate: int, seconds: float) -> Reading:
    """Watch a run whose log grows by so many lines a second, and press a key twice a second."""
    run = make_run(folder / f"run-{rate}", steps=200, total=1000, state="running", created=time.time() - 120)
    run.train_log.write_text("".join(f"step {i}\n" for i in range(100)))
    terminal = Terminal(folder, "watch", run.path, size=SIZE)
    flood = Flood(run.train_log, rate)
    try:
        terminal.wait_for_text("step 99", "200")
        settle(terminal, 2.0)
        memory = resident(terminal.process.pid)
        if rate:
            flood.start()
        settle(terminal, 1.0)
        used, sent, began = processor(terminal.process.pid), len(terminal.raw), time.monotonic()
        latencies: list[float] = []
        while time.monotonic() - began < seconds:
            latencies.append(press(terminal, KEYS[len(latencies) % len(KEYS)]))
            settle(terminal, 0.5)
        took = time.monotonic() - began
        pid = terminal.process.pid
        return Reading(flood.written, (len(terminal.raw) - sent) / took, (processor(pid) - used) / took, resident(pid),
                       resident(pid) - memory, latencies)  # fmt: skip
    finally:
        flood.done.set()
        if flood.is_alive():
            flood.join()
        terminal.close()


def press(terminal: Terminal, key: str) -> float:
    """Seconds from a key to the first bytes after it."""
    settle(terminal, 0.0)
    before, began = len(terminal.raw), time.perf_counter()
    terminal.press(key)
    terminal.wait_until(lambda: len(terminal.raw) > before, 10.0, f"an answer to {key}")
    return time.perf_counter() - began


def settle(terminal: Terminal, seconds: float) -> None:
    """Read for so long."""
    deadline = time.monotonic() + seconds
    terminal.read(0.0)
    while time.monotonic() < deadline:
        terminal.read(0.02)


def main() -> None:
    """Print the table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in ("STATE", "CACHE", "CONFIG"):
            os.environ[f"XDG_{kind}_HOME"] = str(folder / kind.lower())
        rows = [("quiet log", measure(folder, 0, seconds)), ("flooded log", measure(folder, LINES_PER_SECOND, seconds))]
    print(f"{SIZE[0]}×{SIZE[1]}, {seconds:g} s; a key twice a second")
    print(f"{'':14} {'lines/s':>9} {'key ms':>8} {'worst ms':>9} {'bytes/s':>9} {'CPU %':>7} {'MB':>6} {'grown':>6}")
    for label, r in rows:
        print(f"{label:14} {r.lines / (seconds + 1):9,.0f} {1e3 * statistics.median(r.latencies):8.1f} "
              f"{1e3 * max(r.latencies):9.1f} {r.rate:9.0f} {100 * r.cpu:7.1f} {r.megabytes:6.0f} {r.grown:6.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
