"""The last lines of a log under a thin rule; follows the end until somebody scrolls back."""

from __future__ import annotations

import re
from collections.abc import Sequence

from textual import events

from tui.format import cells, shorten
from tui.glyphs import glyphs
from tui.widgets.lines import Line, Lines, length

_BAD = re.compile(r"\b(Traceback|\w*Error|ERROR|error|FATAL|Killed)\b")
_WARN = re.compile(r"\b(\w*Warning|WARNING|WARN|warning)\b")


class LogTail(Lines):
    """Lines of a log, cut at the right edge; texts must be clean already."""

    DEFAULT_CSS = """
    LogTail { height: 8; }
    """

    def __init__(self, title: str = "log", *, empty: str = "nothing in the log yet", id: str | None = None) -> None:
        super().__init__(id=id)
        self.title = title
        self.empty = empty
        self._dash = glyphs().rule
        self._log: tuple[str, ...] = ()
        self._back = 0

    @property
    def following(self) -> bool:
        """Whether the newest line is shown."""
        return self._back == 0

    def set_log(self, log: Sequence[str]) -> None:
        """Replace the log's lines; somebody who has scrolled back keeps their place."""
        grown = len(log) - len(self._log)
        self._log = tuple(log)
        if self._back and grown > 0:
            self._back += grown
        self._draw()

    def page(self, pages: float) -> None:
        """Scroll by pages: positive towards the beginning."""
        self.scroll_rows(round(pages * max(1, self.size.height - 2)))

    def scroll_rows(self, rows: int) -> None:
        """Scroll by rows: positive towards the beginning."""
        self._back += rows
        self._draw()

    def follow(self) -> None:
        """Back to the newest line."""
        self._back = 0
        self._draw()

    def on_resize(self) -> None:
        """Draw for the new size."""
        super().on_resize()
        self._draw()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Wheel: back."""
        event.stop()
        self.scroll_rows(3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Wheel: towards the end."""
        event.stop()
        self.scroll_rows(-3)

    def _draw(self) -> None:
        width, height = self.size
        rows = height - 1
        if rows < 1 or width < 1:
            return
        self._back = max(0, min(self._back, len(self._log) - rows))
        end = len(self._log) - self._back
        shown = self._log[max(0, end - rows) : end]
        lines: list[Line] = [self._rule(width)]
        lines += [[(shorten(cells(line), width), _colour(line))] for line in shown]
        if not self._log:
            lines.append([(shorten(self.empty, width), "muted")])
        self.show(lines + [[] for _ in range(height - len(lines))])

    def _rule(self, width: int) -> Line:
        right = f" {self._back:,} lines below, End follows " if self._back else ""
        left: Line = [(self._dash * 2, "rule"), (f" {self.title} ", "muted")]
        middle = self._dash * max(0, width - length(left) - len(right))
        return [*left, (middle, "rule"), (right, "warning")]


def _colour(line: str) -> str:
    if _BAD.search(line):
        return "error"
    return "warning" if _WARN.search(line) else "muted"
