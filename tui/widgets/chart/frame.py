"""What stands around the plot: title and legend above, labels and axes beside and below."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from rich.cells import cell_len, set_cell_size

from tui.widgets.chart.axes import XScale, YScale
from tui.widgets.chart.glyphs import ChartGlyphs
from tui.widgets.chart.ticks import STEPS, Formatter, ValueFormatter, XKind, linear_ticks

Run = tuple[str, str]
LABEL_WIDTH = 6
# Between two labels of the x axis; below that they touch.
MIN_LABEL_DISTANCE = 9
# So many blanks in a row have a colour of their own.
MANY_BLANKS = 8


def header_line(
    title: str,
    entries: Sequence[tuple[str, str, str, float | None]],
    width: int,
    y: YScale,
    formatter: ValueFormatter,
    glyphs: ChartGlyphs,
    off_scale: float | None,
    mark: str = "",
    selected: bool = False,
) -> list[Run]:
    """Title on the left, after a key if there is one; on the right each curve's sign, name and last value."""
    left = title + (" (log)" if y.log else "")
    if off_scale is not None:
        entries = [*entries, ("max", glyphs.above, "edge", off_scale)]
    before: list[Run] = [(mark + " ", "selected" if selected else "muted")] if mark else []
    width -= len(mark) + 1 if mark else 0
    room = width - cell_len(left) - 2
    parts = _legend(entries, room, formatter, values=True)
    if not parts:
        parts = _legend(entries, room, formatter, values=False)
        if len(parts) < len(entries) == 3:  # that the cloud behind is the raw values goes without saying
            parts = _legend(entries[1:], room, formatter, values=False)
    right: list[Run] = []
    for index, part in enumerate(parts):
        right.extend([("  ", "text"), *part] if index else part)
    used = sum(cell_len(text) for text, _ in right)
    left = set_cell_size(left, max(0, width - used))
    return [*before, (left, "selected" if selected else "title"), *right]


def _legend(
    entries: Sequence[tuple[str, str, str, float | None]], room: int, formatter: ValueFormatter, *, values: bool
) -> list[list[Run]]:
    """The curves' signs, names and last values; empty if not all fit. Without values as many as fit."""
    parts: list[list[Run]] = []
    for label, glyph, colour, value in entries:
        part = [(glyph, colour)]
        if label:
            part.append((f" {label}", "muted"))
        if values or not _finite(value) or colour == "edge":
            part.append((" " + formatter(value), "value" if _finite(value) else "nonfinite"))
        room -= sum(cell_len(text) for text, _ in part) + (2 if parts else 0)
        if room < 0:
            return [] if values else parts
        parts.append(part)
    return parts


def value_label(value: float | None, formatter: Formatter, digits: int = 4) -> str:
    """A last value with some significant digits; unknown is a dash, NaN is NaN."""
    if value is None:
        return "–"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    step = 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1) if value else 1.0
    return formatter(value, step)


def gutter_labels(y: YScale, rows: int, formatter: Formatter, glyphs: ChartGlyphs) -> list[list[Run]]:
    """For each row of the plot its label, right-aligned, and the axis."""
    height = rows * 4 - 1
    found: dict[int, str] = {}
    ticks = y.ticks()
    step = y.step if not y.log else 0.0
    for value in ticks:
        row = (height - round(y.position(value) * height)) // 4
        own = step or (10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0)
        if 0 <= row < rows and row not in found and not (y.log and {row - 1, row + 1} & found.keys()):
            found[row] = formatter(value, own)
    lines: list[list[Run]] = []
    for row in range(rows):
        label = found.get(row, "")[:LABEL_WIDTH].rjust(LABEL_WIDTH)
        axis = glyphs.tick_left if row in found else glyphs.vertical
        lines.append([(label + " ", "tick"), (axis, "axis")])
    return lines


def x_ticks(x: XScale, cells: int, kind: XKind) -> dict[int, str]:
    """Labels of the x axis by cell column."""
    step = max(1.0, kind.step((x.end - x.origin) * MIN_LABEL_DISTANCE / cells))
    ticks = [round(value) for value in linear_ticks(x.origin, x.end, step)]
    places = {x.column(value) // 2: kind.label(value, step) for value in ticks if value >= x.origin}
    return {cell: label for cell, label in places.items() if cell < cells}


def axis_line(
    x: XScale, cells: int, bad: Collection[int], glyphs: ChartGlyphs, kind: XKind, cursor: int | None = None
) -> list[Run]:
    """The x axis; values that are not finite leave a mark in their column, the cursor its foot."""
    ticks = x_ticks(x, cells, kind)
    runs: list[Run] = [(" " * (LABEL_WIDTH + 1), "tick")]
    text = glyphs.corner
    for cell in range(cells):
        if cell in bad or cell == cursor:
            runs.append((text, "axis"))
            runs.append((glyphs.nonfinite, "nonfinite") if cell in bad else (glyphs.cursor_foot, "cursor"))
            text = ""
        else:
            text += glyphs.tick_down if cell in ticks else glyphs.horizontal
    return [*runs, (text, "axis")]


def step_line(x: XScale, cells: int, kind: XKind, cursor: int | None = None, said: str = "") -> list[Run]:
    """The labels below the x axis, centred under their ticks; the cursor's own takes the place of those in its way.

    What the axis counts is said at its beginning, unless it is steps.
    """
    width = LABEL_WIDTH + 2 + cells
    line = [" "] * width
    taken = [False] * width
    start = end = 0
    if kind is not STEPS:
        line[: len(kind.name)] = kind.name
        taken[: len(kind.name) + 1] = [True] * (len(kind.name) + 1)
    if cursor is not None and said:
        start = _left_of(cursor, said, width)
        end = start + len(said)
        line[start:end] = said
        taken[max(0, start - 2) : end + 2] = [True] * (min(width, end + 2) - max(0, start - 2))
    for cell, label in sorted(x_ticks(x, cells, kind).items()):
        first = _left_of(cell, label, width)
        last = first + len(label)
        if first < 0 or any(taken[first:last]):
            continue
        line[first:last] = label
        taken[first : last + 2] = [True] * len(taken[first : last + 2])
    text = "".join(line)
    if end == start:
        return [(text, "tick")]
    return [(text[:start], "tick"), (text[start:end], "cursor"), (text[end:], "tick")]


def _left_of(cell: int, label: str, width: int) -> int:
    """Where a label that is centred under a cell begins."""
    return max(0, min(LABEL_WIDTH + 2 + cell - (len(label) - 1) // 2, width - len(label)))


def _finite(value: float | None) -> bool:
    return value is None or math.isfinite(value)


def merge(cells: Sequence[tuple[str, str]]) -> list[Run]:
    """Join neighbours of one colour.

    A few blanks take the colour before them; many always have the same one, so that they need not be sent again when
    what is before them changes.
    """
    runs: list[Run] = []
    text, colour, blanks = "", "text", 0
    for char, own in cells:
        if char == " ":
            blanks += 1
            continue
        if blanks >= MANY_BLANKS:
            runs += [(text, colour), (" " * blanks, "text")]
            text, colour = char, own
        elif own == colour or not text:
            text, colour = text + " " * blanks + char, own
        else:
            runs.append((text + " " * blanks, colour))
            text, colour = char, own
        blanks = 0
    runs += [(text, colour), (" " * blanks, "text")] if blanks >= MANY_BLANKS else [(text + " " * blanks, colour)]
    return [run for run in runs if run[0]]
