"""How soon a key is answered over a slow or far line, against Textual's own driver, while a run is watched.

Run: python -m tests.benchmarks.slow_line [KEYS]
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.emulated import Emulated
from tests.benchmarks.watch_bytes import Writer
from tests.support import make_run

SIZE = (160, 45)
# The first is what the app itself needs (and the emulator): what the others take more is the line's.
LINES = (("a line without limits", 0.0, 0.0), ("9,600 baud", 960.0, 0.0), ("200 ms each way", 0.0, 0.2))
# So long a key is waited for.
LOST_SECONDS = 20.0


@dataclass
class Reading:
    """Of one line and one driver; times in seconds."""

    start: float
    times: list[float]
    lost: int
    rate: float
    grown: float

    def at(self, part: float) -> float:
        times = sorted(self.times) or [float("nan")]
        return times[min(len(times) - 1, int(part * len(times)))]


Check = Callable[[Emulated], bool]


def titles(terminal: Emulated) -> list[object]:
    """The looks of the charts' titles: they change only when another one is chosen."""
    found: list[object] = []
    for y, line in enumerate(terminal.lines):
        for title in ("1 loss", "2 learning", "3 samples", "4 memory"):
            x = line.find(title)
            if x >= 0:
                found.append((title, y, [terminal.screen.buffer[y][x + place] for place in range(6)]))
    return found


def answer_time(terminal: Emulated, keys: bytes, visible: Check) -> float | None:
    """Type and wait until it is visible."""
    began = time.monotonic()
    terminal.type(keys)
    while time.monotonic() - began < LOST_SECONDS:
        if terminal.turn(0.005) and visible(terminal):
            return terminal.fed - began
    return None


def talk(terminal: Emulated, keys: int, rng: random.Random) -> Reading:
    """Random keys whose answers can be told from what the run changes by itself."""
    began = time.monotonic()
    terminal.wait_for("help", "train.log", seconds=180)
    start = time.monotonic() - began
    terminal.turn(2.0)
    before, bytes_before, clock = terminal.memory(), terminal.total, time.monotonic()
    times: list[float] = []
    lost = 0
    for _ in range(keys):
        taken = _one(terminal, rng)
        lost += taken is None
        times += [] if taken is None else [taken]
        terminal.turn(rng.uniform(0.2, 1.2))
    rate = (terminal.total - bytes_before) / (time.monotonic() - clock)
    return Reading(start, times, lost, rate, terminal.memory() - before)


def _one(terminal: Emulated, rng: random.Random) -> float | None:
    kind = rng.choice(("chart", "chart", "chart", "full", "help", "type"))
    if kind == "chart":
        before = titles(terminal)
        chosen = next((key for key in rng.sample("1234", 4) if key != getattr(terminal, "chosen", "1")), "1")
        terminal.chosen = chosen  # type: ignore[attr-defined]
        return answer_time(terminal, chosen.encode(), lambda t: titles(t) != before)
    if kind == "full":
        before = titles(terminal)
        taken = answer_time(terminal, b"f", lambda t: titles(t) != before)
        terminal.turn(rng.uniform(0.2, 1.0))
        before = titles(terminal)
        answer_time(terminal, b"f", lambda t: titles(t) != before)
        return taken
    if kind == "help":
        marks = ("Keys", "esc closes", "Back: from", "Ask the run", "Take the run", "Go on with")
        taken = answer_time(terminal, b"?", lambda t: any(mark in t.text for mark in marks))
        terminal.turn(rng.uniform(0.2, 1.0))
        answer_time(terminal, b"\x1b", lambda t: not any(mark in t.text for mark in marks))
        return taken
    answer_time(terminal, b"\x10", lambda t: "Search for" in t.text)
    terminal.turn(rng.uniform(0.2, 1.0))
    word = rng.choice("qzjQZJ") * 4
    taken = answer_time(terminal, word.encode(), lambda t: word[:2] in t.text)
    terminal.turn(rng.uniform(0.2, 1.0))
    answer_time(terminal, b"\x1b", lambda t: word[:2] not in t.text and "train.log" in t.text)
    return taken


def measure(folder: Path, keys: int, speed: float, delay: float, plain: bool) -> Reading:
    run = make_run(
        folder / f"live-{plain}-{speed:g}-{delay:g}", steps=200, total=10_000, state="running", created=time.time()
    )
    writer = Writer(run, 200, 10_000)
    writer.start()
    env = {"TUNEDECK_PLAIN": "1"} if plain else {}
    terminal = Emulated("watch", str(run.path), size=SIZE, speed=speed, delay=delay, env=env)
    try:
        return talk(terminal, keys, random.Random(5))
    finally:
        terminal.close()
        writer.done.set()
        writer.join()


def main() -> None:
    """Print the table."""
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    with tempfile.TemporaryDirectory() as name:
        for kind in ("STATE", "CACHE", "CONFIG"):
            os.environ[f"XDG_{kind}_HOME"] = f"{name}/{kind.lower()}"
        print(
            f"{SIZE[0]}×{SIZE[1]}, a live run at 10 steps/s, {keys} keys; ms from key to its first visible change, and target"
        )
        print(f"{'':38} {'first s':>8} {'p50':>7} {'p99':>7} {'target':>7} {'lost':>5} {'B/s':>7} {'MB more':>8}")
        for label, speed, delay in LINES:
            for plain in (False, True):
                r = measure(Path(name), keys, speed, delay, plain)
                who = "Textual's driver" if plain else "the diff"
                print(f"{label + ', ' + who:38} {r.start:8.1f} {1e3 * r.at(0.5):7.0f} {1e3 * r.at(0.99):7.0f} "
                      f"{1e3 * (2 * delay + 0.1):7.0f} {r.lost:5} {r.rate:7.0f} {r.grown:8.1f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
