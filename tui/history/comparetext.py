"""A comparison as lines: the legend below the curves, the differences, the ranking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rich.cells import cell_len

from engine.text import clean
from tui import format as fmt
from tui.glyphs import glyphs
from tui.history import words
from tui.history.comparedeck import DASHED_FROM, CompareDeck
from tui.history.lettered import COLOURS, styles
from tui.history.overlay import LETTERS
from tui.history.sheet import Page, Sheet
from tui.watch.metrics import title
from tui.widgets.chart.glyphs import ASCII, UNICODE
from tui.widgets.chart.ticks import KINDS
from tui.widgets.lines import Line

if TYPE_CHECKING:
    from engine.history.compare import Comparison, Difference, Ranked
    from engine.history.summary import RunSummary

PAGES = ("curves", "differences", "ranking")
NAME, LEAST_COLUMN, WIDEST_COLUMN = 24, 13, 30
VALUE = 11
GROUPS = {"settings": "settings", "data": "data", "versions": "versions"}


class CompareSheet(Sheet):
    """Lines in which runs have their colours."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"lines--{name}" for name in COLOURS}
    DEFAULT_CSS = "CompareSheet {\n" + styles("lines") + "\n}"


def tabs(chosen: int, found: Comparison | None) -> Line:
    """The three pages, and how many differences there are."""
    line: Line = []
    for number, name in enumerate(PAGES, 1):
        here = number == chosen
        line += [("   ", "text")] if line else []
        line += [(f"{number}", "key" if here else "muted"), (f" {name}", "title" if here else "muted")]
        if name == "differences" and found is not None:
            line.append((f" {len(found.differences)}", "muted"))
    return line


def letter(place: int) -> Line:
    """A run's letter in its colour."""
    return [(LETTERS[place], COLOURS[place])]


def sign(place: int) -> str:
    """The pattern of a run's line."""
    g = ASCII if glyphs().ascii else UNICODE
    if g.ascii:
        return LETTERS[place].lower() * 2
    return (g.line_key if place < DASHED_FROM else g.dashed_key) * 2


def legend(runs: Sequence[RunSummary], deck: CompareDeck, width: int) -> list[Line]:
    """A line a run: letter, line, name, and its value at the cursor, or its last one."""
    values, names = deck.values(), [fmt.cells(clean(run.name, 200)) for run in runs]
    name_width = min(max(12, width - 58), max(map(cell_len, names), default=12))
    kind = KINDS[deck._drawn]
    return [
        _legend_line(place, names[place], name_width, runs[place], deck, values, kind) for place in range(len(runs))
    ]


def _legend_line(
    place: int, name: str, name_width: int, run: RunSummary, deck: CompareDeck, values: Sequence[Any], kind: Any
) -> Line:
    shown = fmt.fit(name, name_width, cut="middle")
    if place in deck.hidden:
        return [*letter(place), (f"    {shown}  ", "muted"), (f"hidden, {LETTERS[place].lower()} shows it", "muted")]
    line: Line = [*letter(place), (f" {sign(place)} ", COLOURS[place]), (f"{shown}  ", "text")]
    curve, point = deck.curves[place], values[place]
    if not curve.xs:
        return [*line, (clean(curve.why, 100), "muted")]
    number = deck.chart.model.value_formatter
    if point is None:
        over = deck.cursor is not None and deck.cursor > curve.xs[-1]
        note = f"last at {kind.exact(curve.xs[-1])}" if over else "not there yet"
        line.append((f"{fmt.fit(glyphs().dash, VALUE, 'right')}  {note:<17}", "muted"))
    else:
        line += [(fmt.fit(number(point[1]), VALUE, "right"), words.tone(point[1])),
                 (f"  {kind.name} {kind.exact(point[0])}", "muted")]  # fmt: skip
    finite = [y for y in curve.ys if math.isfinite(y)]
    if finite and deck.cursor is None:
        line.append((f"{words.dot()}lowest {number(min(finite))}", "muted"))
    return line


