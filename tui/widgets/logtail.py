"""A log under a thin rule: follows the end until somebody scrolls back, searches, shows warnings only."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import events
from textual.message import Message
from textual.widgets import Input

from engine.text import clean
from tui.format import cells, shorten
from tui.glyphs import glyphs
from tui.watch.logfile import LogAsk, LogPart, LogView
from tui.watch.logsearch import Found, pattern
from tui.widgets.lines import Line, Lines
from tui.widgets.logkept import Kept
from tui.widgets.logtext import MARGIN, line, rule, window, wrapped
from tui.widgets.searchline import SearchLine

SIDE = 20


class LogTail(Lines):
    """Shows a log as its reader sends it; older parts are asked for by :class:`Wanted`."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"lines--match"}
    DEFAULT_CSS = """
    LogTail {
        height: 8;
        & > .lines--match { color: $foreground; text-style: reverse; }
        & > SearchLine { dock: top; height: 1; border: none; padding: 0 1; }
    }
    """

    @dataclass
    class Wanted(Message):
        """Something is wanted from the log's reader."""

        ask: LogAsk

    def __init__(self, title: str = "log", *, empty: str = "nothing in the log yet", id: str | None = None) -> None:
        super().__init__(id=id)
        self.title = title
        self.empty = empty
        self.only_warnings = False
        self._dash = glyphs().rule
        self._view = LogView()
        self._kept = Kept()
        self._top: tuple[int, int] | None = None  # offset of the row at the top, and the line of it; None: the end
        self._ask = LogAsk()
        self._pending = False
        self._wrap = False
        self._side = 0
        self._pattern: re.Pattern[str] | None = None
        self._here = -1
        self._jump = 0
        self._goal = -1

    # -- what is new ------------------------------------------------------------------------------------------------

    def set_log(self, view: LogView) -> None:
        """Take in what the reader sent; somebody who has scrolled back keeps their place."""
        old, self._view = self._view, view
        if view.generation != old.generation:
            self._top, self._here, self._jump, self._goal, self._pending = None, -1, 0, -1, False
            self._kept.put((), view.low, view.low)
            if self._ask.search:
                self._want()
        if view.part is not None and view.part is not old.part and view.part.number == self._ask.number:
            self._take(view.part)
        self._join()
        if view.found is not None and view.found is not old.found and self._jump:
            self.next_match(self._jump)
        self._draw()

    def _take(self, part: LogPart) -> None:
        self._pending = False
        if part.want == "before":
            self._kept.put_before(part)
        elif part.want == "after":
            self._kept.put_after(part)
        else:
            self._kept.put(part.rows, part.low, part.high)
            self._goal = -1
            self._show(self._here)

    def _join(self) -> None:
        """The end of the log follows on the rows that are kept."""
        rows = self._view.rows
        if self.only_warnings:
            rows = tuple(row for row in rows if row.level)
        self._kept.join(rows, self._view.low, self._view.high, following=self.following)

    def _want(self, want: str = "", at: int = 0) -> None:
        ask = LogAsk(self._ask.number + 1, self._view.generation, want, at, 400, self.only_warnings, self._ask.search)
        if not want and self._pending:  # what was asked for is still wanted
            ask = replace(ask, want=self._ask.want, at=self._ask.at)
        self._ask = ask
        self._pending |= bool(want)
        self.post_message(self.Wanted(ask))

    # -- moving -----------------------------------------------------------------------------------------------------

    @property
    def following(self) -> bool:
        """Whether the newest line is shown."""
        return self._top is None

    @property
    def _rows(self) -> int:
        return max(1, self.size.height - 1)

    @property
    def _joined(self) -> bool:
        return self._kept.high >= self._view.high

    def page(self, pages: float) -> None:
        """Scroll by pages: positive towards the beginning."""
        self.scroll_rows(round(pages * max(1, self._rows - 1)))

    def scroll_rows(self, rows: int) -> None:
        """Scroll by lines of the screen: positive towards the beginning."""
        index, part = self._place()
        while rows > 0 and (index > 0 or part > 0):
            index, part = (index, part - 1) if part else (index - 1, self._lines_of(index - 1) - 1)
            rows -= 1
        while rows < 0 and index < len(self._kept.rows):
            index, part = (index, part + 1) if part + 1 < self._lines_of(index) else (index + 1, 0)
            rows += 1
        end = self._end_place()
        if (index, part) >= end and self._joined:
            self._top = None
        elif self._kept.rows:
            index, part = min((index, part), end)
            self._top = (self._kept.rows[index].at, part)
        self._draw()

    def scroll_side(self, by: int) -> None:
        """Move long lines sideways: positive to their ends. Without effect where lines are wrapped."""
        longest = max((len(row.text) for row in self._kept.rows[self._place()[0] :][: self._rows]), default=0)
        self._side = max(0, min(self._side + by * SIDE, 2 * longest))
        self._draw()

    def follow(self) -> None:
        """Back to the newest line."""
        self._top, self._side, self._goal, self._jump = None, 0, -1, 0
        self._join()
        self._draw()

    def set_wrapped(self, on: bool) -> None:
        """Wrap long lines (where the log fills the screen), or cut them at the edge."""
        self._wrap, self._side = on, 0
        self._draw()

    def _lines_of(self, index: int) -> int:
        return len(wrapped(self._kept.rows[index].text, max(1, self.size.width - MARGIN))) if self._wrap else 1

    def _place(self) -> tuple[int, int]:
        """Index of the row at the top, and the line of it."""
        if self._top is None:
            return self._end_place()
        index = bisect_left(self._kept.rows, self._top[0], key=lambda row: row.at)
        if index >= len(self._kept.rows):
            return self._end_place()
        return index, min(self._top[1], self._lines_of(index) - 1) if self._kept.rows[index].at == self._top[0] else 0

    def _end_place(self) -> tuple[int, int]:
        """Where the top is when the last line is at the bottom."""
        left, index = self._rows, len(self._kept.rows)
        while index > 0 and left > 0:
            index -= 1
            left -= self._lines_of(index)
        return index, max(0, -left)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Wheel: back."""
        event.stop()
        self.scroll_rows(3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Wheel: towards the end."""
        event.stop()
        self.scroll_rows(-3)

    # -- searching --------------------------------------------------------------------------------------------------

    def ask_search(self) -> None:
        """A prompt in place of the rule: Enter keeps the search, Escape ends it."""
        if not self.query(SearchLine):
            prompt = SearchLine(self._ask.search)
            self.mount(prompt)
            prompt.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search as the words are typed."""
        event.stop()
        if event.value != self._ask.search:
            self.search(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the search; an empty one ends it."""
        event.stop()
        self.query(SearchLine).remove()
        if not event.value:
            self.search("")

    def on_search_line_ended(self, event: SearchLine.Ended) -> None:
        """Escape in the prompt."""
        event.stop()
        self.end_search()

    def end_search(self) -> None:
        """Forget the search, and the prompt if it is open."""
        self.query(SearchLine).remove()
        self.search("")

    @property
    def searching(self) -> bool:
        """Whether a search is on."""
        return bool(self._ask.search)

    def search(self, text: str) -> int:
        """Search for a text; returns how many rows at hand have it. The reader goes on; an empty text ends it."""
        self._pattern = pattern(text) if text else None
        self._here, self._jump, self._goal = -1, 0, -1
        self._ask = replace(self._ask, search=text)
        self._want()
        self._draw()
        return sum(1 for row in self._kept.rows if self._pattern is not None and self._pattern.search(row.text))

    def next_match(self, by: int = 1) -> None:
        """Go to the next match: positive towards the beginning; waits for the search where it has not got that far."""
        self._jump = 0
        ats = self._ats()
        if self._here >= 0:
            at = self._here
        else:
            index = min(self._place()[0] + self._rows, len(self._kept.rows))
            at = self._kept.rows[index].at if index < len(self._kept.rows) else self._view.size + 1
        index = bisect_left(ats, at) - 1 if by > 0 else bisect_right(ats, at)
        if 0 <= index < len(ats):
            self._show(ats[index])
        elif by > 0 and self.searching and not (self._found and self._found.done):
            self._jump = by
        self._draw()

    @property
    def _found(self) -> Found | None:
        found = self._view.found
        if found and (found.text, found.warnings) == (self._ask.search, self.only_warnings):
            return found
        return None

    def _ats(self) -> tuple[int, ...] | list[int]:
        if self._found:
            return self._found.ats
        return [row.at for row in self._kept.rows if self._pattern is not None and self._pattern.search(row.text)]

    def _show(self, at: int) -> None:
        """Bring the row at an offset to the middle of the screen; far from here, it is asked for."""
        self._here = at
        index = bisect_left(self._kept.rows, at, key=lambda row: row.at)
        if index < len(self._kept.rows) and self._kept.rows[index].at == at:
            top = self._place()
            if not top <= (index, 0) < (top[0] + self._rows - 1, 0):
                index = max(0, index - self._rows // 2)
                self._top = (
                    (self._kept.rows[index].at, 0) if (index, 0) < self._end_place() or not self._joined else None
                )
        elif self._goal != at:
            self._goal, self._top = at, (at, 0)
            self._want("around", at)

    def toggle_warnings(self) -> str:
        """Only warnings and errors, or all lines; returns words for it."""
        self.only_warnings = not self.only_warnings
        self._pending = False
        top = self._kept.rows[self._place()[0]].at if self._kept.rows and not self.following else -1
        self._kept.put((), self._view.low, self._view.low)
        if top >= 0:
            self._here, self._goal, self._top = top, top, (top, 0)
            self._want("around", top)
        else:
            self._join()
            self._want()
        self._draw()
        return "the log: only warnings and errors" if self.only_warnings else "the log: all lines"

    # -- drawing ----------------------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        """Draw for the new size."""
        super().on_resize()
        self._draw()

    def _draw(self) -> None:
        width, height = self.size
        if height < 2 or width < 1:
            return
        body = self._body()[: height - 1]
        lines: list[Line] = [rule(self._dash, self._state(), self._position(), width), *body]
        self.show(lines + [[] for _ in range(height - len(lines))])
        self._fetch()

    def _body(self) -> list[Line]:
        width, rows = max(1, self.size.width - MARGIN), self._rows
        body: list[Line] = []
        index, part = self._place()
        while index < len(self._kept.rows) and len(body) < rows:
            row = self._kept.rows[index]
            pieces = wrapped(row.text, width)[part:] if self._wrap else (window(row.text, self._side, width),)
            for piece in pieces:
                body.append(line(piece, row, self._pattern, here=row.at == self._here, first=not part))
                part += 1
            index, part = index + 1, 0
        if self.following and self._view.skipped and body:
            body[0] = [(f"{glyphs().ellipsis} {self._view.skipped} skipped; scrolling back shows them", "warning")]
        if not self._kept.rows:
            words = "no warnings or errors" if self.only_warnings else self.empty
            words = self._view.trouble or ("looking for them" if self._pending else words)
            body.append([(shorten(words, self.size.width), "muted")])
        return body

    def _fetch(self) -> None:
        """Ask for what lies beyond the rows at hand, before it is needed."""
        if self._pending or self._goal >= 0:
            return
        index, _ = self._place()
        wanting = index < 2 * self._rows and (
            not self.following or self.only_warnings or len(self._kept.rows) < self._rows
        )
        if self._kept.low > 0 and wanting:
            self._want("before", self._kept.low)
        elif not self.following and not self._joined and index + 3 * self._rows > len(self._kept.rows):
            self._want("after", self._kept.high)

    def _state(self) -> Line:
        left: Line = [(self._dash * 2, "rule"), (f" {self.title} ", "muted")]
        if self._view.trouble and self._kept.rows:
            left.append((f"{glyphs().dot} {shorten(self._view.trouble, 70)} ", "warning"))
        words = ("only warnings and errors" if self.only_warnings else "", self._matches() if self.searching else "",
                 f"from column {self._side + 1}" if self._side and not self._wrap else "")  # fmt: skip
        return left + [(f"{glyphs().dot} {text} ", "accent") for text in words if text]

    def _matches(self) -> str:
        found, ats = self._found, self._ats()
        more = "" if found and found.done and not found.capped else "+"
        text = f'"{shorten(cells(clean(self._ask.search, 100)), 30)}"'
        share = 100 - 100 * found.low // max(1, self._view.size) if found else 0
        goes_on = self._view.size and not self._view.trouble and not (found and found.done)
        going = f", searching {share}%" if goes_on else ""
        if not ats:
            return f"{text} no match{going}"
        index = bisect_left(ats, self._here)
        if index < len(ats) and ats[index] == self._here:
            return f"{text} match {len(ats) - index:,} of {len(ats):,}{more}{going}"
        return f"{text} {len(ats):,}{more} match{'es' if len(ats) != 1 else ''}{going}"

    def _position(self) -> Line:
        if self.following:
            return []
        if self._goal >= 0 or not self._kept.rows:
            return [(" looking, End follows", "warning")]
        index = self._place()[0]
        if self._joined and not self._wrap:
            return [(f" {max(0, len(self._kept.rows) - index - self._rows):,} lines below, End follows", "warning")]
        size = max(1, self._view.size)
        return [(f" at {100 * self._kept.rows[index].at // size}% of {size / 1e6:,.1f} MB, End follows", "warning")]
