"""How soon a key is on the form's screen while a large file is being checked, and after.

Run: python -m tests.benchmarks.form_checking [MEGABYTES]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.emulated import Emulated
from tests.benchmarks.validation import write

CODE = """
import sys
from tui import __main__
import tui.app
real = tui.app.TunedeckApp.on_mount
def on_mount(self):
    real(self)
    self.open_launch({"train_path": %r, "base_model": "none/none"})
tui.app.TunedeckApp.on_mount = on_mount
sys.exit(__main__.main([]))
"""


def rows(terminal: Emulated) -> list[int]:
    """Where the form's cursor stands."""
    return [y for y, line in enumerate(terminal.screen.display) if line.startswith("▌")]


def keys(terminal: Emulated, seconds: float, words: str) -> list[float]:
    """Seconds from a key to the moved cursor, for as long as the words are on the screen."""
    times: list[float] = []
    until, down = time.monotonic() + seconds, True
    while time.monotonic() < until and any(words in line for line in terminal.screen.display):
        before, began = rows(terminal), time.monotonic()
        terminal.type(b"\x1b[B" if down else b"\x1b[A")
        down = not down
        while rows(terminal) == before and time.monotonic() - began < 2:
            terminal.turn(0.002)
        times.append(time.monotonic() - began)
        terminal.turn(0.08)
    return times


def main() -> None:
    """Print both."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as name:
        for kind in ("STATE", "CACHE", "CONFIG"):
            os.environ[f"XDG_{kind}_HOME"] = f"{name}/{kind.lower()}"
        data = Path(name) / "data.jsonl"
        write(data, megabytes * 1_000_000)
        terminal = Emulated(code=CODE % str(data), size=(160, 50))
        try:
            terminal.wait_for("train_path", "reading")
            for label, words in (("checking", "reading"), ("checked", "JSONL")):
                times = sorted(keys(terminal, 60 if label == "checking" else 10, words))
                p50, p99 = (1e3 * times[int(share * len(times))] for share in (0.5, 0.99))
                print(f"{megabytes} MB, {label:9} p50 {p50:5.0f} ms  p99 {p99:5.0f} ms  of {len(times)}", flush=True)
                if label == "checking":
                    terminal.wait_for("JSONL")
        finally:
            terminal.close()


if __name__ == "__main__":
    main()
