"""Poor and unusual terminals: plain ASCII, few colours, none, tmux and screen; and one that is none at all."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.emulated import ROOT, Emulated
from tests.support import make_run

COLOUR = re.compile(rb"\x1b\[[\d;]*m")
SCREENS = ((b"", "2 runs"), (b"?", "esc closes"), (b"\x1b", "2 runs"), (b"\x10", "Search"), (b"\x1b", "2 runs"), (b"\r", "train.log"), (b"?", "Watch"),
           (b"\x1b", "train.log"), (b"h", "tunedeck"), (b"h", "train.log"), (b"\x1b", "2 runs"), (b"n", "model"),
           (b"\x1b[17~", "model"), (b"\x1b[18~", "command"), (b"\x1b", "model"), (b"\x1b", "2 runs"))  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs: one is alive, one failed."""
    make_run(tmp_path / "runs" / "one", name="one", steps=60, total=200, state="running", created=time.time() - 60)
    make_run(tmp_path / "runs" / "two", name="two", steps=30, state="failed", created=time.time() - 900)
    return tmp_path


def opened(folder: Path, **env: str) -> Emulated:
    return Emulated("--root", str(folder / "runs"), folder=folder, env={"TUNEDECK_THEME": "", **env})


def walk(terminal: Emulated) -> None:
    """Through the screens."""
    for keys, text in SCREENS:
        if keys:
            terminal.type(keys)
        until = time.monotonic() + 5
        while text.lower() not in terminal.text.lower():
            assert time.monotonic() < until, (keys, text, terminal.text)
            terminal.turn(0.02)
        terminal.turn(0.35 if keys == b"\x1b" else 0.1)  # what stood below a dialog was there all the time


def test_without_unicode_not_one_other_byte_is_sent(runs: Path) -> None:
    terminal = opened(runs, TUNEDECK_ASCII="1", LANG="C", LC_ALL="C", TERM="linux", COLORTERM="")
    try:
        walk(terminal)
        found = re.findall(rb"[^\x00-\x7f]+", bytes(terminal.raw))
        assert not found, sorted({part.decode("utf-8", "replace") for part in found})
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("term", "rich"), [("xterm", False), ("xterm-16color", False), ("linux", False), ("screen-256color", True)]
)
def test_no_more_colours_than_the_terminal_has(runs: Path, term: str, rich: bool) -> None:
    terminal = opened(runs, TERM=term, COLORTERM="")
    try:
        terminal.wait_for("2 runs", "running", "failed")
        looks = b" ".join(COLOUR.findall(bytes(terminal.raw)))
        assert b"38;2;" not in looks and b"48;2;" not in looks, looks[:300]
        if not rich:
            assert b"38;5;" not in looks and b"48;5;" not in looks, looks[:300]
    finally:
        terminal.close()


def test_without_colour_words_and_signs_say_the_same(runs: Path) -> None:
    terminal = opened(runs, NO_COLOR="1")
    try:
        terminal.wait_for("2 runs", "● running", "✗ failed", "▌")
        colours = set(re.findall(rb"[34]8;2;(\d+);(\d+);(\d+)", bytes(terminal.raw)))
        assert all(max(map(int, parts)) - min(map(int, parts)) <= 2 for parts in colours), colours
    finally:
        terminal.close()


