"""One line to type in, for dialogs: like a form's field, with completion of paths below it."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Offset
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui.launch import rows
from tui.launch.entry import Entry


class TextField(Widget, can_focus=True):
    """A text that may hold anything and is drawn safely. Tab completes if it is a path; Enter submits."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"text-field--marked", "text-field--cursor", "text-field--hint"}
    DEFAULT_CSS = """
    TextField {
        height: 1; margin-top: 1; padding: 0 1; background: $background; color: $foreground;
        & > .text-field--marked { background: $accent 35%; color: $foreground; }
        & > .text-field--cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
        & > .text-field--hint { color: $text-muted; }
        &:ansi {
            background: ansi_black; color: ansi_white;
            & > .text-field--marked { background: ansi_cyan; color: ansi_black; }
        }
    }
    """

    class Changed(Message):
        """The text changed."""

    class Submitted(Message):
        """Enter was pressed."""

    def __init__(self, text: str = "", *, kind: str = "text", hint: str = "", new: bool = False) -> None:
        super().__init__()
        self.entry = Entry(text, kind=kind, selected=True, new=new)
        self._hint = hint

    @property
    def value(self) -> str:
        """The raw text."""
        return self.entry.text

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Letters are typed here, whatever they mean elsewhere."""
        return character is not None and character.isprintable()

    async def on_key(self, event: events.Key) -> None:
        """Edit, complete, submit; the rest is the dialog's."""
        entry, key, before = self.entry, event.key, self.entry.text
        if key == "enter":
            self.post_message(self.Submitted())
        elif key == "tab":
            await entry.complete()
        elif key in ("up", "down"):
            if not entry.choose(1 if key == "down" else -1):
                return
        elif entry.press(key):
            pass
        elif event.character and event.is_printable:
            entry.insert(event.character)
        else:
            return
        event.stop()
        event.prevent_default()
        self._renew(before)

    def on_paste(self, event: events.Paste) -> None:
        """Pasted text goes into the field."""
        event.stop()
        before = self.entry.text
        self.entry.insert(event.text.strip())
        self._renew(before)

    def _renew(self, before: str) -> None:
        height = 1 + len(rows.candidate_places(self.entry))
        if self.styles.height is None or self.styles.height.value != height:
            self.styles.height = height
        self.refresh()
        if self.entry.text != before:
            self.post_message(self.Changed())

    def render_line(self, y: int) -> Strip:
        """The field, then the candidates."""
        width, entry = self.size.width, self.entry
        ground = self.rich_style
        if y > 0:
            return Strip([Segment(self._candidate(y - 1, width), ground + self._component("hint"))]).adjust_cell_length(
                width, ground
            )
        segments = []
        for text, name in entry.parts(width):
            segments.append(Segment(text, ground if name == "field" else self._component(name)))
        if not entry.text and self._hint:
            segments.append(Segment(f" {self._hint}", ground + self._component("hint")))
        if self.has_focus:
            x = self.content_region.x + cell_len(entry.window(width)[0])
            self.app.cursor_position = Offset(x, self.content_region.y)
        return Strip(segments).adjust_cell_length(width, ground).crop(0, width)

    def _candidate(self, number: int, width: int) -> str:
        places = rows.candidate_places(self.entry)
        if number >= len(places):
            return ""
        line = "".join(text for text, _ in rows.candidate(self.entry, places[number]))
        return line[rows.VALUE_AT :]

    def _component(self, name: str) -> Style:
        return self.get_component_rich_style(f"text-field--{name}")
