"""Nothing that a terminal would obey comes through the door."""

from __future__ import annotations

import random

import pytest

from engine.text import clean, shorten_path


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]52;c;aGk=\x1b\\after", "after"),
        ("\x9b31mred", "red"),
        ("\x1bPq#0;2;0;0;0\x1b\\x", "x"),
        ("10%\r50%\r100%", "100%"),
        ("10%\r", "10%"),
        ("a\tb", "a    b"),
        ("a\x07b\x7fc", "a\ufffdb\ufffdc"),
        ("abc\u202edef", "abc\ufffddef"),
        ("zero\u200bwidth", "zero\ufffdwidth"),
        ("한국어 그대로", "한국어 그대로"),
        ("two\nlines", "two lines"),
        ("[/foo] [@click=app.quit]x", "[/foo] [@click=app.quit]x"),
        ("\udcff", "\ufffd"),
        (3.5, "3.5"),
        (None, "None"),
    ],
)
def test_clean(raw: object, shown: str) -> None:
    assert clean(raw) == shown


def test_newlines_can_be_kept_and_each_line_keeps_its_last_version() -> None:
    assert clean("1%\r2%\nb\r\nc", keep_newlines=True) == "2%\nb\nc"


def test_long_text_is_cut_visibly() -> None:
    assert clean("x" * 50, 10) == "x" * 9 + "…"
    assert len(clean("\x1b[31m" * 100_000 + "y", 100)) <= 100


def test_no_random_bytes_leave_a_control_character() -> None:
    rng = random.Random(0)
    pool = [*map(chr, range(0xA0)), "\u202e", "\u2066", "가", "[", "]", ";", "m"]
    for _ in range(3000):
        text = clean("".join(rng.choices(pool, k=40)))
        assert text.replace("\ufffd", "").isprintable(), repr(text)


def test_paths_are_cut_where_they_differ_least() -> None:
    assert shorten_path("/a/very/long/path/run-7", 8) == "…h/run-7"
    assert shorten_path("/short", 20) == "/short"
