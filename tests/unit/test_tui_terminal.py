"""Only cells that differ are sent, and what then stands in a terminal is what was wanted."""

from __future__ import annotations

import random

import pyte
import pytest
from rich.cells import cell_len, get_character_cell_size

from tests.benchmarks.emulated import Emulator
from tui.terminal.cells import CellScreen
from tui.terminal.sgr import PLAIN, Look, change, is_coloured, read
from tui.terminal.widths import LONGEST

WIDTH, HEIGHT = 40, 8
LOOKS = [
    "",
    "1",
    "7",
    "2;3",
    "38;2;10;20;30",
    "1;38;2;10;20;30;48;2;1;2;3",
    "48;5;233",
    "38;5;8;48;5;9",
    "31",
    "97;40",
    "4;31;42",
    "1;4;7;9",
]
NARROW, WIDE, RISKY = "abcXYZ 019─┼●✓⣿é", "한국어日本全", ["e\u0301", "👍", "n\u0303\u0301"]
Cell = tuple[str, str]  # a character (or a cluster) and its look


def styled(parameters: str, text: str) -> str:
    return f"\x1b[{parameters}m{text}\x1b[0m" if parameters else text


def cells_of(text: str) -> int:
    return sum(get_character_cell_size(character) for character in text)


def random_row(rng: random.Random, risky: bool = False) -> list[Cell]:
    """Characters that fill a row exactly, in a few runs of one look."""
    row: list[Cell] = []
    used = 0
    while used < WIDTH:
        look, length = rng.choice(LOOKS), rng.randrange(1, 12)
        for _ in range(length):
            pool = WIDE if rng.random() < 0.2 else NARROW
            text = rng.choice(RISKY) if risky and rng.random() < 0.1 else rng.choice(pool)
            if used + cells_of(text) > WIDTH:
                text = "."
            if used < WIDTH:
                row.append((text, look))
                used += cells_of(text)
    return row


def frame(y: int, row: list[Cell], start: int = 0, end: int | None = None) -> str:
    """The frame that writes the characters ``start`` to ``end`` of a row."""
    x = sum(cells_of(text) for text, _ in row[:start])
    return f"\x1b[{y + 1};{x + 1}H" + "".join(styled(look, text) for text, look in row[start:end])


class Terminal:
    """A terminal emulator behind a CellScreen."""

    def __init__(self) -> None:
        self.cells = CellScreen()
        self.cells.resize(WIDTH, HEIGHT)
        self.screen = pyte.Screen(WIDTH, HEIGHT)
        self.screen.reset_mode(pyte.modes.DECAWM)  # Textual switches line wrap off
        self.stream = pyte.Stream(self.screen)
        self.sent = 0

    def show(self, data: str) -> str:
        self.cells.apply(data)
        out = self.cells.changes()
        self.stream.feed(out)
        self.sent += len(out)
        return out

    def row(self, y: int) -> list[tuple[object, ...]]:
        line = self.screen.buffer[y]
        return [tuple(line[x]) for x in range(WIDTH)]


def wanted_row(row: list[Cell]) -> list[tuple[object, ...]]:
    """How an emulator shows the row if it is simply written."""
    screen = pyte.Screen(WIDTH, 1)
    screen.reset_mode(pyte.modes.DECAWM)
    pyte.Stream(screen).feed(frame(0, row))
    return [tuple(screen.buffer[0][x]) for x in range(WIDTH)]


