"""A log file of any length, read in a thread: its end as it grows, and whatever part of it is asked for."""

from __future__ import annotations

import os
import stat
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from engine.text import clean
from tui.watch.logrows import BLOCK, Block, Row, read_block
from tui.watch.logsearch import SPAN, Filter, Found, Search

KEEP_LINES = 2000
EVERY_SECONDS = 0.45
SLICE_SECONDS = 0.06
TAIL_BLOCKS = 3
CACHE_BYTES = 16 << 20
COUNTED_BYTES = 64 << 20
PRINT = 64


@dataclass(frozen=True, slots=True)
class LogAsk:
    """What the screen wants besides the log's end: rows near the offset ``at``, and a search that goes on.

    ``want`` is ``before``, ``after`` or ``around`` (``at``), or empty. The newest ask is the one that counts.
    """

    number: int = 0
    generation: int = 0
    want: str = ""
    at: int = 0
    rows: int = 400
    warnings: bool = False
    search: str = ""


@dataclass(frozen=True, slots=True)
class LogPart:
    """The answer to an ask: all wanted rows that begin in ``low`` to ``high``."""

    number: int
    want: str
    rows: tuple[Row, ...]
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class LogView:
    """The end of a log: ``rows`` cover it from ``low`` on; those before ``high`` are complete.

    ``generation`` rises when the file is another one, so that offsets from before mean nothing. ``skipped`` says how
    much came since the view before and is not in this one; ``trouble`` why the file cannot be read.
    """

    rows: tuple[Row, ...] = ()
    low: int = 0
    high: int = 0
    size: int = 0
    generation: int = 0
    skipped: str = ""
    trouble: str = ""
    part: LogPart | None = None
    found: Found | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The rows' texts."""
        return tuple(row.text for row in self.rows)


