"""A page of lines of any length: only those that are seen are made, and only those that changed are sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip

from tui.glyphs import glyphs
from tui.widgets.lines import Line, Lines, crop

MARK = 2


@dataclass(slots=True)
class Page:
    """``head`` stays in place; ``row`` makes one of ``count`` lines for a width.

    With a ``cursor`` one row is chosen; those in ``fixed`` (headings, blanks) cannot be. ``empty`` stands in place of
    no rows.
    """

    count: int = 0
    row: Callable[[int, int], Line] = lambda place, width: []
    head: list[Line] = field(default_factory=list)
    cursor: bool = False
    fixed: frozenset[int] = frozenset()
    empty: Line = field(default_factory=list)


def static(lines: Sequence[Line]) -> Page:
    """A page of lines that are there already."""
    return Page(len(lines), lambda place, width: crop(lines[place], width))


class Sheet(Lines):
    """Shows a :class:`Page`; keys are its screen's."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"sheet--cursor"}
    DEFAULT_CSS = """
    Sheet {
        height: 1fr; width: 1fr;
        & > .sheet--cursor { background: $row-cursor; }
        &:ansi > .sheet--cursor { background: ansi_default; color: ansi_default; text-style: reverse; }
    }
    """

    class Moved(Message):
        """Another row is chosen, or more or fewer rows are seen."""

    class Opened(Message):
        """The chosen row was clicked again."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._page = Page()
        self._top = self.place = 0
        self._row_y = -1

    @property
    def page(self) -> Page:
        """What is shown."""
        return self._page

    def set_page(self, page: Page, *, keep: bool = False) -> None:
        """Show a page, from its beginning or (``keep``) from where the one before stood."""
        self._page = page
        if not keep:
            self._top, self.place = 0, 0
        self.place = self._selectable(min(self.place, max(0, page.count - 1)), 1)
        self.draw()

    @property
    def room(self) -> int:
        """Lines for rows."""
        return max(1, self.size.height - len(self._page.head))

    def draw(self) -> None:
        """Show the visible part."""
        width, height = self.size
        if height < 1 or width < 4:
            return
        page, room = self._page, self.room
        self._top = max(0, min(self._top, page.count - room))
        lines = [crop(line, width) for line in page.head]
        shown = range(self._top, min(page.count, self._top + room))
        row_y = -1
        for place in shown:
            if page.cursor:
                chosen = place == self.place and place not in page.fixed
                row_y = len(lines) if chosen else row_y
                mark = (glyphs().cursor if chosen else " ", "accent")
                lines.append([mark, (" ", "text"), *page.row(place, width - MARK)])
            else:
                lines.append(page.row(place, width))
        below = page.count - self._top - room
        if below > 0 and not page.cursor:
            text = f"{glyphs().down} {below + 1:,} more lines, PgDn"
            lines[-1] = [(text, "muted")]
        if not page.count and page.empty:
            lines.append(crop(page.empty, width))
        if row_y != self._row_y:
            for y in (self._row_y, row_y):
                self._strips.pop(y, None)
            old, self._row_y = self._row_y, row_y
            if 0 <= old < len(self.lines):
                self.lines[old] = [*self.lines[old], ("", "text")]  # it is drawn anew, whatever it says
        self.show([*lines, *([] for _ in range(height - len(lines)))])

    def render_line(self, y: int) -> Strip:
        """One row; the chosen one on a ground of its own."""
        if y != self._row_y or y >= len(self.lines):
            return super().render_line(y)
        ground = self.get_component_rich_style("sheet--cursor")
        if ground.reverse:
            segments = [Segment(text, ground) for text, _ in self.lines[y] if text]
        else:
            back = Style(bgcolor=ground.bgcolor)
            segments = [Segment(text, self._style(colour) + back) for text, colour in self.lines[y] if text]
        rest = ground if ground.reverse else Style(bgcolor=ground.bgcolor)
        return Strip(segments).adjust_cell_length(self.size.width, rest)

    # -- moving -----------------------------------------------------------------------------------------------------

    @property
    def position(self) -> str:
        """Which rows of how many are seen; empty where all are."""
        count = self._page.count
        if count <= self.room:
            return ""
        return f"{self._top + 1:,}{glyphs().dash}{min(count, self._top + self.room):,} of {count:,}"

    def move(self, by: int) -> None:
        """The cursor by rows, or without one the page."""
        if not self._page.cursor:
            self._top += by
            self.draw()
            return
        self.go(self.place + by, 1 if by > 0 else -1)

    def scroll_pages(self, by: int) -> None:
        """A screenful."""
        step = by * max(1, self.room - 1)
        self._top += step
        if self._page.cursor:
            self.go(self.place + step, by)
        self.draw()

    def jump(self, place: int) -> None:
        """The first row, or the last (-1)."""
        end = max(0, self._page.count - 1)
        if self._page.cursor:
            self.go(end if place < 0 else place, -1 if place < 0 else 1)
            if place == 0:
                self._top = 0
        else:
            self._top = end if place < 0 else place
        self.draw()

    def go(self, place: int, direction: int = 1) -> None:
        """Choose a row, or the next one that can be, and bring it into sight."""
        before = self.place
        self.place = self._selectable(max(0, min(place, self._page.count - 1)), direction)
        if self.place < self._top:
            self._top = self.place if self.place - 1 not in self._page.fixed else self.place - 1
        elif self.place >= self._top + self.room:
            self._top = self.place - self.room + 1
        self.draw()
        if self.place != before:
            self.post_message(self.Moved())

    def _selectable(self, place: int, direction: int) -> int:
        for step in (direction, -direction):
            at = place
            while 0 <= at < self._page.count and at in self._page.fixed:
                at += step
            if 0 <= at < self._page.count:
                return at
        return place

    def on_resize(self) -> None:
        """Another width."""
        super().on_resize()
        self.draw()
        self.post_message(self.Moved())

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Wheel: on."""
        event.stop()
        self._top += 3
        self.draw()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Wheel: back."""
        event.stop()
        self._top -= 3
        self.draw()

    def on_click(self, event: events.Click) -> None:
        """A click chooses a row, on the chosen one it opens it."""
        place = event.y - len(self._page.head) + self._top
        if not self._page.cursor or not 0 <= place < self._page.count or place in self._page.fixed:
            return
        if place == self.place:
            self.post_message(self.Opened())
        else:
            self.go(place)
