"""The way to the terminal and back outlives what terminals and other programs do to it."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import signal
import termios
import threading
import time
import tty
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from textual import events
from textual.drivers import linux_driver

from tui.terminal import line as line_module
from tui.terminal.driver import DiffDriver
from tui.terminal.keyboard import Keyboard
from tui.terminal.line import Line


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a pseudo-terminal that changes nothing."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield master, slave
    os.close(master)
    os.close(slave)


def nothing(_room: int, _answers: bool) -> tuple[str, bool]:
    return "", False


def read(master: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += os.read(master, 1 << 16)
    return data


@pytest.mark.parametrize("shared", [False, True])
def test_a_terminal_that_does_not_wait_is_waited_for(
    terminal: tuple[int, int], shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    master, slave = terminal
    os.set_blocking(slave, False)  # as a program that shares it may leave it
    if shared:
        monkeypatch.setattr(line_module, "_own", lambda _fd: None)
    line = Line(slave, "utf-8", nothing)
    line.put("x" * 100_000)
    time.sleep(0.1)  # nobody reads
    assert len(read(master, 100_000)) == 100_000
    line.put("y")
    assert read(master, 1) == b"y"
    line.stop()
    assert not line._thread.is_alive()


def test_a_line_that_breaks_says_so_and_keeps_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    errors: list[Exception] = []
    line = Line(writer, "utf-8", nothing, failed=errors.append)
    line.put("x")
    line._thread.join(2)
    assert [type(error) for error in errors] == [BrokenPipeError]
    line.put("y")
    assert not line._first
    line.quiet()
    line.stop()
    os.close(writer)


def test_a_terminal_that_takes_nothing_is_left_without_a_thread_that_still_writes(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    line = Line(slave, "utf-8", nothing)
    line.put("x" * 200_000)
    time.sleep(0.05)
    line.stop(0.1)
    assert not line._thread.is_alive()
    came = 0
    while select.select([master], [], [], 0.1)[0]:  # what the terminal had taken before
        came += len(os.read(master, 1 << 16))
    assert 0 < came < 100_000


def test_a_key_keeps_a_slow_line_free_for_its_answer(
    terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_module, "HOLD_SECONDS", 0.4)
    _, slave = terminal
    taken: list[bool] = []

    def take(_room: int, answers: bool) -> tuple[str, bool]:
        taken.append(answers)
        return ("", True) if answers else ("", False)

    line = Line(slave, "utf-8", take)
    line.pace.slope = 0.001
    line.hold()
    line.begin()
    time.sleep(0.04)
    assert not taken
    line.poke(urgent=True)
    time.sleep(0.04)
    assert taken == [True], "once, and not again and again"
    until = time.monotonic() + 3
    while len(taken) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    assert taken == [True, False]
    line.stop()


class Keys(Keyboard):
    """The input alone."""

    def __init__(self, fd: int) -> None:
        self.fileno, self._debug, self.exit_event = fd, False, threading.Event()
        self.keys: list[str] = []

    def process_message(self, message: Any) -> None:
        if isinstance(message, events.Key):
            self.keys.append(message.key)
            if message.key == "q":
                self.exit_event.set()


def test_bytes_that_are_no_text_are_left_aside(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    keyboard = Keys(slave)
    thread = threading.Thread(target=keyboard.run_input_thread, daemon=True)
    thread.start()
    for data in (b"\xff", b"a", b"\xe9", b"b", "é".encode()[:1], "é".encode()[1:], b"\xc3", b"q"):
        os.write(master, data)
        time.sleep(0.01)
    thread.join(2)
    assert not thread.is_alive() and keyboard.keys == ["a", "b", "é", "q"]


async def test_a_terminal_that_cannot_be_taken_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise termios.error(5, "no")

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)}
    monkeypatch.setattr(linux_driver.os, "isatty", lambda _fd: True)
    monkeypatch.setattr(linux_driver.termios, "tcgetattr", refuse)
    app = SimpleNamespace(_loop=asyncio.get_running_loop())
    driver = DiffDriver(app)
    before = threading.active_count()
    driver.start_application_mode()
    driver.start_application_mode()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert driver._line is None and threading.active_count() == before


async def test_a_broken_line_ends_the_app_and_is_logged(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from tui import leaving

    insisted: list[int] = []
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(leaving, "insist", insisted.append)
    monkeypatch.setattr(leaving, "_last_words", [])
    left: list[Any] = []
    driver = DiffDriver.__new__(DiffDriver)
    driver._line, driver._loop = SimpleNamespace(), asyncio.get_running_loop()  # type: ignore[assignment]
    driver._app = SimpleNamespace(exit=lambda *code: left.append(code))  # type: ignore[assignment]
    driver._on_failure(OSError(28, "No space left on device"))
    await asyncio.sleep(0)
    assert left == [(None, 129)] and insisted == [129]
    assert "No space left" in next(tmp_path.rglob("app.log")).read_text()
    assert "cannot be written to" in leaving._last_words[0]
