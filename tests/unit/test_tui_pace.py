"""How much may be on its way to the terminal follows the line's speed and delay."""

from __future__ import annotations

import random

import pytest
from textual.drivers.headless_driver import HeadlessDriver
from textual.drivers.linux_driver import LinuxDriver

from tui.glyphs import PLAIN_TABLE
from tui.terminal.cells import CellScreen
from tui.terminal.driver import DiffDriver, for_terminal
from tui.terminal.keyboard import Keyboard
from tui.terminal.motion import reduced
from tui.terminal.pace import ASK, LARGEST, Pace


class Line:
    """A simulated line: bytes leave it at ``speed``, answers come after ``delay`` both ways."""

    def __init__(self, speed: float, delay: float) -> None:
        self.pace, self.speed, self.delay = Pace(), speed, delay
        self.now = self.free = 0.0
        self.answers: list[tuple[float, tuple[int, int]]] = []
        self.marks = 0
        self.worst = 0.0

    def send(self, wanted: int) -> int:
        count = min(wanted, self.pace.room(self.now))
        if not count and not self.pace.overdue(self.now):
            self.pace.cut()
            return 0
        self.pace.sent(count)
        if count < wanted:
            self.pace.cut()
        asked = self.pace.due(self.now) if count else self.pace.overdue(self.now)
        self.free = max(self.free, self.now) + (count + len(ASK) * asked) / self.speed
        if asked:
            marked = self.pace.marks
            self.marks += marked
            place = (self.marks, 3) if marked else (60, 20)
            self.pace.asked(self.now, len(ASK), place, marked=marked)
            self.answers.append((self.free + 2 * self.delay, place))
        return count

    def tick(self, seconds: float = 0.005) -> None:
        self.now += seconds
        while self.answers and self.answers[0][0] <= self.now:
            self.pace.answered(self.now, self.answers.pop(0)[1])


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
    assert pace.due(0.0) and pace.marks
    pace.asked(0.0, place=(1, 1), marked=True)
    assert pace.room(0.1) == 0
    assert pace.room(1.0) == LARGEST


def test_lost_answers_are_asked_for_again() -> None:
    line = Line(960, 0.002)
    line.send(60)
    run(line, 3)
    line.answers.clear()
    sent = run(line, 6)
    assert sent > 2000


def heard() -> Pace:
    """A terminal that answered once; 100 bytes are on their way, with an open question behind them."""
    pace = Pace()
    pace.asked(0.0, place=(1, 1), marked=True)
    pace.answered(0.01, (1, 1))
    pace.sent(96)
    pace.asked(1.0, place=(60, 20))
    return pace


def test_after_a_stall_each_answer_is_credited_to_its_own_question() -> None:
    pace = heard()
    pace.sent(50)
    assert pace.overdue(3.0) and pace.marks
    pace.asked(3.0, place=(7, 3), marked=True)
    pace.sent(60)
    pace.answered(3.5, (60, 20))  # the first one, late
    assert pace.waiting and pace.room(3.5) == pace.window - 54 - 60
    pace.answered(3.6, (7, 3))
    assert not pace.waiting and pace.room(3.6) == pace.window - 60
    assert pace.delay < 0.1, "a stall says nothing of the line"


def test_a_stall_is_not_taken_for_a_slow_line() -> None:
    pace = heard()
    pace.stalled()
    window = pace.window
    pace.answered(9.0, (60, 20))
    assert not pace.slow and pace.window == window
    pace.sent(96)
    pace.asked(9.0, place=(60, 20))
    pace.answered(9.2, (60, 20))
    assert pace.slow, "the next one counts again"


def test_a_lost_answer_is_nobody_elses() -> None:
    pace = heard()
    pace.asked(3.0, place=(7, 3), marked=True)
    pace.answered(3.1, (7, 3))  # the first one's is lost
    assert not pace.waiting and pace.room(3.1) == pace.window
    pace.sent(200)
    pace.asked(4.0, place=(60, 20))
    pace.answered(4.0, (1, 0))  # Shift and F3
    assert pace.waiting and pace.room(4.0) == pace.window - 204


def test_an_answer_that_nobody_asked_for_opens_nothing() -> None:
    pace = heard()
    pace.answered(1.1, (60, 20))
    pace.sent(30)
    pace.answered(1.2, (60, 20))
    assert pace.room(1.2) == pace.window - 30


@pytest.mark.parametrize("speed", [960.0, 50_000.0])
def test_a_terminal_that_goes_deaf_is_fed_carefully_and_may_come_back(speed: float) -> None:
    line = Line(speed, 0.002)
    line.send(60)
    run(line, 3)
    answers: list[tuple[float, tuple[int, int]]] = []
    line.answers = Forgetful()
    run(line, 60)
    assert line.pace.deaf
    rate = run(line, 10) / 10
    assert 300 < rate < min(0.75 * speed, 5000), "neither everything nor nothing"
    line.answers = answers
    run(line, 40)
    assert not line.pace.deaf and run(line, 10) > 0.6 * 10 * min(speed, 20_000)


class Forgetful(list[tuple[float, tuple[int, int]]]):
    """Answers that never come."""

    def append(self, answer: tuple[float, tuple[int, int]]) -> None:
        pass


def test_a_slow_line_is_known_before_much_was_sent() -> None:
    line = Line(960, 0.002)
    line.send(10)
    run(line, 1.0)
    line.worst = 0.0
    run(line, 1.0)
    assert line.pace.slow and line.worst < 0.1


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
    assert for_terminal(LinuxDriver) is Keyboard and for_terminal(HeadlessDriver) is HeadlessDriver
    assert (
        reduced({"TUNEDECK_REDUCED_MOTION": "1"}) and not reduced({"TUNEDECK_REDUCED_MOTION": "0"}) and not reduced({})
    )


def test_plain_signs_take_one_cell() -> None:
    assert all(len(plain) == 1 and plain.isascii() for plain in PLAIN_TABLE.values())
    assert "╭──╮│ 한 ↑…".translate(PLAIN_TABLE) == "+--+| 한 ^~"
