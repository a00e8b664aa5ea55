"""The filter of the list's screen: read as it is typed, applied a while at a time, kept by name if one likes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from engine.text import clean
from tui import report
from tui.runlist.base import ListScreen

if TYPE_CHECKING:
    from textual.widgets import Input

    from engine.history.query import Completion, Query, QueryError
    from tui.runlist.filterline import FilterBox

# A key that was typed meanwhile waits no longer than this.
SLICE_SECONDS = 0.012


class Filtering(ListScreen):
    """Part of the list's screen: its filter."""

    filter_text = ""

    @property
    def filter_box(self) -> FilterBox | None:
        """The filter, if it is open."""
        return cast("FilterBox | None", next(iter(self.query("FilterBox")), None))

    @property
    def types_a_filter(self) -> bool:
        """Whether keys go into the filter."""
        return self.focused is not None and self.focused.id == "runs-filter"

    async def action_filter(self) -> None:
        """Open the filter line."""
        await self.open_filter()

    async def open_filter(self, text: str | None = None) -> None:
        """Open the filter line, with a text in it."""
        from tui.runlist.filterline import FilterBox

        box = self.filter_box
        if box is None:
            box = FilterBox()
            await self.mount(box, before="#runs-panel")
        box.line.focus()
        if text is not None:
            box.line.value = text
            box.line.cursor_position = len(text)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while typing."""
        if event.input.id == "runs-filter":
            self._apply(event.value)

    def _apply(self, text: str) -> None:
        from engine.history import query

        self.filter_text = text
        error: QueryError | None = None
        try:
            wanted = query.parse(text)
        except query.QueryError as found:
            error, wanted = found, understood(text, found.position)
        if wanted.empty:
            self.list.set_filter(None)
            self.table.keep_selected()
            self.draw()
        else:
            self.list.begin_filter(wanted)
            self._go_on(text)
        if error is not None:
            self._say_wrong(error)
        else:
            self.call_after_refresh(self._offer, text)

    def _go_on(self, text: str) -> None:
        """Look through the runs for a moment; the rest waits behind the keys that were typed meanwhile."""
        if text != self.filter_text or not self.is_attached:
            return
        if not self.list.go_on_filtering(SLICE_SECONDS):
            self.call_later(self._go_on, text)
            return
        self.table.select_first()
        self.draw()

    def _say_wrong(self, error: QueryError) -> None:
        """What an unfinished text could go on with comes before the blame."""
        box = self.filter_box
        if box is None:
            return
        completions = self._completions(box) if error.incomplete else []
        if completions:
            box.help(completions)
        else:
            box.complain(words_of(error), error.position, wrong=not error.incomplete)

    def _offer(self, text: str) -> None:
        """How the text could go on, once what was typed is on the screen."""
        box = self.filter_box
        if box is not None and text == self.filter_text == box.line.value:
            box.help(self._completions(box))

    def _completions(self, box: FilterBox) -> list[Completion]:
        from engine.history import query

        if not box.line.value.strip():
            return []
        return list(query.complete(box.line.value, box.line.cursor_position, list(self.list.runs.values())))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter and go back to the rows."""
        if event.input.id != "runs-filter":
            return
        if event.value.strip():
            self.table.focus()
        else:
            self.key_escape()

    def on_filter_box_ended(self) -> None:
        """Escape in the line."""
        self.key_escape()

    def key_escape(self) -> None:
        """Clear the filter."""
        box = self.filter_box
        if box is None:
            return
        self.table.keep_selected()
        self.filter_text = ""
        self.list.set_filter(None)
        box.remove()
        self.table.focus()
        self.draw()

    # Saved filters.

    def on_filter_box_wanted(self, message: FilterBox.Wanted) -> None:
        """Its keys."""
        if message.what == "saved":
            self.action_saved_filters()
        else:
            self._save()

    def action_saved_filters(self) -> None:
        """Choose one of the saved filters, or remove some."""
        from tui.runlist.dialogs import SavedScreen

        def answered(name: str | None) -> None:
            if name is not None:
                self.run_worker(self.open_filter(f"@{name}"), exit_on_error=False)

        self.app.push_screen(SavedScreen(), answered)

    def _save(self) -> None:
        from engine.history import query
        from tui.runlist.dialogs import NameScreen

        text = self.filter_text.strip()
        try:
            empty = query.parse(text).empty
        except query.QueryError as error:
            report.tell(self.app, f"Not saved: {words_of(error)}", severity="warning")
            return
        if empty:
            report.tell(self.app, "Type a filter first; then it can be saved")
            return

        def answered(name: str | None) -> None:
            if name is not None:
                report.tell(self.app, f"Saved: @{name} filters by {clean(text, 200)}")

        self.app.push_screen(NameScreen(text), answered)


def words_of(error: QueryError) -> str:
    """What is wrong and what could be done, without where."""
    return clean(f"{error.message}. {error.hint}" if error.hint else error.message, 300)


def understood(text: str, position: int) -> Query:
    """The filter as far as it was understood: the words before the one at ``position``."""
    from engine.history import query

    for end in (position, text.rfind(" ", 0, position) + 1, text.rfind(" ", 0, text.rfind(" ", 0, position)) + 1):
        try:
            return query.parse(text[:end])
        except query.QueryError:
            continue
    return query.parse("")