def differences(found: Comparison, width: int, *, everything: bool) -> Page:
    """What the runs do not have in common; with ``everything`` the rest, too."""
    runs = len(found.runs)
    column = min(WIDEST_COLUMN, (width - NAME - 2) // runs - 1)
    table = column >= LEAST_COLUMN
    rows: list[Line] = []
    parts = [("", found.differences)]
    if everything:
        parts += [("told by some runs only", found.partial), ("the same", found.same)]
    for note, part in parts:
        for group, name in GROUPS.items():
            entries = [entry for entry in part if entry.group == group]
            if not entries:
                continue
            rows += [[]] if rows else []
            rows.append(words.title(name, note))
            for entry in entries:
                rows += [_in_columns(entry, column)] if table else _by_value(entry, width)
    head: list[Line] = []
    if table:
        head = [
            [(" " * (NAME + 1), "text"), *(part for place in range(runs) for part in _heading(found, place, column))],
            [],
        ]
    rest = len(found.partial) + len(found.same)
    if rest and not everything:
        some = f"{len(found.same):,} {_are(found.same)} the same" if found.same else ""
        told = f"{len(found.partial):,} {_are(found.partial)} told by some runs only" if found.partial else ""
        rows += [[], [(", ".join(filter(None, (some, told))) + "; ", "muted"), ("s", "key"), (" shows them", "muted")]]
    if not found.differences:
        rows.insert(0, [("These runs tell of no difference in settings, data or versions.", "muted")])
    return Page(len(rows), lambda place, width: rows[place], head)


def _are(entries: Sequence[Any]) -> str:
    return "is" if len(entries) == 1 else "are"


def _heading(found: Comparison, place: int, column: int) -> Line:
    name = fmt.cells(clean(found.runs[place].name, 100))
    return [*letter(place), (" " + fmt.fit(fmt.shorten(name, column - 2, "middle"), column - 1), "muted")]


def _in_columns(entry: Difference, column: int) -> Line:
    line: Line = [(fmt.fit(clean(entry.name, 100), NAME, cut="middle") + " ", "muted")]
    first = value_text(entry.values[0])
    for value in entry.values:
        text = value_text(value)
        colour = "muted" if value is None else "text" if text == first else "accent"
        line.append((fmt.fit(fmt.shorten(text, column, "middle" if "/" in text else "end"), column + 1), colour))
    return line


def _by_value(entry: Difference, width: int) -> list[Line]:
    """Where there is no room for a column a run: each value with the letters of the runs that have it."""
    groups: dict[str, list[int]] = {}
    for place, value in enumerate(entry.values):
        groups.setdefault(value_text(value), []).append(place)
    out: list[Line] = []
    for text, places in groups.items():
        name = clean(entry.name, 100) if not out else ""
        letters = [part for place in places for part in letter(place)]
        line: Line = [(fmt.fit(name, NAME, cut="middle") + " ", "muted"), *letters, (" " * (10 - len(letters)), "text")]
        out.append([*line, (fmt.shorten(text, max(8, width - NAME - 11)), "muted" if text == "unknown" else "text")])
    return out


def value_text(value: Any) -> str:
    """A setting's value in a cell."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return fmt.rate(value) if 0 < abs(value) < 0.01 else f"{value:g}"
    if isinstance(value, list | tuple):
        value = ", ".join(str(item) for item in value)
    return fmt.cells(clean(value, 300)) or "empty"


def ranking(found: Comparison, higher: bool, width: int) -> Page:
    """The runs by their figure, the best first."""
    smooth = f" (smoothing {found.weight:g})" if found.by == "smoothed" else ""
    better = "higher is better" if higher else "lower is better"
    head: list[Line] = [
        [("by ", "muted"), (f"{found.by} {title(found.metric)}", "title"), (f"{smooth}, {better}   ", "muted"),
         ("o", "key"), (" another way   ", "muted"), ("m", "key"), (" another metric", "muted")],
        [],
    ]  # fmt: skip
    name_width = max(12, min(40, width - 44))

    def line(place: int, width: int) -> Line:
        return _ranked(found.ranking[place], found, name_width)

    return Page(len(found.ranking), line, head, cursor=True)


def _ranked(entry: Ranked, found: Comparison, name_width: int) -> Line:
    run = found.runs[entry.run]
    place = f"{entry.place}." if entry.place is not None else glyphs().dash
    line: Line = [(fmt.fit(place, 3, "right") + " ", "value" if entry.place == 1 else "muted"), *letter(entry.run)]
    line.append(
        (" " + fmt.fit(clean(run.name, 200), name_width, cut="middle"), "title" if entry.place == 1 else "text")
    )
    shown = fmt.loss(entry.value) if found.metric.endswith("loss") else fmt.number(entry.value)
    line.append((fmt.fit(shown, VALUE, "right"), words.tone(entry.value) if entry.value is not None else "muted"))
    at = f"  step {entry.step:,.0f}" if entry.step is not None and math.isfinite(entry.step) else ""
    line.append((fmt.fit(at, 16), "muted"))
    return [*line, (clean(entry.note, 200), "muted")] if entry.note else line
