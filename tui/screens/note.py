"""Name, note and tags of a run: people's own words."""

from __future__ import annotations

from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.keys import bindings


class NoteScreen(ModalScreen[str]):
    """Edits ``notes.json`` of the run at ``path``; dismisses with words for the message line, empty if nothing was done."""

    CSS_PATH = "dialog.tcss"
    BINDINGS = bindings("note")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = Path(path).absolute()

    def compose(self) -> ComposeResult:
        """The fields."""
        with Vertical(classes="dialog -wide"):
            yield Static("Name, tags and note", classes="dialog--title", markup=False)

    def action_cancel(self) -> None:
        """Back without saving."""
        self.dismiss("")
