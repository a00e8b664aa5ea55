"""Asks for a folder that is searched for runs from now on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, Static

from engine.paths import expand
from engine.text import clean_path
from tui.keys import bindings
from tui.screens.dialog import Dialog


class FolderScreen(Dialog[Path | None]):
    """Dismisses with the folder, which is remembered by then, or with ``None``."""

    CSS_PATH = "dialog.tcss"
    BINDINGS = bindings("ask")

    def __init__(self, searched: Sequence[Path]) -> None:
        super().__init__()
        self._searched = list(searched)

    def compose(self) -> ComposeResult:
        """A line to type in; below it what is searched already."""
        from engine import registry

        folders = [clean_path(path) for path in (*self._searched, *registry.roots())]
        known = "\n".join(f"  {folder}" for folder in dict.fromkeys(folders)) or "  none but the runs launched here"
        with Vertical(classes="dialog -wide"):
            yield Static("Search one more folder for runs", classes="dialog--title", markup=False)
            field = Input(placeholder="a folder; ~ is your home", compact=True, classes="dialog--input")
            field.cursor_blink = False
            yield field
            yield Static("", classes="dialog--error", markup=False)
            yield Static(f"Searched now:\n{known}", classes="dialog--detail", markup=False)
            yield Static("enter adds   esc goes back", classes="dialog--foot", markup=False)

    def on_input_changed(self) -> None:
        """A new try."""
        self._say("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take it if it is a folder."""
        text = event.value.strip()
        if not text:
            self._say("Type the path of a folder")
            return
        path = expand(text).absolute()
        if not path.is_dir():
            self._say("There is no such folder" if not path.exists() else "That is no folder")
            return
        from engine import registry

        registry.remember_root(path)
        self.dismiss(path)

    def _say(self, text: str) -> None:
        box = self.query_one(".dialog--error", Static)
        if str(box.content) != text:
            box.update(text)

    def action_cancel(self) -> None:
        """Back without adding."""
        self.dismiss(None)
