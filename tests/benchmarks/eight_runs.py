"""Eight live runs at 50 steps a second each: how soon a key is on the screen, and whether every step is in the charts.

Run: python -m tests.benchmarks.eight_runs [SECONDS]
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from engine.events import EventWriter
from engine.rundir import RunDir
from tests.benchmarks.emulated import Emulated
from tests.benchmarks.watch_bytes import fields
from tests.support import make_run

RUNS, RATE = 8, 50.0
TOTAL = 1_000_000
# The app as ever; told so by a signal it writes what its charts hold.
CODE = """
import json, os, signal, sys
from tui import __main__
import tui.app
apps = []
real = tui.app.TunedeckApp.on_mount
def on_mount(self):
    real(self); apps.append(self)
tui.app.TunedeckApp.on_mount = on_mount
def dump(*_):
    from tui.widgets.chart.widget import Chart
    held = {
        f"{chart.id}/{key}": one.buckets.count
        for chart in apps[0].screen.query(Chart) if chart.model.has_points
        for key, one in chart.model.series.items() if getattr(one, "buckets", None) is not None
    }
    with open(os.environ["EIGHT_DUMP"] + ".new", "w") as file:
        json.dump(held, file)
    os.replace(os.environ["EIGHT_DUMP"] + ".new", os.environ["EIGHT_DUMP"])
signal.signal(signal.SIGUSR1, dump)
sys.exit(__main__.main(sys.argv[1:]))
"""


def write_steps(paths: list[Path], stop: object, counts: object) -> None:
    """All runs' further steps, in a process of its own."""
    writers = [EventWriter(RunDir(path).events) for path in paths]
    rng, first, began = random.Random(3), counts[0], time.monotonic()  # type: ignore[index]
    step = first
    while not stop.is_set():  # type: ignore[attr-defined]
        step += 1
        for number, writer in enumerate(writers):
            writer.write("step", **fields(step, TOTAL, rng))
            counts[number] = step  # type: ignore[index]
        time.sleep(max(0.0, began + (step - first) / RATE - time.monotonic()))


def start_steps(paths: list[Path], stop: object, counts: object) -> multiprocessing.Process:
    """Begin to write steps, or go on."""
    writer = multiprocessing.Process(target=write_steps, args=(paths, stop, counts), daemon=True)
    writer.start()
    return writer


def keys(terminal: Emulated, seconds: float, choices: tuple[bytes, ...]) -> list[float]:
    """Seconds from a key to the first look or letter that it changes, for keys that always change something."""
    times: list[float] = []
    until, rng, last = time.monotonic() + seconds, random.Random(2), choices[0]
    while time.monotonic() < until:
        key = rng.choice([choice for choice in choices if choice != last])
        last = key
        before = looks(terminal)
        began = time.monotonic()
        terminal.type(key)
        while looks(terminal) == before and time.monotonic() - began < 2:
            terminal.turn(0.004)
        times.append(time.monotonic() - began)
        terminal.turn(0.15)
    return times


def looks(terminal: Emulated) -> list[object]:
    """What keys change and running does not: the charts' titles, the list's cursor and its details."""
    found: list[object] = []
    for y, line in enumerate(terminal.screen.display):
        for title in ("1 loss", "2 learning", "3 samples", "3 tokens", "4 memory"):
            x = line.find(title)
            if x >= 0:
                found.append((title, [terminal.screen.buffer[y][x + place] for place in range(6)]))
        if line.startswith("▌"):
            found.append(y)
    return found


def session(folder: Path, live: bool, seconds: float) -> tuple[list[float], list[float], str]:
    """Key times on Watch and on the list, and what is missing in the charts."""
    paths = [
        make_run(folder / f"{'live' if live else 'idle'}-{n}", steps=1, total=TOTAL, evals=0, state="running").path
        for n in range(RUNS)
    ]
    for path in paths:
        RunDir(path).events.unlink()
    stop, counts = multiprocessing.Event(), multiprocessing.Array("q", RUNS)
    writer = start_steps(paths, stop, counts) if live else None
    if writer is None:
        events = EventWriter(RunDir(paths[0]).events)
        for step in range(1, 200):
            events.write("step", **fields(step, TOTAL, random.Random(step)))
        events.close()
    dump = folder / f"dump-{live}.json"
    code = CODE.replace("sys.argv[1:]", repr(["--root", str(folder), "watch", str(paths[0])]))
    terminal = Emulated(code=code, size=(160, 50), env={"EIGHT_DUMP": str(dump)})
    try:
        terminal.wait_for("1 loss", "train.log")
        terminal.turn(2)
        watch = keys(terminal, seconds / 2, (b"1", b"2", b"3", b"4"))
        missing = ""
        if writer is not None:
            stop.set()
            writer.join()
            missing = held(terminal, dump, counts[0])
            stop.clear()
            writer = start_steps(paths, stop, counts)
        terminal.type(b"\x1b")
        terminal.wait_for("state", "running")
        terminal.turn(1)
        return watch, keys(terminal, seconds / 2, (b"\x1b[H", b"\x1b[F")), missing
    finally:
        stop.set()
        if writer is not None:
            writer.join()
        terminal.close()


def held(terminal: Emulated, dump: Path, steps: int) -> str:
    """Compare what the charts hold with what was written."""
    import signal

    deadline, said = time.monotonic() + 10, {}
    while time.monotonic() < deadline:
        terminal.turn(0.5)
        os.kill(terminal.pid, signal.SIGUSR1)
        terminal.turn(0.3)
        if dump.exists():
            said = json.loads(dump.read_text())
    return f"{steps} steps written; the charts hold {said}"


def main() -> None:
    """Print the table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory() as name:
        for kind in ("STATE", "CACHE", "CONFIG"):
            os.environ[f"XDG_{kind}_HOME"] = f"{name}/{kind.lower()}"
        print(
            f"160×50, {RUNS} runs at {RATE:g} steps/s each, {seconds:g} s of keys; ms from key to its change; target 50 at p99"
        )
        for label, live in (("all idle", False), ("all live", True)):
            watch, listed, missing = session(Path(name) / label.replace(" ", "-"), live, seconds)
            for where, times in (("Watch", watch), ("Runs", listed)):
                times = sorted(times)
                print(
                    f"{label}, {where:6} p50 {1e3 * times[len(times) // 2]:6.0f}  p99 {1e3 * times[int(0.99 * len(times))]:6.0f}  of {len(times)}",
                    flush=True,
                )
            if missing:
                print(missing)


if __name__ == "__main__":
    main()
