"""What stands in the terminal after random interactions is what whole frames would have painted, cell for cell.

Run: python -m tests.benchmarks.faithful [INTERACTIONS] [SEED]
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyte

from tests.benchmarks.emulated import Emulated, Emulator
from tests.corpus.many import many
from tests.support import make_run

# The app as ever, but it starts and ends nothing, and keeps a copy of every whole frame; a ping answers once all is sent.
CODE = """
import os, signal, sys, time
from tui import __main__
from tui.terminal import driver
import tui.app, tui.keys
log = open(os.environ["FAITHFUL_FRAMES"], "a", encoding="utf-8")
real, apply = driver.DiffDriver.write, driver.CellScreen.apply
def taken(self, frame, urgency=0):
    log.write(f"{self.width} {self.height}\\x00{frame}\\x01"); log.flush()
    apply(self, frame, urgency)
driver.CellScreen.apply = taken
from engine import launchers, process
def refuse(*_, **__):
    from engine.errors import InputError, Problem
    raise InputError(Problem("test", "nothing is started here", "No matter"))
launchers.launch = refuse
process.signal_exactly = lambda *_, **__: False
async def stay(self): pass
tui.app.TunedeckApp.action_quit = stay
tui.app.TunedeckApp.action_shell = stay
__main__._no_terminal = lambda: ""
sys.exit(__main__.main(["--root", os.environ["FAITHFUL_ROOT"]]))
"""
SIZES = ((100, 30), (80, 24), (120, 40), (61, 19), (160, 45), (97, 33))
ESCAPE, ENTER = b"\x1b", b"\r"
MOVES = (b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D", b"\x1b[H", b"\x1b[F", b"\x1b[5~", b"\x1b[6~", b"\t", b"\x1b[Z")
DIALOGS = (b"?", b"\x10", b"\x1bOP", b"\x1bOQ", b"\x1bOR", b"\x1bOS", b"\x1b[17~", b"\x1b[18~", b"\x06", b"/", b"a", b"c", b"r", b"n", b"d",
           b"t", b"v", b"h", b"S", b"s", b"y", b" ", b" ", b"m", b"b", b"O", b"C", b"p", b"X", b"D", b"w", b"z", b"\x1b[15~")  # fmt: skip
LETTERS = tuple(bytes([code]) for code in b"01234+-<>.,[]xglfhLwnNkeovtyRo")
WORDS = ("실험", "한국어 글", "👍", "e\u0301", "run-1", "日本", "loss", "👩‍💻", "ä", "/tmp", "1e-4", "\u0301")
SETTLED_SECONDS = 8.0


@dataclass
class Result:
    """What was done, and where the terminal was wrong."""

    done: int = 0
    checks: int = 0
    screens: set[str] = field(default_factory=set)
    wrong: str = ""


class Session:
    """One app, with fake runs of every state; nothing is launched."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.rng, self.seed = folder, random.Random(seed), seed
        self.frames = folder / "frames.log"
        now = time.time()
        states = ("completed", "failed", "running", "stopped", "starting")
        self.runs = [
            make_run(folder / "runs" / f"r{n}", name=f"실험-{n} 👍" if n % 4 == 0 else f"run-{n}", steps=40 + n, total=200,
                     state=states[n % 5], created=now - 900 * n, evals=4)
            for n in range(14)
        ]  # fmt: skip
        many(folder / "runs" / "theirs", 8, 4000)
        for run in self.runs:
            run.train_log.write_text("Loading 모델 👍\nUserWarning: e\u0301 한국어 cut\n" * 30, encoding="utf-8")
        env = {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in ("STATE", "CACHE", "CONFIG", "DATA")}
        env |= {
            "FAITHFUL_FRAMES": str(self.frames),
            "FAITHFUL_ROOT": str(folder / "runs"),
            "SHELL": "/bin/true",
            "HOME": str(folder),
        }
        self.terminal = Emulated(code=CODE, env=env, folder=folder)
        self.whole = Emulator(1, 1)
        self.read_to = 0
        self.history: list[str] = []
        self.terminal.wait_for("22 runs")

    # What is done.

    def act(self) -> None:
        """One random interaction."""
        kind = self.rng.choices(
            (
                "move",
                "letter",
                "dialog",
                "enter",
                "escape",
                "word",
                "resize",
                "foreign",
                "theme",
                "step",
                "burst",
                "suspend",
            ),
            (20, 18, 10, 9, 14, 8, 3, 2, 1, 6, 6, 0.5),
        )[0]
        getattr(self, f"_{kind}")()

    def _type(self, keys: bytes) -> None:
        self.history.append(repr(keys))
        self.terminal.type(keys)

    def _move(self) -> None:
        self._type(self.rng.choice(MOVES))

    def _letter(self) -> None:
        self._type(self.rng.choice(LETTERS))

    def _dialog(self) -> None:
        self._type(self.rng.choice(DIALOGS))

    def _enter(self) -> None:
        self._type(ENTER)

    def _escape(self) -> None:
        self._type(ESCAPE)

    def _word(self) -> None:
        self._type(self.rng.choice(WORDS).encode())

    def _burst(self) -> None:
        self._type(b"".join(self.rng.choice(MOVES) for _ in range(self.rng.randrange(2, 9))))

    def _resize(self) -> None:
        for _ in range(self.rng.choice((1, 1, 1, 3))):
            size = self.rng.choice([size for size in SIZES if size != self.terminal.size])
            self.history.append(f"resize {size}")
            self.terminal.set_size(*size)
            self.terminal.feed(b"\x1b[3;1H\x1b[J")  # terminals cut, move or clear what stood there
            self.terminal.turn(self.rng.choice((0.0, 0.02)))
        self.terminal.turn(0.5)  # the driver paints once more when sizes have come to rest

    def _foreign(self) -> None:
        self.history.append("foreign output, ^L")
        self.terminal.turn(0.15)  # right behind an Esc it would be another key
        self.terminal.feed(b"\x1b[2J\x1b[5;5Hbroadcast message")
        self.terminal.type(b"\x0c")
        self.terminal.turn(0.05)

    def _theme(self) -> None:
        self._type(b"\x10")
        self.terminal.turn(0.1)
        self._type(b"theme")
        self.terminal.turn(0.15)
        self._type(ENTER)
        self.terminal.turn(0.1)

    def _step(self) -> None:
        run = self.rng.choice(self.runs)
        self.history.append(f"a line in {run.path.name}'s log")
        if not run.train_log.exists():  # its name was typed, and it is removed
            return
        with open(run.train_log, "a", encoding="utf-8") as log:
            log.write(f"줄 {self.rng.random():.3f} 👍 {'x' * self.rng.randrange(150)}\n")

    def _suspend(self) -> None:
        self.history.append("suspended")
        os.kill(self.terminal.pid, signal.SIGTSTP)
        until = time.monotonic() + 3
        while os.waitpid(self.terminal.pid, os.WNOHANG | os.WUNTRACED)[0] == 0 and time.monotonic() < until:
            self.terminal.turn(0.02)
        self.terminal.turn(0.02)
        self.terminal.feed(b"\x1b[2J")
        os.kill(self.terminal.pid, signal.SIGCONT)
        self.terminal.turn(0.2)

    # What is compared.

    def difference(self) -> str:
        """The first cell that differs, once the app has come to rest; empty if none does."""
        until, found = time.monotonic() + SETTLED_SECONDS, "not compared"
        pause = 0.02
        while found and time.monotonic() < until:
            while self.terminal.turn(pause):
                pass
            self._take_frames()
            found = self._compare()
            pause = min(0.3, pause * 1.6)
        return found

    def _take_frames(self) -> None:
        with open(self.frames, encoding="utf-8", newline="") as file:
            file.seek(self.read_to)
            text = file.read()
            end = text.rfind("\x01")
            self.read_to += len(text[: end + 1].encode())
        for part in text[: end + 1].split("\x01")[:-1]:
            size, _, frame = part.partition("\x00")
            width, height = map(int, size.split())
            if (self.whole.columns, self.whole.lines) != (width, height):
                self.whole = Emulator(width, height)
                self.whole.reset_mode(pyte.modes.DECAWM)
            pyte.Stream(self.whole).feed(frame)

    def _compare(self) -> str:
        width, height = self.terminal.size
        if (self.whole.columns, self.whole.lines) != (width, height):
            return f"painted for {self.whole.columns}×{self.whole.lines}, shown {width}×{height}"
        for y in range(height):
            shown, whole = self.terminal.screen.buffer[y], self.whole.buffer[y]
            for x in range(width):
                if shown[x] != whole[x]:
                    return (f"column {x}, row {y}: {shown[x]} in place of {whole[x]}\n  shown   {self.terminal.screen.display[y]}\n"
                            f"  painted {self.whole.display[y]}")  # fmt: skip
        return ""


