"""What stands in the terminal after only the differences were sent is what whole frames would have painted."""

from __future__ import annotations

import os
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path

import pyte
import pytest

from tests.benchmarks.emulated import Emulator
from tests.pty.test_leaving import Terminal
from tests.support import make_run

# The app, with a copy of every frame as Textual would have sent it.
RECORDED = """
import sys
from tui import __main__
from tui.terminal import driver
log = open("frames.log", "w", encoding="utf-8")
real = driver.DiffDriver.write
def write(self, data):
    if driver.FRAME.match(data):
        log.write(data); log.flush()
    real(self, data)
driver.DiffDriver.write = write
sys.exit(__main__.main([]))
"""
# What the emulator does not know.
FOREIGN = re.compile(rb"\x1b\[[<>=?][0-9;]*(?:u|\$p)|\x1b\][^\x07]*\x07")


class Screen:
    """The app behind an emulator."""

    def __init__(self, folder: Path, width: int = 100, height: int = 36) -> None:
        self.folder = folder
        self.child = Terminal(folder, RECORDED)
        self.size = (0, 0)
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        ioctl(self.child.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        os.kill(self.child.process.pid, signal.SIGWINCH)
        self.size = (width, height)
        self.screen = Emulator(width, height)
        self.stream = pyte.ByteStream(self.screen)

    def take(self, seconds: float) -> int:
        """Feed the emulator for a while; returns the bytes that came."""
        total, until = 0, time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self.child.master], [], [], left)[0]:
                data = os.read(self.child.master, 1 << 16)
                total += len(data)
                self.stream.feed(FOREIGN.sub(b"", data))
        return total

    def wait_for(self, predicate: Callable[[str], bool], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not predicate("\n".join(self.screen.display)):
            assert time.monotonic() < deadline, "\n".join(self.screen.display)
            self.take(0.05)

    def press(self, keys: bytes, settle: float = 0.3) -> None:
        os.write(self.child.master, keys)
        self.take(settle)

    def assert_faithful(self) -> None:
        """The emulator's cells, with their looks, are those of the whole frames, once the app has come to rest."""
        until = time.monotonic() + 8
        while True:
            while self.take(0.25):
                pass
            found = self._difference()
            if not found:
                return
            assert time.monotonic() < until, found

    def _difference(self) -> str:
        whole = Emulator(*self.size)
        whole.reset_mode(pyte.modes.DECAWM)
        pyte.Stream(whole).feed((self.folder / "frames.log").read_text(encoding="utf-8"))
        for y in range(self.size[1]):
            for x in range(self.size[0]):
                if self.screen.buffer[y][x] != whole.buffer[y][x]:
                    return f"{x}, {y}: {self.screen.display[y]!r} in place of {whole.display[y]!r}"
        return ""


@pytest.fixture
def screen(tmp_path: Path) -> Screen:
    now = time.time()
    for number in range(40):
        make_run(tmp_path / "runs" / f"r{number}", name=f"실험-{number} 👍" if number % 5 == 0 else f"run-{number}", steps=30, created=now - 1000 * number,
                 state=["completed", "failed", "running"][number % 3], total=60)  # fmt: skip
    return Screen(tmp_path)


def test_the_list_and_its_dialogs_look_as_painted_whole(screen: Screen) -> None:
    try:
        screen.wait_for(lambda text: "40 runs" in text and "loss of" in text)
        screen.assert_faithful()
        for keys in (
            b"\x1b[B",
            b"\x1b[B\x1b[B",
            b"\x1b[F",
            b"\x1b[5~",
            b"O",
            b"b",
            b" ",
            b"bbbb",
            b"M",
            b"/",
            b"run-1",
            b"\r",
            b"?",
            b"\x1b",
            b"\x10",
            b"\x1b",
        ):
            screen.press(keys, 0.15)
        screen.assert_faithful()
        screen.press(b"w", 1.0)
        screen.wait_for(lambda text: "learning rate" in text)
        screen.assert_faithful()
        screen.press(b"\x1b", 0.5)
        screen.wait_for(lambda text: "tunedeck" in text and "state" in text)
        screen.assert_faithful()
    finally:
        screen.child.close()


def test_after_a_resize_all_is_painted(screen: Screen) -> None:
    try:
        screen.wait_for(lambda text: "40 runs" in text)
        for width, height in ((60, 20), (120, 40), (80, 24)):
            screen.resize(width, height)
            screen.wait_for(lambda text, height=height: "help" in text.split("\n")[height - 1])  # type: ignore[misc]
            while screen.take(0.2):
                pass
            whole = "\n".join(screen.screen.display)
            assert "tunedeck" in screen.screen.display[0] and "40 runs" in screen.screen.display[0], whole
        screen.resize(60, 20)
        screen.resize(80, 24)  # there and back before the app looks
        screen.wait_for(lambda text: "40 runs" in text and "help" in text)
    finally:
        screen.child.close()


def test_what_another_program_wrote_is_repaired_by_redraw_and_by_coming_back(screen: Screen) -> None:
    try:
        screen.wait_for(lambda text: "40 runs" in text and "loss of" in text)
        screen.stream.feed(b"\x1b[2J\x1b[10;10Hbroadcast message")
        screen.press(b"\x0c")
        screen.wait_for(lambda text: "broadcast" not in text and "40 runs" in text)
        screen.assert_faithful()
        screen.press(b"\x1a", 0.1)
        deadline = time.monotonic() + 5
        while os.waitpid(screen.child.process.pid, os.WNOHANG | os.WUNTRACED)[0] == 0:
            assert time.monotonic() < deadline
            screen.take(0.05)
        screen.screen.reset()
        screen.child.process.send_signal(signal.SIGCONT)
        screen.wait_for(lambda text: "40 runs" in text and "loss of" in text)
        screen.assert_faithful()
    finally:
        screen.child.close()


def test_a_slow_line_skips_frames_and_ends_up_right(screen: Screen) -> None:
    try:
        screen.wait_for(lambda text: "40 runs" in text and "loss of" in text)
        for _ in range(150):  # nobody reads meanwhile
            os.write(screen.child.master, b"\x1b[6~\x1b[5~")
            time.sleep(0.004)
        time.sleep(0.5)
        os.write(screen.child.master, b"\x1b[F")
        screen.wait_for(lambda text: "run-39" in text, 15.0)
        screen.press(b"", 0.5)
        screen.assert_faithful()
    finally:
        screen.child.close()
