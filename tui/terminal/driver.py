"""A driver that sends only what differs, and only as fast as the terminal takes it."""

from __future__ import annotations

import re
import signal
import threading
from typing import Any

from textual import events
from textual._ansi_sequences import SYNC_END, SYNC_START
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver

from tui.terminal.cells import FRAME, CellScreen

# Sequences that change neither cells nor cursor: modes of mouse, paste, focus, cursor and keys; pointer; clipboard.
_HARMLESS = re.compile(
    r"(?:\x1b\[\?(?:7|25|100[0-6]|1015|1016|2004|2026|2048)(?:[hl]|\$p)|\x1b\[[<>=][\d;]*u|\x1b\](?:22|52);[^\x07\x1b]*\x07)+"
)
# A short frame cannot be seen half done.
SYNC_BYTES = 512
# While so much waits to be written, frames are merged instead of queued: a slow line skips frames, it does not lag.
QUEUED = 2
RETRY_SECONDS = 0.05
# A terminal that changes its size moves, cuts or clears what stands there, more than once while it is being dragged, and
# frames for the size before are still on their way.
AFTER_RESIZE_SECONDS = (0.05, 0.4)


class DiffDriver(LinuxDriver):
    """LinuxDriver with a memory of what the terminal shows."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self._cells = CellScreen()
        self._lock = threading.RLock()
        self._retry: Any = None

    def repaint(self) -> None:
        """Something else may have changed what stands in the terminal: send everything."""
        with self._lock:
            self._cells.forget()
            if self._writer_thread is None:
                return
            self._send()
            if self._cells.has_holes:
                self._app.call_later(self._app.screen.refresh, layout=True)

    def start_application_mode(self) -> None:
        """Begin with a terminal of which nothing is known, and look again whenever its size changes."""
        super().start_application_mode()
        resized = signal.getsignal(signal.SIGWINCH)

        def on_resize(number: int, frame: Any) -> None:
            if callable(resized):
                resized(number, frame)
            self._loop.call_soon_threadsafe(self._repaint_soon)

        signal.signal(signal.SIGWINCH, on_resize)
        self._repaint_soon()

    def process_message(self, message: Any) -> None:
        """Terminals may also tell of their size in the input."""
        super().process_message(message)
        if isinstance(message, events.Resize):
            self._loop.call_soon_threadsafe(self._repaint_soon)

    def _repaint_soon(self) -> None:
        for seconds in AFTER_RESIZE_SECONDS:
            self._loop.call_later(seconds, self.repaint)

    def write(self, data: str) -> None:
        """Send a frame's changes; anything else as it is."""
        if data in (SYNC_START, SYNC_END):
            return  # added again where it is of use
        with self._lock:
            if FRAME.match(data):
                self._fit()
                self._cells.apply(data)
                self._send()
            elif _HARMLESS.fullmatch(data):
                super().write(data)
            else:
                super().write(self._cells.leave() + data)
                self._cells.forget()

    def _fit(self) -> None:
        size = self._app.size
        if (size.width, size.height) != (self._cells.width, self._cells.height):
            self._cells.resize(size.width, size.height)

    def _send(self) -> None:
        writer = self._writer_thread
        if writer is not None and writer._queue.qsize() >= QUEUED:
            if self._retry is None:
                self._retry = self._loop.call_later(RETRY_SECONDS, self._send_later)
            return
        changes = self._cells.changes()
        if len(changes) > SYNC_BYTES and self._app._sync_available:
            changes = f"{SYNC_START}{changes}{SYNC_END}"
        if changes:
            super().write(changes)

    def _send_later(self) -> None:
        self._retry = None
        with self._lock:
            if self._writer_thread is not None:
                self._send()

    def stop_application_mode(self) -> None:
        """Leave with a plain look; what has not been sent by then is not needed."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        with self._lock:
            super().write(self._cells.leave())
        super().stop_application_mode()
        with self._lock:
            self._cells.forget()


def for_terminal(driver: type[Driver]) -> type[Driver]:
    """The driver to use in place of Textual's choice."""
    return DiffDriver if driver is LinuxDriver else driver
