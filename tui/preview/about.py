"""What is said of a row beside its tokens, and what is said in place of it."""

from __future__ import annotations

import textwrap
from typing import Any

from rich.cells import cell_len

from engine.errors import Problem
from engine.text import clean
from tui.format import model_name
from tui.glyphs import glyphs
from tui.preview.tokens import Tokens
from tui.widgets.lines import Line, spread

_WAYS = {
    "own": "marked by the template",
    "trl": "marked by TRL's template",
    "prefix": "by rendered beginnings",
    "whole": "everything is trained",
    "text": "plain text, all of it trained",
}


def legend() -> Line:
    """What the colours and signs mean."""
    bar = glyphs().bar
    return [(f"{bar} ", "learned-mark"), ("trained", "learned"), ("  ", "text"), ("not trained", "plain"), ("  ", "text"),
            ("<special>", "special"), ("  ", "text"), ("cut off", "gone")]  # fmt: skip


def count(number: int, what: str) -> str:
    """``1 token``, ``2 tokens``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def end_of_turn(row: Tokens, facts: dict[str, Any]) -> tuple[str, str]:
    """Whether the model learns to stop from this row: words, and their colour."""
    names = " ".join(clean(end["token"], 30) for end in facts.get("ends") or [] if end)
    if not row.ends:
        return "the tokenizer has no token that ends a turn", "warning"
    if row.ends_learned:
        times = "" if row.ends_learned == 1 else f" {row.ends_learned} times"
        return f"end of turn {names} is trained{times}", "success"
    if row.end_lost:
        return f"end of turn {names} is cut off, not trained", "warning"
    return f"end of turn {names} is not trained", "warning"


def counts(row: Tokens) -> Line:
    """Tokens, trained ones, those cut off."""
    line: Line = [(count(row.count, "token"), "value"), (", ", "muted")]
    line.append((f"{row.learned:,} trained", "success" if row.learned else "error"))
    if row.cut:
        line += [(", ", "muted"), (f"{row.cut:,} cut off", "warning")]
    return line


def warnings(row: Tokens) -> list[str]:
    """What people should know of this row."""
    said = []
    if not row.learned:
        if row.lost:
            said.append("Nothing of this row is trained: all of it is cut off before. Raise max_seq_length")
        else:
            said.append("Nothing of this row is trained: a run leaves it out")
    if row.unproven:
        numbers = ", ".join(str(number + 1) for number in row.unproven)
        said.append(f"Message {numbers} of the assistant's is not trained: its place in the text could not be proven")
    if row.unwritten:
        names = ", ".join(clean(name, 40) for name in row.unwritten[:5])
        said.append(f"The template leaves out the tools {names}")
    return said


def remarks(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with the template as a whole: words, and their colour."""
    out = []
    for problem in facts.get("problems") or []:
        hint = f". {clean(problem['hint'], 200)}" if problem.get("hint") else ""
        out.append(
            (clean(problem["message"], 400) + hint, "error" if problem.get("severity") == "error" else "warning")
        )
    return out


def brief(title: Line, row: Tokens, facts: dict[str, Any], width: int) -> list[Line]:
    """A few lines above the text, for small terminals."""
    words, colour = end_of_turn(row, facts)
    sign = glyphs().check if colour == "success" else glyphs().warning
    lines = [spread(title, counts(row), width), [(f"{sign} {words}", colour), (f"   {_way(row)}", "muted")]]
    lines += [[(f"{glyphs().warning} {text}", "warning")] for text in warnings(row)[:2]]
    if len(lines) < 4:
        lines += [[(f"{glyphs().warning} {text}", colour)] for text, colour in remarks(facts)[: 4 - len(lines)]]
    return lines


def full(title: list[Line], row: Tokens, facts: dict[str, Any], width: int) -> list[Line]:
    """All of it, for a pane beside the text."""
    words, colour = end_of_turn(row, facts)
    sign = glyphs().check if colour == "success" else glyphs().warning
    lines = [*title, []]
    for name, number, shade in (("Tokens", row.count, "value"), ("Trained", row.learned, "success" if row.learned else "error"),
                                ("Cut off", row.cut, "warning" if row.cut else "value")):  # fmt: skip
        of_all = f"  {number / row.count:.0%}" if row.count and name != "Tokens" else ""
        lines.append([(f"{name:<10}", "muted"), (f"{number:>9,}", shade), (of_all, "muted")])
    lines += [[], *_wrapped(f"{sign} {words}", width, colour), [], [("How trained tokens are found", "muted")]]
    lines += _wrapped(clean(row.words, 400), width, "text")
    for text in warnings(row):
        lines += [[], *_wrapped(f"{glyphs().warning} {text}", width, "warning")]
    told = remarks(facts)
    if told:
        lines += [[], [(glyphs().rule * width, "rule")], [("This model's template", "muted")]]
    for text, shade in told:
        lines += _wrapped(f"{glyphs().warning} {text}", width, shade)
    return lines


def loading(model: str, reading: int | None) -> list[Line]:
    """What is waited for: the tokenizer, or a row."""
    dots = glyphs().ellipsis
    if reading is not None:
        return [[], [(f"Reading row {reading + 1:,}{dots}", "muted")]]
    return [[], [(f"Loading the tokenizer of {clean(model_name(model), 80)}{dots}", "title")], [],
            [("This takes some seconds the first time. esc goes back to the form", "muted")]]  # fmt: skip


def refusal(problem: Problem, width: int) -> list[Line]:
    """Why there is nothing to see, and what helps."""
    where = f"{clean(problem.where, 200)}: " if problem.where else ""
    lines: list[Line] = [[], *_wrapped(f"{glyphs().cross} {where}{clean(problem.message, 800)}", width, "error")]
    if problem.hint:
        lines += [[], *_wrapped(f"  {clean(problem.hint, 400)}", width, "text")]
    return lines


def _way(row: Tokens) -> str:
    return _WAYS.get(row.way, clean(row.words, 100))


def _wrapped(text: str, width: int, colour: str) -> list[Line]:
    indent = "  " if text[:2] in (f"{glyphs().check} ", f"{glyphs().warning} ", f"{glyphs().cross} ", "  ") else ""
    lines = textwrap.wrap(text, max(10, width), subsequent_indent=indent, drop_whitespace=True)
    if any(cell_len(line) > width for line in lines):  # wide characters
        lines = textwrap.wrap(text, max(10, width // 2), subsequent_indent=indent)
    return [[(line, colour)] for line in lines]
