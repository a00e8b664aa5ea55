"""Home: all runs, newest first."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.screen import Screen

from tui.keys import bindings
from tui.widgets.chrome import KeyBar, TopBar


class RunsScreen(Screen[None]):
    """The list of runs."""

    KEYS = "runs"
    BINDINGS = bindings("runs")

    def compose(self) -> ComposeResult:
        """Chrome only, as yet."""
        yield TopBar("Runs")
        yield KeyBar()
