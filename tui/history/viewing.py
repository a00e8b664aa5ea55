"""How a run's pages are looked at: which page, which words, which stretch of the curves. The run is not touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widgets import Input

from tui.glyphs import glyphs
from tui.history import pages
from tui.history.actions import RunPageActions
from tui.history.deck import HistoryDeck
from tui.history.pagesearch import PageSearch
from tui.history.sheet import Sheet
from tui.screens.dialog import in_front
from tui.widgets.lines import Lines
from tui.widgets.logtail import LogTail

if TYPE_CHECKING:
    from tui.history.settingspage import Setting


class DetailViewing(RunPageActions):
    """Part of the page of a run: its actions that only change what is seen."""

    page: int
    sheet: Sheet
    deck: HistoryDeck
    log_tail: LogTail
    status: Lines
    searches: dict[int, str]
    settings_shown: list[Setting | None]
    grid: bool

    def lay_out(self, *, keep: bool = False) -> None:
        """Show the chosen page."""
        raise NotImplementedError

    def say(self) -> None:
        """Bring the line at the bottom up to date."""
        raise NotImplementedError

    @property
    def has_room(self) -> bool:
        """Whether several charts fit side by side."""
        raise NotImplementedError

    def action_page(self, number: int) -> None:
        """Go to a page."""
        if number != self.page:
            self._end_search(keep=True)
            self.page = number
            self.flash("")
            self.lay_out()
            self.refresh_bindings()

    def action_turn(self, by: int) -> None:
        """The next page, round and round."""
        self.action_page((self.page - 1 + by) % pages.COUNT + 1)

    action_side = action_turn

    def action_back(self) -> None:
        """Out of whatever was opened last, then back to where one came from."""
        if self.query(PageSearch) or self.searches.get(self.page):
            self._end_search()
        elif self.page == pages.LOG and self.log_tail.searching:
            self.log_tail.end_search()
            self.refresh_bindings()
        elif self.page == pages.CURVES and self.deck.drop_cursor():
            self.say()
        elif self.page == pages.CURVES and self.deck.zoomed:
            self.deck.whole()
        elif in_front(self):
            self.shell.action_back()

    def action_reread(self) -> None:
        """Read the directory again."""
        self.flash("reading again")
        self.reread()

    def action_move(self, by: int) -> None:
        """Up or down."""
        if self.page == pages.LOG and self.log_tail.display:
            self.log_tail.scroll_rows(-by)
        else:
            self.sheet.move(by)
        self.say()

    def action_scroll(self, by: int) -> None:
        """A screenful."""
        if self.page == pages.LOG and self.log_tail.display:
            self.log_tail.page(-by)
        else:
            self.sheet.scroll_pages(by)
        self.say()

    def action_jump(self, place: int) -> None:
        """The beginning or the end."""
        if self.page == pages.LOG and self.log_tail.display:
            self.log_tail.follow() if place < 0 else self.log_tail.scroll_rows(1_000_000)
        else:
            self.sheet.jump(place)
        self.say()

    def action_rerun(self) -> None:
        """Choose the setting that is to differ."""
        if self.page == pages.SETTINGS and self.chosen_setting:
            self.action_rerun_here()
            return
        self.action_page(pages.SETTINGS)
        self.flash(f"choose the setting to change, then {glyphs().enter}")

    def action_rerun_here(self) -> None:
        """The form, opened at the chosen setting."""
        self.rerun_with(self.chosen_setting)

    @property
    def chosen_setting(self) -> str:
        """The name of the setting under the cursor, if it is one of ours and the run can be cloned."""
        place = self.sheet.place
        chosen = self.settings_shown[place] if place < len(self.settings_shown) else None
        return chosen.name if chosen is not None and chosen.ours and self.able("clone") else ""

    def action_answers(self) -> None:
        """The screen of answers."""
        from tui.screens.samples import SamplesScreen

        self.app.push_screen(SamplesScreen(self.path, self.run_name))

    # Searching.

    async def action_search(self) -> None:
        """A line to type words in."""
        if self.page == pages.LOG:
            self.log_tail.ask_search()
        elif not self.query(PageSearch):
            line = PageSearch(self.searches.get(self.page, ""), pages.NAMES[self.page - 1])
            await self.mount(line, before=self.status)
            line.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search while typing."""
        self.searches[self.page] = event.value
        self.lay_out()

    def on_input_submitted(self) -> None:
        """Keep the search."""
        self._end_search(keep=True)

    def on_search_line_ended(self) -> None:
        """Escape."""
        self._end_search()

    def _end_search(self, *, keep: bool = False) -> None:
        for line in self.query(PageSearch):
            line.remove()
        if not keep and self.searches.pop(self.page, ""):
            self.lay_out()
        self.call_after_refresh(self._searched)

    def _searched(self) -> None:
        """The line is gone."""
        self.say()
        self.refresh_bindings()

    def action_errors(self) -> None:
        """Only warnings and errors of the log, or all lines."""
        self.flash(self.log_tail.toggle_warnings())

    def action_match(self, by: int) -> None:
        """The next match in the log."""
        self.log_tail.next_match(by)

    # Curves.

    def action_full(self) -> None:
        """The chosen chart over the whole page, or all of this page's side by side."""
        if self.has_room:
            self.grid = not self.grid
            self.lay_out()

    def action_cursor(self, by: int) -> None:
        """Move the cursor that reads values."""
        self.deck.move_cursor(by)
        self.say()

    def action_zoom(self, by: int) -> None:
        """Zoom in or out."""
        self.deck.zoom(by)
        self.say()

    def action_pan(self, by: int) -> None:
        """Move a zoomed stretch."""
        if not self.deck.zoomed:
            self.flash("the whole run is shown; + zooms in")
        self.deck.pan(by)
        self.say()

    def action_whole(self) -> None:
        """The whole run again."""
        self.deck.whole()
        self.say()

    def action_x_axis(self) -> None:
        """Steps, epochs, tokens or time."""
        self.flash(self.deck.cycle_x())

    def action_log_scale(self) -> None:
        """Logarithmic or linear axis of the chosen chart."""
        self.flash(self.deck.toggle_log())

    def action_smoothing(self, by: int) -> None:
        """Smooth more or less."""
        self.flash(self.deck.smooth_more(by))

    def action_more_charts(self) -> None:
        """The next page of charts."""
        self.flash(self.deck.more())

    def action_next_chart(self, by: int = 1) -> None:
        """Choose the next chart."""
        self.deck.choose_next(by)
        self.say()
