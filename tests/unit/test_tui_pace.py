"""How much may be on its way to the terminal follows the line's speed and delay."""

from __future__ import annotations

import random

import pytest
from textual.drivers.linux_driver import LinuxDriver

from tui.glyphs import PLAIN_TABLE
from tui.terminal.cells import CellScreen
from tui.terminal.driver import DiffDriver, for_terminal
from tui.terminal.motion import reduced
from tui.terminal.pace import ASK, LARGEST, Pace


class Line:
    """A simulated line: bytes leave it at ``speed``, answers come after ``delay`` both ways."""

    def __init__(self, speed: float, delay: float) -> None:
        self.pace, self.speed, self.delay = Pace(), speed, delay
        self.now = self.free = 0.0
        self.answers: list[float] = []
        self.worst = 0.0

    def send(self, wanted: int) -> int:
        count = min(wanted, self.pace.room(self.now))
        if not count and not self.pace.overdue(self.now):
            self.pace.cut()
            return 0
        self.pace.sent(count)
        if count < wanted:
            self.pace.cut()
        asked = self.pace.asks(self.now)
        self.free = max(self.free, self.now) + (count + len(ASK) * asked) / self.speed
        if asked:
            self.answers.append(self.free + 2 * self.delay)
        return count

    def tick(self, seconds: float = 0.005) -> None:
        self.now += seconds
        while self.answers and self.answers[0] <= self.now:
            self.answers.pop(0)
            self.pace.answered(self.now)


def run(line: Line, seconds: float, wanted: int = 100_000) -> int:
    total, until = 0, line.now + seconds
    while line.now < until:
        total += line.send(wanted)
        line.worst = max(line.worst, line.free - line.now)
        line.tick()
    return total


def test_a_slow_line_holds_little_and_is_kept_busy() -> None:
    line = Line(960, 0.002)
    line.send(60)
    run(line, 5)
    line.worst = 0.0
    assert run(line, 10) > 0.75 * 960 * 10
    assert line.worst < 0.1, "a key's answer waits behind what is under way"


@pytest.mark.parametrize("delay", [0.0005, 0.05, 0.2])
def test_a_fast_line_is_not_held_back(delay: float) -> None:
    line = Line(5e6, delay)
    line.send(60)
    run(line, 1 + 10 * delay)
    assert line.pace.window >= 16_000


def test_a_terminal_that_never_answers_gets_everything() -> None:
    pace = Pace()
    pace.sent(5000)
    assert pace.asks(0.0) and pace.room(0.1) == 0
    assert pace.room(1.0) == LARGEST


def test_lost_answers_are_asked_for_again() -> None:
    line = Line(960, 0.002)
    line.send(60)
    run(line, 3)
    line.answers.clear()
    sent = run(line, 6)
    assert sent > 2000


def test_changes_in_pieces_lead_to_the_same_cells() -> None:
    rng = random.Random(4)
    whole, parts = CellScreen(), CellScreen()
    for cells in (whole, parts):
        cells.resize(40, 8)
    for _ in range(60):
        texts = rng.choice(("abc def", "한국어 실험", "👍 e\u0301 x", "─────"))
        frame = f"\x1b[{rng.randrange(1, 9)};{rng.randrange(1, 30)}H\x1b[{rng.choice((0, 1, 31, 44))}m{texts}"
        for cells in (whole, parts):
            cells.apply(frame, rng.choice((0, 0, 1, 2)))
        whole.changes()
        for _ in range(rng.randrange(4)):
            parts.changes(rng.randrange(1, 30))
    for _ in range(2000):
        if not parts.pending:
            break
        parts.changes(20)
    assert not parts.pending and parts._want == whole._want
    for shown, want in zip(parts._shown, parts._want, strict=True):
        assert all(a in (b, "") for a, b in zip(shown, want, strict=True))


def test_a_keys_answer_goes_out_before_what_was_already_waiting() -> None:
    cells = CellScreen()
    cells.resize(80, 24)
    cells.apply("".join(f"\x1b[{y};1H{'x' * 80}" for y in range(1, 25)))
    cells.changes(100)
    cells.apply("\x1b[20;5Hanswer", 2)
    cells.apply("\x1b[3;5Hvalue")
    assert "answer" in cells.changes(150)


def test_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNEDECK_PLAIN", raising=False)
    assert for_terminal(LinuxDriver) is DiffDriver
    monkeypatch.setenv("TUNEDECK_PLAIN", "1")
    assert for_terminal(LinuxDriver) is LinuxDriver
    assert (
        reduced({"TUNEDECK_REDUCED_MOTION": "1"}) and not reduced({"TUNEDECK_REDUCED_MOTION": "0"}) and not reduced({})
    )


def test_plain_signs_take_one_cell() -> None:
    assert all(len(plain) == 1 and plain.isascii() for plain in PLAIN_TABLE.values())
    assert "╭──╮│ 한 ↑…".translate(PLAIN_TABLE) == "+--+| 한 ^~"