class LogFile:
    """Reads a log; :meth:`poll` belongs to one thread, :meth:`ask` may be called from any."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._view = LogView()
        self._seen = False
        self._blocked = False
        self._next = 0.0
        self._ask = self._answered = LogAsk()
        self._search: Search | None = None
        self._told = 0.0
        self._cache: OrderedDict[int, Block] = OrderedDict()
        self._cost = 0
        self._inode = (-1, -1)
        self._print = b""

    def ask(self, ask: LogAsk) -> None:
        """Ask for a part of the log, or for a search; the next polls answer."""
        self._ask = ask

    @property
    def view(self) -> LogView:
        """What :meth:`poll` found last."""
        return self._view

    @property
    def busy(self) -> bool:
        """Whether something that was asked for is not done: poll again at once.

        Not of a file that cannot be read: that is tried again when its end would be read anyway.
        """
        if self._blocked:
            return False
        search = self._search
        asked = self._ask is not self._answered and bool(self._ask.want)
        return asked or (search is not None and not search.done) or self._ask.search != (search.text if search else "")

    def poll(self, now: float | None = None) -> LogView | None:
        """What changed, ``None`` if nothing did. The end of the log is read at most twice a second; never raises."""
        now = time.monotonic() if now is None else now
        before = self._view
        due = now >= self._next
        if not due and (self._blocked or (not self.busy and self._ask is self._answered)):
            return None
        if due:
            self._next = now + EVERY_SECONDS
        self._blocked = True
        fd = -1
        try:
            fd = self._open()
            if fd >= 0:
                if due or not self._next:  # the latter: it is another file
                    self._next = now + EVERY_SECONDS
                    self._read_end(fd)
                self._answer(fd, now)
                self._blocked = False
        except OSError as error:
            if fd < 0:
                self._lost(error)
            else:
                self._trouble(_words(error))
            self._view = before if self._view == before else self._view
        finally:
            if fd >= 0:
                os.close(fd)
        return self._view if self._view is not before else None

    # -- the file ---------------------------------------------------------------------------------------------------

    def _open(self) -> int:
        """A descriptor, -1 if this is no file that can be read backwards. Opening a pipe must not wait."""
        fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            os.close(fd)
            self._trouble(f"{clean(self.path.name, 200)} is {_kind(info.st_mode)}, not a file: nothing is read from it")
            return -1
        inode = (info.st_dev, info.st_ino)
        other = self._seen and (inode != self._inode or info.st_size < self._view.size or not self._same(fd))
        if other:
            self._cache.clear()
            self._cost = 0
            self._search = None
            self._view = LogView(generation=self._view.generation + 1)
            self._next = 0.0
        if not self._seen or other:
            self._inode, self._print, self._seen = inode, b"", True
        return fd

    def _same(self, fd: int) -> bool:
        """Whether what stood at the end still stands there: a log may be emptied and grow beyond its old end."""
        return os.pread(fd, len(self._print), self._view.size - len(self._print)) == self._print

    def _lost(self, error: OSError) -> None:
        if isinstance(error, FileNotFoundError):
            name = clean(self.path.name, 200)
            self._trouble(f"{name} is gone; this is what was read of it" if self._view.rows else "")
        else:
            self._trouble(_words(error))

    def _trouble(self, text: str) -> None:
        if self._view.trouble != text:
            self._view = replace(self._view, trouble=text)

    # -- its end ----------------------------------------------------------------------------------------------------

    def _read_end(self, fd: int) -> None:
        view, size = self._view, os.fstat(fd).st_size
        if size == view.size and self._print:
            if view.skipped or view.trouble:
                self._view = replace(view, skipped="", trouble="")
            return
        if not size:
            self._print = b""
            if view.trouble or view.size:
                self._view = replace(view, trouble="", size=0)
            return
        last = (size - 1) // BLOCK
        rows: tuple[Row, ...] = ()
        high, low = size, last * BLOCK
        for number in range(last, -1, -1):
            block = self._block(fd, number, size)
            if number == last or not rows:
                high = min(high, block.high) if block.rows else high
            rows, low = block.rows + rows, block.rows[0].at if block.rows else min(low, number * BLOCK)
            if (last - number >= TAIL_BLOCKS - 1 and rows) or last - number > 64 or len(rows) >= KEEP_LINES:
                break
        if len(rows) > KEEP_LINES:
            rows = rows[-KEEP_LINES:]
            low = rows[0].at
        elif number == 0:
            low = 0
        skipped = self._skipped(fd, view.high, low) if view.size and low > view.high else ""
        self._print = os.pread(fd, PRINT, max(0, size - PRINT))[: min(PRINT, size)]
        self._view = replace(view, rows=rows, low=low, high=high, size=size, skipped=skipped, trouble="")

    def _skipped(self, fd: int, low: int, high: int) -> str:
        """How many lines lie between; beyond what can be counted at once, how many bytes."""
        if high - low > COUNTED_BYTES:
            return f"{(high - low) / 1e6:,.0f} MB"
        count = 0
        for at in range(low, high, 1 << 20):
            count += os.pread(fd, min(1 << 20, high - at), at).count(b"\n")
        return f"{count:,} line{'s' if count != 1 else ''}" if count else ""

    def _block(self, fd: int, number: int, size: int) -> Block:
        """A block from the cache, if it is one that does not change any more."""
        block = self._cache.get(number)
        if block is not None:
            self._cache.move_to_end(number)
            return block
        block = read_block(fd, number, size)
        if size >= (number + 2) * BLOCK + 4:
            self._cache[number] = block
            self._cost += block.cost
            while self._cost > CACHE_BYTES and len(self._cache) > 1:
                self._cost -= self._cache.popitem(last=False)[1].cost
        return block

    # -- what is asked for ------------------------------------------------------------------------------------------

    def _answer(self, fd: int, now: float) -> None:
        ask, size = self._ask, self._view.size
        if ask is not self._answered:
            if ask.want and ask.generation == self._view.generation:
                self._view = replace(self._view, part=self._part(fd, ask, size))
            self._answered = ask
        if not ask.search or ask.generation != self._view.generation:
            self._search = None
            if self._view.found is not None:
                self._view = replace(self._view, found=None)
            return
        search = self._search
        if search is None or (search.text, search.warnings) != (ask.search, ask.warnings):
            search = self._search = Search(ask.search, size, warnings=ask.warnings)
            self._told = 0.0
        search.step(fd, size, SLICE_SECONDS)
        if search.done or now - self._told >= EVERY_SECONDS:
            found = search.found()
            if found != self._view.found:
                self._told = now
                self._view = replace(self._view, found=found)

    def _part(self, fd: int, ask: LogAsk, size: int) -> LogPart:
        if ask.want == "before":
            rows, low = self._before(fd, ask, ask.at, ask.rows, size)
            return LogPart(ask.number, ask.want, rows, low, ask.at)
        if ask.want == "after":
            rows, high = self._after(fd, ask, ask.at, ask.rows, size)
            return LogPart(ask.number, ask.want, rows, ask.at, high)
        back, low = self._before(fd, ask, ask.at, ask.rows // 2, size)
        on, high = self._after(fd, ask, ask.at, ask.rows // 2, size)
        return LogPart(ask.number, ask.want, back + on, low, high)

    def _before(self, fd: int, ask: LogAsk, at: int, count: int, size: int) -> tuple[tuple[Row, ...], int]:
        """Wanted rows that begin before ``at``, and down to where all of them are told."""
        rows: list[Row] = []
        deadline = time.monotonic() + SLICE_SECONDS
        number = (at - 1) // BLOCK if at > 0 else -1
        while number >= 0 and len(rows) < count and time.monotonic() < deadline:
            first = max(0, number - SPAN + 1) if ask.warnings else number
            for found in self._wanted(fd, ask.warnings, first, number, size):
                rows[:0] = [row for row in found if row.at < at]
            number = first - 1
        low = max(0, (number + 1) * BLOCK)
        return tuple(rows), min(low, rows[0].at) if rows else min(low, at)

    def _after(self, fd: int, ask: LogAsk, at: int, count: int, size: int) -> tuple[tuple[Row, ...], int]:
        rows: list[Row] = []
        deadline = time.monotonic() + SLICE_SECONDS
        last = max(0, size - 1) // BLOCK
        number = min(at // BLOCK, last)
        high = at
        while number <= last and len(rows) < count and time.monotonic() < deadline:
            to = min(last, number + SPAN - 1) if ask.warnings else number
            for found in reversed(list(self._wanted(fd, ask.warnings, number, to, size))):
                rows += [row for row in found if row.at >= at]
            high = max(high, self._block(fd, to, size).high)
            number = to + 1
        return tuple(rows), high

    def _wanted(self, fd: int, warnings: bool, first: int, last: int, size: int) -> list[tuple[Row, ...]]:
        if not warnings:
            return [self._block(fd, number, size).rows for number in range(last, first - 1, -1)]
        return [rows for _, rows in Filter(warnings=True).rows(fd, first, last, size)]


def _words(error: OSError) -> str:
    return clean(f"the log cannot be read: {error.strerror or error}", 300)


_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip


def _kind(mode: int) -> str:
    return next((words for test, words in _KINDS if test(mode)), "something else")
