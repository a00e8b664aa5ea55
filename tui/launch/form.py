"""The settings as a list of lines, one edited at a time in a field that lies over its value."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engine.config import SettingInfo
from engine.text import clean
from tui import format as fmt
from tui.glyphs import glyphs
from tui.launch.model import FormModel
from tui.widgets.lines import COLOURS, Line

NAME_WIDTH = 29
VALUE_AT = NAME_WIDTH + 3
Row = str | SettingInfo | None
"""A group's heading, a setting, or an empty line between groups."""


class SettingsList(ScrollView, can_focus=True):
    """Shows the settings of a view; the cursor stands on a setting, never on a heading."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"settings--{name}" for name in (*COLOURS, "cursor")}
    DEFAULT_CSS = """
    SettingsList {
        height: 1fr;
        scrollbar-size-vertical: 1;
        scrollbar-size-horizontal: 0;
        & > .settings--text { color: $foreground; }
        & > .settings--title { color: $foreground; text-style: bold; }
        & > .settings--value { color: $foreground; }
        & > .settings--muted { color: $text-muted; }
        & > .settings--accent { color: $accent; }
        & > .settings--success { color: $success; }
        & > .settings--warning { color: $warning; }
        & > .settings--error { color: $error; }
        & > .settings--rule { color: $faint; }
        & > .settings--key { color: $accent; text-style: bold; }
        & > .settings--cursor { background: $row-cursor; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "jump(0)", show=False),
        Binding("end", "jump(-1)", show=False),
    ]

    class Moved(Message):
        """The cursor stands on another setting."""

    class Typed(Message):
        """A character was typed on a setting: its value is to be replaced."""

        def __init__(self, character: str) -> None:
            super().__init__()
            self.character = character

    class Pressed(Message):
        """A setting was clicked once more."""

    def __init__(self, model: FormModel) -> None:
        super().__init__()
        self.model = model
        self.view = "basic"
        self._rows: list[Row] = []
        self._lines: list[Line] = []
        self._cursor = 0
        self._cache: dict[str, Style] = {}

    # -- what is shown -------------------------------------------------------------------------------------------------

    @property
    def current(self) -> SettingInfo | None:
        """The setting under the cursor."""
        row = self._rows[self._cursor] if self._cursor < len(self._rows) else None
        return row if isinstance(row, SettingInfo) else None

    @property
    def names(self) -> list[str]:
        """The settings in sight, in order."""
        return [row.name for row in self._rows if isinstance(row, SettingInfo)]

    @property
    def text(self) -> str:
        """What is shown, without colours."""
        return "\n".join("".join(text for text, _ in line) for line in self._lines)

    def rebuild(self, keep: str | None = None) -> None:
        """Lay out the rows of the view anew, the cursor on ``keep`` if it is there."""
        keep = keep or (self.current.name if self.current else None)
        rows: list[Row] = []
        for group, infos in self.model.visible(self.view):
            rows += [*([None] if rows else []), group, *infos]
        self._rows = rows
        places = [i for i, row in enumerate(rows) if isinstance(row, SettingInfo)]
        self._cursor = next(
            (i for i in places if isinstance(r := rows[i], SettingInfo) and r.name == keep), places[0] if places else 0
        )
        self.virtual_size = Size(self._width, len(rows))
        self._lines = []
        self.renew()
        self.refresh()
        self._show_cursor()
        self.post_message(self.Moved())

    def renew(self) -> None:
        """Draw the lines that changed."""
        old, self._lines = self._lines, [self._line(row) for row in self._rows]
        for place, line in enumerate(self._lines):
            if place >= len(old) or old[place] != line:
                self._refresh_row(place)

    def place_of_value(self) -> tuple[int, int, int]:
        """Column, row (on the widget) and width of the value under the cursor."""
        return VALUE_AT, self._cursor - self.scroll_offset.y, max(10, self._width - VALUE_AT)

    @property
    def _width(self) -> int:
        return self.scrollable_content_region.width or self.size.width

    def _line(self, row: Row) -> Line:
        if row is None:
            return []
        if isinstance(row, str):
            return [(" ", "text"), (row, "accent")]
        model, room = self.model, max(8, self._width - VALUE_AT)
        problem = model.problem(row.name)
        mark = glyphs().cross if problem else glyphs().changed if model.is_changed(row.name) else " "
        colour = "error" if problem else "accent"
        text = clean(model.text(row.name), 4000)
        cut = "start" if row.kind in ("path", "directory") else "end"
        if problem is not None:
            shown = fmt.shorten(text, max(6, min(cell_len(text), room // 2)), cut)
            message = clean(problem.message, 300)
            if problem.line:
                message = f"line {problem.line}: {message}"
            gap = 2 if shown else 0
            message = fmt.shorten(message, max(4, room - cell_len(shown) - gap))
            value: Line = [(shown, "value"), (" " * gap, "text"), (message, "error")]
        elif not text:
            value = [(glyphs().dash, "muted")]
        else:
            unit = f"{row.unit}" if row.unit and not text.startswith("auto") else ""
            changed = "title" if model.is_changed(row.name) else "value"
            value = [(fmt.shorten(text, max(4, room - cell_len(unit) - 1), cut) + " ", changed), (unit, "muted")]
        return [(f" {mark} ", colour), (row.name.ljust(NAME_WIDTH), "muted"), *value]

    # -- drawing -------------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        place, width = y + self.scroll_offset.y, self.scrollable_content_region.width
        if place >= len(self._lines):
            return Strip.blank(width, self._style("text"))
        over = self._style("cursor") if place == self._cursor else None
        base = self._style("text") + over if over else self._style("text")
        segments = [
            Segment(text, self._style(c) + over if over else self._style(c)) for text, c in self._lines[place] if text
        ]
        return Strip(segments).adjust_cell_length(width, base)

    def on_resize(self, event: events.Resize) -> None:
        """Values are cut for the new width."""
        self._lines = []
        self.virtual_size = Size(self._width, len(self._rows))
        self.renew()
        self.refresh()
        self._show_cursor()

    def notify_style_update(self) -> None:
        """The theme changed."""
        self._cache = {}
        super().notify_style_update()

    def _style(self, name: str) -> Style:
        style = self._cache.get(name)
        if style is None:
            style = self._cache[name] = self.get_component_rich_style(f"settings--{name}", partial=name == "cursor")
        return style

    def _refresh_row(self, place: int) -> None:
        y = place - self.scroll_offset.y
        if 0 <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    # -- moving --------------------------------------------------------------------------------------------------------

    def go(self, name: str) -> bool:
        """Put the cursor on a setting; ``False`` if the view does not show it."""
        for place, row in enumerate(self._rows):
            if isinstance(row, SettingInfo) and row.name == name:
                self._move_to(place)
                return True
        return False

    def action_move(self, by: int) -> None:
        """The next setting up or down."""
        places = self._places()
        if places:
            index = places.index(self._cursor) if self._cursor in places else 0
            self._move_to(places[max(0, min(len(places) - 1, index + by))])

    def action_page(self, by: int) -> None:
        """A page up or down."""
        self.action_move(by * max(1, self.size.height - 3))

    def action_jump(self, place: int) -> None:
        """First or last."""
        places = self._places()
        if places:
            self._move_to(places[place])

    def on_click(self, event: events.Click) -> None:
        """A click selects; on the selected one it edits."""
        place = event.y + self.scroll_offset.y
        if place < len(self._rows) and isinstance(self._rows[place], SettingInfo):
            if place == self._cursor:
                self.post_message(self.Pressed())
            else:
                self._move_to(place)

    def on_key(self, event: events.Key) -> None:
        """A printable character begins an edit."""
        if event.character and event.is_printable and event.character != " " and self.current is not None:
            event.stop()
            event.prevent_default()
            self.post_message(self.Typed(event.character))

    def on_paste(self, event: events.Paste) -> None:
        """Pasted text replaces the value."""
        if event.text.strip() and self.current is not None:
            event.stop()
            self.post_message(self.Typed(event.text.strip().splitlines()[0]))

    def _places(self) -> list[int]:
        return [place for place, row in enumerate(self._rows) if isinstance(row, SettingInfo)]

    def _move_to(self, place: int) -> None:
        if place == self._cursor:
            return
        before, self._cursor = self._cursor, place
        self._refresh_row(before)
        self._refresh_row(place)
        self._show_cursor()
        self.post_message(self.Moved())

    def _show_cursor(self) -> None:
        # The heading above the first setting of a group comes into sight with it.
        above = 1 if self._cursor and isinstance(self._rows[self._cursor - 1], str) else 0
        self.scroll_to_region(Region(0, self._cursor - above, 1, 1 + above), animate=False, force=True, immediate=True)
