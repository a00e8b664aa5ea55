"""Formats, glyphs, themes and keys: what all screens write with."""

from __future__ import annotations

import math
import time
from collections import Counter

import pytest
from rich.cells import cell_len

from tui import format as fmt
from tui import glyphs, keys, theme

HOSTILE = [
    "존댓말 데이터로 미세조정한 아주 긴 이름입니다",
    "👩‍👩‍👧‍👦 family ✌🏽",
    "e\u0301e\u0301e\u0301 combining",
    "a" * 300,
    "",
    "日本",
]


@pytest.mark.parametrize("cut", ["end", "start", "middle"])
@pytest.mark.parametrize("text", HOSTILE)
def test_fit_fills_its_cells_exactly(text: str, cut: str) -> None:
    for width in range(0, 40):
        assert cell_len(fmt.fit(text, width, cut=cut)) == width
        assert cell_len(fmt.fit(text, width, "right", cut)) == width


def test_what_is_cut_off_is_marked_at_its_place() -> None:
    assert fmt.shorten("abcdefghij", 5) == "abcd…"
    assert fmt.shorten("abcdefghij", 5, "start") == "…ghij"
    assert fmt.shorten("abcdefghij", 5, "middle") == "ab…ij"
    assert fmt.shorten("abcde", 5) == "abcde"
    assert fmt.shorten("한국어", 4) == "한…"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (math.nan, "–"), (0, "0s"), (59.9, "59s"), (60, "1m 00s"), (599, "9m 59s"), (600, "10m"), (3599, "59m"),
     (3600, "1h 00m"), (7620, "2h 07m"), (86_400, "1d 00h"), (86_400 * 400, "400d 00h"), (-5, "0s")],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert fmt.duration(seconds) == text


def test_durations_to_the_second() -> None:
    assert fmt.duration_exact(7629) == "2h 07m 09s"
    assert fmt.duration_exact(2832) == "47m 12s"
    assert fmt.duration_exact(12) == "12s"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (math.nan, "NaN"), (math.inf, "inf"), (-math.inf, "-inf"), (0.0, "0.0000"), (1.23456, "1.2346"),
     (9.99999, "10.000"), (12.3456, "12.346"), (999.999, "1000.0"), (123456.0, "1.2e5"), (0.0000123, "1.2e-5"), (1e300, "1.0e300")],
)  # fmt: skip
def test_losses(value: float | None, text: str) -> None:
    assert fmt.loss(value) == text
    assert len(fmt.loss(value)) <= 7


