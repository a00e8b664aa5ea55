"""A list of rows that repaints only the lines that changed, however many rows there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.glyphs import glyphs
from tui.models.ledger import key
from tui.widgets.lines import Line

NAMES = ("text", "title", "muted", "faint", "faded", "accent", "success", "warning", "error", "key", "cursor")
GUTTER = 2


class ModelTable(ScrollView):
    """One line a row; the keys are the screen's, since a text is typed meanwhile.

    ``draw`` makes the line of a row, ``marked`` says whether it has a sign before it. Once it has been moved, the cursor
    keeps to its row when the list changes.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"model-table--{name}" for name in NAMES}
    can_focus = False

    class Moved(Message):
        """The cursor stands on another row, or its row says something new."""

    class Chosen(Message):
        """A row was clicked twice."""

    def __init__(self, draw: Callable[[Any], Line], marked: Callable[[Any], bool], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows: list[Any] = []
        self._draw, self._marked = draw, marked
        self._cursor, self._moved = 0, False
        self._drawn: dict[int, tuple[Line, bool]] = {}
        self._cache: dict[str, Style] = {}

    @property
    def row(self) -> Any:
        """What is under the cursor; ``None`` in an empty list."""
        return self.rows[self._cursor] if self._cursor < len(self.rows) else None

    @property
    def text(self) -> str:
        """What is shown, without colours."""
        return "\n".join("".join(text for text, _ in self._draw(row)) for row in self.rows)

    @property
    def room(self) -> int:
        """Cells for a row."""
        return max(20, self.scrollable_content_region.width) - GUTTER

    def show(self, rows: list[Any], *, first: bool = False) -> None:
        """Replace the rows; ``first`` puts the cursor on the first one, until it is moved."""
        before, place = self.row, self._cursor
        wanted = key(before) if before is not None and self._moved and not first else None
        self.rows, self._moved = rows, self._moved and not first
        place = 0 if wanted is None else next((at for at, row in enumerate(rows) if key(row) == wanted), place)
        shift = place - self._cursor if wanted is not None else -self.scroll_offset.y
        scroll = max(0, self.scroll_offset.y + shift)
        self._cursor = max(0, min(place, len(rows) - 1))
        size = Size(self.scrollable_content_region.width, len(rows))
        if self.virtual_size != size:
            self.virtual_size = size
        if scroll != self.scroll_offset.y:
            self.scroll_to(y=scroll, animate=False, immediate=True)
        self._into_sight()
        self.renew()
        self.post_message(self.Moved())

    def renew(self) -> None:
        """Repaint the lines that no longer say what they should."""
        width = self.scrollable_content_region.width
        for y in range(self.scrollable_content_region.height):
            if y in self._drawn and self._line(y) != self._drawn[y]:
                self.refresh(Region(0, y, width, 1))

    def move(self, by: int) -> None:
        """So many rows down, or up."""
        self.go(self._cursor + by)

    def page(self, by: int) -> None:
        """A page down or up."""
        self.go(self._cursor + by * max(1, self.scrollable_content_region.height - 1))

    def go(self, place: int) -> None:
        """To a row; beyond the end: the last one."""
        place = max(0, min(place, len(self.rows) - 1))
        self._moved = True
        if self.rows and place != self._cursor:
            self._cursor = place
            self._into_sight()
            self.renew()
            self.post_message(self.Moved())

    def _into_sight(self) -> None:
        top, height = self.scroll_offset.y, self.scrollable_content_region.height
        if height and not top <= self._cursor < top + height:
            place = self._cursor
            self.scroll_to(y=place if place < top else place - height + 1, animate=False, immediate=True)

    def _line(self, y: int) -> tuple[Line, bool]:
        place = y + self.scroll_offset.y
        if place >= len(self.rows):
            return [], False
        lit = place == self._cursor
        g, row = glyphs(), self.rows[place]
        sign = g.changed if self._marked(row) else " "
        return [(g.cursor if lit else " ", "accent"), (sign, "accent"), *self._draw(row)], lit

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        line, lit = self._drawn[y] = self._line(y)
        base = self._style("cursor" if lit else "text")
        if base.reverse:  # few colours: one for the whole line, since not every pair of them can be read
            segments = [Segment(text, base) for text, _ in line if text]
        else:
            back = Style(bgcolor=base.bgcolor, bold=base.bold)
            segments = [Segment(text, self._style(name) + back) for text, name in line if text]
        return Strip(segments).adjust_cell_length(self.scrollable_content_region.width, base)

    def on_resize(self, event: events.Resize) -> None:
        """Rows adapt to the width."""
        self.virtual_size = Size(self.scrollable_content_region.width, len(self.rows))
        self._drawn.clear()
        self._into_sight()
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """A click selects, a second one chooses."""
        place = event.y + self.scroll_offset.y
        if 0 <= place < len(self.rows):
            again = place == self._cursor and event.chain == 2
            self.go(place)
            if again:
                self.post_message(self.Chosen())

    def notify_style_update(self) -> None:
        """The theme changed."""
        self._cache = {}
        super().notify_style_update()

    def _style(self, name: str) -> Style:
        style = self._cache.get(name)
        if style is None:
            style = self._cache[name] = self.get_component_rich_style(f"model-table--{name}")
        return style
