"""A chart of several runs: each curve has a letter at its end and on its way, so that no colour is needed to tell them."""

from __future__ import annotations

from typing import ClassVar

from tui.widgets.chart import Chart
from tui.widgets.chart.model import ChartModel
from tui.widgets.chart.raster import DOT_COLUMNS, DOT_ROWS
from tui.widgets.chart.series import Series

COLOURS = tuple(f"r{number}" for number in range(1, 9))
_DARK = ("$accent", "$warning", "#c79bf2", "$error", "$primary", "$success", "#f2a3cf", "$foreground")
_LIGHT = ("$accent", "$warning", "#7a3fb8", "$error", "$primary", "$success", "#a8286f", "$foreground")
_ANSI = (
    "ansi_cyan",
    "ansi_yellow",
    "ansi_magenta",
    "ansi_red",
    "ansi_blue",
    "ansi_green",
    "ansi_bright_magenta",
    "ansi_default",
)
# On narrower charts a letter on the way hides more than it tells.
WIDE = 48


def styles(prefix: str) -> str:
    """The style rules of the runs' colours, for component classes with this prefix."""
    lines = []
    for at, name in enumerate(COLOURS):
        lines.append(f"& > .{prefix}--{name} {{ color: {_DARK[at]}; text-style: bold; }}")
        lines.append(f"&:light > .{prefix}--{name} {{ color: {_LIGHT[at]}; }}")
        lines.append(f"&:ansi > .{prefix}--{name} {{ color: {_ANSI[at]}; }}")
    return "\n".join(lines)


class LetteredModel(ChartModel):
    """Writes the labels of its curves (single letters) onto them; in ASCII a curve is drawn with its letter."""

    def __init__(self, *arguments: object, **more: object) -> None:
        super().__init__(*arguments, **more)  # type: ignore[arg-type]
        self._letters: dict[int, dict[int, tuple[str, str]]] = {}

    def _paint(self, first: int) -> set[int]:
        super()._paint(0)
        self._letters = {}
        curves = list(self.series.values())
        for place, series in enumerate(curves):
            columns = [at for at, top in enumerate(series.layer.tops) if top >= 0]
            if not columns:
                continue
            self._letter(series, columns, len(columns) - 1)
            if self.cells >= WIDE and len(columns) > WIDE:
                self._letter(series, columns, len(columns) * (2 * place + 1) // (2 * len(curves) + 1))
        return set(range(self.rows))

    def _letter(self, series: Series, columns: list[int], place: int) -> None:
        """At this place of the curve, or at the nearest before it where no other letter stands."""
        for at in range(place, max(-1, place - 40), -DOT_COLUMNS):
            column = columns[at]
            cell = column // DOT_COLUMNS
            row = (series.layer.tops[column] + series.layer.bottoms[column]) // 2 // DOT_ROWS
            taken = self._letters.setdefault(row, {})
            if not taken.keys() & {cell - 1, cell, cell + 1}:
                taken[cell] = (series.label, series.colour)
                return

    def _row(self, row: int) -> list[tuple[str, str]]:
        cells = list(super()._row(row))
        if self.glyphs.ascii:
            label = {series.colour: series.label.lower() for series in self.series.values()}
            cells = [(label.get(colour, char) if char != " " else char, colour) for char, colour in cells]
        for cell, letter in self._letters.get(row, {}).items():
            if cell < len(cells):
                cells[cell] = letter
        return cells


class CompareChart(Chart):
    """The chart of a comparison."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"chart--{name}" for name in COLOURS}
    DEFAULT_CSS = "CompareChart {\n" + styles("chart") + "\n}"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", id=id)
        plain = self.model
        self.model = LetteredModel("", glyphs=plain.glyphs)
