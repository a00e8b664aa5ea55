"""Rows of the training data as the model would read them: token by token, the trained ones marked; and all lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import Screen

from engine.errors import Problem
from engine.text import clean
from tui import report
from tui.format import model_name
from tui.glyphs import glyphs
from tui.history.sheet import static
from tui.keys import bindings
from tui.preview import about, lengthtext, rowtext
from tui.preview import feed as feeding
from tui.preview.asked import Asked
from tui.preview.feed import Asks, Feed, Place
from tui.preview.measuring import Measuring
from tui.preview.rowtext import VIEW_WORDS, VIEWS, Laid
from tui.preview.tokens import Tokens
from tui.preview.walk import Walk, place_of
from tui.preview.widgets import AskLine, Head, TokenLines, TokenSheet
from tui.screens.dialog import in_front
from tui.widgets.chrome import KeyBar, TopBar
from tui.widgets.lines import Line, Lines, spread

WIDE = 110
ROWS_ONLY = frozenset({"row", "view", "jump", "search", "seek", "match", "to_cut"})
SEEK_WORDS = {"cut": "that max_seq_length cuts", "nothing": "in which nothing is trained"}


class PreviewScreen(Screen[None]):
    """``take`` is called with a suggested ``max_seq_length`` that is wanted in the form."""

    CSS_PATH = "preview.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("preview")
    KEYS = "preview"
    AUTO_FOCUS = ""

    class News(Message):
        """Something of the feed's; ``of`` tells whether it is still the one that counts."""

        def __init__(self, of: int, news: feeding.News) -> None:
            super().__init__()
            self.of, self.news = of, news

    def __init__(self, asked: Asked, inspector: Asks, take: Callable[[int], None]) -> None:
        super().__init__()
        self.asked, self._inspector, self._take = asked, inspector, take
        self.facts: dict[str, Any] | None = None
        self.row: Tokens | None = None
        self.problem: Problem | None = None
        self.walk = Walk(len(asked.sources))
        self.view, self.needle, self.lengths = VIEWS[0], "", False
        self.stats = Measuring(asked.limit)
        self.trouble: Problem | None = None  # why not all could be measured
        self._seeking, self._searching, self._waiting = "", "", False
        self._number = 0
        self._laid = Laid(static([]))
        self._laid_for: tuple[object, ...] = ()
        self._feed: Feed

    def compose(self) -> ComposeResult:
        """What is said of the row, its tokens, and a line to type in."""
        yield TopBar(f"Preview  {clean(model_name(self.asked.model['base_model']), 80)}")
        with Horizontal(id="preview-body"):
            with Vertical(id="preview-main"):
                yield Head(id="preview-head")
                yield TokenSheet(id="preview-text")
            yield Lines(id="preview-side")
        yield AskLine()
        yield TokenLines(id="preview-status")
        yield KeyBar()

    def on_mount(self) -> None:
        """Begin to load the tokenizer."""
        self._begin()

    def on_unmount(self) -> None:
        """Take back what was asked."""
        self._feed.stop()

    def _begin(self) -> None:
        """Ask everything anew; the row stays the same."""
        self._number += 1
        number = self._number
        self.facts, self.problem, self.trouble = None, None, None
        self.stats = Measuring(self.asked.limit)
        self._feed = Feed(self.asked, self._inspector, lambda news: self._hear(number, news))
        self._feed.start()
        self._go(self.walk.place)
        if self.lengths:
            self._feed.measure()
        self._draw()

    @property
    def sheet(self) -> TokenSheet:
        """The tokens, or the page of lengths."""
        return self.query_one(TokenSheet)

    # News.

    def _hear(self, number: int, news: feeding.News) -> None:
        self.post_message(self.News(number, news))

    def on_preview_screen_news(self, message: PreviewScreen.News) -> None:
        """Show what has come."""
        news = message.news
        if message.of != self._number or not self.is_attached:
            return
        if isinstance(news, feeding.Opened):
            self.facts = news.facts
            self._draw()
        elif isinstance(news, feeding.Row):
            self._take_row(news)
        elif isinstance(news, feeding.Measured):
            self._take_lengths(news)
        else:
            self._take_search(news)
        self.refresh_bindings()

    def _take_row(self, news: feeding.Row) -> None:
        if self.facts is not None and news.place != self.walk.wanted:
            return
        self._waiting = False
        if news.problem is not None and news.problem.kind == "no-row":
            self._miss()
            return
        self.walk.arrived()
        self.problem = news.problem
        self.row = None if news.problem is not None else Tokens.of(news.answer, self.facts or {})
        self._draw()
        if self.needle and self._laid.hits and not self.lengths:
            self.sheet.jump(max(0, self._laid.hits[0] - 2))
            self._draw_bars()

    def _miss(self) -> None:
        """There is no such row."""
        if goal := self.walk.missed():
            self._go(goal)
        elif self.row is None and self.problem is None:
            self.problem = Problem("no-rows", "There are no rows to show", "Check train_path")
            self._draw()
        else:
            report.tell(self.app, self.walk.missed_words(), severity="warning")
        self._draw_bars()

    def _take_lengths(self, news: feeding.Measured) -> None:
        self.stats.counts = self._feed.counts
        if news.lengths is not None:
            self.stats.lengths = news.lengths
        for file in range(len(self.asked.sources)):
            self.walk.ends(file, self.stats.total(file))
        if news.over:
            self.stats.complete = news.problem is None
            self.trouble = news.problem
        if self._seeking:
            self._seek(over=news.over)
        if self.lengths:
            self._draw(keep=True)

    def _take_search(self, news: feeding.Searched) -> None:
        if not news.over:
            self._searching = f"Searching: {news.looked:,} rows looked at, esc ends it"
            self._draw_bars()
            return
        self._searching = ""
        if news.problem:
            report.tell(self.app, f"The search came as far as this: {news.problem}", severity="warning")
        elif news.place is None:
            report.tell(self.app, f"No row holds {clean(self.needle, 60)!r}", severity="warning")
        else:
            self._go(news.place)
        self._draw_bars()

    # Drawing.

    def on_resize(self, event: events.Resize) -> None:
        """What is said of a row goes beside it where there is room."""
        self.set_class(event.size.width >= WIDE, "-wide")
        self.call_after_refresh(self._draw, keep=True)

    def _draw(self, *, keep: bool = False) -> None:
        if not self.is_attached or not self.is_mounted:
            return
        self.set_class(self.lengths, "-lengths")
        self._draw_bars()
        self._draw_page(keep=keep)
        self.call_after_refresh(self._draw_page, keep=True)  # the lines above it may have become more or fewer

    def _draw_page(self, *, keep: bool = False) -> None:
        if not self.is_attached:  # left meanwhile
            return
        sheet = self.sheet
        width, height = sheet.size
        if width < 4 or height < 1:
            return
        if self.lengths:
            lines = lengthtext.page(self.stats, width, height, self.asked.rows, draws=self.asked.draws)
            if self.trouble:
                lines = [*about.refusal(self.trouble, width), [], *(lines if self.stats.lengths is not None else [])]
            page = static(lines)
        elif self.problem is not None:
            page = static(about.refusal(self.problem, width))
        elif self.row is None or self.facts is None:
            reading = None if self.facts is None else self.walk.wanted[1]
            page = static(about.loading(self.asked.model["base_model"], reading))
        else:
            key = (id(self.row), self.view, width, self.asked.limit, self.needle)
            if key != self._laid_for:
                self._laid_for = key
                self._laid = rowtext.lay_out(self.row, self.view, width, self.asked.limit, self.needle)
            page = self._laid.page
        sheet.set_page(page, keep=keep)
        self._draw_status()

    def _draw_bars(self) -> None:
        if not self.is_attached:
            return
        place = self.walk.place
        head, side = self.query_one("#preview-head", Lines), self.query_one("#preview-side", Lines)
        right = "lengths of all rows" if self.lengths else VIEW_WORDS[self.view]
        if self._waiting and self.facts is not None:
            right = f"reading row {self.walk.wanted[1] + 1:,}{glyphs().ellipsis}"
        self.query_one(TopBar).set_right(right)
        width = self.size.width - 4
        title = self.walk.title(place, self.asked)
        where = self.walk.where(place, self.asked, None if self.row is None else self.row.line)
        if self.row is None or self.facts is None:
            said: list[Line] = [[(title, "title"), (f"  {where}", "muted")]] if self.facts is not None else []
            head.show(said)
            side.show(said)
            self._draw_status()
            return
        head.show(about.brief([(title, "title"), (f"  {where}", "muted")], self.row, self.facts, width))
        side.show(about.full([[(title, "title")], [(where, "muted")]], self.row, self.facts, 42))
        self._draw_status()

    def _draw_status(self) -> None:
        status = self.query_one("#preview-status", TokenLines)
        width = status.size.width
        position = self.sheet.position
        left: Line = [] if self.lengths or self.row is None else about.legend()
        if self._searching or self._seeking:
            seeking = (
                f"Looking for a row {SEEK_WORDS.get(self._seeking, '')}: {self.stats.done:,} measured, esc ends it"
            )
            left, position = [(self._searching or seeking, "accent")], ""
        status.show([spread(left, [(f"lines {position}", "muted")] if position else [], width)])

    # Keys.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Which keys mean something now."""
        if not self.is_mounted:
            return True
        asking = bool(self.query(AskLine)) and self.query_one(AskLine).has_focus
        if asking:
            return action == "back" or action.startswith("app.")
        if action == "page":
            return self.lengths == (parameters == ("rows",))
        if action == "take":
            suggested = self.stats.suggestion if self.lengths else None
            return suggested is not None and suggested.length != self.asked.limit
        if action in ROWS_ONLY and (self.lengths or self.facts is None):
            return False
        if action == "match":
            return bool(self.needle)
        return self.row is not None and bool(self.row.cut) if action == "to_cut" else True

    def action_back(self) -> None:
        """End a search, else go back to the form."""
        if self._searching or self._seeking:
            self._feed.end_search()
            self._searching = self._seeking = ""
            self._draw_bars()
            self._draw_status()
        elif in_front(self):
            self.dismiss(None)

    def _go(self, place: Place) -> None:
        self.walk.want(place)
        self._waiting = True
        self._feed.show(place)
        if self.is_mounted:
            self.set_timer(0.3, self._draw_bars)

    def action_row(self, by: int) -> None:
        """The next row, or the one before."""
        goal = self.walk.step(by)
        if goal is None:
            report.tell(self.app, "This is the first row" if by < 0 else "This is the last row")
        else:
            self._go(goal)

    def action_page(self, page: str) -> None:
        """The lengths of all rows, or back."""
        self.lengths = page == "lengths"
        if self.lengths:
            self._feed.measure()
        self._draw()
        self.refresh_bindings()

    def action_view(self) -> None:
        """Another view of the tokens."""
        self.view = VIEWS[(VIEWS.index(self.view) + 1) % len(VIEWS)]
        self._draw()

    def action_take(self) -> None:
        """The suggested length goes into the form, and counts here too."""
        suggested = self.stats.suggestion
        if suggested is None:
            return
        so_far = "" if self.stats.complete else "; it is of a sample of the rows only"
        self._take(suggested.length)
        report.tell(self.app, f"max_seq_length is {suggested.length:,} in the form now{so_far}")
        if suggested.length != self.asked.limit:
            self.asked = self.asked.with_limit(suggested.length)
            self._feed.stop()
            self._begin()

    def action_reread(self) -> None:
        """Ask everything anew."""
        self._seeking = self._searching = ""
        self._feed.stop()
        self._begin()

    def action_jump(self) -> None:
        """Ask for a row number."""
        several = "; 2:17 is row 17 of the second file" if len(self.asked.sources) > 1 else ""
        self.query_one(AskLine).open("row", f"go to row number{several}")

    def action_search(self) -> None:
        """Ask for a text."""
        self.query_one(AskLine).open("search", "search the rows; capitals count only if you type some", self.needle)

    def on_ask_line_left(self) -> None:
        """Nothing was given; an empty search ends it."""
        self.query_one(AskLine).close()

    def on_ask_line_given(self, message: AskLine.Given) -> None:
        """Go to the row, or search."""
        self.query_one(AskLine).close()
        if message.kind == "search":
            self.needle = message.text
            self._draw(keep=True)
            if self.needle:
                self.action_match(1)
        elif message.text:
            goal = place_of(message.text, self.walk.place[0], len(self.asked.sources))
            if goal is None:
                report.tell(self.app, f"{clean(message.text, 40)} is no row number", severity="warning")
            else:
                self._go(goal)

    def action_match(self, by: int) -> None:
        """The next row with what was searched, or the one before."""
        if self.needle:
            self._searching = "Searching, esc ends it"
            self._feed.search(self.needle, self.walk.place, back=by < 0)
            self._draw_status()

    def action_seek(self, kind: str) -> None:
        """The next row that is cut, or that has nothing to train; lengths are measured for it."""
        self._seeking = kind
        self._feed.measure()
        self._seek(over=self.stats.complete or self.trouble is not None)
        self._draw_status()

    def _seek(self, *, over: bool) -> None:
        found = self.stats.next_row(self._seeking, self.walk.place)
        if found is not None:
            self._seeking = ""
            self._go(found)
        elif over:
            words, self._seeking = SEEK_WORDS[self._seeking], ""
            report.tell(self.app, f"There is no row {words} from here on", severity="information")
        self._draw_status()

    def action_to_cut(self) -> None:
        """Scroll to where the row is cut."""
        if self._laid.cut_at is not None:
            self.sheet.jump(max(0, self._laid.cut_at - self.sheet.room // 2))
            self._draw_status()

    def action_scroll(self, by: int, what: str = "line") -> None:
        """A line or a ``page`` on or back, or to one of the ends (``to``)."""
        sheet = self.sheet
        {"line": sheet.move, "page": sheet.scroll_pages, "to": sheet.jump}[what](by)
        self._draw_status()
