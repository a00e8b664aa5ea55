"""The settings as lines on the screen; only those that changed are repainted."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engine.config import SettingInfo, settings
from tui.launch import rows
from tui.launch.entry import Entry
from tui.launch.model import FormModel
from tui.launch.rows import Row
from tui.widgets.lines import COLOURS, Line

Drawn = tuple[Line, bool]


class SettingsView(ScrollView, inherit_bindings=False):
    """Shows the settings of :attr:`view`; one is in focus, and :attr:`entry` is the field while it is edited."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"settings--{n}" for n in (*COLOURS, "row", "field", "marked", "cursor")}

    class Moved(Message):
        """Another setting is in focus, or an edit of it began."""

    def __init__(self, model: FormModel) -> None:
        super().__init__()
        self.model = model
        self.view = "basic"
        self.entry: Entry | None = None
        self._in_focus = ""
        self._shown: list[tuple[str, list[SettingInfo]]] = []
        self._rows: list[Row] = []
        self._drawn: list[Drawn] = []
        self._cache: dict[str, Style] = {}

    # What is shown.

    @property
    def current(self) -> SettingInfo | None:
        """The setting in focus."""
        return self.model.info(self._in_focus)

    @property
    def names(self) -> list[str]:
        """The settings of the view, in order."""
        return [info.name for _, infos in self._shown for info in infos]

    @property
    def text(self) -> str:
        """What is shown, without colours."""
        return "\n".join("".join(text for text, _ in line) for line, _ in self._drawn)

    def rebuild(self, name: str | None = None) -> None:
        """Take up the settings of the view anew, with the focus on a name if it is among them."""
        self._shown = list(self.model.visible(self.view))
        names = self.names
        wanted = name or self._in_focus
        self._in_focus = wanted if wanted in names else (names[0] if names else "")
        self.renew()
        self._show_cursor()
        self.post_message(self.Moved())

    def renew(self) -> None:
        """Draw the lines that changed. What has become wrong comes into sight, whatever the view."""
        if not set(self.model.wrong) <= set(self.names):
            self._shown = list(self.model.visible(self.view))
        self._rows = self._lay_out()
        size = Size(self._width, len(self._rows))
        if self.virtual_size != size:
            self.virtual_size = size
        old, self._drawn = self._drawn, [self._draw(row) for row in self._rows]
        for place in range(max(len(old), len(self._drawn))):
            if place >= len(old) or place >= len(self._drawn) or old[place] != self._drawn[place]:
                self._refresh_row(place)
        self._place_cursor()

    def _lay_out(self) -> list[Row]:
        out: list[Row] = []
        for group, infos in self._shown:
            if out:
                out.append(Row("blank"))
            hidden = sum(info.group == group for info in settings().values()) - len(infos)
            out.append(Row("group", group, place=hidden))
            for info in infos:
                out.append(Row("setting", info.name, info))
                if info.name == self._in_focus and self.entry is not None:
                    out += [Row("candidate", place=place) for place in rows.candidate_places(self.entry)]
        return out

    def _draw(self, row: Row) -> Drawn:
        if row.kind == "group":
            return rows.heading(row.text, row.place), False
        if row.kind == "candidate" and self.entry is not None:
            return rows.candidate(self.entry, row.place), False
        if row.info is None:
            return [], False
        current = row.text == self._in_focus
        entry = self.entry if current else None
        info = self.model.info(row.text) or row.info
        return rows.setting(self.model, info, self._width, current=current, entry=entry), current and self.has_focus

    @property
    def _width(self) -> int:
        return self.scrollable_content_region.width or self.size.width

    # Drawing.

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        place, width = y + self.scroll_offset.y, self.scrollable_content_region.width
        if place >= len(self._drawn):
            return Strip.blank(width, self._style("text"))
        line, lit = self._drawn[place]
        ground = Style(bgcolor=self._style("row").bgcolor) if lit else Style()
        segments = []
        for text, colour in line:
            style = self._style(colour)
            segments.append(Segment(text, style if colour in ("field", "marked", "cursor") else style + ground))
        return Strip(segments).adjust_cell_length(width, self._style("text") + ground)

    def on_resize(self, event: events.Resize) -> None:
        """Values are cut for the new width."""
        self._drawn = []
        self.renew()
        self.refresh()
        self._show_cursor()

    def on_focus(self) -> None:
        """The line in focus is lit."""
        self.renew()

    def on_blur(self) -> None:
        """A dialog is open."""
        self.renew()

    def notify_style_update(self) -> None:
        """The theme changed."""
        self._cache = {}
        super().notify_style_update()

    def _style(self, name: str) -> Style:
        style = self._cache.get(name)
        if style is None:
            style = self._cache[name] = self.get_component_rich_style(f"settings--{name}")
        return style

    def _refresh_row(self, place: int) -> None:
        y = place - self.scroll_offset.y
        if 0 <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    def _place(self) -> int:
        places = [at for at, row in enumerate(self._rows) if row.kind == "setting" and row.text == self._in_focus]
        return places[0] if places else 0

    def _show_cursor(self) -> None:
        place = self._place()
        above = 1 if place and self._rows[place - 1].kind == "group" else 0
        below = len(rows.candidate_places(self.entry)) if self.entry is not None else 0
        region = Region(0, place - above, 1, 1 + above + below)
        self.scroll_to_region(region, animate=False, force=True, immediate=True)

    def _place_cursor(self) -> None:
        """The terminal's own cursor follows, since input methods show what is being composed there."""
        if self.entry is not None and self.is_mounted:
            width = rows.field_width(self.model, settings()[self._in_focus], self.entry, rows.room(self._width))
            before = cell_len(self.entry.window(width)[0])
            x, y = self.region.x + rows.VALUE_AT + before, self.region.y + self._place() - self.scroll_offset.y
            self.app.cursor_position = Offset(x, y)
