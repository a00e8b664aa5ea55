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
from rich.cells import split_graphemes

ROOT = Path(__file__).parents[2]
# What pyte does not know.
FOREIGN = re.compile(rb"\x1b\[[<>=?][0-9;]*(?:u|\$p)|\x1b\][^\x07]*\x07")
LONGEST = 10  # characters of one cell
RAW_KEPT = 1 << 20
TORN = re.compile(rb"\x1b(?:\[[<>=?]?[0-9;]*\$?|\][^\x07]*)?$")


class Emulator(pyte.Screen):
    """Answers the question for the cursor, and shows wide and combined characters as terminals do.

    pyte keeps half of a wide character when the other half is overwritten, where terminals blank it; and it knows no
    clusters of several characters, which here take the cells that Textual counts.
    """

    def __init__(self, width: int, height: int) -> None:
        self._moved = True
        super().__init__(width, height)
        self.answers = b""

    def write_process_input(self, data: str) -> None:
        self.answers += data.encode()

    @property
    def display(self) -> list[str]:
        """The rows' texts."""
        return [self.row(y) for y in range(self.lines)]

    def row(self, y: int) -> str:
        """A row's text."""
        return "".join(self.buffer[y][x].data for x in range(self.columns))

    def cursor_position(self, line: int | None = None, column: int | None = None) -> None:
        self._moved = True
        super().cursor_position(line, column)

    def linefeed(self) -> None:
        self._moved = True
        super().linefeed()

    def draw(self, data: str) -> None:
        """Write text at the cursor."""
        data = data.translate(self.g1_charset if self.charset else self.g0_charset)
        for start, end, size in split_graphemes(data)[0]:
            if size:
                self._place(data[start:end][:LONGEST], size)
            elif not self._moved and self.cursor.x:  # behind a move there is nothing that an accent belongs to
                line, x = self.buffer[self.cursor.y], self.cursor.x - 1
                x -= line[x].data == ""
                line[x] = line[x]._replace(data=(line[x].data + data[start:end])[:LONGEST])
        self.dirty.add(self.cursor.y)

    def erase_characters(self, count: int | None = None) -> None:
        self._split(self.cursor.x, min(self.columns, self.cursor.x + (count or 1)))
        super().erase_characters(count)

    def erase_in_line(self, how: int = 0, private: bool = False) -> None:
        self._split(0 if how else self.cursor.x, self.columns if how != 1 else self.cursor.x + 1)
        super().erase_in_line(how, private)

    def _split(self, start: int, end: int) -> None:
        """What is between these columns is written over: other halves become blanks."""
        line = self.buffer[self.cursor.y]
        if start and line[start].data == "":
            line[start - 1] = line[start - 1]._replace(data=" ")
        if end < self.columns and line[end].data == "":
            line[end] = line[end]._replace(data=" ")

    def _place(self, cluster: str, size: int) -> None:
        if self.cursor.x + size > self.columns:
            if pyte.modes.DECAWM in self.mode:
                self.dirty.add(self.cursor.y)
                self.carriage_return()
                self.linefeed()
            else:
                self.cursor.x = self.columns - size
        line, x = self.buffer[self.cursor.y], self.cursor.x
        self._split(x, x + size)
        line[x] = self.cursor.attrs._replace(data=cluster)
        if size == 2:
            line[x + 1] = self.cursor.attrs._replace(data="")
        self.cursor.x, self._moved = x + size, False


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
                self._lines[y] = screen.row(y)
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
