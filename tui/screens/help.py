"""The keys of a screen, from the table of keys."""

from __future__ import annotations

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.glyphs import state_text
from tui.keys import TABLES, TITLES, bindings, display


class HelpScreen(ModalScreen[None]):
    """All keys of one screen (a name in :data:`tui.keys.TABLES`) and those that work everywhere."""

    CSS_PATH = "dialog.tcss"
    BINDINGS = bindings("close")

    def __init__(self, table: str) -> None:
        super().__init__()
        self._tables = [name for name in (table, "app") if name in TITLES]

    def compose(self) -> ComposeResult:
        """One group a table."""
        with Vertical(classes="dialog -wide"):
            yield Static("Keys", classes="dialog--title")
            with VerticalScroll(classes="dialog--body"):
                yield Static(Content("\n\n").join([key_list(name) for name in self._tables]))
            yield Static("esc closes", classes="dialog--foot")

    def action_close(self) -> None:
        """Close the help."""
        self.dismiss(None)


def key_list(table: str) -> Content:
    """A heading and one line a key."""
    rows = TABLES[table]
    width = max(cell_len(display(row)) for row in rows)
    lines = [Content.styled(TITLES[table], "$text-muted")]
    for row in rows:
        key = display(row)
        lines.append(Content.assemble((" " * (width - cell_len(key)) + key, "bold $accent"), "  ", row.help))
    return Content("\n").join(lines)


def state_list() -> Content:
    """The signs of the states."""
    names = ("queued", "starting", "running", "stopping", "completed", "stopped", "failed", "killed", "lost")
    return Content("   ".join(state_text(name) for name in names))
