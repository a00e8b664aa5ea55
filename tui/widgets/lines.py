"""A block of styled one-line texts that repaints only the lines that changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.format import cells, shorten

Run = tuple[str, str]
"""A text and the name of its colour, a component class of :class:`Lines` without its prefix."""
Line = list[Run]

COLOURS = ("text", "title", "value", "muted", "accent", "success", "warning", "error", "rule", "key")


def length(line: Line) -> int:
    """Cells a line takes."""
    return sum(cell_len(text) for text, _ in line)


def spread(left: Line, right: Line, width: int) -> Line:
    """One line of ``width`` cells with something at both ends; the left gives way, then the right is left out."""
    room = width - length(right) - 2 if right else width
    if room < min(16, length(left)):
        right, room = [], width
    left = crop(left, room)
    gap = width - length(left) - length(right)
    return [*left, (" " * gap, "text"), *right]


def crop(line: Line, width: int) -> Line:
    """The beginning of a line, in at most so many cells."""
    kept: Line = []
    for text, colour in line:
        if width <= 0:
            break
        text = cells(text)
        size = cell_len(text)
        if size > width:
            text = shorten(text, width)
            size = cell_len(text)
        kept.append((text, colour))
        width -= size
    return kept


class Lines(Widget):
    """Shows lines as they are set, one row each; texts must be clean already."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"lines--{name}" for name in COLOURS}
    DEFAULT_CSS = """
    Lines {
        height: auto;
        & > .lines--text { color: $foreground; }
        & > .lines--title { color: $foreground; text-style: bold; }
        &:ansi > .lines--muted { text-style: dim; }
        & > .lines--value { color: $foreground; }
        & > .lines--muted { color: $text-muted; }
        & > .lines--accent { color: $accent; }
        & > .lines--success { color: $success; }
        & > .lines--warning { color: $warning; }
        & > .lines--error { color: $error; }
        & > .lines--rule { color: $faint; }
        & > .lines--key { color: $accent; text-style: bold; }
    }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.lines: list[Line] = []
        self._strips: dict[int, Strip] = {}
        self._styles_by_name: dict[str, Style] = {}

    @property
    def text(self) -> str:
        """What is shown, without colours."""
        return "\n".join("".join(text for text, _ in line) for line in self.lines)

    def show(self, lines: Sequence[Line]) -> None:
        """Replace the lines; only those that differ are repainted."""
        old, self.lines = self.lines, list(lines)
        changed = [
            row
            for row in range(max(len(old), len(self.lines)))
            if row >= len(old) or row >= len(self.lines) or old[row] != self.lines[row]
        ]
        width, height = self.size
        for row in changed:
            self._strips.pop(row, None)
        visible = [row for row in changed if row < height]
        if visible:
            self.refresh(*(Region(0, row, width, 1) for row in visible))

    def render_line(self, y: int) -> Strip:
        """One row."""
        strip = self._strips.get(y)
        if strip is None:
            line = self.lines[y] if y < len(self.lines) else []
            segments = [Segment(text, self._style(colour)) for text, colour in line if text]
            strip = Strip(segments).adjust_cell_length(self.size.width, self._style("text"))
            self._strips[y] = strip
        return strip

    def on_resize(self) -> None:
        """The strips have the old width."""
        self._strips.clear()

    def notify_style_update(self) -> None:
        """The theme changed: the strips hold its colours."""
        self._strips = {}
        self._styles_by_name = {}
        super().notify_style_update()

    def _style(self, name: str) -> Style:
        style = self._styles_by_name.get(name)
        if style is None:
            style = self._styles_by_name[name] = self.get_component_rich_style(f"lines--{name}")
        return style