def _wait_for_text(capture: list[str], *texts: str) -> str:
    until, shown = time.monotonic() + 12, ""
    while not all(text in shown for text in texts):
        assert time.monotonic() < until, shown
        time.sleep(0.15)
        shown = subprocess.run(capture, capture_output=True, text=True, errors="replace", check=False).stdout
    return shown


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_tmux_shows_what_the_emulator_shows(runs: Path, tmp_path: Path) -> None:
    make_run(runs / "runs" / "three", name="한국어 실험", steps=9, created=time.time() - 5000)
    socket = ["tmux", "-L", f"t{os.getpid()}", "-f", "/dev/null"]
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    env |= {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT), "TUNEDECK_THEME": "dark"}
    command = f"{sys.executable} -m tui --root {runs / 'runs'}"
    terminal = opened(runs)
    try:
        subprocess.run([*socket, "new-session", "-d", "-x", "100", "-y", "30", command], env=env, check=True, cwd=runs)
        subprocess.run([*socket, "set", "status", "off"], check=True)
        shown = _wait_for_text([*socket, "capture-pane", "-p"], "3 runs", "한국어 실험")
        terminal.wait_for("3 runs", "한국어")
        terminal.turn(0.2)
        ours = [line.rstrip() for line in terminal.text.replace("\0", "").split("\n") if "한국어" in line]
        theirs = [line.rstrip() for line in shown.split("\n") if "한국어" in line]
        assert [line.split() for line in theirs] == [line.split() for line in ours]
        steady = [line.rstrip() for line in shown.split("\n")[:3]]
        assert steady == [line.rstrip() for line in terminal.text.split("\n")[:3]]
    finally:
        terminal.close()
        subprocess.run([*socket, "kill-server"], check=False, capture_output=True)


@pytest.mark.skipif(shutil.which("screen") is None, reason="GNU screen is not installed")
def test_gnu_screen_shows_the_list(runs: Path, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    env |= {
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "SCREENDIR": str(tmp_path / "s"),
        "TERM": "xterm",
    }
    (tmp_path / "s").mkdir(mode=0o700)
    name, copy = f"t{os.getpid()}", tmp_path / "copy"
    start = ["screen", "-U", "-c", "/dev/null", "-dmS", name, sys.executable, "-m", "tui", "--root", str(runs / "runs")]
    try:
        subprocess.run(start, env=env, check=True, cwd=runs)
        take = ["sh", "-c", f"screen -S {name} -X hardcopy {copy}; sleep 0.1; cat {copy}"]
        os.environ["SCREENDIR"] = env["SCREENDIR"]
        shown = _wait_for_text(take, "2 runs", "running", "failed", "help")
        assert shown.index("running") < shown.index("failed") and "\x1b" not in shown
    finally:
        subprocess.run(["screen", "-S", name, "-X", "quit"], env=env, check=False, capture_output=True)
        os.environ.pop("SCREENDIR", None)


@pytest.mark.parametrize("term", ["dumb", ""])
def test_no_terminal_is_said_in_a_sentence(runs: Path, term: str) -> None:
    if term:
        terminal = Emulated(folder=runs, env={"TERM": term})
        try:
            terminal.wait_for("TERM=dumb", "tunedeck runs", seconds=10)
            assert b"\x1b[?1049h" not in terminal.raw
        finally:
            terminal.close()
    else:
        done = subprocess.run(
            [sys.executable, "-m", "tui"], capture_output=True, text=True, cwd=ROOT, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 2 and "needs a terminal" in done.stderr and not done.stdout


def test_a_size_that_is_told_late_does_not_stay(runs: Path) -> None:
    code = """
import sys
from textual.drivers.linux_driver import LinuxDriver
real, told = LinuxDriver._get_terminal_size, []
def size(self):
    # As if the first of two signals' handlers told its size after the second's: only a second look shows the truth.
    true = real(self)
    told.append(told[-1] if told and true != told[-1] and len(set(told)) == 1 and not lied else true)
    if told[-1] != true:
        lied.append(true)
    return told[-1]
lied = []
LinuxDriver._get_terminal_size = size
from tui import __main__
sys.exit(__main__.main(["--root", "runs"]))
"""
    terminal = Emulated(code=code, folder=runs, env={"TUNEDECK_THEME": ""})
    try:
        terminal.wait_for("2 runs")
        terminal.set_size(100, 40)
        until = time.monotonic() + 5
        while "help" not in terminal.lines[39]:
            assert time.monotonic() < until, terminal.text
            terminal.turn(0.05)
    finally:
        terminal.close()
