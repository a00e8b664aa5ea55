"""What the parts of the list's screen share."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.screen import Screen

from tui.runlist.choices import Choices
from tui.runlist.table import RunTable

if TYPE_CHECKING:
    from tui.app import TunedeckApp
    from tui.runlist.feed import RunsFeed
    from tui.runlist.model import RunList


class ListScreen(Screen[None]):
    """The list's screen as its parts see it; each part adds actions of one kind."""

    feed: RunsFeed
    list: RunList
    choices: Choices

    @property
    def table(self) -> RunTable:
        """The rows."""
        raise NotImplementedError

    @property
    def shell(self) -> TunedeckApp:
        """The app."""
        return cast("TunedeckApp", self.app)

    def draw(self, words: str = "") -> None:
        """Show the list as it is now; the words stand above it until the next news."""
        raise NotImplementedError
