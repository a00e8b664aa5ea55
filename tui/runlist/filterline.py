"""The line in which the words of a filter are typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.widgets import Input

from tui.keys import bindings

if TYPE_CHECKING:
    from tui.screens.runs import RunsScreen


class FilterLine(Input):
    """One line to type words in."""

    BINDINGS = bindings("filter")

    def __init__(self) -> None:
        super().__init__(placeholder="words of the name, model, state or id", id="runs-filter", compact=True)
        self.cursor_blink = False

    def action_clear(self) -> None:
        """Show all runs."""
        cast("RunsScreen", self.screen).key_escape()
