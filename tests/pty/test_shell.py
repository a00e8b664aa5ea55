"""A shell out of the app, in a real terminal: its keys are its own, and the app is whole again afterwards."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pyte
import pytest

from tests.pty import terminal as emulated
from tests.pty import test_leaving

CODE = """
import sys
from pathlib import Path
from tui import __main__, report
from tui.screens.runs import RunsScreen
from tui.watch.shell import open_shell
RunsScreen.action_rescan = lambda self: report.tell(self.app, "said: " + open_shell(self.app, Path("inside")))
sys.exit(__main__.main([]))
"""


def screen(seen: bytes) -> str:
    """What stands in the terminal."""
    emulator = pyte.Screen(80, 24)
    pyte.ByteStream(emulator).feed(emulated._FOREIGN.sub(b"", seen))
    return "\n".join(line.rstrip() for line in emulator.display)


def wait_for_screen(child: test_leaving.Terminal, text: str, seconds: float = 8.0) -> None:
    """Wait until a text stands in the terminal."""
    deadline = time.monotonic() + seconds
    while text not in screen(child.seen):
        assert time.monotonic() < deadline and child.process.poll() is None, screen(child.seen)
        child.read()


@pytest.mark.parametrize("program", ["/bin/bash", "/bin/sh"])
def test_a_shell_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    if not Path(program).exists():
        pytest.skip(f"there is no {program}")
    (tmp_path / "inside").mkdir()
    monkeypatch.setenv("SHELL", program)
    monkeypatch.setenv("PS1", "$ ")
    with test_leaving.terminal(tmp_path, CODE) as child:
        before = screen(child.seen)
        os.write(child.master, b"R")
        child.wait_for(b"to come back")
        os.write(child.master, b"echo here:$(basename $PWD); sleep 30\n")
        child.wait_for(b"here:inside")
        time.sleep(0.1)
        os.write(child.master, b"\x03")
        time.sleep(0.1)
        os.write(child.master, b"echo al''ive\n")
        child.wait_for(b"alive", 5)
        os.write(child.master, b"exit\n")
        wait_for_screen(child, "said: back from the shell")
        child.read(0.6)
        after = screen(child.seen)
        # The message covers a part of the right side; all the rest is as it was.
        assert [line[:20].rstrip() for line in after.splitlines()] == [
            line[:20].rstrip() for line in before.splitlines()
        ]
        assert child.process.poll() is None
        os.write(child.master, b"q")
        assert child.ended() == 0
        test_leaving.assert_restored(child)


def test_a_shell_that_is_killed_gives_the_terminal_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inside").mkdir()
    monkeypatch.setenv("SHELL", "/nowhere/zsh")  # not there: sh
    with test_leaving.terminal(tmp_path, CODE) as child:
        os.write(child.master, b"R")
        child.wait_for(b"to come back")
        child.read(0.3)
        os.write(child.master, b"echo up''right\n")  # a word that the app's own screen does not have
        child.wait_for(b"upright", 5)
        children = psutil.Process(child.process.pid).children()
        assert "sh" in [process.name() for process in children]
        for process in children:
            process.send_signal(signal.SIGKILL)
        wait_for_screen(child, "said: back from the shell")
        os.write(child.master, b"q")
        assert child.ended() == 0
        test_leaving.assert_restored(child)


async def test_where_the_app_cannot_be_suspended_it_says_so(tmp_path: Path) -> None:
    from tui.app import TunedeckApp
    from tui.watch.shell import open_shell

    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)):
        assert "cannot be lent" in open_shell(app, tmp_path)
        assert "not there any more" in open_shell(app, tmp_path / "gone")
