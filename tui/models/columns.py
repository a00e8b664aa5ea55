"""One line a model: the columns that fit into a width, their titles, and a row of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from engine.text import clean
from tui import format as fmt
from tui.glyphs import glyphs
from tui.models import values
from tui.models.folders import incomplete
from tui.widgets.lines import Line, crop, length

if TYPE_CHECKING:
    from engine.models.catalogue import Model

GAP = 2
SMALLEST_NAME = 22
# Key, title, width, whether it stands at the right, and how early it gives way (0: never).
COLUMNS = (
    ("name", "Model", SMALLEST_NAME, False, 0),
    ("parameters", "Params", 7, True, 0),
    ("size", "Size", 8, True, 0),
    ("dtype", "Type", 8, False, 1),
    ("template", "Template", 9, False, 2),
    ("licence", "Licence", 12, False, 3),
    ("where", "Where", 9, False, 4),
    ("used", "Used", 8, True, 0),
)
Placed = tuple[str, str, int, bool]


def layout(width: int) -> list[Placed]:
    """The columns for ``width`` cells; the name takes what is left."""
    shown = list(COLUMNS)
    while sum(column[2] for column in shown) + GAP * (len(shown) - 1) > width and any(column[4] for column in shown):
        shown.remove(max(shown, key=lambda column: column[4]))
    rest = width - sum(column[2] for column in shown[1:]) - GAP * (len(shown) - 1)
    return [(key, title, max(8, rest) if key == "name" else size, right) for key, title, size, right, _ in shown]


def header(columns: list[Placed], order: str, falling: bool) -> Line:
    """The titles, a mark at the one that orders the list."""
    line: Line = []
    for number, (key, title, width, right) in enumerate(columns):
        ordered = key == order
        if ordered:
            mark = glyphs().down if falling else glyphs().up
            title = f"{mark}{title}" if right else f"{title} {mark}"
        line += [((" " * GAP if number else ""), "muted"),
                 (fmt.fit(title, width, "right" if right else "left"), "accent" if ordered else "muted")]  # fmt: skip
    return line


def row(model: Model, columns: list[Placed], now: float | None = None) -> Line:
    """One model; of one that cannot be fine-tuned only its name, and why."""
    width = columns[0][2]
    # Models of one maker differ in the last part.
    name = fmt.fit(values.name(model), width, cut="start")
    if model.trouble:
        room = sum(column[2] + GAP for column in columns[1:]) - GAP
        sign = glyphs().warning if incomplete(model) else glyphs().cross
        trouble = fmt.fit(f"{sign} {clean(model.trouble, 200)}", room)
        return [(name, "faded"), (" " * GAP, "text"), (trouble, "faded")]
    line: Line = [(name, "text")]
    for key, _, width, right in columns[1:]:
        text = _text(model, key, time.time() if now is None else now)
        colour = "warning" if key == "template" and not model.template else "muted"
        line += [(" " * GAP, "text"), (fmt.fit(text, width, "right" if right else "left"), colour)]
    return line


def said(parts: Line, columns: list[Placed]) -> Line:
    """A line of words as wide as a row."""
    width = sum(column[2] + GAP for column in columns) - GAP
    line = crop(parts, width)
    return [*line, (" " * max(0, width - length(line)), "text")]


def _text(model: Model, key: str, now: float) -> str:
    if key == "parameters":
        return values.parameters(model.parameters)
    if key == "size":
        return fmt.size(model.bytes)
    if key == "template":
        return values.template(model.template)
    if key == "where":
        return values.or_dash(model.source)
    if key == "used":
        return fmt.age(model.used, now)
    return values.or_dash({"dtype": model.dtype, "licence": model.licence}[key])
