"""The preview without a screen: sums of lengths, tokens as text, which row comes next, what is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from engine.config import RunConfig
from engine.data import Cancelled
from engine.preflight.counting import Count, Part
from engine.preflight.lengths import summarise
from tests import datafiles
from tests.inspected import FACTS
from tests.support import write_rows
from tui.glyphs import ASCII
from tui.launch.model import FormModel
from tui.preview import about, lengthtext, rowtext, searching
from tui.preview.asked import NotYet, of_config, of_form
from tui.preview.measuring import Measuring
from tui.preview.tokens import Tokens, visible
from tui.preview.walk import Walk, place_of


def measured(
    lengths: list[int],
    limit: int,
    learned: list[int] | None = None,
    refused: tuple[int, ...] = (),
    *,
    whole: bool = True,
) -> Measuring:
    """All rows of one file; ``learned`` are the first tokens of each that are."""
    counts = [Count(Path("rows.jsonl"), {})]
    for first in range(0, len(lengths), 7):
        part = lengths[first : first + 7]
        bits = (learned or [1] * len(lengths))[first : first + 7]
        marks = [{"row": r, "line": r + 1, "message": "no"} for r in refused if first <= r < first + 7]
        counts[0].rows.add({"lengths": part, "spans": [[0, bit] if bit else [] for bit in bits], "refused": marks,
                            "answered": [1] * len(part)})  # fmt: skip
    config = RunConfig(train_path="rows.jsonl", output_dir="o", base_model="m", max_seq_length=limit)
    if whole:
        counts[0].complete, counts[0].total = True, len(lengths)
    else:
        counts[0].sample = counts[0].rows
    part = Part(Path("rows.jsonl"), rows=len(lengths) if whole else 100 * len(lengths))
    return Measuring(limit, summarise(config, [part], counts), counts, whole)


def row(
    texts: list[str], trained: list[int], kept: int | None = None, special: tuple[int, ...] = (), **more: Any
) -> Tokens:
    kept = len(texts) if kept is None else kept
    return Tokens(line=1, count=len(texts), kept=kept, learned=sum(trained[:kept]), way="trl", words="", texts=texts,
                  ids=more.pop("ids", list(range(len(texts)))), trained=trained,
                  special=[int(at in special) for at in range(len(texts))], **more)  # fmt: skip


def test_the_next_row_of_a_kind() -> None:
    stats = measured([15, 50, 0, 15, 60], 20, [1, 1, 0, 0, 1], refused=(2,))
    assert stats.next_row("cut", (0, -1)) == (0, 1) and stats.next_row("cut", (0, 1)) == (0, 4)
    assert stats.next_row("cut", (0, 4)) is None
    assert stats.next_row("nothing", (0, 0)) == (0, 2) and stats.next_row("nothing", (0, 2)) == (0, 3)
    other = measured([99], 20).counts[0]
    stats.counts = [*stats.counts, other]
    assert stats.next_row("cut", (0, 4)) == (1, 0) and stats.total(0) == 5 and stats.total(2) is None
    stats.counts[0].complete = False
    assert stats.next_row("cut", (0, 4)) is None, "rows between are not counted yet"


def test_figures_are_called_estimates_until_all_are_measured() -> None:
    stats = measured([20, 50, 20], 32, whole=False)
    said = "\n".join("".join(t for t, _ in line) for line in lengthtext.page(stats, 100, 20, 300))
    assert "Estimated from a sample of 3 of 300 rows" in said and "by the sample; s takes it over" in said
    assert "counting all: 3 (1%)" in said and "about 9,000" in said and "about 100 rows" in said
    assert "33% of the rows, 20% of the tokens" in said
    stats = measured([20, 50, 20], 32, [1, 1, 0])
    said = "\n".join("".join(t for t, _ in line) for line in lengthtext.page(stats, 100, 20, 300))
    assert "All 3 rows measured" in said and "stimate" not in said and "about" not in said and "sample" not in said
    assert "Nothing to train      1 row" in said


def test_tokens_are_safe_and_nothing_is_hidden() -> None:
    hostile = "\x1b[31mred\x1b]52;c;aGk=\x07 \x00\x9b2J \u202eabc\u2066 \ufeff zero\u200bwidth \t \r \ud800"
    shown = visible(hostile)
    assert "\\x1b[31mred" in shown and "\\u202e" in shown and "\\x9b2J" in shown and "\\t" in shown and "\\r" in shown
    assert "zero\\u200bwidth" in shown and "\\ud800" in shown and "\\x00" in shown
    assert all(character.isprintable() for character in shown)
    pieces = ["\x1b", "[31m", "\u202e", "", "한", "\x9b"]
    for view in rowtext.VIEWS:
        laid = rowtext.lay_out(row(pieces, [1] * 6), view, 40, 99)
        lines = [laid.page.row(at, 40) for at in range(laid.page.count)]
        assert all(character.isprintable() for line in lines for text, _ in line for character in text), view


def test_wide_text_wraps_within_the_width_and_loses_nothing() -> None:
    texts = ["안녕하세요", " 반가워요", "!", " plain words", " 한글과", " English", "\n\n", "x" * 50, "끝"] * 9
    for width in (20, 33, 78):
        for view in (rowtext.TEXT, rowtext.BORDERS):
            laid = rowtext.lay_out(row(texts, [1, 0, 1] * 27), view, width, 99)
            lines = [laid.page.row(at, width) for at in range(laid.page.count)]
            assert all(sum(cell_len(text) for text, _ in line) <= width for line in lines)
            if view == rowtext.TEXT:
                joined = "".join(text for line in lines for text, _ in line[1:])
                assert joined == "".join(texts).replace("\n", "↵")
                learned = "".join(t for line in lines for t, colour in line[1:] if colour.startswith("learned"))
                bits = [1, 0, 1] * 27
                assert learned == "".join(t for t, bit in zip(texts, bits, strict=True) if bit).replace("\n", "↵")


def test_plain_ascii_is_enough_for_all_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (rowtext, about, lengthtext):
        monkeypatch.setattr(module, "glyphs", lambda: ASCII)
    tokens = row(["<s>", "a\n", " b", "\u202e", " d"], [0, 0, 1, 1, 1], kept=4, special=(0,))
    for view in rowtext.VIEWS:
        laid = rowtext.lay_out(tokens, view, 78, 4)
        lines = ["".join(text for text, _ in laid.page.row(at, 78)) for at in range(laid.page.count)]
        assert all(line.isascii() for line in lines) and any("|" in line and " b" in line for line in lines), view
    said = [*about.brief([("Row 1", "title")], tokens, FACTS, 78), *about.full([], tokens, FACTS, 40), about.legend(),
            *lengthtext.page(measured([5, 50], 10), 78, 20, None)]  # fmt: skip
    assert all(text.isascii() for line in said for text, _ in line)


def test_the_cut_is_a_line_with_words_and_nothing_behind_it_is_trained() -> None:
    cut = row(["a", " b", " c", " d"], [0, 1, 1, 1], kept=2)
    laid = rowtext.lay_out(cut, rowtext.TEXT, 78, 2)
    lines = [laid.page.row(at, 78) for at in range(laid.page.count)]
    assert laid.cut_at == 1 and "max_seq_length 2 cuts here: 2 tokens left out" in "".join(t for t, _ in lines[1])
    assert [c.removesuffix("-odd") for _, c in lines[2][1:]] == ["gone", "gone"] and cut.lost == 2
    assert (
        lines[0][0][0].strip() and not lines[2][0][0].strip()
    )  # the sign beside a line with something that is trained
    ids = rowtext.lay_out(cut, rowtext.IDS, 78, 2)
    shown = ["".join(t for t, _ in ids.page.row(at, 78)) for at in range(ids.page.count)]
    assert len(shown) == 5 and "cuts here" in shown[2] and "trained" in shown[1] and "cut off" in shown[3]


def test_whether_the_end_of_a_turn_is_trained_is_said() -> None:
    ends = frozenset({2})

    def said(trained: list[int], kept: int, has: frozenset[int] = ends) -> tuple[str, str]:
        return about.end_of_turn(row(["hi", "<|im_end|>"], trained, kept, (1,), ids=[7, 2], ends=has), FACTS)

    assert said([1, 1], 2) == ("end of turn <|im_end|> is trained", "success")
    assert said([1, 0], 2) == ("end of turn <|im_end|> is not trained", "warning")
    assert said([1, 1], 1) == ("end of turn <|im_end|> is cut off, not trained", "warning")
    assert said([1, 1], 2, frozenset())[1] == "warning"
    nothing = about.warnings(row(["a", "b"], [0, 1], kept=1))
    assert "Raise max_seq_length" in nothing[0] and "leaves it out" in about.warnings(row(["a"], [0]))[0]


def test_places_are_read_and_walked() -> None:
    assert (
        place_of("17", 1, 2) == (1, 16) and place_of("2:17", 0, 2) == (1, 16) and place_of("1,200", 0, 1) == (0, 1199)
    )
    assert [place_of(text, 0, 2) for text in ("0", "x", "3:1", "-4", "2:", "")] == [None] * 6
    walk = Walk(2)
    assert walk.step(-1) is None
    walk.want((0, 1))
    walk.arrived()
    walk.want((0, 2))
    assert walk.missed() == (1, 0)  # the first file has two rows
    walk.want((1, 0))
    walk.arrived()
    assert walk.step(-1) == (0, 1)
    walk.want((1, 1))
    assert walk.missed() is None and walk.wanted == (1, 0) and walk.missed_words() == "This is the last row"
    walk.want((1, 900))
    assert walk.missed() is None and walk.missed_words() == "There is no row 901 in this file: it has 1"


def test_rows_are_found_by_their_text_round_and_round(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "one.jsonl", 5)
    two = datafiles.jsonl(tmp_path / "two.jsonl", [{"instruction": "Say Needle", "output": f"o{n}"} for n in range(2)])
    config = RunConfig(train_path=f"{one},{two}", output_dir=str(tmp_path / "o"), base_model="m")
    asked = of_config(config)

    def find(needle: str, place: tuple[int, int], back: bool = False) -> tuple[int, int] | None:
        return searching.find(asked, needle, place, back=back, looked=lambda count: None)

    assert find("needle", (0, 0)) == (1, 0) and find("needle", (1, 0)) == (1, 1) and find("needle", (1, 1)) == (1, 0)
    assert find("needle", (0, 0), True) == (1, 1) and find("needle", (1, 1), True) == (1, 0)
    assert find("Needle", (0, 0)) == (1, 0) and find("NEEDLE", (0, 0)) is None

    def stop(count: int) -> None:
        raise Cancelled

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Cancelled):
        patch.setattr(searching, "TELL_SECONDS", -1.0)
        searching.find(asked, "needle", (0, 0), looked=stop)


def test_the_preview_needs_no_more_of_the_form_than_it_uses(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", 2)
    with pytest.raises(NotYet, match="train_path is not filled in yet") as caught:
        of_form(FormModel({"base_model": "m"}))
    assert caught.value.setting == "train_path"
    asked = of_form(FormModel({"base_model": "m", "train_path": f"{data}:x2", "lora_r": "many", "max_seq_length": "64",
                               "data_fields": "query=frage", "assistant_only_loss": "false"}))  # fmt: skip
    assert (
        asked.limit == 64
        and asked.assistant_only is False
        and asked.draws
        and asked.reading.fields == {"query": "frage"}
    )
    assert json.dumps(asked.of_file(0))  # it goes over a pipe
    with pytest.raises(NotYet, match="max_seq_length"):
        of_form(FormModel({"base_model": "m", "train_path": str(data), "max_seq_length": "no"}))
