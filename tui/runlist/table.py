"""A list of runs that repaints only the lines that changed, however many runs there are."""

from __future__ import annotations

import time
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.glyphs import glyphs
from tui.runlist import columns, groups
from tui.runlist.columns import DEFAULT
from tui.runlist.groups import Group

if TYPE_CHECKING:
    from engine.history import RunSummary

    Row = RunSummary | Group

NAMES = ("text", "title", "muted", "faint", "accent", "success", "warning", "error", "cursor", "cursor-blurred")
# Left of the columns: the cursor, and whether a run is marked or a group is open.
GUTTER = 3
Shown = tuple[tuple[columns.Part, ...], str]


def _id(row: Row) -> str:
    return row.id if isinstance(row, Group) else row.path


class RunTable(ScrollView, can_focus=True):
    """One line a run or group; once it has been moved, the cursor keeps to its row when the list changes."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"run-table--{name}" for name in NAMES}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup,ctrl+u", "page(-1)", show=False),
        Binding("pagedown,ctrl+d", "page(1)", show=False),
        Binding("home,g", "jump(0)", show=False),
        Binding("end,G", "jump(-1)", show=False),
    ]

    class Moved(Message):
        """The cursor stands on another row, or there is news of it."""

    class Opened(Message):
        """A row was clicked twice."""

    class Laid(Message):
        """The columns changed."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows: list[Row] = []
        self.columns: list[columns.Placed] = []
        self.marks: Container[str] = ()
        self._chosen: Sequence[str] = DEFAULT
        self._wide = (0, 0)
        self._cursor = 0
        self._moved = False
        self._drawn: dict[int, Shown] = {}
        self._styles_by_name: dict[str, Style] = {}

    @property
    def runs(self) -> list[RunSummary]:
        """The runs that stand there, in their order."""
        return [row for row in self.rows if not isinstance(row, Group)]

    @property
    def cursor(self) -> int:
        """The place of the cursor."""
        return self._cursor

    @property
    def row(self) -> Row | None:
        """What is under the cursor."""
        return self.rows[self._cursor] if self._cursor < len(self.rows) else None

    @property
    def selected(self) -> RunSummary | None:
        """The run under the cursor."""
        row = self.row
        return None if isinstance(row, Group) else row

    @property
    def selected_group(self) -> Group | None:
        """The group under the cursor, whose row or one of whose runs it is."""
        for place in range(min(self._cursor, len(self.rows) - 1), -1, -1):
            row = self.rows[place]
            if isinstance(row, Group):
                return row
        return None

    def choose(self, chosen: Sequence[str], wide: tuple[int, int]) -> None:
        """The columns that are wanted, and how wide states and steps are; drawn by the next :meth:`show`."""
        self._chosen, self._wide = chosen, wide

    def show(self, rows: list[Row]) -> None:
        """Replace the list."""
        before, place = self.row, self._cursor
        self.rows = rows
        if before is not None and self._moved:
            wanted = _id(before)
            place = next((at for at, row in enumerate(rows) if _id(row) == wanted), place)
        place = max(0, min(place, len(rows) - 1))
        scroll = self.scroll_offset.y + (place - self._cursor if self._moved else 0)
        self._cursor = place
        self._lay_out()
        if scroll != self.scroll_offset.y:
            self.scroll_to(y=scroll, animate=False, immediate=True)
        self.renew()
        if self.row != before:
            self.post_message(self.Moved())

    def from_top(self) -> None:
        """Show the list from its beginning, if the cursor is to be seen there, too."""
        if self.scroll_offset.y and self._cursor < self.scrollable_content_region.height:
            self.scroll_to(y=0, animate=False, immediate=True)

    def go_to(self, row: Row) -> None:
        """Move the cursor to a row that stands there."""
        wanted = _id(row)
        self._go(next((at for at, other in enumerate(self.rows) if _id(other) == wanted), self._cursor))

    def renew(self) -> None:
        """Repaint the lines that no longer say what they should (times of live runs move on)."""
        now = time.time()
        width = self.scrollable_content_region.width
        for y in range(self.scrollable_content_region.height):
            if y in self._drawn and self._line(y, now) != self._drawn[y]:
                self.refresh(Region(0, y, width, 1))

    def select_first(self) -> None:
        """Go back to the top and stay there until the cursor is moved."""
        self._go(0)
        self._moved = False

    def keep_selected(self) -> None:
        """Stay on the selected run wherever the next list has it."""
        self._moved = bool(self.rows)

    def _lay_out(self) -> None:
        placed = columns.layout(self._width(), columns.within(*self._wide), self._chosen)
        if placed != self.columns:
            self.columns = placed
            self.post_message(self.Laid())
        size = Size(self.scrollable_content_region.width, len(self.rows))
        if self.virtual_size != size:
            self.virtual_size = size

    def _line(self, y: int, now: float) -> Shown:
        place = y + self.scroll_offset.y
        if place >= len(self.rows):
            return (), "text"
        row = self.rows[place]
        cursor, ground = (" ", "faint"), "text"
        if place == self._cursor:
            focused = self.has_focus
            cursor = (glyphs().cursor, "accent" if focused else "faint")
            ground = "cursor" if focused else "cursor-blurred"
        if isinstance(row, Group):
            sign = (glyphs().closed if row.folded else glyphs().opened, "accent")
            return (cursor, sign, (" ", "text"), *groups.row(row, self._width())), ground
        sign = (glyphs().mark, "accent") if row.path in self.marks else (" ", "text")
        return (cursor, sign, (" ", "text"), *columns.row(row, self.columns, now)), ground

    def _width(self) -> int:
        return max(20, self.scrollable_content_region.width) - GUTTER

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        shown = self._drawn[y] = self._line(y, time.time())
        parts, ground = shown
        base = self._style(ground)
        if base.reverse:  # few colours: one for the whole line, since not every pair of them can be read
            segments = [Segment(text, base) for text, _ in parts if text]
        else:
            back = Style(bgcolor=base.bgcolor, bold=base.bold, underline=base.underline)
            segments = [Segment(text, self._style(name) + back) for text, name in parts if text]
        return Strip(segments).adjust_cell_length(self.scrollable_content_region.width, base)

    def on_resize(self, event: events.Resize) -> None:
        """Columns adapt to the width."""
        self._lay_out()
        self._drawn.clear()
        self.refresh()

    def on_focus(self) -> None:
        """The cursor shows the focus."""
        self.renew()

    def on_blur(self) -> None:
        """The cursor shows the focus."""
        self.renew()

    def on_click(self, event: events.Click) -> None:
        """A click selects, a second one opens."""
        place = event.y + self.scroll_offset.y
        if 0 <= place < len(self.rows):
            again = place == self._cursor and event.chain == 2
            self._go(place)
            if again:
                self.post_message(self.Opened())

    def action_move(self, by: int) -> None:
        """Up or down."""
        self._go(self._cursor + by)

    def action_page(self, by: int) -> None:
        """A page up or down."""
        self._go(self._cursor + by * max(1, self.scrollable_content_region.height - 1))

    def action_jump(self, place: int) -> None:
        """First or last."""
        self._go(place if place >= 0 else len(self.rows) - 1)

    def _go(self, place: int) -> None:
        place = max(0, min(place, len(self.rows) - 1))
        self._moved = True
        if place == self._cursor or not self.rows:
            return
        self._cursor = place
        self.renew()
        top, height = self.scroll_offset.y, self.scrollable_content_region.height
        if not top <= place < top + height:
            self.scroll_to(y=place if place < top else place - height + 1, animate=False, immediate=True)
        self.post_message(self.Moved())

    def notify_style_update(self) -> None:
        """The theme changed."""
        self._styles_by_name = {}
        super().notify_style_update()

    def _style(self, name: str) -> Style:
        style = self._styles_by_name.get(name)
        if style is None:
            style = self._styles_by_name[name] = self.get_component_rich_style(f"run-table--{name}")
        return style
