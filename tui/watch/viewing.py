"""How the live screen is looked at: which pane, which stretch of the charts, where in the log. The run is not touched."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from engine import status as states
from engine.text import clean_path
from tui.watch.deck import ChartDeck
from tui.watch.requests import Requests
from tui.watch.strip import neighbour
from tui.widgets.logtail import LogTail

if TYPE_CHECKING:
    from tui.app import TunedeckApp

GRID, CHART, LOG, HARDWARE = "grid", "chart", "log", "hardware"


@dataclass(frozen=True, slots=True)
class View:
    """What is kept when another run comes onto the screen: the pane, and the place of the chosen chart."""

    pane: str = GRID
    chart: int = 0


PLAIN_VIEW = View()
# Of another run that comes onto the screen the keys behind it wait so long at most.
KNOWN_SECONDS = 1.0


class Viewing(Requests):
    """Part of the live screen: its actions that only change what is seen."""

    deck: ChartDeck
    log_tail: LogTail
    pane: str = GRID
    known: asyncio.Event
    """Set once something is known of the run."""

    def lay_out(self) -> None:
        """Show the pane that was chosen."""
        raise NotImplementedError

    @property
    def shell_app(self) -> TunedeckApp:
        """The app, by its own type."""
        return cast("TunedeckApp", self.app)

    # -- panes ------------------------------------------------------------------------------------------------------

    def show_pane(self, pane: str) -> None:
        """Show a pane; the one that is shown already gives way to the grid."""
        self.pane = GRID if self.pane == pane else pane
        self.log_tail.set_wrapped(self.pane == LOG)
        self.lay_out()

    def action_full(self) -> None:
        """One chart over the whole screen, and back."""
        self.show_pane(CHART)

    def action_log_full(self) -> None:
        """The log over the whole screen, and back."""
        self.show_pane(LOG)

    def action_hardware(self) -> None:
        """Cards, processor, memory and disk in place of the charts, and back."""
        self.show_pane(HARDWARE)

    def action_back(self) -> None:
        """Out of whatever was opened last and is seen, then back to the runs."""
        log = self.log_tail
        if log.searching and self.pane != CHART:
            log.end_search()
        elif self.pane in (LOG, HARDWARE):
            self.show_pane(self.pane)
        elif self.deck.drop_cursor():
            self.tick()
        elif self.deck.zoomed:
            self.deck.whole()
        elif self.pane != GRID:
            self.show_pane(self.pane)
        elif not log.following:
            log.follow()
        else:
            self.shell_app.open_runs()

    # -- charts -----------------------------------------------------------------------------------------------------

    def _to_charts(self) -> None:
        """What a key does to the charts is to be seen."""
        if self.pane in (LOG, HARDWARE):
            self.show_pane(self.pane)

    def action_chart(self, number: int) -> None:
        """Choose a chart by its number."""
        self._to_charts()
        self.deck.choose(number - 1)

    def action_next_chart(self, by: int = 1) -> None:
        """Choose the next chart."""
        self._to_charts()
        self.deck.choose_next(by)

    def action_more_charts(self) -> None:
        """The next page of charts."""
        self._to_charts()
        self.flash(self.deck.more())

    def action_log_scale(self) -> None:
        """Logarithmic or linear axis of the chosen chart."""
        self._to_charts()
        self.flash(self.deck.toggle_log())

    def action_x_axis(self) -> None:
        """Steps, epochs, tokens or time."""
        self._to_charts()
        self.flash(self.deck.cycle_x())

    def action_smoothing(self, by: int) -> None:
        """Smooth more or less."""
        self._to_charts()
        self.flash(self.deck.smooth_more(by))

    def action_zoom(self, by: int) -> None:
        """Zoom in or out."""
        self._to_charts()
        self.deck.zoom(by)
        self.tick()

    def action_pan(self, by: int) -> None:
        """Move a zoomed stretch."""
        self._to_charts()
        if not self.deck.zoomed:
            self.flash("the whole run is shown; + zooms in")
        self.deck.pan(by)
        self.tick()

    def action_whole(self) -> None:
        """The whole run again."""
        self._to_charts()
        self.deck.whole()
        self.tick()

    def action_cursor(self, by: int) -> None:
        """Move the cursor that reads values."""
        self._to_charts()
        self.deck.move_cursor(by)
        self.tick()

    # -- log --------------------------------------------------------------------------------------------------------

    def _to_log(self) -> None:
        """What a key does to the log is to be seen: a chart over the whole screen hides it."""
        if self.pane == CHART:
            self.show_pane(LOG)

    def action_search_log(self) -> None:
        """Ask what to search the log for."""
        self._to_log()
        self.log_tail.ask_search()

    def action_match(self, by: int) -> None:
        """The next match of the search."""
        self._to_log()
        self.log_tail.next_match(by)

    def action_warnings(self) -> None:
        """Only warnings and errors, or everything."""
        self._to_log()
        self.flash(self.log_tail.toggle_warnings())

    def action_scroll_log(self, pages: float) -> None:
        """Scroll the log: positive towards its beginning."""
        self._to_log()
        self.log_tail.page(pages)

    def action_follow_log(self) -> None:
        """The newest lines of the log."""
        self._to_log()
        self.log_tail.follow()

    # -- elsewhere --------------------------------------------------------------------------------------------------

    def action_samples(self) -> None:
        """What the model says."""
        from tui.screens.samples import SamplesScreen

        self.app.push_screen(SamplesScreen(self.path, self.facts.name))

    def action_note(self) -> None:
        """Name, note and tags."""
        from tui.screens.note import NoteScreen

        def told(words: str | None) -> None:
            if words:
                self.flash(words)

        self.app.push_screen(NoteScreen(self.path), told)

    def action_shell(self) -> None:
        """A shell in the output directory."""
        from tui.watch.shell import open_shell

        self.flash(open_shell(self.app, self.path))

    def action_copy_path(self) -> None:
        """Send the path to the terminal's clipboard (OSC 52)."""
        self.app.copy_to_clipboard(clean_path(self.path))
        self.flash("the path was sent to your terminal's clipboard")

    def action_copy_command(self) -> None:
        """Send the command that belongs to this run now to the terminal's clipboard."""
        verb = "watch"
        if self.facts.state.state in states.ENDED and self.facts.state.resumable:
            verb = "resume"
        command = f"tunedeck {verb} {shlex.quote(clean_path(self.path))}"
        self.app.copy_to_clipboard(command)
        self.flash(f"sent to your terminal's clipboard: {command}")

    async def action_other_run(self, by: int) -> None:
        """Watch the next live run; keys that come behind this one are meant for it and wait until it is known."""
        other = neighbour(self.shell_app.live_runs(), str(self.path), by)
        if other is None:
            self.flash("no other run is live")
        else:
            self.shell_app.watch_instead(Path(other.path), View(self.pane, self.deck.selected))
            screen = self.app.screen
            if isinstance(screen, Viewing):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(screen.known.wait(), KNOWN_SECONDS)
