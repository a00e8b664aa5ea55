"""One run whole: what its directory tells, on nine pages, whatever tool left it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.events import Resize
from textual.message import Message
from textual.timer import Timer

from engine.text import clean, clean_path
from tui import format as fmt
from tui.glyphs import glyphs, state_text
from tui.history import pages
from tui.history.deck import HistoryDeck
from tui.history.feed import Answerer
from tui.history.files import Files
from tui.history.load import Changed, Charted, Loaded, Part, Reader, Settings, Words
from tui.history.logread import LogReader
from tui.history.sheet import Page, Sheet, static
from tui.history.viewing import DetailViewing
from tui.keys import bindings
from tui.watch.deck import ChartDeck
from tui.watch.feed import WatchUpdate
from tui.watch.logfile import LogView
from tui.widgets.chrome import KeyBar, TopBar
from tui.widgets.lines import Line, Lines, spread
from tui.widgets.logtail import LogTail
from tui.widgets.searchline import SearchLine

if TYPE_CHECKING:
    from engine.history.record import RunRecord
    from tui.history.settingspage import Setting

LOW, TALL = 30, 34
LEAST_PATH = 12
GRID = (110, 28)
FLASH_SECONDS = 4.0
OF_CURVES = frozenset(
    {"cursor", "zoom", "full", "x_axis", "log_scale", "smoothing", "more_charts", "next_chart", "whole", "pan"}
)


class DetailScreen(DetailViewing):
    """The run at ``path``; a thread reads it, and one can leave at any time."""

    CSS_PATH = "detail.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("detail")]
    KEYS = "detail"
    AUTO_FOCUS = ""

    @dataclass
    class Read(Message):
        """The reader has a part of it."""

        reader: Reader
        part: Part

    @dataclass
    class Answered(Message):
        """Points for the charts."""

        by: Answerer
        update: WatchUpdate

    @dataclass
    class Logged(Message):
        """The log's reader has something new."""

        view: LogView

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = Path(path).absolute()
        self.page = pages.SUMMARY
        self.loaded: Loaded | None = None
        self.charted: Charted | None = None
        self.settings: Settings | None = None
        self.words, self.files = Words(None), None
        self.trouble, self.changed = "", False
        self.top = TopBar(f"Run  {clean(self.path.name, 200)}")
        self.tabs, self.status = Lines(id="detail-tabs"), Lines(id="detail-status")
        self.sheet, self.deck, self.log_tail = (
            Sheet(id="detail-sheet"),
            HistoryDeck(id="detail-deck"),
            LogTail(id="detail-log"),
        )
        self.searches: dict[int, str] = {}
        self.settings_shown: list[Setting | None] = []
        self._reader: Reader | None = None
        self._answerer: Answerer | None = None
        self._log: LogReader | None = None
        self._begun = 0.0
        self._waits: Timer | None = None
        self._flash = ""
        self.grid = True

    files: Files | None

    @property
    def record(self) -> RunRecord | None:  # type: ignore[override]
        """What was read, once it is."""
        return self.loaded.record if self.loaded is not None else None

    @property
    def own(self) -> bool:  # type: ignore[override]
        """Whether it is a run of ours."""
        return self.loaded is not None and self.loaded.own

    def compose(self) -> ComposeResult:
        """Tabs, the page, a line that says something."""
        yield self.top
        yield self.tabs
        yield self.sheet
        yield self.deck
        yield self.log_tail
        yield self.status
        yield KeyBar()

    def on_mount(self) -> None:
        """Start reading."""
        self.reread()

    def on_unmount(self) -> None:
        """Let the threads end."""
        for thread in (self._reader, self._answerer, self._log):
            if thread is not None:
                thread.stop()

    def on_screen_resume(self) -> None:
        """What was done there may have changed the run."""
        if self.stale:
            self.stale = False
            self.reread()

    def on_resize(self, event: Resize) -> None:
        """Everything has the old width."""
        self.set_class(event.size.height < LOW, "-low")
        self._show_title()
        self.call_after_refresh(self.lay_out)

    def _show_title(self) -> None:
        """Name and state, and as much of the path as there is room for."""
        title = f"Run  {clean(self.path.name, 200)}"
        if self.record is not None:
            run = self.record.summary
            title = f"Run  {clean(run.name, 200)}  {state_text(run.state, stalled=run.stalled)}"
        self.top.set_title(title)
        room = self.size.width - cell_len(title) - 16
        self.top.set_right(fmt.shorten(fmt.cells(clean_path(self.path)), room, "start") if room >= LEAST_PATH else "")

    # -- reading ----------------------------------------------------------------------------------------------------

    def reread(self) -> None:
        """Read the directory (again); what is shown stays until then."""
        if self._reader is not None:
            self._reader.stop()
        self._begun, self.changed = time.monotonic(), False

        def deliver(part: Part) -> None:
            self.post_message(self.Read(reader, part))

        reader = self._reader = Reader(self.path, deliver)
        reader.start()
        if self._waits is None:
            self._waits = self.set_interval(1.0, self._tick)
        self.say()

    def on_detail_screen_read(self, message: Read) -> None:
        """Show what was read."""
        if message.reader is not self._reader:
            return
        part = message.part
        if isinstance(part, Changed):
            self.changed = True
            self.say()
            return
        if isinstance(part, Loaded):
            self.loaded, self.trouble = part, ""
            self._show_title()
        elif isinstance(part, Charted):
            self._chart(part)
        elif isinstance(part, Settings):
            self.settings = part
        elif isinstance(part, Words):
            self.words = part
        elif isinstance(part, Files):
            self.files = part
            self._rest()
        else:
            self.trouble = part
            self._rest()
        self.lay_out(keep=True)
        self.refresh_bindings()

    def _chart(self, charted: Charted) -> None:
        first, self.charted = self.charted is None, charted
        if self._answerer is not None:
            self._answerer.stop()

        def deliver(update: WatchUpdate) -> None:
            self.post_message(self.Answered(answerer, update))

        answerer = self._answerer = Answerer(charted.feed, deliver)
        answerer.start()
        if first:
            self.deck.suit(charted.feed.layout)
            self.deck.show_update(charted.update)
        self.deck.ask_again()

    def _rest(self) -> None:
        """All is read: nothing moves any more."""
        if self._waits is not None:
            self._waits.stop()
            self._waits = None

    def _tick(self) -> None:
        if self.loaded is None:
            self.lay_out(keep=True)
        else:
            self.say()

    def on_detail_screen_answered(self, message: Answered) -> None:
        """New points."""
        if message.by is self._answerer:
            self.deck.show_update(message.update)
            self.say()

    def on_chart_deck_wanted(self, message: ChartDeck.Wanted) -> None:
        """Another stretch, axis or smoothing."""
        if self._answerer is not None:
            self._answerer.ask(message.query)

    def on_chart_deck_full_asked(self) -> None:
        """A click on the chosen chart."""
        self.action_full()

    def on_detail_screen_logged(self, message: Logged) -> None:
        """The log has grown, or what was asked of it is there."""
        self.log_tail.set_log(message.view)

    def on_log_tail_wanted(self, message: LogTail.Wanted) -> None:
        """The log's reader is to bring another part, or to search."""
        if self._log is not None:
            self._log.ask(message.ask)

    # -- showing ----------------------------------------------------------------------------------------------------

    def lay_out(self, *, keep: bool = False) -> None:
        """Show the chosen page."""
        if not self.is_attached:
            return
        width = self.sheet.size.width or self.size.width - 4
        curves = self.page == pages.CURVES and self.charted is not None and self.deck.shows_points
        log = self.page == pages.LOG and self.record is not None and self.record.log is not None
        below = self._curve_below()
        self.deck.display, self.log_tail.display, self.sheet.display = curves or below, log, not (curves or log)
        self.sheet.styles.height = "auto" if below else None
        self.deck.set_grid(curves and self.grid and self.has_room)
        if log:
            self._follow_log()
        self.tabs.show([pages.tabs(self.page, self.size.width - 2)])
        page = self._page(width)
        if below:
            self.sheet.styles.height = page.count
        self.sheet.set_page(page, keep=keep)
        self.say()
        if curves or below:
            self.call_after_refresh(self.deck.tick)

    def _curve_below(self) -> bool:
        return (
            self.page == pages.SUMMARY
            and self.loaded is not None
            and self.size.height >= TALL
            and self.deck.shows_points
        )

    @property
    def has_room(self) -> bool:
        """Whether several charts fit side by side."""
        return self.size.width >= GRID[0] and self.size.height >= GRID[1]

    def _page(self, width: int) -> Page:
        if self.loaded is None:
            return static(pages.waiting(self.trouble, time.monotonic() - self._begun))
        made, self.settings_shown = pages.make(self, self.loaded, self.searches.get(self.page, ""), width)
        return made

    def _follow_log(self) -> None:
        record = self.record
        if self._log is None and record is not None and record.log is not None:
            self.log_tail.title = clean(record.log.name, 100)
            self.log_tail.set_wrapped(True)
            self._log = LogReader(record.log, record.summary.live, lambda view: self.post_message(self.Logged(view)))
            self._log.start()

    def say(self) -> None:
        """The line at the bottom: a message, what stands under the cursor, or where one is."""
        if not self.is_attached:
            return
        left: Line = [(self._flash, "accent")] if self._flash else []
        right = self.sheet.position if self.sheet.display else ""
        if self.page == pages.CURVES and self.loaded is not None:
            left = left or self.deck.reading() or pages.about_steps(self.charted)
            right = self.deck.status()
        search = self.searches.get(self.page)
        if search and not left and not self.query(SearchLine):
            left = [("/ ", "key"), (clean(search, 60), "accent"), ("   esc shows all", "muted")]
        if self._waits is not None and self.loaded is not None and not left and self.files is None:
            left = [(f"reading its files{glyphs().ellipsis}", "muted")]
        if self.changed and not left:
            left = [("F5", "key"), (" reads it again: it has changed since", "muted")]
        self.status.show([spread(left, [(right, "muted")] if right else [], self.status.size.width)])

    def flash(self, text: str) -> None:
        """Say something for a few seconds."""
        self._flash = clean(text, 300)
        if text:
            self.set_timer(FLASH_SECONDS, lambda: self.flash("") if self._flash == clean(text, 300) else None)
        self.say()

    def on_sheet_moved(self) -> None:
        """Another row."""
        self.say()

    def on_sheet_opened(self) -> None:
        """A click on the chosen row."""
        if self.page == pages.SETTINGS:
            self.action_rerun_here()

    # -- actions ----------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A key counts where it does something."""
        curves = self.page == pages.CURVES
        if action == "full" and not self.has_room:
            return False
        if action in OF_CURVES:
            return curves and self.deck.shows_points
        if action == "side":
            return not (curves and self.deck.shows_points)
        if action in ("move", "scroll", "jump"):
            return not curves
        if action == "search":
            return self.page in pages.SEARCHED and not self.query(SearchLine)
        if action in ("match", "errors"):
            return self.page == pages.LOG and (action == "errors" or self.log_tail.searching)
        if action == "rerun_here":
            return self.page == pages.SETTINGS and bool(self.chosen_setting)
        if action == "answers":
            return self.page == pages.SAMPLES and self.own and bool(self.record and self.record.samples)
        able = self.able(action)
        return True if able is None else able
