"""The lines of the settings list: what each says in a given width. Pure text; all of it cleaned."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len

from engine.config import SettingInfo
from engine.errors import Problem
from engine.text import clean
from tui import format as fmt
from tui.glyphs import glyphs
from tui.launch import ladder
from tui.launch.complete import PATH_KINDS
from tui.launch.entry import Entry
from tui.launch.model import FormModel, empty_means
from tui.widgets.lines import Line, length

NAME_WIDTH = 28
VALUE_AT = NAME_WIDTH + 3
CANDIDATES = 6
UNTOLD, UNTOLD_WORDS = "?", "not told"


@dataclass(frozen=True, slots=True)
class Row:
    """A group's heading, a setting, a candidate of the path being edited, or an empty line."""

    kind: str
    text: str = ""
    info: SettingInfo | None = None
    place: int = 0


def heading(group: str, hidden: int) -> Line:
    """A group's name, and how many of its settings the view leaves out."""
    more: Line = [(f"  {hidden} more", "muted")] if hidden else []
    return [(" ", "text"), (group, "accent"), *more]


def setting(model: FormModel, info: SettingInfo, width: int, *, current: bool, entry: Entry | None = None) -> Line:
    """A setting: marks, name, value, and at the right what is wrong or where a step leads."""
    problem = model.problem(info.name)
    line = [*_marks(model, info, problem, current), (info.name.ljust(NAME_WIDTH), "title" if current else "muted")]
    space = room(width)
    if entry is not None and not ladder.words(info):
        return line + _edited(model, info, problem, entry, space)
    value = _value(model, info, problem, space, marked=entry is not None)
    if problem is None and info.name in model.untold and space - length(value) > len(UNTOLD_WORDS) + 2:
        value = [*value, (f"  {UNTOLD_WORDS}", "warning")]
    if problem is not None:
        return line + value + _message(problem, space - length(value))
    hint = steps(info, model.text(info.name), editing=entry is not None) if current else []
    gap = space - length(value) - length(hint)
    return [*line, *value, *([(" " * gap, "text"), *hint] if hint and gap > 1 else [])]


def room(width: int) -> int:
    """Cells for value and message in a list of so many."""
    return max(12, width - VALUE_AT - 1)


def candidate(entry: Entry, place: int) -> Line:
    """A name that fits the path being edited; a place behind the last one says how many more there are."""
    indent = " " * VALUE_AT
    if place < 0:
        return [(f"{indent}  {len(entry.candidates) - CANDIDATES} more", "muted")]
    chosen = place == entry.chosen
    name = fmt.cells(clean(entry.candidates[place], 500))
    return [
        (indent, "text"),
        (f"{glyphs().cursor if chosen else ' '} ", "accent"),
        (name, "title" if chosen else "muted"),
    ]


def candidate_places(entry: Entry) -> list[int]:
    """Which candidates are shown, -1 for the line that counts the rest."""
    count = len(entry.candidates)
    if count <= CANDIDATES:
        return list(range(count))
    first = max(0, min(entry.chosen - CANDIDATES + 2, count - CANDIDATES))
    return [*range(first, first + CANDIDATES), -1]


def steps(info: SettingInfo, text: str, *, editing: bool) -> Line:
    """Where the arrow keys lead from here: ``← 5e-5   2e-4 →``."""
    g = glyphs()
    down, up = ladder.step(info, text, -1), ladder.step(info, text, 1)
    if up == down and up is not None:
        return [(f"{g.up}{g.down} " if editing else f"{g.left}{g.right} ", "key"), (_word(up), "muted")]
    if not editing:
        left: Line = [(f"{g.left} ", "key"), (_word(down), "muted")] if down is not None else []
        right: Line = [(_word(up), "muted"), (f" {g.right}", "key")] if up is not None else []
        return [*left, *([("   ", "text")] if left and right else []), *right]
    if ladder.rounds(info):
        up, down = down, up
    out: Line = []
    for key, word in ((g.up, up), (g.down, down)):
        if word is not None:
            out += [("   " if out else "", "text"), (f"{key} ", "key"), (_word(word), "muted")]
    return out


def field_width(model: FormModel, info: SettingInfo, entry: Entry, room: int) -> int:
    """Cells of the field in which a value is typed: short for numbers, what is left for texts."""
    if info.kind in ("integer", "number"):
        return min(room, max(14, cell_len(entry.text) + 2))
    if model.problem(info.name) is None or not entry.text.strip():
        return room
    return max(room // 2, min(cell_len(clean(entry.text)) + 2, room - 24))


def explain(problem: Problem) -> str:
    """A problem's message in one line, with the data line it is about."""
    message = clean(problem.message, 300)
    return f"line {problem.line}: {message}" if problem.line else message


def _marks(model: FormModel, info: SettingInfo, problem: Problem | None, current: bool) -> Line:
    g = glyphs()
    if problem is not None:
        mark = (g.warning, "warning") if problem.kind == "missing-setting" else (g.cross, "error")
    elif info.name in model.untold:
        mark = (UNTOLD, "warning")
    else:
        mark = (g.changed, "accent") if model.is_changed(info.name) else (" ", "text")
    return [(g.cursor if current else " ", "accent"), mark, (" ", "text")]


def _value(model: FormModel, info: SettingInfo, problem: Problem | None, room: int, *, marked: bool) -> Line:
    text = fmt.cells(clean(model.text(info.name), 4000))
    if not text.strip():
        if problem is not None:
            return []
        meaning = empty_means(info)
        return [(f"({meaning})" if meaning else glyphs().dash, "muted")]
    if problem is not None:
        room = max(10, min(cell_len(text), room // 2))
    number = ladder.number(text)
    unit = f" {fmt.unit(number, info.unit)}" if info.unit and number is not None and problem is None else ""
    shown = fmt.shorten(text, room - cell_len(unit), "start" if info.kind in PATH_KINDS else "end")
    colour = "marked" if marked else "title" if model.is_changed(info.name) else "value"
    if model.proposes_output and info.name == "output_dir":
        unit = "  proposed" if cell_len(shown) + 10 < room else ""
    return [(shown, colour), (unit, "muted")]


def _message(problem: Problem, room: int) -> Line:
    if problem.kind == "missing-setting":
        return [("required", "warning")]
    gap = 2 if room > 12 else 1
    return [(" " * gap, "text"), (fmt.shorten(explain(problem), max(4, room - gap)), "error")]


def _edited(model: FormModel, info: SettingInfo, problem: Problem | None, entry: Entry, room: int) -> Line:
    width = field_width(model, info, entry, room)
    line: Line = list(entry.parts(width))
    line.append((" " * max(0, width - length(line)), "field"))
    left = room - width
    if problem is not None and left > 8 and problem.kind != "missing-setting":
        return line + _message(problem, left)
    unit = f" {info.unit}" if info.unit and left > cell_len(info.unit) + 2 else ""
    hint = steps(info, entry.text, editing=True)
    gap = left - cell_len(unit) - length(hint)
    return [*line, (unit, "muted"), *([(" " * gap, "text"), *hint] if hint and gap > 1 else [])]


def _word(text: str) -> str:
    return fmt.shorten(text or "empty", 18)
