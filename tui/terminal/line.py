"""The way to the terminal: a thread of its own, so that nobody ever waits for a terminal that takes nothing."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

from tui.terminal.pace import ASK, Pace

PIECE = 4096
# Sequences that wait for a stalled terminal; beyond that they are dropped.
KEPT = 1 << 18
TICK_SECONDS = 0.25


class Line:
    """Sends what ``take`` gives, as fast as the terminal answers; sequences given to :meth:`put` go first.

    ``take(room)`` returns about that many bytes of what is to be sent, and whether there is more; it is called with
    ``lock`` held, so that what is put meanwhile comes after it.
    """

    def __init__(
        self, fd: int, encoding: str, take: Callable[[int], tuple[str, bool]], lock: threading.RLock | None = None
    ) -> None:
        self.pace = Pace()
        self._fd, self._encoding, self._take = fd, encoding, take
        self._wake = threading.Condition(lock or threading.RLock())
        self._first: deque[str] = deque()
        self._kept = 0
        self._more = False
        self._quiet = self._stopped = False
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._thread = threading.Thread(target=self._run, name="tunedeck-output", daemon=True)
        self._thread.start()

    def put(self, data: str) -> None:
        """Send this before anything else; never waits."""
        with self._wake:
            if self._kept < KEPT:
                self._first.append(data)
                self._kept += len(data)
                self._wake.notify()

    def poke(self) -> None:
        """There is something to take."""
        with self._wake:
            self._more = True
            self._wake.notify()

    def answered(self) -> None:
        """The terminal answered."""
        with self._wake:
            self.pace.answered(time.monotonic())
            self._wake.notify()

    def quiet(self) -> None:
        """Take and ask nothing more, and wait a little for answers that are due: nobody else would know them."""
        with self._wake:
            self._quiet = True
        until = time.monotonic() + self.pace.patience
        while self.pace.waiting and not self.pace.deaf and time.monotonic() < until:
            time.sleep(0.005)

    def stop(self, seconds: float = 1.0) -> None:
        """Send what was put and end; a terminal that takes nothing is left after ``seconds``."""
        with self._wake:
            self._quiet = self._stopped = True
            self._wake.notify()
        self._thread.join(seconds)

    # The thread.

    def _run(self) -> None:
        try:
            while (data := self._next()) is not None:
                while data:
                    data = data[os.write(self._fd, data[:PIECE]) :]
        except OSError:
            pass  # the terminal is gone: others see that, too

    def _next(self) -> bytes | None:
        """What to send now, once there is something and the terminal takes it; ``None`` at the end."""
        while True:
            with self._wake:
                if self._stopped and not self._first:
                    return None
                room = self.pace.room(time.monotonic())
                if self._more and room <= 0:
                    self.pace.cut()
                overdue = not self._quiet and self.pace.overdue(time.monotonic())
                if not self._first and not overdue and (self._quiet or not self._more or room <= 0):
                    self._wake.wait(TICK_SECONDS if self._more or self.pace.waiting else None)
                    continue
            if not self._poll.poll(1000 * TICK_SECONDS):
                continue
            data = self._gather(room)
            if data:
                return data

    def _gather(self, room: int) -> bytes:
        with self._wake:
            text = "".join(self._first)
            self._first.clear()
            self._kept = 0
            if self._more and not self._quiet and room > 0:
                changes, self._more = self._take(room)
                text += changes
                if self._more:
                    self.pace.cut()
            data = text.encode(self._encoding, "replace")
            now = time.monotonic()
            self.pace.sent(len(data))
            if not self._quiet and (data or self.pace.overdue(now)) and self.pace.asks(now):
                data += ASK.encode()
            return data
