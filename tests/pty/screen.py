"""The installed command behind a terminal emulator: type keys, read the screen."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pexpect
import pyte


class Screen:
    """``tunedeck WORDS`` in a pseudo-terminal of its own, with what it shows as lines of text."""

    def __init__(self, folder: Path, *words: str, size: tuple[int, int] = (100, 30)) -> None:
        command = str(Path(sys.executable).with_name("tunedeck"))
        env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        env |= {"TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        self.begun = time.monotonic()
        self.child = pexpect.spawn(
            command, list(words), dimensions=(size[1], size[0]), cwd=str(folder), env=env, timeout=None
        )
        self.emulator = pyte.Screen(*size)
        self.stream = pyte.ByteStream(self.emulator)
        self.raw = b""

    @property
    def text(self) -> str:
        """What stands on the screen."""
        return "\n".join(self.emulator.display)

    def read(self, seconds: float = 0.05) -> None:
        """Take in what the command wrote."""
        try:
            data = self.child.read_nonblocking(65536, seconds)
        except (pexpect.TIMEOUT, pexpect.EOF):
            return
        self.raw += data
        self.stream.feed(data)

    def wait_for(self, *texts: str, seconds: float = 20.0) -> float:
        """Wait until all texts stand on the screen; returns seconds since the start of the command."""
        deadline = time.monotonic() + seconds
        while not all(text in self.text for text in texts):
            assert time.monotonic() < deadline, f"{texts} did not come within {seconds} s:\n{self.text}"
            self.read()
        return time.monotonic() - self.begun

    def press(self, *keys: str) -> None:
        """Type keys one by one, as a person does."""
        for key in keys:
            self.child.send(key)
            until = time.monotonic() + 0.15
            while time.monotonic() < until:
                self.read(0.03)

    def type(self, text: str) -> None:
        """Type a word in one go, where no key of it is an action."""
        self.child.send(text)
        self.read()

    def exit_code(self, seconds: float = 20.0) -> int:
        """Wait for the command's end."""
        deadline = time.monotonic() + seconds
        while self.child.isalive():
            assert time.monotonic() < deadline, f"still there after {seconds} s:\n{self.text}"
            self.read()
        self.child.close()
        return self.child.exitstatus if self.child.exitstatus is not None else -self.child.signalstatus

    def kill(self) -> None:
        """SIGKILL."""
        self.child.kill(signal.SIGKILL)
        self.child.wait()
        self.child.close()

    def close_terminal(self) -> None:
        """The line is lost: the master side of the terminal goes away."""
        os.close(self.child.child_fd)
        self.child.child_fd = -1
        self.child.closed = True


F5, ESCAPE, ENTER, CTRL_F, CTRL_C = "\x1b[15~", "\x1b", "\r", "\x06", "\x03"
