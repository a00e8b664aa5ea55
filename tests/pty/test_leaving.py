"""The real command in a real pseudo-terminal: however it ends, it is gone at once and the terminal is as it was."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESTORED = (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l", b"\x1b[?2004l")
BROKEN = """
import sys
from tui import __main__
from tui.screens.runs import RunsScreen
RunsScreen.action_order = lambda self: 1 / 0
sys.exit(__main__.main([]))
"""


class Terminal:
    """A child on a pseudo-terminal of its own."""

    def __init__(self, home: Path, code: str | None = None, *, controlling: bool = True, before: str = "") -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        env = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
        for name in ("COLUMNS", "LINES"):  # pytest-xdist sets them; the terminal's own size counts
            env.pop(name, None)

        def prepare() -> None:
            os.setsid()
            if controlling:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if before == "ignore-hangup":
                signal.signal(signal.SIGHUP, signal.SIG_IGN)

        command = [sys.executable, "-m", "tui"] if code is None else [sys.executable, "-c", code]
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=home, env=env, preexec_fn=prepare
        )
        self.seen = b""

    def read(self, seconds: float = 0.05) -> None:
        if select.select([self.master], [], [], seconds)[0]:
            with contextlib.suppress(OSError):
                self.seen += os.read(self.master, 65536)

    def wait_for(self, text: bytes, seconds: float = 15.0) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline and self.process.poll() is None, self.seen[-2000:]
            self.read()

    def ended(self, seconds: float = 2.5, *, reading: bool = True) -> int:
        """The exit code, which must come soon."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "still there"
            if reading:
                self.read()
            else:
                time.sleep(0.02)
        if reading:
            while select.select([self.master], [], [], 0.1)[0]:
                before = len(self.seen)
                self.read()
                if len(self.seen) == before:
                    break
        return self.process.returncode

    def hang_up(self) -> None:
        os.close(self.slave)
        os.close(self.master)
        self.master = self.slave = -1

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for fd in (self.master, self.slave):
            if fd >= 0:
                os.close(fd)


@contextlib.contextmanager
def terminal(home: Path, code: str | None = None, **more: object) -> Iterator[Terminal]:
    child = Terminal(home, code, **more)  # type: ignore[arg-type]
    try:
        child.wait_for(b"help")
        child.wait_for(b"No runs yet")
        yield child
    finally:
        child.close()


def assert_restored(child: Terminal) -> None:
    assert all(sequence in child.seen for sequence in RESTORED), child.seen[-500:]
    after = termios.tcgetattr(child.slave)
    assert after[:4] == child.before[:4]


@pytest.mark.parametrize("key", [b"q", b"\x03", b"\x11"])
def test_keys_that_leave(tmp_path: Path, key: bytes) -> None:
    with terminal(tmp_path) as child:
        os.write(child.master, key)
        assert child.ended() == 0
        assert_restored(child)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_restore_the_terminal(tmp_path: Path, number: signal.Signals) -> None:
    with terminal(tmp_path) as child:
        child.process.send_signal(number)
        assert child.ended() == 128 + number
        assert_restored(child)


@pytest.mark.parametrize("controlling", [True, False])
def test_a_lost_line_ends_it(tmp_path: Path, controlling: bool) -> None:
    with terminal(tmp_path, controlling=controlling, before="ignore-hangup") as child:
        child.hang_up()
        assert child.ended(reading=False) == 129


def test_a_terminal_that_takes_nothing_more_does_not_hold_it(tmp_path: Path) -> None:
    with terminal(tmp_path) as child:
        for _ in range(300):  # fills the terminal's buffer with repainted frames nobody reads
            os.write(child.master, b"?\x1b")
            time.sleep(0.002)
        child.process.send_signal(signal.SIGTERM)
        assert child.ended(reading=False) in (128 + signal.SIGTERM,)


def test_a_bug_is_one_line_after_leaving(tmp_path: Path) -> None:
    with terminal(tmp_path, BROKEN.replace("order", "rescan")) as child:
        os.write(child.master, b"R")
        assert child.ended() == 1
        assert_restored(child)
        after = child.seen[child.seen.rindex(b"\x1b[?1049l") :]
        assert b"a bug of its own (ZeroDivisionError)" in after and b"app.log" in after
        assert b"Traceback" not in child.seen


def test_suspended_and_resumed(tmp_path: Path) -> None:
    with terminal(tmp_path) as child:
        os.write(child.master, b"\x1a")
        deadline = time.monotonic() + 5
        while os.waitpid(child.process.pid, os.WNOHANG | os.WUNTRACED)[0] == 0:
            assert time.monotonic() < deadline, "never stopped"
            child.read()
        child.read(0.2)
        assert b"\x1b[?1049l" in child.seen
        child.seen = b""
        child.process.send_signal(signal.SIGCONT)
        child.wait_for(b"No runs yet")
        os.write(child.master, b"q")
        assert child.ended() == 0


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_without_a_terminal_one_line_says_what_to_use(tmp_path: Path, stream: str) -> None:
    master, slave = pty.openpty()
    try:
        streams: dict[str, int] = {"stdin": slave, "stdout": slave, "stderr": slave, stream: subprocess.PIPE}
        if stream != "stderr":
            streams["stderr"] = subprocess.PIPE
        answer = subprocess.Popen(
            [sys.executable, "-m", "tui"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, **streams
        )  # type: ignore[call-overload]
        _, error = answer.communicate(timeout=20)
        assert answer.returncode == 2
        assert b"needs a terminal" in error and b"tunedeck runs" in error and error.count(b"\n") == 1
    finally:
        os.close(master)
        os.close(slave)
