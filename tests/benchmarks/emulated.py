"""The app behind a terminal emulator at the end of a line with a speed and a delay."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections import deque
from pathlib import Path

import pyte

ROOT = Path(__file__).parents[2]
# What pyte does not know.
FOREIGN = re.compile(rb"\x1b\[[<>=?][0-9;]*(?:u|\$p)|\x1b\][^\x07]*\x07")
RAW_KEPT = 1 << 20
TORN = re.compile(rb"\x1b(?:\[[<>=?]?[0-9;]*\$?|\][^\x07]*)?$")


class Emulator(pyte.Screen):
    """Answers the question for the cursor."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(width, height)
        self.answers = b""

    def write_process_input(self, data: str) -> None:
        self.answers += data.encode()


class Emulated:
    """The app started with ``words`` (or Python ``code``), at ``speed`` bytes a second (0: all) and ``delay`` seconds each way."""

    def __init__(self, *words: str, size: tuple[int, int] = (100, 30), speed: float = 0.0, delay: float = 0.0,
                 code: str = "", env: dict[str, str] | None = None, folder: Path | None = None) -> None:  # fmt: skip
        self.size, self.speed, self.delay = size, speed, delay
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.chdir(folder or ROOT)
            variables = {
                name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")
            }
            variables |= {
                "TERM": "xterm-256color",
                "COLORTERM": "truecolor",
                "TUNEDECK_THEME": "dark",
                "PYTHONPATH": str(ROOT),
            }
            argv = ["-c", code] if code else ["-m", "tui", *words]
            time.sleep(0.05)  # the size is set by then
            os.execve(sys.executable, [sys.executable, *argv], variables | (env or {}))
        self.set_size(*size)
        self.total = 0
        self.raw = bytearray()
        self._rest = b""
        self._credit, self._clock, self._busy = 0.0, time.monotonic(), False
        self._lines: list[str] = []
        self.fed = 0.0  # when the last piece came
        self._up: deque[tuple[float, bytes]] = deque()
        self._down: deque[tuple[float, bytes]] = deque()

    def set_size(self, width: int, height: int) -> None:
        self.size, self._lines = (width, height), []
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        if hasattr(self, "screen"):
            self.screen.resize(height, width)
            return
        self.screen = Emulator(width, height)
        self.stream = pyte.ByteStream(self.screen)

    @property
    def lines(self) -> list[str]:
        """What stands on the screen; only rows that changed are read again: all of them take 10 ms."""
        screen = self.screen
        if not self._lines:
            self._lines = [""] * screen.lines
            screen.dirty.update(range(screen.lines))
        for y in screen.dirty:
            if y < screen.lines:
                self._lines[y] = "".join(screen.buffer[y][x].data for x in range(screen.columns))
        screen.dirty.clear()
        return self._lines

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def type(self, data: bytes) -> None:
        """Keys; they arrive after the delay."""
        self._up.append((time.monotonic() + self.delay, data))
        self.turn(0)

    def turn(self, seconds: float) -> int:
        """Let the line work for so long; returns the bytes that came to the terminal."""
        came, until = 0, time.monotonic() + seconds
        while True:
            now = time.monotonic()
            while self._up and self._up[0][0] <= now:
                os.write(self.master, self._up.popleft()[1])
            self._read(now)
            while self._down and self._down[0][0] <= now:
                data = self._down.popleft()[1]
                came += len(data)
                self.feed(data)
            left = until - now
            if left <= 0:
                return came
            if self.speed or self._up or self._down:
                time.sleep(min(left, 0.005))
            else:
                select.select([self.master], [], [], left)
                if not select.select([self.master], [], [], 0)[0]:
                    return came

    def _read(self, now: float) -> None:
        count = 1 << 16
        if self.speed:
            # A line that has nothing to carry saves nothing up; one that has works on while nobody looks.
            most = 0.1 if self._busy else 0.01
            self._credit = min(self._credit + (now - self._clock) * self.speed, max(2.0, most * self.speed))
            self._clock = now
            count = int(self._credit)
        if count < 1:
            return
        if not select.select([self.master], [], [], 0)[0]:
            self._busy = False
            return
        try:
            data = os.read(self.master, count)
        except OSError:
            return
        self._credit -= len(data)
        self._busy = len(data) == count
        self.total += len(data)
        self.raw += data if len(self.raw) < RAW_KEPT else b""
        self._down.append((now + self.delay, data))

    def feed(self, data: bytes) -> None:
        self.fed = time.monotonic()
        data = FOREIGN.sub(b"", self._rest + data)
        torn = TORN.search(data)
        self._rest = data[torn.start() :] if torn else b""
        self.stream.feed(data[: len(data) - len(self._rest)])
        if self.screen.answers:
            self._up.append((time.monotonic() + self.delay, self.screen.answers))
            self.screen.answers = b""

    def wait_for(self, *texts: str, seconds: float = 30.0) -> None:
        until = time.monotonic() + seconds
        while not all(text in self.text for text in texts):
            if time.monotonic() > until:
                raise AssertionError(f"{texts} did not come:\n{self.text}")
            self.turn(0.02)

    def memory(self) -> float:
        """The app's resident memory in MB."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.master)
