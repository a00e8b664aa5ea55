"""A terminal that takes nothing for a while holds nobody up, and shows what is right soon afterwards."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path

from tests.benchmarks.emulated import Emulated
from tests.support import make_run

# The app, with the loop's clock in a file.
TICKING = """
import sys, time
from tui import __main__
from tui.app import TunedeckApp
ticks = open("ticks", "w")
real = TunedeckApp.on_mount
def on_mount(self):
    real(self)
    self.set_interval(0.05, lambda: (ticks.write(f"{time.monotonic()}\\n"), ticks.flush()))
TunedeckApp.on_mount = on_mount
sys.exit(__main__.main(["--root", "runs"]))
"""
STALL_SECONDS = 3.0


def test_a_terminal_that_is_not_read_stalls_nothing(tmp_path: Path) -> None:
    for number in range(30):
        make_run(
            tmp_path / "runs" / f"r{number}", name=f"run-{number:02}", steps=20, created=time.time() - 600 * number
        )
    terminal = Emulated(code=TICKING, folder=tmp_path, size=(120, 40))
    try:
        terminal.wait_for("30 runs", "run-00", "loss of run-00")
        terminal.turn(3.0)  # whatever is loaded while nobody waits is there by then
        before = terminal.memory()
        began = time.monotonic()
        while time.monotonic() < began + STALL_SECONDS:
            os.write(terminal.master, b"\x1b[6~?\x1b[5~\x1b[B")  # nothing of what this paints is taken
            time.sleep(0.04)
        stopped = time.monotonic()
        ticks = [float(line) for line in (tmp_path / "ticks").read_text().split() if began < float(line) < stopped]
        assert max(b - a for a, b in pairwise(ticks)) < 1.0 and ticks[-1] > stopped - 1.0, ticks
        assert terminal.memory() - before < 20
        os.write(terminal.master, b"\x1b\x1b[F")
        seconds = time.monotonic()
        terminal.wait_for("▌  ✓ completed  run-29", seconds=5)
        assert time.monotonic() - seconds < 2.5, "the target is 1 s; machines of tests are slow"
    finally:
        terminal.close()
