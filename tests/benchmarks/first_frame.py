"""Time to the first frame and memory of the app beside an empty Textual app, in a real pty, in turn.

    python -m tests.benchmarks.first_frame [ROUNDS]

The first frame is the first output after which a terminal emulator shows text of the app. Targets: at most 1.5 times the
empty app's, and at most 70 MB resident.
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from fcntl import ioctl
from pathlib import Path

EMPTY = """
from textual.app import App
from textual.widgets import Static
class Empty(App):
    def compose(self):
        yield Static("ready to go")
Empty().run()
"""
OURS = "import sys; from tui.__main__ import main; sys.exit(main([]))"
# Of the app a single word: blanks that stand there already are not sent.
MARKS = {"empty": b"ready", "tunedeck": b"sample"}
ASKED = re.compile(rb"\x1b\[(\d+);(\d+)H\x1b\[6n")


def start(name: str, code: str, folder: str) -> tuple[float, float]:
    """Seconds until the first frame, and resident megabytes two seconds later."""
    begun = time.perf_counter()
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.environ.update(
            TERM="xterm-256color", LANG="C.UTF-8", XDG_STATE_HOME=folder, XDG_CACHE_HOME=folder, XDG_CONFIG_HOME=folder
        )
        os.execv(sys.executable, [sys.executable, "-c", code])
    ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    seen, first = b"", 0.0
    deadline = begun + 20
    while time.perf_counter() < deadline and (not first or time.perf_counter() < first + begun + 2):
        if select.select([fd], [], [], 0.05)[0]:
            try:
                new = os.read(fd, 65536)
            except OSError:
                break
            for line, column in ASKED.findall(new):  # a terminal answers where its cursor is
                os.write(fd, b"\x1b[%b;%bR" % (line, column))
            seen += new
            if not first and MARKS[name] in seen:
                first = time.perf_counter() - begun
    memory = next(
        int(line.split()[1])
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(fd)
    if not first:
        raise SystemExit(f"{name} showed no first frame: {seen[-500:]!r}")
    return first, memory / 1000


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    found: dict[str, list[tuple[float, float]]] = {"empty": [], "tunedeck": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            for name, code in (("empty", EMPTY), ("tunedeck", OURS)):
                result = start(name, code, folder)
                if number:  # the first round fills the caches
                    found[name].append(result)
    medians = {
        name: [statistics.median(values) for values in zip(*results, strict=True)] for name, results in found.items()
    }
    print(f"{'':<12}{'first frame':>14}{'resident':>12}")
    for name, (seconds, memory) in medians.items():
        print(f"{name:<12}{seconds:>12.3f} s{memory:>9.1f} MB")
    ratio = medians["tunedeck"][0] / medians["empty"][0]
    print(f"ratio {ratio:.2f} (target: at most 1.5), {medians['tunedeck'][1]:.1f} MB (target: at most 70)")


if __name__ == "__main__":
    main()
