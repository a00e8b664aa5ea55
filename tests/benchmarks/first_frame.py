"""How long until the first frame stands, and how much memory the app takes, against an empty Textual app.

Run with the environment's Python: ``python tests/benchmarks/first_frame.py [ROUNDS]``. Both are started in a real
pseudo-terminal, in turns; the medians are compared. The first frame stands when the last line of the screen has been
written. Exits with 1 if the app takes more than 1.5 times as long, or more than 70 MB.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
EMPTY = [sys.executable, "-c", "from textual.app import App; App().run()"]
OURS = [sys.executable, "-m", "tui"]
SIZE = (24, 80)
LIMIT_RATIO, LIMIT_MB = 1.5, 70.0
SETTLE_SECONDS = 2.0


def measure(command: list[str], last_line: bytes, home: str) -> tuple[float, float]:
    """Seconds until the last line was written, and resident megabytes two seconds later."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
    env = {**os.environ, "TERM": "xterm-256color", "XDG_STATE_HOME": home, "PYTHONPATH": str(ROOT)}
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True, cwd=home
    )
    os.close(slave)
    try:
        seen = b""
        while last_line not in seen:
            if not select.select([master], [], [], 10)[0]:
                raise SystemExit(f"no first frame from {command}: {seen[-500:]!r}")
            seen += os.read(master, 65536)
        seconds = time.perf_counter() - begun
        until = time.perf_counter() + SETTLE_SECONDS
        while (left := until - time.perf_counter()) > 0:
            if select.select([master], [], [], left)[0]:
                os.read(master, 65536)
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        return seconds, pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    finally:
        process.kill()
        process.wait()
        os.close(master)


def main() -> int:
    """Print the table; returns the exit code."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    subjects = {"empty Textual app": (EMPTY, b"\x1b[24;1H"), "tunedeck": (OURS, b"help")}
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in subjects}
    with tempfile.TemporaryDirectory() as home:
        for name, subject in subjects.items():
            measure(*subject, home)  # warms the file cache and the byte code
        for _ in range(rounds):
            for name, subject in subjects.items():
                results[name].append(measure(*subject, home))
    print(f"{'':<20}{'first frame, median':>20}{'fastest':>10}{'slowest':>10}{'resident':>12}")
    medians = {}
    for name, rows in results.items():
        times = [seconds for seconds, _ in rows]
        medians[name] = statistics.median(times), statistics.median(megabytes for _, megabytes in rows)
        print(
            f"{name:<20}{medians[name][0]:>18.3f} s{min(times):>8.3f} s{max(times):>8.3f} s{medians[name][1]:>9.1f} MB"
        )
    (base, _), (ours, megabytes) = medians["empty Textual app"], medians["tunedeck"]
    print(f"ratio {ours / base:.2f} (limit {LIMIT_RATIO}); {megabytes:.1f} MB (limit {LIMIT_MB:.0f})")
    return 0 if ours / base <= LIMIT_RATIO and megabytes <= LIMIT_MB else 1


if __name__ == "__main__":
    sys.exit(main())
