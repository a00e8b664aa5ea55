"""A driver that sends only what differs, and only as fast as the terminal takes it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from typing import Any

from textual import events
from textual._ansi_sequences import SYNC_END, SYNC_START
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Size

from tui import leaving
from tui.glyphs import PLAIN_TABLE, wants_ascii
from tui.terminal.cells import FRAME, CellScreen
from tui.terminal.keyboard import Keyboard
from tui.terminal.line import Line
from tui.terminal.pace import Place

# Sequences that change neither cells nor cursor: modes of mouse, paste, focus, cursor and keys; pointer; clipboard; the bell.
_HARMLESS = re.compile(
    r"(?:\x1b\[\?(?:7|25|100[0-6]|1015|1016|2004|2026|2048)(?:[hl]|\$p)|\x1b\[[<>=][\d;]*u|\x1b\](?:22|52);[^\x07\x1b]*\x07|\x07)+"
)
_POINTER = re.compile(r"\x1b\]22;[^\x07\x1b]*\x07")
# A short frame cannot be seen half done.
SYNC_BYTES = 512
# What is painted so soon after a key is its answer, and goes out first.
ANSWER_SECONDS = 1.0
# A terminal that changes its size moves, cuts or clears what stands there, more than once while it is being dragged, and
# frames for the size before are still on their way.
AFTER_RESIZE_SECONDS = (0.05, 0.4)


class DiffDriver(Keyboard):
    """A driver with a memory of what the terminal shows; a slow line skips frames, it does not lag."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self._cells = CellScreen(erases=_erases())
        self._lock = threading.RLock()
        self._line: Line | None = None
        self._started = False
        self._ascii = wants_ascii()
        self._key_at = -ANSWER_SECONDS
        self._unanswered = False
        self._pointer = ""

    def repaint(self) -> None:
        """Something else may have changed what stands in the terminal: send everything."""
        with self._lock:
            self._cells.forget()
            if self._line is None:
                return
            self._line.poke()
            if self._cells.has_holes:
                self._app.call_later(self._app.screen.refresh, layout=True)

    def start_application_mode(self) -> None:
        """Begin with a terminal of which nothing is known, and look again whenever its size changes."""
        self._end_line(0.0)
        with self._lock:
            self._cells.forget()
        file: Any = self._file
        self._line = line = Line(
            file.fileno(), file.encoding or "utf-8", self._take, self._lock, where=self._where, failed=self._on_failure
        )
        self._started, self._writer_thread, self._pointer = False, None, ""
        try:
            super().start_application_mode()
        finally:
            if self._writer_thread is None:  # the terminal is not ours now: Textual begins again later
                self._end_line(0.0)
        if self._line is None:
            return
        self._started = True
        line.begin()
        resized = signal.getsignal(signal.SIGWINCH)

        def on_resize(number: int, frame: Any) -> None:
            if callable(resized):
                resized(number, frame)
            self._loop.call_soon_threadsafe(self._repaint_soon)

        signal.signal(signal.SIGWINCH, on_resize)

    def process_message(self, message: Any) -> None:
        """Terminals may also tell of their size in the input; answers of the line's questions are nobody else's."""
        if isinstance(message, events.CursorPosition):
            if self._line is not None:
                self._line.answered((message.x, message.y))
            return
        if isinstance(message, events.Key | events.Paste):
            self._key_at, self._unanswered = time.monotonic(), True
            with self._lock:
                self._cells.demote()
                if self._line is not None:
                    self._line.hold()
            if getattr(message, "key", "") == "ctrl+l":  # in dialogs, too, where the app's own keys are off
                self._loop.call_soon_threadsafe(self.repaint)
        super().process_message(message)
        if isinstance(message, events.Resize):
            self._loop.call_soon_threadsafe(self._repaint_soon)

    def _repaint_soon(self) -> None:
        for seconds in AFTER_RESIZE_SECONDS:
            self._loop.call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        """Of two signals that come at once, the handler of the first may be the last to tell its size, an old one."""
        size = Size(*self._get_terminal_size())
        if size != self._app.size and not self._in_band_window_resize:
            self._app.post_message(events.Resize(size, size))
        self.repaint()

    def write(self, data: str) -> None:
        """Have a frame's changes sent; anything else as it is. Never waits for the terminal."""
        line = self._line
        if data in (SYNC_START, SYNC_END) or line is None:
            return  # added again where it is of use
        with self._lock:
            if FRAME.match(data):
                self._fit()
                if self._ascii:
                    data = data.translate(PLAIN_TABLE)
                soon = time.monotonic() - self._key_at < ANSWER_SECONDS
                answer = soon and self._unanswered
                self._cells.apply(data, 2 if answer else int(soon))
                self._unanswered = False
                line.poke(urgent=soon)
            elif _POINTER.fullmatch(data):
                if data != self._pointer:  # Textual sends it with each new screen
                    self._pointer = data
                    line.put(data)
            elif _HARMLESS.fullmatch(data):
                line.put(data)
            else:
                line.put(self._cells.leave() + data)
                self._cells.forget()
                line.poke()

    def _fit(self) -> None:
        size = self._app.size
        if (size.width, size.height) != (self._cells.width, self._cells.height):
            self._cells.resize(size.width, size.height)

    def _take(self, room: int, answers: bool) -> tuple[str, bool]:
        """The line has room for so many bytes: what to send, and whether there is more (in the line's thread)."""
        if not self._started:
            return "", False  # the terminal is not in its modes yet
        with self._lock:
            changes = self._cells.changes(room, answers=answers)
            more = self._cells.pending
        if len(changes) > SYNC_BYTES and not more and self._app._sync_available:
            changes = f"{SYNC_START}{changes}{SYNC_END}"
        return changes, more

    def _where(self, marked: bool) -> tuple[str, Place | None]:
        """Where the terminal's cursor is, at a place of its own if it is to be marked (in the line's thread)."""
        return self._cells.mark() if marked else ("", self._cells.at)

    def _on_failure(self, error: Exception) -> None:
        """The line is broken (in its thread): leave in order, as if the terminal were gone."""
        leaving.log_exception(error)
        if self._line is None:
            return
        leaving.say_after(f"tunedeck: the terminal cannot be written to ({type(error).__name__}); runs go on.")
        leaving.insist(128 + signal.SIGHUP)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._app.exit, None, 128 + signal.SIGHUP)

    def stop_application_mode(self) -> None:
        """Leave with a plain look; what has not been sent by then is not needed."""
        line = self._line
        if line is not None:
            line.quiet()
            with self._lock:
                line.put(self._cells.leave())
        super().stop_application_mode()
        with self._lock:
            self._cells.forget()

    def close(self) -> None:
        """What was put is sent; a terminal that takes nothing is not waited for."""
        self._end_line(1.0)
        super().close()

    def _end_line(self, seconds: float) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.stop(seconds)


def _erases() -> bool:
    """Whether the terminal is known to erase cells in the colour that it would write with."""
    try:
        import curses

        curses.setupterm(os.environ.get("TERM", ""), 1)
        return curses.tigetflag("bce") > 0 and curses.tigetstr("ech") == b"\x1b[%p1%dX"
    except Exception:  # no terminfo, no such terminal, no curses
        return False


def for_terminal(driver: type[Driver]) -> type[Driver]:
    """The driver to use in place of Textual's choice; with ``TUNEDECK_PLAIN=1`` it sends as Textual's does."""
    if driver is not LinuxDriver:
        return driver
    return Keyboard if os.environ.get("TUNEDECK_PLAIN", "") not in ("", "0") else DiffDriver
