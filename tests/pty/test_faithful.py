"""A short version of ``python -m tests.benchmarks.faithful``."""

from __future__ import annotations

from pathlib import Path

import pyte
import pytest

from tests.benchmarks.emulated import Emulator
from tests.benchmarks.faithful import run


@pytest.mark.parametrize(
    ("second", "shown"),
    [
        ("\x1b[1;2Hx", " x국어ab"),  # the right half of the first: its left half is blank
        ("\x1b[1;3Hx", "한x 어ab"),  # the left half of the second
        ("\x1b[1;2H글", " 글 어ab"),  # one half each of two
        ("\x1b[1;3H글", "한글어ab"),
        ("\x1b[1;6Hxy", "한국 xyb"),
    ],
)
def test_half_of_a_wide_character_goes_with_the_other(second: str, shown: str) -> None:
    screen = Emulator(8, 2)
    pyte.Stream(screen).feed("\x1b[1;1H\x1b[44m한국어ab\x1b[m" + second)
    assert screen.display[0] == shown
    assert sum(len(screen.buffer[0][x].data) + (screen.buffer[0][x].data == "") for x in range(8)) == 8
    plain = pyte.Screen(8, 2)
    pyte.Stream(plain).feed("\x1b[1;1H한국어ab\x1b[1;2Hx")
    assert plain.buffer[0][0].data == "한", "pyte has learnt it: its own screen will do"


def test_clusters_take_the_cells_that_the_app_counts() -> None:
    screen = Emulator(12, 1)
    pyte.Stream(screen).feed("👩\u200d💻e\u0301❤\ufe0f|")
    assert screen.cursor.x == 6 and screen.buffer[0][2].data == "e\u0301"
    pyte.Stream(screen).feed("\x1b[1;7H" + "\u0301" * 3)
    assert screen.buffer[0][5].data == "|"
    pyte.Stream(screen).feed("o" + "\u0301" * 99)
    assert len(screen.buffer[0][6].data) == 10


def test_random_interactions_leave_the_screen_as_painted_whole(tmp_path: Path) -> None:
    result = run(tmp_path, 90, 11, every=6)
    assert not result.wrong, result.wrong
    assert result.checks == 15 and len(result.screens) >= 2