@pytest.mark.parametrize("seed", range(4))
def test_the_terminal_shows_what_was_wanted_after_every_frame(seed: int) -> None:
    rng = random.Random(seed)
    terminal = Terminal()
    canvas = [random_row(rng) for _ in range(HEIGHT)]
    terminal.show("\n".join(frame(y, row) for y, row in enumerate(canvas)))
    for _ in range(60):
        y = rng.randrange(HEIGHT)
        match rng.randrange(3):
            case 0:  # a new row
                canvas[y] = random_row(rng)
                terminal.show(frame(y, canvas[y]))
            case 1:  # some narrow characters become others, and only a part of the row is written
                row = canvas[y]
                start = rng.randrange(len(row))
                end = min(len(row), start + rng.randrange(1, 9))
                for place in range(start, end):
                    if cells_of(row[place][0]) == 1 and rng.random() < 0.5:
                        row[place] = (rng.choice(NARROW), rng.choice(LOOKS))
                terminal.show(frame(y, row, start, end))
            case _:  # the same again, as after a refresh
                before = terminal.sent
                cursor = terminal.show(frame(y, canvas[y]))
                assert terminal.sent - before <= 8, cursor
        for place, row in enumerate(canvas):
            assert terminal.row(place) == wanted_row(row)


@pytest.mark.parametrize("seed", range(3))
def test_rows_with_characters_of_doubtful_width_are_written_whole(seed: int) -> None:
    rng = random.Random(seed)
    terminal = Terminal()
    for _ in range(40):
        row = random_row(rng, risky=True)
        terminal.show(frame(0, row))
        assert [cell[0] for cell in terminal.row(0)] == [cell[0] for cell in wanted_row(row)]
    row = [("👍", ""), *[("a", "")] * (WIDTH - 2)]
    terminal.show(frame(1, row))
    again = terminal.show(frame(1, row))
    assert again.count("a") == WIDTH - 2  # nothing right of it is taken for known


def test_what_stands_already_is_not_sent_again() -> None:
    terminal = Terminal()
    terminal.show("\x1b[1;1H" + styled("31", "loss 1.2345") + "\x1b[1;1H")
    assert terminal.show("\x1b[1;1H" + styled("31", "loss 1.2345") + "\x1b[1;1H") == ""
    out = terminal.show("\x1b[1;1H" + styled("31", "loss 1.2346") + "\x1b[1;1H")
    assert out == "\x1b[10C6\r"  # to the digit, the digit, back to where the cursor was


def test_far_changes_are_jumped_to_and_near_ones_written_through() -> None:
    terminal = Terminal()
    terminal.show("\x1b[3;1H" + "a" * WIDTH)
    out = terminal.show("\x1b[3;1H" + "baab" + "a" * 20 + "b" + "a" * 15)
    assert out.count("a") == 2 and out.count("b") == 3 and "\x1b[20C" in out


def test_half_of_a_wide_character_becomes_a_blank() -> None:
    terminal = Terminal()
    terminal.show("\x1b[1;1H한국어")
    terminal.show("\x1b[1;4Hx")
    assert "".join(str(cell[0]) for cell in terminal.row(0)).startswith("한 x어")
    terminal.show("\x1b[1;1Hy")
    assert "".join(str(cell[0]) for cell in terminal.row(0)).startswith("y  x어")


@pytest.mark.parametrize("seed", range(3))
def test_long_blanks_are_erased_where_the_terminal_does_that_in_colour(seed: int) -> None:
    rng = random.Random(seed)
    cells, screen = CellScreen(erases=True), Emulator(WIDTH, HEIGHT)
    screen.reset_mode(pyte.modes.DECAWM)
    whole = Emulator(WIDTH, HEIGHT)
    whole.reset_mode(pyte.modes.DECAWM)
    cells.resize(WIDTH, HEIGHT)
    erased = 0
    for number in range(100):
        row, used = [], 0
        while used < WIDTH - 1:
            text = rng.choice((" " * rng.randrange(1, 40), "한", "x", "─", "word"))
            text = text if used + cell_len(text) <= WIDTH else "."
            row.append((text, rng.choice(LOOKS)))
            used += cell_len(text)
        written = frame(rng.randrange(HEIGHT), row)
        pyte.Stream(whole).feed(written)
        cells.apply(written, number % 3)
        for limit in (rng.choice((10, 40, 500)), None):
            out = cells.changes(limit)
            erased += out.count("X") + out.count("K")
            pyte.Stream(screen).feed(out)
        for y in range(HEIGHT):
            assert [screen.buffer[y][x] for x in range(WIDTH)] == [whole.buffer[y][x] for x in range(WIDTH)]
    assert erased > 15


