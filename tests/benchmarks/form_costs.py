"""How soon a key is on the form's screen while its costs are worked out and all rows of a large file are counted.

Run: python -m tests.benchmarks.form_costs [MEGABYTES]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from engine import paths
from tests.benchmarks.emulated import Emulated
from tests.benchmarks.form_checking import CODE, rows
from tests.benchmarks.validation import write


def keys(terminal: Emulated, seconds: float, words: str) -> tuple[list[float], float]:
    """Seconds from a key to the moved cursor while a value is changed every second or so; and until the words were seen."""
    times: list[float] = []
    begun, seen, down, number = time.monotonic(), -1.0, True, 0
    while time.monotonic() - begun < seconds:
        before, pressed = rows(terminal), time.monotonic()
        terminal.type(b"\x1b[B" if down else b"\x1b[A")
        down = not down
        while rows(terminal) == before and time.monotonic() - pressed < 2:
            terminal.turn(0.002)
        times.append(time.monotonic() - pressed)
        number += 1
        if number % 40 == 0:
            terminal.type(b"\x1b[C")  # another value: everything is worked out anew
        terminal.turn(0.05)
        if seen < 0 and any(words in line for line in terminal.screen.display):
            seen = time.monotonic() - begun
    return times, seen


def main() -> None:
    """Print it."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as name:
        for kind in ("STATE", "CACHE", "CONFIG"):
            os.environ[f"XDG_{kind}_HOME"] = f"{name}/{kind.lower()}"
        data = Path(name) / "data.jsonl"
        write(data, megabytes * 1_000_000)
        code = CODE.replace("none/none", str(paths.sample_data_dir() / "tiny-qwen2"))
        terminal = Emulated(code=code % str(data), size=(160, 50))
        try:
            terminal.wait_for("train_path", "JSONL", "F11")
            for _ in range(4):
                terminal.type(b"\x1b[B")
                terminal.turn(0.2)
            times, _ = keys(terminal, 5, "F11")
            show(megabytes, "before", times)
            terminal.type(b"\x1b[C")
            begun = time.monotonic()
            times, seen = keys(terminal, 30, "counting all rows")
            show(megabytes, "costs and counting", times)
            print(
                f"the first figures {seen:.1f} s after an edit"
                if seen >= 0
                else f"none after {time.monotonic() - begun:.0f} s"
            )
        finally:
            terminal.close()


def show(megabytes: int, label: str, times: list[float]) -> None:
    """The median and the slowest keys."""
    times = sorted(times)
    p50, p99 = (1e3 * times[int(share * len(times))] for share in (0.5, 0.99))
    print(
        f"{megabytes} MB, {label:20} p50 {p50:5.0f} ms  p99 {p99:5.0f} ms  worst {1e3 * times[-1]:5.0f} ms  of {len(times)}",
        flush=True,
    )


if __name__ == "__main__":
    main()
