"""Two to eight runs beside each other: their curves in one chart, what differs between them, and which is best."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.events import Key, Resize
from textual.message import Message
from textual.screen import Screen

from engine.text import clean
from tui.glyphs import glyphs
from tui.history import comparetext, load, overlay
from tui.history.comparedeck import CompareDeck
from tui.history.overlay import LETTERS, Composer, Overlay
from tui.history.sheet import static
from tui.keys import bindings
from tui.screens.dialog import in_front
from tui.watch.metrics import title
from tui.widgets.chart.ticks import KINDS
from tui.widgets.chrome import KeyBar, TopBar
from tui.widgets.lines import Line, Lines, spread

if TYPE_CHECKING:
    from engine.history.record import RunRecord
    from tui.app import TunedeckApp

CURVES, DIFFERENCES, RANKING = 1, 2, 3
LOW = 30
FLASH_SECONDS = 4.0
BY = ("best", "last", "smoothed")
OF_CURVES = frozenset({"x_axis", "smoothing", "log_scale", "zoom", "cursor", "pan", "whole"})
OF_LINES = frozenset({"move", "scroll", "jump"})


class CompareScreen(Screen[None]):
    """The runs at ``paths``, the first eight of them; a thread reads them, and one can leave at any time."""

    CSS_PATH = "compare.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("compare")]
    KEYS = "compare"
    AUTO_FOCUS = ""

    @dataclass
    class Read(Message):
        """So many are read; at last all that could be."""

        done: int
        records: list[RunRecord] | None = None
        troubles: tuple[str, ...] = ()

    @dataclass
    class Composed(Message):
        """The thread has drawn what was wished for."""

        overlay: Overlay | Exception

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self.paths = [Path(path).absolute() for path in paths][: len(LETTERS)]
        self.left_out = max(0, len(paths) - len(LETTERS))
        self.records: list[RunRecord] = []
        self.page = CURVES
        self.everything = False
        self.troubles: tuple[str, ...] = ()
        self.names: list[str] = []
        self.top = TopBar(f"Compare  {len(self.paths)} runs")
        self.tabs, self.status = Lines(id="compare-tabs"), Lines(id="compare-status")
        self.deck = CompareDeck(id="compare-deck")
        self.legend = comparetext.CompareSheet(id="compare-legend")
        self.sheet = comparetext.CompareSheet(id="compare-sheet")
        self._composer: Composer | None = None
        self._stop = threading.Event()
        self._flash = ""
        self._done = 0
        self._reading = False
        self._failed = ""

    def compose(self) -> ComposeResult:
        """Tabs, chart with its legend or lines, a line that says something."""
        yield self.top
        yield self.tabs
        yield self.deck
        yield self.legend
        yield self.sheet
        yield self.status
        yield KeyBar()

    def on_mount(self) -> None:
        """Start reading."""
        self.action_reread()

    def action_reread(self) -> None:
        """Read all directories (again); what is shown stays until then."""
        if self._reading:
            return
        self._reading, self._done = True, 0
        threading.Thread(target=self._read, name="tunedeck-compare", daemon=True).start()

    def on_unmount(self) -> None:
        """Let the threads end."""
        self._stop.set()
        if self._composer is not None:
            self._composer.stop()

    def on_resize(self, event: Resize) -> None:
        """Everything has the old width."""
        self.set_class(event.size.height < LOW, "-low")
        self.call_after_refresh(self.lay_out)

    # -- reading ----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        records, troubles = [], []
        for done, path in enumerate(self.paths, 1):
            if self._stop.is_set():
                return
            try:
                record = load.read(path)
            except Exception as error:  # one directory of a shape nobody foresaw: the others are compared
                record, why = None, clean(error, 200)
            else:
                why = "nothing in this directory tells of a training run"
            if record is None:
                troubles.append(f"{clean(path.name, 100)}: {why}")
            else:
                records.append(record)
            self.post_message(self.Read(done))
        self.post_message(self.Read(len(self.paths), records, tuple(troubles)))

    def on_compare_screen_read(self, message: Read) -> None:
        """Draw, once all are there."""
        self._done = message.done
        if message.records is None:
            self.lay_out()
            return
        before, self._reading = self.deck.metric if self.ready else "", False
        self.records, self.troubles = message.records, message.troubles
        self.top.set_title(f"Compare  {len(self.records)} runs")
        if len(self.records) > 1:
            self.names = overlay.metrics(self.records)
            if self._composer is not None:
                self._composer.stop()
            self._composer = Composer(self.records, lambda found: self.post_message(self.Composed(found)))
            self._composer.start()
            self._show_metric(before if before in self.names else overlay.first_metric(self.records))
        if self.troubles or self.left_out:
            more = [f"the first {len(LETTERS)} are compared"] if self.left_out else []
            self.flash("; ".join([*self.troubles, *more]))
        self.lay_out()
        self.refresh_bindings()

    def on_compare_screen_composed(self, message: Composed) -> None:
        """Points, and the comparison in words."""
        if isinstance(message.overlay, Exception):
            self._failed = f"these runs cannot be compared: {clean(message.overlay, 200)}"
        else:
            self.deck.take(message.overlay)
        self.lay_out(keep=True)
        self.refresh_bindings()

    def on_compare_deck_wanted(self, message: CompareDeck.Wanted) -> None:
        """Other points."""
        if self._composer is not None:
            self._composer.ask(message.wish)

    def on_compare_deck_read(self) -> None:
        """The cursor moved."""
        self._show_legend()
        self.say()

    # -- showing ----------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether there is a comparison."""
        return self.deck.overlay is not None

    def lay_out(self, *, keep: bool = False) -> None:
        """Show the chosen page."""
        if not self.is_attached:
            return
        found = self.deck.overlay.comparison if self.deck.overlay is not None else None
        curves = self.page == CURVES and found is not None
        self.deck.display = self.legend.display = curves
        self.sheet.display = not curves
        self.tabs.show([comparetext.tabs(self.page, found)])
        if found is None:
            self.sheet.set_page(static([self._waiting()]))
        elif self.page == CURVES:
            self.legend.styles.height = len(self.records)
            self._show_legend()
            self.call_after_refresh(self._show_legend)
            self.call_after_refresh(self.deck.chart.flush)
        else:
            width = (self.sheet.size.width or self.size.width - 4) - 1
            self.sheet.set_page(self._lines(found, width), keep=keep)
        self.say()

    def _lines(self, found: comparetext.Comparison, width: int) -> comparetext.Page:
        if self.page == DIFFERENCES:
            return comparetext.differences(found, width, everything=self.everything)
        from engine.history.compare import higher_is_better

        return comparetext.ranking(found, higher_is_better(found.metric), width)

    def _waiting(self) -> Line:
        if self._failed:
            return [(self._failed, "warning")]
        if self.records or self._done == len(self.paths):
            few = self._done == len(self.paths) and len(self.records) < 2
            return (
                [("two runs are needed for a comparison", "warning")]
                if few
                else [(f"reading{glyphs().ellipsis}", "muted")]
            )
        return [(f"reading{glyphs().ellipsis} {self._done} of {len(self.paths)}", "muted")]

    def _show_legend(self) -> None:
        if self.is_attached and self.ready:
            runs = [record.summary for record in self.records]
            self.legend.set_page(static(comparetext.legend(runs, self.deck, self.legend.size.width)))

    def say(self) -> None:
        """The line at the bottom."""
        if not self.is_attached:
            return
        deck, left = self.deck, [(self._flash, "accent")] if self._flash else []
        if not left and self.page == CURVES and deck.cursor is not None:
            kind = KINDS[deck._drawn]
            left = [(f"values at {kind.name} ", "muted"), (kind.exact(deck.cursor), "accent")]
        parts = []
        if self.page == CURVES and self.ready:
            parts = [title(deck.metric)] if deck.metric not in self.names else [
                f"{title(deck.metric)}, {self.names.index(deck.metric) + 1} of {len(self.names)}"]  # fmt: skip
            parts.append(f"x {deck.axis}")
            parts.append(f"smoothing {deck.weight:g}" if deck.weight else "no smoothing")
        elif self.sheet.position:
            parts = [self.sheet.position]
        right = f" {glyphs().dot} ".join(parts)
        self.status.show([spread(left, [(right, "muted")] if right else [], self.status.size.width)])

    def flash(self, text: str) -> None:
        """Say something for a few seconds."""
        shown = self._flash = clean(text, 300)
        if text:
            self.set_timer(FLASH_SECONDS, lambda: self.flash("") if self._flash == shown else None)
        self.say()

    # -- actions ----------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A key counts where it does something."""
        if action in OF_CURVES or action == "show_run":
            place = parameters[0] if action == "show_run" and parameters else 0
            return self.ready and self.page == CURVES and isinstance(place, int) and place < len(self.records)
        if action == "show_all":
            return self.ready and bool(self.deck.hidden)
        if action == "metric":
            return self.ready and len(self.names) > 1 and self.page != DIFFERENCES
        if action in OF_LINES:
            return self.page != CURVES
        if action in ("order", "open"):
            return self.ready and self.page == RANKING
        if action == "all_settings":
            return self.ready and self.page == DIFFERENCES
        return True

    def on_key(self, event: Key) -> None:
        """The letters of the other runs."""
        place = LETTERS.find(event.key.upper()) if len(event.key) == 1 else -1
        if place > 0 and self.check_action("show_run", (place,)):
            event.stop()
            self.action_show_run(place)

    def action_back(self) -> None:
        """Out of the cursor, then the zoom, then back."""
        if self.page == CURVES and self.deck.drop_cursor():
            self.on_compare_deck_read()
        elif self.page == CURVES and self.deck.zoomed:
            self.deck.whole()
        elif in_front(self):
            cast("TunedeckApp", self.app).action_back()

    def action_page(self, number: int) -> None:
        """Go to a page."""
        if number != self.page:
            self.page = number
            self.flash("")
            self.lay_out()
            self.refresh_bindings()

    def action_turn(self, by: int) -> None:
        """The next page, round and round."""
        self.action_page((self.page - 1 + by) % len(comparetext.PAGES) + 1)

    def action_metric(self, by: int) -> None:
        """The next metric."""
        self._show_metric(self.names[(self.names.index(self.deck.metric) + by) % len(self.names)])

    def _show_metric(self, name: str) -> None:
        self.deck.show_metric(name, evaluated=overlay.is_evaluated(self.records, name))
        self.say()

    def action_x_axis(self) -> None:
        """Steps, epochs, tokens or time."""
        self.flash(self.deck.cycle_x().replace("this run records no", "no run records").replace(" and no ", " or "))

    def action_smoothing(self, by: int) -> None:
        """Smooth all more, or less."""
        self.flash(self.deck.smooth_more(by))

    def action_log_scale(self) -> None:
        """Logarithmic or linear axis."""
        self.flash(self.deck.toggle_log())

    def action_zoom(self, by: int) -> None:
        """Zoom in or out."""
        self.deck.zoom(by)

    def action_pan(self, by: int) -> None:
        """Move a zoomed stretch."""
        if not self.deck.zoomed:
            self.flash("the whole runs are shown; + zooms in")
        self.deck.pan(by)

    def action_whole(self) -> None:
        """The whole runs again."""
        self.deck.whole()

    def action_cursor(self, by: int) -> None:
        """Move the cursor that reads values."""
        self.deck.move_cursor(by)

    def action_show_run(self, place: int) -> None:
        """Hide or show a run."""
        self.deck.toggle(place)
        self._show_legend()
        self.refresh_bindings()

    def action_show_all(self) -> None:
        """Show all runs again."""
        self.deck.show_all()
        self._show_legend()
        self.refresh_bindings()

    def action_order(self) -> None:
        """Rank in the next way."""
        self.deck.rank_by(BY[(BY.index(self.deck.by) + 1) % len(BY)])

    def action_all_settings(self) -> None:
        """What does not differ, too."""
        self.everything = not self.everything
        self.lay_out()

    def action_open(self) -> None:
        """Open the run under the cursor."""
        if self.deck.overlay is not None:
            ranked = self.deck.overlay.comparison.ranking
            if self.sheet.place < len(ranked):
                run = ranked[self.sheet.place].run
                cast("TunedeckApp", self.app).open_detail(Path(self.records[run].summary.path))

    def on_sheet_moved(self) -> None:
        """Another row, or more of them."""
        self.say()

    def on_sheet_opened(self) -> None:
        """A click on the chosen row."""
        self.action_open()

    def action_move(self, by: int) -> None:
        """Up or down."""
        self.sheet.move(by)
        self.say()

    def action_scroll(self, by: int) -> None:
        """A screenful."""
        self.sheet.scroll_pages(by)
        self.say()

    def action_jump(self, place: int) -> None:
        """The beginning or the end."""
        self.sheet.jump(place)
        self.say()