@pytest.mark.parametrize("cluster", ["👩\u200d💻", "❤\ufe0f", "e\u0301", "🇰🇷", "👍"])
def test_behind_characters_of_doubtful_width_the_cursor_is_placed(cluster: str) -> None:
    column = cell_len(cluster) + 1
    out = shown_of(f"\x1b[1;1H{cluster}after")
    assert f"\x1b[{column}Gafter" in out, out
    assert shown_of(f"\x1b[1;1H{cluster}|\x1b[1;{column + 9}Hx").count("x") == 1


def test_from_an_ambiguous_character_the_cursor_is_not_moved_by_steps() -> None:
    terminal = Terminal()
    terminal.show("\x1b[1;1H" + "●" + "." * 30)
    out = terminal.show("\x1b[1;1H○\x1b[1;20Hx\x1b[1;25Hy")
    assert "○\x1b[20Gx" in out


def test_accents_do_not_pile_up() -> None:
    cells = CellScreen()
    cells.resize(WIDTH, HEIGHT)
    for _ in range(100):
        cells.apply("\x1b[1;1He\x1b[1m\u0301\x1b[1;2H\u0301\x1b[1;3Hx" + "\u0301" * 50)
    assert cells._want[0][0] == "e\u0301" and len(cells._want[0][2]) == LONGEST
    assert len(cells.changes()) < 100


def test_the_heading_that_answers_a_key_goes_out_first() -> None:
    cells = CellScreen()
    cells.resize(80, 24)
    cells.apply("".join(f"\x1b[{y};1H\x1b[38;2;90;90;90m{'x' * 80}" for y in range(1, 25)))
    cells.changes()
    cells.apply("\x1b[1;1H\x1b[38;2;80;80;80mvalues 1234" + "\x1b[3;1H\x1b[1;38;2;200;200;200mname"
                + "\x1b[9;5H\x1b[1;38;2;95;208;197m2 learning rate\x1b[0m and so on" + "\x1b[20;1Hmore" * 9, 2)  # fmt: skip
    first = cells.changes(40)
    assert "2 learning rate" in first and "values" not in first and "name" not in first
    assert "name" in cells.changes(40)


def test_typed_letters_go_out_before_the_blanks_before_them() -> None:
    cells = CellScreen()
    cells.resize(80, 24)
    cells.apply("".join(f"\x1b[{y};1H{'.' * 80}" for y in range(1, 25)))
    cells.changes()
    cells.apply("\x1b[3;1H" + " " * 80 + "\x1b[4;1H" + " " * 60 + "typed", 2)
    assert "\x1b[4;61Htyped" in cells.changes(24)


def test_what_answered_an_earlier_key_waits() -> None:
    cells = CellScreen()
    cells.resize(80, 24)
    cells.apply("".join(f"\x1b[{y};1H{'x' * 80}" for y in range(1, 25)), 2)
    cells.changes(30)
    cells.demote()
    assert cells.changes(30, answers=True) == "" and cells.pending
    cells.apply("\x1b[2;1Hvalue", 2)
    cells.apply("\x1b[20;1Hanswer", 1)
    out = cells.changes(100, answers=True) + cells.changes(100, answers=True)
    assert "value" in out and "answer" in out and cells.pending


def test_marks_are_places_of_their_own() -> None:
    cells = CellScreen()
    cells.resize(80, 24)
    marks = [cells.mark() for _ in range(8)]
    assert len({place for _, place in marks}) == 8 and all(0 < y < 24 and x < 80 for _, (x, y) in marks)
    assert cells.at == marks[-1][1] and cells.pending


