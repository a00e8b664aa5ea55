"""The list of many runs in the real app, behind a terminal emulator: first rows, keys, filters, memory, silence.

    python -m tests.benchmarks.browser [RUNS] [FOLDER] [BYTES_EACH]

Targets for 10,000 runs: first rows at most 0.3 s behind the first frame of a cold start, all of them at most 30 s; from the
index usable within 1 s; keys at most 50 ms at the 99th percentile; at most 150 MB; no byte while nothing changes.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.emulated import Emulated
from tests.corpus.many import many

SIZE = (160, 50)
FILTERS = (
    "qwen loss<0.9 -state:failed",
    "model:gemma or r:16",
    "trl 0042",
    "date>2024-01 lr>=1e-4",
    "is:ended has:loss",
)
MOVES = {"cursor": [b"\x1b[B"] * 40 + [b"\x1b[A"] * 20, "pages": [b"\x1b[6~", b"\x1b[5~"] * 15 + [b"\x1b[F", b"\x1b[H"] * 5,
         "order": [b"O"] * 12, "groups": [b"b"] * 10, "marks": [b" "] * 20 + [b"m", b"m"] * 3 + [b"M"]}  # fmt: skip
# How long the screen is watched after a key, and how long nothing may happen for it to have settled.
AFTER, QUIET = 0.5, 0.12


def press(terminal: Emulated, key: bytes) -> tuple[float, float]:
    """Seconds from a key to the first and to the last bytes that it brings to the screen; 0 if it brings none."""
    before = terminal.total
    began = time.monotonic()
    terminal.type(key)
    first = last = 0.0
    while True:
        terminal.turn(0.004)
        now = time.monotonic() - began
        if terminal.total != before:
            first, last, before = first or now, now, terminal.total
        if now > AFTER or (first and now - last > QUIET):
            return first, last


def percentile(times: list[float], share: float) -> float:
    """In milliseconds."""
    return 1e3 * sorted(times)[min(len(times) - 1, int(share * len(times)))] if times else 0.0


def say(label: str, pairs: list[tuple[float, float]]) -> None:
    """One line of the table."""
    first, last = [pair[0] for pair in pairs if pair[0]], [pair[1] for pair in pairs if pair[0]]
    print(f"  {label:8} first change p50 {percentile(first, 0.5):4.0f} p99 {percentile(first, 0.99):4.0f}   "
          f"settled p50 {percentile(last, 0.5):4.0f} p99 {percentile(last, 0.99):4.0f} ms   of {len(first)}", flush=True)  # fmt: skip


def memory_of(pid: int) -> float:
    """Megabytes of the app and its helpers; what they share counts once."""
    total, pids = 0.0, [pid]
    for one in pids:
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text(encoding="ascii")
            pids += [int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
            pids += [
                int(child)
                for task in Path(f"/proc/{one}/task").iterdir()
                if task.name != str(one)
                for child in (task / "children").read_text().split()
            ]
        except OSError:
            continue
        total += int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) / 1024  # type: ignore[index]
    return total


def is_row(line: str) -> bool:
    """Whether a line of the screen is a run's."""
    return bool(re.match(r"[▌ ][◆ ] [✓✗✕■?·●◦] \w", line))


def start(folder: Path, home: Path, count: int, seconds: float) -> tuple[Emulated, float, float, float]:
    """The app, and when its first frame, its first row and all of its rows stood there; seconds from its start."""
    env = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("STATE", "CACHE", "CONFIG", "DATA")}
    begun = time.monotonic()
    terminal = Emulated("--root", str(folder), size=SIZE, env=env, folder=home)
    frame = first = 0.0
    all_of_them = re.compile(rf"{count:,} runs ?$")
    while time.monotonic() - begun < seconds:
        terminal.turn(0.004)
        now, lines = time.monotonic() - begun, terminal.lines
        if not frame and "tunedeck" in lines[0]:
            frame = now
        if not first and any(map(is_row, lines)):
            first = now
        if all_of_them.search(lines[0].rstrip()):
            return terminal, frame, first, now
    terminal.close()
    raise AssertionError(f"not all rows came: {terminal.lines[0]}")


def filters(terminal: Emulated) -> list[tuple[float, float]]:
    """Type filters, letter by letter, and take them away again."""
    times = []
    for text in FILTERS:
        terminal.type(b"/")
        terminal.turn(0.5)
        for letter in text.encode():
            times.append(press(terminal, bytes([letter])))
        for _ in range(4):
            times.append(press(terminal, b"\x7f"))
        terminal.type(b"\x1b")
        for _ in range(30):
            terminal.turn(0.05)
    return times


def session(terminal: Emulated) -> list[tuple[float, float]]:
    """All kinds of keys."""
    times = []
    for label, keys in MOVES.items():
        found = [press(terminal, key) for key in keys]
        say(label, found)
        times += found
    found = filters(terminal)
    say("filter", found)
    return times + found


def silence(terminal: Emulated, seconds: float) -> int:
    """Bytes in so many seconds in which nobody does anything."""
    until, came = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        came += terminal.turn(0.1)
        time.sleep(0.05)
    return came


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    each = int(sys.argv[3]) if len(sys.argv) > 3 else 20_000
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        folder = Path(sys.argv[2]) if len(sys.argv) > 2 else home / "runs"
        if not folder.is_dir() or not any(folder.iterdir()):
            many(folder, count, each)
        for label, most in (("cold", 300.0), ("index", 60.0)):
            terminal, frame, first, whole = start(folder, home, count, most)
            try:
                print(f"{label}: first frame {frame:.2f} s, first row +{first - frame:.2f} s, all {count:,} +{whole - frame:.2f} s",
                      flush=True)  # fmt: skip
                silence(terminal, 3)
                if label == "index":
                    say("all", session(terminal))
                silence(terminal, 5)
                print(f"  {memory_of(terminal.pid):.0f} MB with helpers, {terminal.memory():.0f} MB the app; "
                      f"{silence(terminal, 10)} bytes in 10 s of rest", flush=True)  # fmt: skip
            finally:
                terminal.close()


if __name__ == "__main__":
    main()
