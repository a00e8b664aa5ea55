"""The picker without a screen: what is shown in which order, what a text means, and words for what is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from engine.hardware import Gpu
from engine.models.catalogue import Model
from engine.models.hub import HubAnswer
from tui.models import columns, facts, offering, values
from tui.models.facts import Seen
from tui.models.ledger import Ledger, Offer, hub_id, is_path
from tui.widgets.lines import length


def model(name: str, **more: Any) -> Model:
    given: dict[str, Any] = {"path": Path("/c") / name, "source": "hub cache", "revision": None, **more}
    return Model(name, **given)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("org/name", ("org/name", None)),
        ("org/name@v1.0", ("org/name", "v1.0")),
        ("https://huggingface.co/org/name", ("org/name", None)),
        ("huggingface.co/org/name/tree/refs/pr/3", ("org/name", "refs/pr/3")),
        ("https://huggingface.co/org/name?library=transformers", ("org/name", None)),
        ("hf.co/org/name/", ("org/name", None)),
        ("https://huggingface.co/datasets/name", None),
        ("name", None),
        ("org/name/more", None),
        ("org/", None),
        ("/org/name", None),
        ("org/na me", None),
        ("org/\x1b[2J", None),
        ("오르그/이름", None),
    ],
)
def test_what_is_a_hub_id(text: str, meant: tuple[str, str | None] | None) -> None:
    assert hub_id(text) == meant


def test_what_is_a_path() -> None:
    assert [text for text in ("/m", "~", "~/m", "./m", "../m", ".", "m/n", "m", "") if is_path(text)] == \
        ["/m", "~", "~/m", "./m", "../m", "."]  # fmt: skip


def test_rows_and_their_order() -> None:
    ledger = Ledger()
    ledger.add([model("b/two", used=2.0, parameters=7), model("a/three", used=3.0), model("c/one", used=None, parameters=9),
                model("z/bad", used=9.0, trouble="an adapter")])  # fmt: skip
    ledger.add([model("b/two", used=2.0)])
    shown = lambda text="": [row.name for row in ledger.rows(text)]  # noqa: E731
    assert shown() == ["a/three", "b/two", "c/one", "z/bad"]
    ledger.turned = True
    assert shown() == ["b/two", "a/three", "c/one", "z/bad"], "what is not known stays behind"
    ledger.next_order()
    assert (ledger.order, ledger.turned) == ("name", False) and shown() == ["c/one", "a/three", "b/two", "z/bad"]
    ledger.next_order()
    assert shown() == ["c/one", "b/two", "a/three", "z/bad"]
    assert shown("adapter") == ["z/bad"] and shown("B TWO") == ["b/two"]
    assert shown("a nothing") == []


def test_what_is_typed_is_offered() -> None:
    ledger = Ledger()
    ledger.add([model("org/name"), model("org/name-2"), Model("/m/x", None, Path("/m/x"), "directory")])
    assert [row.name for row in ledger.rows("org/name")] == ["org/name", "org/name", "org/name-2"]
    assert isinstance(ledger.rows("org/name")[1], Offer), "what is here whole stands first"
    assert ledger.rows("org/nam")[0] == Offer("hub", "org/nam")
    assert ledger.rows("org/name@v2")[0] == Offer("hub", "org/name", "v2")
    assert ledger.rows("gpt2") == [Offer("hub", "gpt2")] and not any(
        isinstance(row, Offer) for row in ledger.rows("name")
    )
    assert [row.name for row in ledger.rows("/m")] == ["/m", "/m/x"] and len(ledger.rows("/n")) == 1


def test_numbers_of_parameters() -> None:
    counts = (None, 0, 999, 134_515_008, 999_999_999, 1_543_714_304, 70_553_706_496, 671_026_419_200, 1.1e12)
    assert [values.parameters(count) for count in counts] == \
        ["–", "0", "999", "135 M", "1.00 B", "1.54 B", "70.6 B", "671 B", "1.10 T"]  # fmt: skip


@pytest.mark.parametrize("width", [20, 40, 58, 70, 72, 78, 98, 150])
def test_a_row_is_as_wide_as_its_columns(width: int) -> None:
    placed = columns.layout(width)
    wide = max(width, sum(column[2] + columns.GAP for column in placed) - columns.GAP)
    names = ("org/name", "모델" * 60, "x" * 300, "a\u200db\x1b[2J\u202e", "")
    for name in names:
        for trouble in ("", "weights are incomplete: 2 of 4 files"):
            line = columns.row(model(name, trouble=trouble, licence="가" * 50, dtype="\x1b[31m"), placed, 0.0)
            assert length(line) == wide
            assert "\x1b" not in "".join(text for text, _ in line)
    assert length(columns.header(placed, "used", True)) == wide


def test_words_of_memory_are_careful() -> None:
    card = Gpu(2, "H", memory_used=10 << 30, memory_total=80 << 30)

    def said(seen: Seen, size: int | None) -> str:
        pane = facts.pane(model("org/name", bytes=size), seen, 200)
        return next("".join(text for text, _ in line) for line in pane if line and line[0][0].startswith("Memory"))

    assert "no GPU seen here" in said(Seen(searched=True), 5) and "…" in said(Seen(), 5)
    small, large = said(Seen(gpu=card, searched=True), 14 << 30), said(Seen(gpu=card, searched=True), 90 << 30)
    assert "weights 14.0 GiB of 70.0 GiB free on GPU 2" in small and "training needs more than weights" in small
    assert "too large as they are" in large and "size unknown" in said(Seen(gpu=card), None)


@pytest.mark.parametrize(
    "kind", ["ok", "missing", "gated", "bad-token", "no-revision", "offline", "timeout", "unreachable"]
)
def test_every_answer_of_the_hub_has_words(kind: str) -> None:
    row, hostile = Offer("hub", "org/name", "v1"), "\x1b[2Jwhy\u202e"
    answer = HubAnswer(
        kind, hostile, "what \x1b[31mto do", licence=hostile, architecture=hostile, bytes=5, needs_code=True
    )
    seen = Seen(answers={("org/name", "v1"): answer})
    for lines in (facts.pane(row, seen, 40), facts.foot(row, seen, 78), [offering.line(row, seen, 60)]):
        text = "\n".join("".join(part for part, _ in line) for line in lines)
        assert "org/name" in text and all(c.isprintable() or c == "\n" for c in text)
    assert len(facts.foot(row, seen, 78)) == facts.FOOT
    words = " ".join(" ".join("".join(part for part, _ in line) for line in facts.pane(row, seen, 60)).split())
    assert (
        ("Enter takes it" in words and "hf download org/name --revision v1" in words)
        if kind == "ok"
        else "why" in words
    )


def test_the_foot_never_grows() -> None:
    long = "가나다 " * 200
    for trouble in ("", long):
        entry = model(long, trouble=trouble, architecture=long, licence=long, template="", needs_code=True, code=True)
        for width in (40, 78, 108):
            lines = facts.foot(entry, Seen(), width)
            assert len(lines) == facts.FOOT and all(length(line) <= width for line in lines)
    assert cell_len(values.name(model("a", revision="b" * 40))) == 11
