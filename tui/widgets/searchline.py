"""The line in which a search is typed."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Input

from tui.keys import bindings


class SearchLine(Input):
    """One line to type a search in; what is typed is searched at once."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("search")

    class Ended(Message):
        """Escape: no search any more."""

    def __init__(self, value: str = "") -> None:
        super().__init__(value, placeholder="search the log; capitals count only if you type some", compact=True)
        self.cursor_blink = False

    def action_clear(self) -> None:
        """End the search."""
        self.post_message(self.Ended())