@pytest.mark.parametrize(
    ("amount", "text"),
    [(None, "–"), (0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (99.96 * 1024, "100 KiB"), (3.4 * 2**30, "3.4 GiB"), (2**50, "1024.0 TiB")],
)  # fmt: skip
def test_sizes(amount: float | None, text: str) -> None:
    assert fmt.size(amount) == text


def test_ages() -> None:
    assert [fmt.age(100 - s, 100) for s in (0, 12, 60, 3600, 86_400)] == [
        "just now",
        "12s ago",
        "1m ago",
        "1h ago",
        "1d ago",
    ]
    assert fmt.age(None) == "–"
    assert fmt.age(200, 100) == "just now"


def test_clock_is_short_and_never_wider_than_its_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    now = 1_790_000_000.0  # 2026-09-21 14:13:20
    assert fmt.clock(now - 60, now) == "14:12"
    assert fmt.clock(now - 86_400, now) == "Sep 20"
    assert fmt.clock(now - 400 * 86_400, now) == "2025-08"
    assert fmt.clock(now - 86_400, now, long=True) == "Sep 20 14:13"
    assert fmt.clock(now - 400 * 86_400, now, long=True) == "2025-08-17"
    assert fmt.clock(None) == fmt.clock(-1.0) == fmt.clock(1e300) == "–"


def test_progress_is_full_only_when_all_is_done() -> None:
    assert fmt.progress_bar(0.999, 8) == ("━" * 7 + "╸", "")
    assert fmt.progress_bar(1.0, 8) == ("━" * 8, "")
    assert fmt.progress_bar(None, 3) == ("", "───")
    assert fmt.percent(0.9999) == "99%"
    assert fmt.percent(1.0) == "100%"
    assert fmt.share(5, None) is None
    assert fmt.share(500, 400) == 1.0
    assert fmt.steps(None, None) == "–"
    assert fmt.steps(3, None) == "3/–"


def test_model_names_are_shortened_to_their_last_part() -> None:
    assert fmt.model_name("/data/models/Qwen2.5-7B/") == "Qwen2.5-7B"
    assert fmt.model_name("Qwen/Qwen2.5-7B") == "Qwen2.5-7B"
    assert fmt.model_name(None) == fmt.model_name("") == "–"


def test_every_glyph_is_one_cell_and_ascii_is_ascii() -> None:
    for glyph_set in (glyphs.UNICODE, glyphs.ASCII):
        named = {
            name: getattr(glyph_set, name)
            for name in glyph_set.__slots__
            if name not in ("states", "ascii", "enter", "spark")
        }
        singles = [*named.values(), *glyph_set.states.values(), *glyph_set.spark]
        assert all(cell_len(single) == 1 for single in singles if single), named
        assert len(set(glyph_set.states.values())) == len(glyph_set.states)  # no two states look alike
    assert all(str(getattr(glyphs.ASCII, name)).isascii() for name in glyphs.ASCII.__slots__)


@pytest.mark.parametrize(
    ("environ", "ascii_only"),
    [({}, False), ({"LANG": "C"}, False), ({"LANG": "en_US.UTF-8"}, False), ({"LANG": "en_US.utf8"}, False), ({"LANG": "ko_KR.EUC-KR"}, True),
     ({"LANG": "ko_KR.EUC-KR", "LC_ALL": "C.UTF-8"}, False), ({"LC_CTYPE": "de_DE.ISO-8859-1@euro"}, True),
     ({"TUNEDECK_ASCII": "1", "LANG": "C.UTF-8"}, True), ({"TUNEDECK_ASCII": "0"}, False)],
)  # fmt: skip
def test_ascii_is_chosen_for_terminals_that_know_no_more(environ: dict[str, str], ascii_only: bool) -> None:
    assert glyphs.wants_ascii(environ) is ascii_only


@pytest.mark.parametrize(
    ("wish", "environ", "name"),
    [(None, {"TERM": "xterm-256color"}, theme.DARK), (None, {"TERM": "xterm-256color", "COLORFGBG": "0;15"}, theme.LIGHT),
     (None, {"TERM": "xterm-256color", "COLORFGBG": "15;default;0"}, theme.DARK), (None, {"TERM": "linux"}, theme.ANSI),
     (None, {"TERM": "linux", "COLORTERM": "truecolor"}, theme.DARK), ("light", {"TERM": "linux"}, theme.LIGHT),
     (None, {"TERM": "xterm-256color", "TUNEDECK_THEME": "light"}, theme.LIGHT), ("auto", {"TERM": "xterm-256color", "TUNEDECK_THEME": "light"}, theme.DARK),
     (None, {"TERM": "xterm-256color", "TUNEDECK_THEME": "nonsense"}, theme.DARK), ("ansi", {}, theme.ANSI)],
)  # fmt: skip
def test_theme_of_a_terminal(wish: str | None, environ: dict[str, str], name: str) -> None:
    assert theme.choose(wish, environ) == name


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("own", [t for t in theme.THEMES if not t.ansi], ids=lambda own: own.name)
def test_text_can_be_read_on_every_ground(own: theme.Theme) -> None:
    grounds = [own.background, own.panel, own.variables["row-cursor"], own.variables["row-cursor-blurred"]]
    for ground in grounds:
        assert ground is not None
        for colour in (own.foreground, own.accent, own.success, own.warning, own.error, own.variables["text-muted"]):
            assert colour is not None
            assert contrast(colour, ground) >= 4.5, (colour, ground)


def test_own_variables_are_defined_by_every_own_theme() -> None:
    for own in theme.THEMES:
        assert theme.OWN_VARIABLES.keys() <= own.variables.keys() | {"muted"}


def test_keys_of_one_screen_do_not_clash() -> None:
    for name, table in keys.TABLES.items():
        everywhere = keys.APP if name in ("runs", "launch", "watch", "detail", "compare", "preview") else ()
        used = Counter(key for row in (*table, *everywhere) for key in row.key.split(","))
        if name != "launch":  # its Enter and Esc mean different things while a value is typed
            # A run trains or waits in the queue: s stops the one and cancels the other. Marked runs have their own rows.
            # On the page of curves some keys do what they do on the live screen. Tab goes to the lengths and back.
            allowed = {"runs": {"s", "X", "D"}, "watch": {"s"}, "detail": {"right", "left", "x", "enter"},
                       "preview": {"tab", "shift+tab"}}.get(name, set())  # fmt: skip
            assert {key for key, times in used.items() if times > 1} == allowed, name
        assert all(row.help and row.label for row in table)
        assert not {"ctrl+h", "ctrl+i", "ctrl+m", "ctrl+s", "ctrl+q"} & used.keys(), name
    ids = Counter(row.id for table in keys.TABLES.values() for row in table)
    assert [name for name, times in ids.items() if times > 1] == []


def test_bindings_come_from_the_table() -> None:
    made = keys.bindings("confirm")
    assert [(binding.key, binding.action) for binding in made] == [("y", "yes"), ("n", "no"), ("escape", "no")]  # type: ignore[union-attr]
