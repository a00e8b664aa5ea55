"""The installed command in a pseudo-terminal of its own, behind a terminal emulator."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyte

COMMAND = str(Path(sys.executable).with_name("tunedeck"))
KEYS = {
    "enter": b"\r", "escape": b"\x1b", "tab": b"\t", "backspace": b"\x7f", "up": b"\x1b[A", "down": b"\x1b[B",
    "f1": b"\x1bOP", "f5": b"\x1b[15~", "f6": b"\x1b[17~", "ctrl+c": b"\x03", "ctrl+f": b"\x06",
}  # fmt: skip
# A person's settings that would change what the tests see.
LEFT_OUT = ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TMUX", "STY", "TERM_PROGRAM", "TEXTUAL", "TUNEDECK_ASCII", "TUNEDECK_THEME",
            "COLUMNS", "LINES")  # fmt: skip
# What pyte would print as text instead of leaving it alone, and the beginning of anything at the end of a chunk.
_FOREIGN = re.compile(
    rb"\x1b\[[<=>?][0-9;:]*[u$][a-z]?|\x1b\[[0-9;]*\$[a-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1bP[^\x1b]*\x1b\\"
)
_TORN = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|[\]P][^\x07\x1b]*\x1b?)?$")
_MODE = re.compile(rb"\x1b\[\?([0-9;]+)([hl])")
_KITTY = re.compile(rb"\x1b\[([<>])[0-9;]*u")
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")
ALTERNATE, CURSOR, WRAP = 1049, 25, 7
MOUSE = (1000, 1002, 1003, 1006, 1015, 1016)


class Terminal:
    """``tunedeck WORDS`` as a person starts it: ``raw`` is all that it wrote, ``screen_text`` what stands there now."""

    def __init__(
        self,
        folder: Path,
        *words: str | Path,
        size: tuple[int, int] = (100, 30),
        env: dict[str, str] | None = None,
        ignore_hangup: bool = False,
    ) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.settings_before = termios.tcgetattr(slave)
        self.emulator = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.emulator)
        self._rest = b""
        self.raw = b""
        self.exit_code: int | None = None
        self.cpu_seconds = 0.0

        def prepare() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if ignore_hangup:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)

        variables = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
        variables |= {"TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **(env or {})}
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [COMMAND, *map(str, words)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=variables,
            preexec_fn=prepare,
        )
        # The master alone holds the terminal, as sshd or tmux does: closed, it is gone.
        os.close(slave)

    # Reading.

    @property
    def screen_text(self) -> str:
        """What stands on the screen."""
        return "\n".join(line.rstrip() for line in self.emulator.display).rstrip()

    def read(self, seconds: float = 0.05) -> bool:
        """Take in what was written, waiting for it no longer than ``seconds``; ``False`` once nothing more can come."""
        if self.master < 0:
            return False
        try:
            if not select.select([self.master], [], [], seconds)[0]:
                return True
            data = os.read(self.master, 1 << 16)
        except OSError:
            return False
        self.raw += data
        data = _FOREIGN.sub(b"", self._rest + data)
        torn = _TORN.search(data)
        self._rest = data[torn.start() :] if torn and len(data) - torn.start() < 4096 else b""
        self._stream.feed(data[: len(data) - len(self._rest)])
        return bool(data) or bool(self._rest)

    def wait_until(self, predicate: Callable[[], Any], seconds: float, what: str) -> Any:
        """Read until the predicate holds and return its value; fails with the screen after ``seconds``."""
        deadline = time.monotonic() + seconds
        while not (value := predicate()):
            if time.monotonic() >= deadline:
                raise AssertionError(f"not within {seconds} s: {what}. {self._described()}")
            if not self.read() and self.master >= 0:
                self._reap()
                if self.exit_code is not None and not (value := predicate()):
                    raise AssertionError(f"the command ended before this came: {what}. {self._described()}")
                time.sleep(0.01)
            elif self.master < 0:
                time.sleep(0.01)
        return value

    def wait_for_text(self, *texts: str, seconds: float = 15.0) -> float:
        """Wait until all texts stand on the screen at once; returns seconds since the command was started."""
        self.wait_until(lambda: all(text in self.screen_text for text in texts), seconds, f"on the screen: {texts}")
        return time.monotonic() - self.begun

    def wait_for_end(self, seconds: float = 10.0) -> int:
        """Wait for the command's end and return its exit code (negative: the signal that ended it)."""
        self.wait_until(self._reap, seconds, "the command's end")
        while self.master >= 0 and self.read(0.2) and select.select([self.master], [], [], 0.2)[0]:
            pass  # what it wrote last
        assert self.exit_code is not None
        return self.exit_code

    def _reap(self) -> bool:
        if self.exit_code is None:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.exit_code = self.process.returncode = os.waitstatus_to_exitcode(status)
                self.cpu_seconds = usage.ru_utime + usage.ru_stime
        return self.exit_code is not None

    def _described(self) -> str:
        self._reap()
        state = "It still runs" if self.exit_code is None else f"It ended with {self.exit_code}"
        return f"{state}. The screen:\n{self.screen_text}\nThe last of what it wrote: {self.raw[-300:]!r}"

    # Typing and ending.

    def press(self, *keys: str) -> None:
        """Type keys: names of :data:`KEYS`, or text."""
        for key in keys:
            os.write(self.master, KEYS.get(key) or key.encode())

    def send_signal(self, number: int) -> float:
        """Send a signal; returns the time."""
        self.process.send_signal(number)
        return time.monotonic()

    def close_master(self) -> float:
        """The terminal goes away; returns the time."""
        os.close(self.master)
        self.master = -1
        return time.monotonic()

    def processes(self) -> list[psutil.Process]:
        """The command and all processes that it started and that are still its own."""
        with contextlib.suppress(psutil.NoSuchProcess):
            own = psutil.Process(self.process.pid)
            return [own, *own.children(recursive=True)]
        return []

    def close(self) -> None:
        """End the command if it still runs, and the terminal."""
        if not self._reap():
            self.process.kill()
            self.process.wait()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    # How the terminal was left.

    def modes(self) -> set[int]:
        """The private modes that are on after all that was written (the cursor and wrapping are on from the start)."""
        on = {CURSOR, WRAP}
        for numbers, last in _MODE.findall(self.raw):
            for number in map(int, numbers.split(b";")):
                (on.add if last == b"h" else on.discard)(number)
        return on

    def assert_restored(self) -> None:
        """Main screen, cursor shown, no mouse, paste, focus or key reports, line settings as they were, one line at most."""
        assert b"\x1b[?1049h" in self.raw, f"the alternate screen was never used. {self._described()}"
        assert self.modes() == {CURSOR, WRAP}, f"modes that are on: {self.modes()}. {self._described()}"
        depth = 0
        for way in _KITTY.findall(self.raw):
            depth = depth + 1 if way == b">" else max(0, depth - 1)
        assert depth == 0, f"key reports were not taken back. {self._described()}"
        after = self.printed_after()
        assert len(after) <= 1, f"printed after leaving: {after}"
        assert termios.tcgetattr(self.master)[:4] == self.settings_before[:4], "echo or line editing are not as before"

    def printed_after(self) -> list[str]:
        """Lines that were printed once the alternate screen was left for the last time."""
        rest = self.raw[self.raw.rindex(b"\x1b[?1049l") :]
        text = _SEQUENCE.sub(b"", rest).decode("utf-8", "replace")
        return [line for line in re.split(r"[\r\n]+", text) if line.strip()]
