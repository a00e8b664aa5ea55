"""Lines with the colours of tokens, and the line in which a row number or a search is typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Input

from tui.history.sheet import Sheet
from tui.keys import bindings
from tui.widgets.lines import Line, Lines

_KINDS = ("plain", "learned", "special", "learned-special", "gone")
COLOURS = {f"lines--{name}{odd}" for name in _KINDS for odd in ("", "-odd")} | {"lines--border", "lines--learned-mark"}


class TokenLines(Lines):
    """Lines that know the colours of tokens."""

    COMPONENT_CLASSES: ClassVar[set[str]] = COLOURS


class TokenSheet(Sheet):
    """A page of tokens."""

    COMPONENT_CLASSES: ClassVar[set[str]] = COLOURS


class Head(Lines):
    """Lines that take as much room as there are of them."""

    def show(self, lines: Sequence[Line]) -> None:
        """Replace the lines."""
        super().show(lines)
        if self.styles.height is None or self.styles.height.value != len(lines):
            self.styles.height = len(lines)


class AskLine(Input):
    """One line to type in; hidden until it is asked for."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("preview-ask")

    class Given(Message):
        """Enter: ``kind`` is what it was asked for."""

        def __init__(self, kind: str, text: str) -> None:
            super().__init__()
            self.kind, self.text = kind, text

    class Left(Message):
        """Escape."""

    def __init__(self) -> None:
        super().__init__(compact=True)
        self.cursor_blink = False
        self.kind = ""
        self.display = False

    def open(self, kind: str, placeholder: str, value: str = "") -> None:
        """Ask."""
        self.kind, self.placeholder, self.value = kind, placeholder, value
        self.display = True
        self.focus()
        self.cursor_position = len(value)

    def close(self) -> None:
        """Ask no more."""
        self.display = False
        self.blur()

    def action_submit(self) -> None:  # type: ignore[override]
        """Give what was typed."""
        self.post_message(self.Given(self.kind, self.value.strip()))

    def action_cancel(self) -> None:
        """Give nothing."""
        self.post_message(self.Left())
