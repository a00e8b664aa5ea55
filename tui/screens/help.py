"""The keys of a screen, from the table of keys."""

from __future__ import annotations

from itertools import zip_longest

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from tui.glyphs import glyphs, state_text
from tui.keys import TABLES, TITLES, Key, bindings, display
from tui.screens.dialog import Dialog

# From this width on two keys stand side by side.
WIDE = 150


class HelpScreen(Dialog[None]):
    """All keys of one screen (a name in :data:`tui.keys.TABLES`) and those that work everywhere."""

    CSS_PATH = "dialog.tcss"
    BINDINGS = bindings("close")

    def __init__(self, table: str) -> None:
        super().__init__()
        self._tables = [name for name in (table, "app") if name in TITLES]
        self._columns = 1

    def compose(self) -> ComposeResult:
        """One group a table."""
        self._columns = 2 if self.app.size.width >= WIDE else 1
        with Vertical(classes="dialog -wide", id="help"):
            yield Static("Keys", classes="dialog--title")
            with VerticalScroll(classes="dialog--body"):
                yield Static(key_lists(self._tables, self._columns), id="help-keys")
            yield Static("esc closes", classes="dialog--foot", id="help-foot")

    def on_mount(self) -> None:
        """Say when there is more below."""
        self.watch(self.query_one(VerticalScroll), "scroll_y", self._say_more)

    def on_resize(self, event: Resize) -> None:
        """Two columns where there is room."""
        columns = 2 if event.size.width >= WIDE else 1
        self.query_one("#help").set_class(columns == 2, "-widest")
        if columns != self._columns:
            self._columns = columns
            self.query_one("#help-keys", Static).update(key_lists(self._tables, columns))
        self.call_after_refresh(self._say_more)

    def _say_more(self) -> None:
        if not self.is_attached:  # closed meanwhile
            return
        body = self.query_one(VerticalScroll)
        more = f"{glyphs().down} more below   " if body.scroll_y < body.max_scroll_y else ""
        self.query_one("#help-foot", Static).update(Content(f"{more}esc closes"))

    def action_close(self) -> None:
        """Close the help."""
        self.dismiss(None)


def key_lists(tables: list[str], columns: int = 1) -> Content:
    """All groups of these tables, one below the other or filled into columns."""
    groups = [(title, rows) for name in tables for title, rows in grouped(name)]
    width = max((cell_len(display(row)) for _, rows in groups for row in rows), default=0)
    blocks = [[Content.styled(title, "$text-muted"), *(_row(row, width) for row in rows)] for title, rows in groups]
    if columns == 1:
        return Content("\n\n").join(Content("\n").join(block) for block in blocks)
    return Content("\n").join(_side_by_side(blocks))


def grouped(table: str) -> list[tuple[str, list[Key]]]:
    """The keys of a table by their headings, in the order of the table."""
    found: dict[str, list[Key]] = {}
    for row in TABLES[table]:
        found.setdefault(row.group or TITLES[table], []).append(row)
    return list(found.items())


def _row(row: Key, width: int) -> Content:
    key = display(row)
    return Content.assemble((" " * (width - cell_len(key)) + key, "bold $accent"), "  ", row.help)


def _side_by_side(blocks: list[list[Content]]) -> list[Content]:
    """Blocks in two columns of about the same height, in their order."""
    half = sum(len(block) + 1 for block in blocks) / 2
    columns: list[list[Content]] = [[], []]
    for block in blocks:
        column = columns[0] if not columns[0] or len(columns[0]) + len(block) / 2 <= half else columns[1]
        column += [Content(""), *block] if column else block
    width = max(line.cell_length for line in columns[0]) + 4
    empty = Content("")
    return [
        Content.assemble(left, " " * (width - left.cell_length), right)
        for left, right in zip_longest(*columns, fillvalue=empty)
    ]


def state_list() -> Content:
    """The signs of the states."""
    names = ("queued", "starting", "running", "stopping", "completed", "stopped", "failed", "killed", "lost")
    return Content("   ".join(state_text(name) for name in names))
