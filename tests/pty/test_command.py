"""The installed command in a terminal and without one: it opens, it leaves, and says in one line what it cannot do."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.pty.conftest import Start
from tests.pty.terminal import COMMAND, MOUSE, Terminal
from tests.support import make_run

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
SCREENS = ("runs", "launch", "watch")


def open_screen(start: Start, folder: Path, name: str, **options: object) -> Terminal:
    """The app at one of its three screens, with something alive behind each."""
    make_run(folder / "runs" / "alive", name="alive", steps=20, total=60, state="running", created=time.time() - 60)
    terminal = start(*{"runs": [], "launch": ["demo"], "watch": ["watch", folder / "runs" / "alive"]}[name], **options)
    terminal.wait_for_text(
        *{"runs": ["1 run", "alive"], "launch": ["Sample run", "400 rows"], "watch": ["alive", "train.log"]}[name]
    )
    return terminal


# Opening and leaving.


def test_welcome_help_and_out(start: Start) -> None:
    terminal = start()
    terminal.wait_for_text("No runs yet", "try the sample run", "set up a run of your own", "q quit", "? help")
    terminal.press("?")
    terminal.wait_for_text("Keys", "Set up a new run", "more below", "esc closes")
    terminal.press("escape")
    terminal.wait_until(lambda: "esc closes" not in terminal.screen_text, 5, "the help is closed")
    assert "No runs yet" in terminal.screen_text
    terminal.press("q")
    assert terminal.wait_for_end() == 0
    terminal.assert_restored()
    assert not any(f"\x1b[?{mode}h".encode() in terminal.raw[terminal.raw.rindex(b"\x1b[?1049l") :] for mode in MOUSE)


def test_the_first_screen_comes_at_once(start: Start) -> None:
    seconds = start().wait_for_text("No runs yet", seconds=5)
    assert seconds < 3, f"the welcome took {seconds:.2f} s"


@pytest.mark.parametrize("screen", SCREENS)
def test_ctrl_c_leaves_any_screen(start: Start, folder: Path, screen: str) -> None:
    terminal = open_screen(start, folder, screen)
    terminal.press("ctrl+c")
    assert terminal.wait_for_end(5) == 0
    terminal.assert_restored()


def test_a_small_terminal_still_shows_the_way_in_and_out(start: Start) -> None:
    terminal = start(size=(40, 10))
    terminal.wait_for_text("No runs yet")
    terminal.press("q")
    assert terminal.wait_for_end() == 0
    terminal.assert_restored()


# Ended from outside.


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_ends_it_and_restores_the_terminal(
    start: Start, folder: Path, number: signal.Signals, screen: str
) -> None:
    terminal = open_screen(start, folder, screen)
    family = terminal.processes()
    sent = terminal.send_signal(number)
    assert terminal.wait_for_end(5) == 128 + number
    seconds = time.monotonic() - sent
    assert seconds < 2, f"gone only after {seconds:.2f} s"
    terminal.assert_restored()
    _, left = psutil.wait_procs(family, timeout=2)
    assert not left, f"left behind: {[process.cmdline() for process in left]}"


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("hangup", ["SIGHUP", "ignored"])
def test_a_lost_terminal_ends_it_without_spinning(start: Start, folder: Path, hangup: str, screen: str) -> None:
    terminal = open_screen(start, folder, screen, ignore_hangup=hangup == "ignored")
    family = terminal.processes()
    before = sum(family[0].cpu_times()[:2])
    closed = terminal.close_master()
    assert terminal.wait_for_end(5) == 128 + signal.SIGHUP
    seconds = time.monotonic() - closed
    assert seconds < 2, f"gone only after {seconds:.2f} s"
    used = terminal.cpu_seconds - before
    assert used < 0.8, f"{used:.2f} s of processor time in {seconds:.2f} s"
    _, left = psutil.wait_procs(family, timeout=2)
    assert not left, f"left behind: {[process.cmdline() for process in left]}"


# Without a terminal, and used wrongly.


def piped(folder: Path, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=20, check=False, env={**os.environ, **(env or {})})  # fmt: skip


@pytest.mark.parametrize("words", [[], ["demo"]])
def test_without_a_terminal_one_line_says_so(folder: Path, words: list[str]) -> None:
    answer = piped(folder, *words)
    assert answer.returncode == 2 and answer.stdout == ""
    (line,) = answer.stderr.splitlines()
    assert "needs a terminal" in line and "tunedeck runs" in line and "tunedeck train" in line


def test_a_dumb_terminal_is_refused_in_one_line(start: Start) -> None:
    terminal = start(env={"TERM": "dumb"})
    assert terminal.wait_for_end() == 2
    (line,) = terminal.raw.decode().splitlines()
    assert "TERM=dumb" in line and "\x1b" not in line


BAD_USAGE = [
    (["trian"], "'trian'", "train"),
    (["--nope"], "--nope", "tunedeck --help"),
    (["watch", "nope"], "'nope'", "tunedeck runs"),
    (["watch"], "RUN", "tunedeck runs"),
    (["watch", "one", "two"], "RUN", "tunedeck runs"),
    (["demo", "more"], "demo", "tunedeck --help"),
    (["--theme", "pink"], "'pink'", "dark"),
    (["--theme"], "--theme", "tunedeck --help"),
    (["--root", "no/such/folder"], "no/such/folder", "folder that holds runs"),
    (["show", "nope"], "'nope'", "tunedeck runs"),
    (["stop", "nope"], "'nope'", "tunedeck runs"),
]


@pytest.mark.parametrize(
    ("words", "named", "hint"), BAD_USAGE, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_bad_usage_is_one_helpful_line(folder: Path, words: list[str], named: str, hint: str) -> None:
    answer = piped(folder, *words)
    assert answer.returncode == 2 and answer.stdout == "", answer
    (line,) = answer.stderr.splitlines()
    assert named in line and hint in line


@pytest.mark.parametrize("words", [["trian"], ["--nope"], ["watch", "nope"]], ids=" ".join)
def test_bad_usage_in_a_terminal_never_opens_the_app(start: Start, words: list[str]) -> None:
    terminal = start(*words)
    assert terminal.wait_for_end() == 2
    assert len(terminal.raw.decode().splitlines()) == 1 and b"\x1b" not in terminal.raw


# What others wrote.

ATTACKS = {
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "clipboard ended by ST": "\x1b]52;c;ZXZpbA==\x1b\\",
    "clipboard in 8 bits": "\x9d52;c;ZXZpbA==\x9c",
    "title": "\x1b]0;evil title\x07",
    "link": "\x1b]8;;http://evil.example\x1b\\",
    "erase": "\x1b[2J\x1b[17;3H",
    "erase in 8 bits": "\x9b2J\x9b17;3H",
    "main screen": "\x1b[?1049l\x1b[?6h",
    "answer back": "\x1b[6n\x1b[>0q",
    "device control": "\x1bP$q\"p\x1b\\",
    "application": "\x1b_Gi=31,a=q\x1b\\",
    "reset": "\x1bc\x1b#8",
    "torn": "\x1b",
    "override": "\u202e\u2066",
}  # fmt: skip
# By what an attack would be known in the output. Text that is left of one whose beginning was no character is harmless.
FORBIDDEN = (b"\x1b]52", b"\x1b]0;", b"\x1b]8;", b"\x1b[2J", b"\xc2\x9b", b"\xc2\x9d", b"\x9b2J", b"\x9d52", b"\x1b[?6h", b"\x1b[6n",
             b"\x1b[>0q", b"\x1bP", b"\x1b_", b"\x1bc", b"\x1b#8", "\u202e".encode(), "\u2066".encode())  # fmt: skip


def hostile(word: str) -> str:
    """``word`` after every attack, so that it is on the screen only if something that followed them is."""
    return "".join(ATTACKS.values()) + word


def assert_harmless(terminal: Terminal) -> None:
    # The driver itself asks for the cursor's place; of a text no such sequence is ever sent (tests/unit/test_tui_terminal).
    found = [payload for payload in FORBIDDEN if payload in terminal.raw and payload != b"\x1b[6n"]
    assert not found, f"reached the terminal: {found}\n{terminal.screen_text}"
    assert terminal.raw.count(b"\x1b[?1049l") <= 1
    # Sequences other than CSI: only the pointer's shape, and charsets, may be the app's own.
    others = set(re.findall(rb"\x1b(?!\[)(?:\][0-9]*|.)", terminal.raw, re.DOTALL))
    assert others <= {b"\x1b]22"}, others


def hostile_run(folder: Path, state: str) -> Path:
    name = "x\x1b]52;c;ZXZpbA==\x07\x1b[2J\x1b[17;3Hdirectory"  # "/" cannot be in it
    run = make_run(folder / "runs" / name, name=hostile("SHOWNNAME"), reason=hostile("SHOWNREASON"), state=state, steps=20, total=60,
                   created=time.time() - 60, base_model=hostile("org/SHOWNMODEL"), run_id=f"20261124-083000-{state[:5]}")  # fmt: skip
    run.train_log.write_text(
        f"first\n{hostile('SHOWNLOG')}\nprogress 1%\rprogress 2%{hostile('SHOWNEND')}\n", encoding="utf-8"
    )
    with open(run.train_log, "ab") as log:
        log.write(b"\x9b2J\x9d52;c;ZXZpbA==\x07 not UTF-8\n")
    from engine.events import EventWriter

    writer = EventWriter(run.events)
    writer.write("notice", level=hostile("warning"), text=hostile("SHOWNNOTICE"))
    writer.write("phase", name=hostile("SHOWNPHASE"), done=1, total=2)
    writer.write(hostile("type"), text=hostile("SHOWNTYPE"))
    writer.close()
    return run.path


@pytest.mark.parametrize("state", ["failed", "running"])
@pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_hostile_data_never_reaches_the_terminal(start: Start, folder: Path, size: tuple[int, int], state: str) -> None:
    hostile_run(folder, state)
    terminal = start(size=size)
    terminal.wait_for_text("1 run", "SHOWNNAME")
    assert_harmless(terminal)
    terminal.press("w")
    terminal.wait_for_text("train.log", "SHOWNEND")
    assert_harmless(terminal)
    terminal.press("escape")
    terminal.wait_for_text("1 run")
    terminal.press("c")  # the form, filled with what the run was started with
    terminal.wait_for_text("base_model", "SHOWNMODEL")
    assert_harmless(terminal)
    terminal.press("ctrl+c")
    assert terminal.wait_for_end() == 0
    assert_harmless(terminal)
    terminal.assert_restored()


def test_hostile_words_in_usage_are_shown_harmless(start: Start) -> None:
    for words in (
        [hostile("trian")],
        ["--" + hostile("nope")],
        ["watch", hostile("nope")],
        ["--root", hostile("folder")],
    ):
        terminal = start(*words)
        assert terminal.wait_for_end() == 2
        assert not [payload for payload in FORBIDDEN if payload in terminal.raw] and b"\x1b" not in terminal.raw
