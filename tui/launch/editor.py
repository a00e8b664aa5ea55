"""The field in which one value is edited, over its line in the list."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input


class ValueEditor(Input):
    """An input whose up and down step a value, and whose Tab completes or goes on."""

    DEFAULT_CSS = """
    ValueEditor {
        layer: over;
        position: absolute;
        height: 1;
        border: none;
        padding: 0;
        background: $surface;
        color: $foreground;
        display: none;
        &:focus { border: none; background-tint: transparent; }
        &.-editing { display: block; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "step(1)", show=False),
        Binding("down", "step(-1)", show=False),
        Binding("tab", "tab", show=False),
        Binding("shift+tab", "leave(-1)", show=False),
        Binding("escape", "cancel", show=False),
    ]

    class Stepped(Message):
        """Up (1) or down (-1) was pressed."""

        def __init__(self, direction: int) -> None:
            super().__init__()
            self.direction = direction

    class Tabbed(Message):
        """Tab was pressed."""

    class Left(Message):
        """The edit is over: go ``by`` settings further."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    class Cancelled(Message):
        """Escape was pressed: the old value comes back."""

    def __init__(self) -> None:
        super().__init__(select_on_focus=False, compact=True)
        self.cursor_blink = False

    def action_step(self, direction: int) -> None:
        """Up or down."""
        self.post_message(self.Stepped(direction))

    def action_tab(self) -> None:
        """Complete, or go on."""
        self.post_message(self.Tabbed())

    def action_leave(self, by: int) -> None:
        """Go on or back."""
        self.post_message(self.Left(by))

    def action_cancel(self) -> None:
        """Forget the edit."""
        self.post_message(self.Cancelled())
