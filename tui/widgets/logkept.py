"""The rows of a log that a screen keeps at hand: one stretch without gaps, as long as memory is given for it."""

from __future__ import annotations

from collections.abc import Sequence

from tui.watch.logfile import LogPart
from tui.watch.logrows import Row

MOST_ROWS = 6000
MOST_CHARACTERS = 4_000_000


class Kept:
    """``rows`` are all that begin in ``low`` to ``high`` (offsets in the file), or all wanted ones."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.low = self.high = 0

    def put(self, rows: Sequence[Row], low: int, high: int, *, front: bool = False) -> None:
        """Keep these in place of all others; of too many those at the end, or at the ``front``."""
        count, characters = len(rows), sum(len(row.text) for row in rows)
        first, last = 0, count
        while last - first > MOST_ROWS or (characters > MOST_CHARACTERS and last - first > 1):
            gone = last - 1 if front else first
            characters -= len(rows[gone].text)
            first, last = (first, last - 1) if front else (first + 1, last)
        if first:
            low = rows[first].at
        if last < count:
            high = rows[last].at
        self.rows, self.low, self.high = list(rows[first:last]), low, high

    def put_before(self, part: LogPart) -> None:
        """Rows that end where these begin."""
        if part.high == self.low:
            self.put((*part.rows, *self.rows), part.low, self.high, front=True)

    def put_after(self, part: LogPart) -> None:
        """Rows that follow on these, or on some of them."""
        if self.low <= part.low <= self.high:
            kept = [row for row in self.rows if row.at < part.low]
            self.put((*kept, *part.rows), self.low, max(self.high, part.high))

    def join(self, rows: tuple[Row, ...], low: int, high: int, *, following: bool) -> None:
        """The end of the log follows on these rows, unless something is missing in between.

        Then it takes their place for whoever is ``following`` it.
        """
        if self.high < low or self.low == self.high:  # the latter: nothing is known yet
            if following:
                self.put(rows, low, high)
            return
        joined = [*(row for row in self.rows if row.at < low), *rows]
        # Somebody who has scrolled far back must not lose what they look at.
        if following or (len(joined) <= MOST_ROWS and sum(len(row.text) for row in joined) <= MOST_CHARACTERS):
            self.put(joined, min(self.low, low), high)
