"""The list's dialogs: its columns, saved filters, a name for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from engine.errors import TunedeckError
from engine.text import clean
from tui.glyphs import glyphs
from tui.keys import TABLES, bindings, display
from tui.runlist.catalogue import COLUMNS
from tui.screens.dialog import Dialog, ScreenResultType


def keys_of(table: str) -> Static:
    """The last line of a dialog: its keys."""
    rows = [row for row in TABLES[table] if row.show]
    plain = glyphs().ascii
    keys = [row.key.split(",")[0] if plain and not display(row).isascii() else display(row) for row in rows]
    parts = [part for key, row in zip(keys, rows, strict=True) for part in ((key, "bold $accent"), f" {row.label}   ")]
    return Static(Content.assemble(*parts).rstrip(), classes="dialog--foot")


class ListDialog(Dialog[ScreenResultType]):
    """A title, a list, its keys."""

    CSS_PATH = "../screens/dialog.tcss"
    TITLE = ""
    DETAIL = ""
    KEYS = "ask"

    def compose(self) -> ComposeResult:
        """Title, list, keys."""
        with Vertical(classes="dialog -wide"):
            yield Static(Content(self.TITLE or ""), classes="dialog--title")
            if self.DETAIL:
                yield Static(Content(self.DETAIL), classes="dialog--detail")
            options = OptionList(classes="dialog--body", compact=True)
            options.styles.max_height = "50vh"
            options.styles.text_wrap, options.styles.text_overflow = "nowrap", "ellipsis"
            yield options
            yield keys_of(self.KEYS)

    @property
    def options(self) -> OptionList:
        """The list."""
        return self.query_one(OptionList)

    def action_cancel(self) -> None:
        """Nothing."""
        self.dismiss(None)


class ColumnsScreen(ListDialog[tuple[str, ...] | None]):
    """Which columns there are, in which order; dismissed with them, empty for the usual ones, or with ``None``.

    ``room`` are those that have room at this width.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("columns")
    KEYS = "columns"
    TITLE = "Columns"
    DETAIL = "Those that stand first are kept longest where there is little room."

    def __init__(self, shown: Sequence[str], room: Sequence[str]) -> None:
        super().__init__()
        self._shown, self._room = [key for key in shown if key in COLUMNS], frozenset(room)
        self._before = tuple(self._shown)
        self._rest = [key for key in COLUMNS if key not in self._shown]

    @property
    def _all(self) -> list[str]:
        return [*self._shown, *self._rest]

    def on_mount(self) -> None:
        """The list, at its beginning."""
        self.options.add_options([Option(self._line(key)) for key in self._all])
        self.options.highlighted = 0

    def _line(self, key: str) -> Content:
        column = COLUMNS[key]
        shown = key in self._shown
        sign = (f"{glyphs().check} ", "bold $accent") if shown else "  "
        title = f"{column.title or 'progress':<12}"
        hidden = shown and key in self._before and key not in self._room
        about = f"{column.about}{f' {glyphs().dot} no room now' if hidden else ''}"
        return Content.assemble(sign, title if shown else (title, "$text-muted"), (about, "$text-muted"))

    def _redraw(self, place: int) -> None:
        for at, key in enumerate(self._all):
            self.options.replace_option_prompt_at_index(at, self._line(key))
        self.options.highlighted = place

    def action_flip(self) -> None:
        """Show the column, or show it no more."""
        place = self.options.highlighted
        if place is None:
            return
        key = self._all[place]
        if key == "name":
            return  # a row must be told from others
        if key in self._shown:
            self._shown.remove(key)
            self._rest = [one for one in COLUMNS if one not in self._shown]
        else:
            self._rest.remove(key)
            self._shown.append(key)
        self._redraw(self._all.index(key))

    def action_shift(self, by: int) -> None:
        """Move the column among those that are shown."""
        place = self.options.highlighted
        if place is None or place >= len(self._shown) or not 0 <= place + by < len(self._shown):
            return
        self._shown.insert(place + by, self._shown.pop(place))
        self._redraw(place + by)

    def action_usual(self) -> None:
        """The columns that there are without a choice."""
        self.dismiss(())

    def action_done(self) -> None:
        """Take them."""
        shown = tuple(self._shown)
        self.dismiss(shown if shown != self._before else None)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click shows or hides; Enter arrives here, too."""
        event.stop()
        self.action_done()


class SavedScreen(ListDialog[str | None]):
    """The saved filters; dismissed with the name of the chosen one or ``None``."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("saved")
    KEYS = "saved"
    TITLE = "Saved filters"

    def on_mount(self) -> None:
        """The list."""
        self._fill()

    def _fill(self) -> None:
        from engine.history.query import saved

        place = self.options.highlighted or 0
        self.options.clear_options()
        known = saved.load()
        width = max((len(name) for name in known), default=0)
        for name, text in known.items():
            about = Content.styled(clean(text, 200), "$text-muted")
            self.options.add_option(Option(Content.assemble(f"@{name:<{width}}  ", about), name))
        if not known:
            nothing = Content.styled("None yet. Type a filter with / and press F4.", "$text-muted")
            self.options.add_option(Option(nothing, disabled=True))
        self.options.highlighted = min(place, len(known) - 1) if known else None

    def action_forget(self) -> None:
        """Remove the one under the cursor."""
        from engine.history.query import saved

        place = self.options.highlighted
        if place is not None:
            name = self.options.get_option_at_index(place).id
            if name is not None:
                saved.remove(name)
                self._fill()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter, or a click."""
        event.stop()
        self.dismiss(event.option.id)


class NameScreen(Dialog[str | None]):
    """A name for a filter; dismissed with it once it is saved."""

    CSS_PATH = "../screens/dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("ask")

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """A line to type in, what is saved."""
        with Vertical(classes="dialog -wide"):
            yield Static("Save the filter as", classes="dialog--title", markup=False)
            field = Input(placeholder="a short name: it is used as @name", compact=True, classes="dialog--input")
            field.cursor_blink = False
            yield field
            yield Static("", classes="dialog--error", markup=False)
            yield Static(Content(clean(self._text, 400)), classes="dialog--detail")
            foot = Content.assemble(
                ("⏎" if not glyphs().ascii else "enter", "bold $accent"), " save   ", ("esc", "bold $accent"), " back"
            )
            yield Static(foot, classes="dialog--foot")

    def on_input_changed(self) -> None:
        """A new try."""
        self._say("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Save it, if the name will do."""
        from engine.history.query import saved

        name = event.value.strip().removeprefix("@")
        if not name:
            self._say("Type a name")
            return
        try:
            saved.save(name, self._text)
        except TunedeckError as error:
            problem = error.problems[0]
            self._say(clean(f"{problem.message}. {problem.hint}" if problem.hint else problem.message, 300))
            return
        self.dismiss(name)

    def on_key(self, event: events.Key) -> None:
        """Nothing behind the dialog hears keys."""
        if event.key == "tab":
            event.stop()

    def _say(self, text: str) -> None:
        box = self.query_one(".dialog--error", Static)
        if str(box.content) != text:
            box.update(text)

    def action_cancel(self) -> None:
        """Back without saving."""
        self.dismiss(None)