def run(folder: Path, count: int, seed: int, every: int = 1) -> Result:
    """``count`` interactions, compared after each ``every``."""
    session, result = Session(folder, seed), Result()
    try:
        for number in range(1, count + 1):
            session.act()
            result.done = number
            if number % every == 0:
                result.screens.add(session.terminal.screen.display[0][:24].strip())
                result.checks += 1
                found = session.difference()
                if found:
                    for log in folder.glob("state/**/app.log"):
                        found += f"\n{log.read_text()[-3000:]}"
                    result.wrong = f"seed {seed}, interaction {number}: {found}\nafter: {', '.join(session.history[-int(os.environ.get('FAITHFUL_HISTORY', '12')) :])}"
                    break
            if number % 60 == 0:  # home again: not all time is spent where it is deep
                for _ in range(4):
                    session.terminal.type(ESCAPE)
                    session.terminal.turn(0.12)
            if number % 500 == 0 and count > 500:
                print(f"{number} …", file=sys.stderr, flush=True)
    finally:
        session.terminal.close()
    return result


def main() -> None:
    """Print what was found; exits with 1 if a cell was wrong."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    began, done, checks, wrong = time.monotonic(), 0, 0, []
    screens: set[str] = set()
    while done < count:
        with tempfile.TemporaryDirectory() as name:
            result = run(Path(name), min(2500, count - done), seed)
        done, checks, seed = done + result.done, checks + result.checks, seed + 1
        screens |= result.screens
        if result.wrong:
            wrong.append(result.wrong)
            print(result.wrong, flush=True)
    print(
        f"{done} interactions, {checks} comparisons, {len(wrong)} wrong, {time.monotonic() - began:.0f} s; on: {', '.join(sorted(screens))}"
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