def test_nothing_but_text_and_looks_gets_through() -> None:
    cells = CellScreen()
    cells.resize(WIDTH, HEIGHT)
    cells.apply(
        "\x1b[1;1Ha\x1b]52;c;aGk=\x07b\x1b[2Jc\x1b]0;title\x1b\\d\x07\x08e\x9b31mf\x1b[6ng\x7f\x1bPq\x1b\\h\x1b(0i\x00"
    )
    out = cells.changes()
    assert all(
        word not in out for word in ("52;c", "2J", "title", "\x07", "\x08", "\x9b", "6n", "\x7f", "\x1bP", "\x00")
    )
    assert out.startswith("\x1b[m\x1b[Habcde")


def shown_of(data: str) -> str:
    cells = CellScreen()
    cells.resize(WIDTH, HEIGHT)
    cells.apply(data)
    return cells.changes()


def test_writing_beyond_the_edges_is_cut() -> None:
    terminal = Terminal()
    out = terminal.show(f"\x1b[1;{WIDTH - 1}Habcdef\x1b[{HEIGHT + 3};1Hnowhere\x1b[2;{WIDTH}H한\x1b[2;{WIDTH + 5}Hz")
    assert "nowhere" not in out and "c" not in out and "한" not in out and "z" not in out
    assert terminal.screen.display[0].endswith("ab")


def test_after_forgetting_everything_that_is_written_is_sent() -> None:
    terminal = Terminal()
    terminal.show("\x1b[1;1Habc")
    terminal.stream.feed("\x1b[H\x1b[31mfrom elsewhere")
    terminal.cells.forget()
    out = terminal.show("\x1b[1;1Habc")
    assert "abc" in out and terminal.screen.display[0].startswith("abcm elsewhere")


@pytest.mark.parametrize("before", LOOKS)
@pytest.mark.parametrize("after", LOOKS)
def test_every_look_is_reached_from_every_other(before: str, after: str) -> None:
    screen, wanted = pyte.Screen(4, 1), pyte.Screen(4, 1)
    pyte.Stream(wanted).feed(styled(after, "x"))
    first = read(before) if before else PLAIN
    second = read(after) if after else PLAIN
    pyte.Stream(screen).feed(change(PLAIN, first) + change(first, second) + "x")
    assert screen.buffer[0][0] == wanted.buffer[0][0]
    assert read("0", second) == PLAIN and read("", second) == PLAIN


def test_looks_add_up_as_in_a_terminal() -> None:
    assert "9" * 90 not in shown_of("\x1b[1;1H" + "\x1b[" + "9" * 90 + "mx")
    assert read("1", read("31")) == Look("31", "", ("1",))
    assert read("39;49", read("31;42;1")) == Look("", "", ("1",))
    assert read("38;2;1;2;3;1;48;5;7") == Look("38;2;1;2;3", "48;5;7", ("1",))


def test_grey_is_no_colour() -> None:
    coloured = ("38;2;95;208;197", "38;5;33", "31", "94")
    assert all(is_coloured(Look(fore)) for fore in coloured)
    assert not any(is_coloured(Look(fore)) for fore in ("", "38;2;217;220;227", "38;5;8", "38;5;240", "37", "90"))


def test_the_bell_needs_no_repaint() -> None:
    from tui.terminal.driver import _HARMLESS

    assert _HARMLESS.fullmatch("\x07") and not _HARMLESS.fullmatch("\x07\x1b[2J")


def test_a_few_changes_of_two_colours_need_each_colour_once() -> None:
    terminal = Terminal()
    terminal.show("\n".join(f"\x1b[{y};1H{' ' * WIDTH}" for y in range(1, HEIGHT + 1)))
    red, grey = "\x1b[38;2;200;10;20m", "\x1b[38;2;90;90;90m"
    out = terminal.show("".join(f"\x1b[{y};5H{red}a\x1b[{y};20H{grey}b" for y in range(1, 7)))
    assert out.count("38;2;200") == 1 and out.count("38;2;90") == 1
    assert [terminal.screen.display[y][4] + terminal.screen.display[y][19] for y in range(6)] == ["ab"] * 6
    assert terminal.sent < 300 + WIDTH * HEIGHT + 10 * HEIGHT
