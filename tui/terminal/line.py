"""The way to the terminal: a thread of its own, so that nobody ever waits for a terminal that takes nothing."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

from tui.terminal.pace import ASK, Pace, Place

PIECE = 4096
# Sequences that wait for a stalled terminal; beyond that they are dropped.
KEPT = 1 << 18
TICK_SECONDS = 0.25
# So long a slow line is kept free for what a key leads to.
HOLD_SECONDS = 0.25

Where = Callable[[bool], tuple[str, Place | None]]


def _nowhere(_mark: bool) -> tuple[str, Place | None]:
    return "", None


class Line:
    """Sends what ``take`` gives, as fast as the terminal answers; sequences given to :meth:`put` go first.

    ``take(room, answers)`` returns about that many bytes of what is to be sent, and whether there is more; with
    ``answers`` only of what answers a key. It is called with ``lock`` held, so that what is put meanwhile comes after
    it. ``where(mark)`` says where the cursor is when the terminal is asked for it; for a mark it returns the sequence
    that puts it somewhere of its own. ``failed`` is called in the line's thread with the error that ended the line.
    """

    def __init__(
        self,
        fd: int,
        encoding: str,
        take: Callable[[int, bool], tuple[str, bool]],
        lock: threading.RLock | None = None,
        *,
        where: Where = _nowhere,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        self.pace = Pace()
        self._encoding, self._take, self._where, self._failed = encoding, take, where, failed
        self._wake = threading.Condition(lock or threading.RLock())
        self._first: deque[str] = deque()
        self._kept = 0
        self._more = False
        # Until the terminal is in its modes it would show answers as if they were typed.
        self._quiet, self._stopped, self._ended = True, False, False
        self._held, self._until = 0.0, float("inf")
        self._urgent = False
        self._own = _own(fd)
        self._fd = fd if self._own is None else self._own
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)
        self._thread = threading.Thread(target=self._run, name="tunedeck-output", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """The terminal is in its modes: it can be asked, and what there is to take is taken."""
        with self._wake:
            self._quiet = False
        self.poke()

    def put(self, data: str) -> None:
        """Send this before anything else; never waits."""
        with self._wake:
            if self._kept < KEPT and not self._ended:
                self._first.append(data)
                self._kept += len(data)
                self._wake.notify_all()

    def poke(self, *, urgent: bool = False) -> None:
        """There is something to take; ``urgent`` if it may be what :meth:`hold` waits for."""
        with self._wake:
            self._more = True
            self._urgent |= urgent
            self._wake.notify_all()

    def hold(self) -> None:
        """A key was pressed: for a while keep a slow line free for its answer."""
        with self._wake:
            self._urgent = False
            if self.pace.slow:
                self._held = time.monotonic() + HOLD_SECONDS

    def answered(self, place: Place | None = None) -> None:
        """The terminal answered: its cursor is at ``place``."""
        with self._wake:
            self.pace.answered(time.monotonic(), place)
            self._wake.notify_all()

    def quiet(self) -> None:
        """Take and ask nothing more, and wait a little for answers that are due: nobody else would know them."""
        with self._wake:
            self._quiet = True
            self._wake.wait_for(lambda: self._ended or self.pace.deaf or not self.pace.waiting, self.pace.patience)

    def stop(self, seconds: float = 1.0) -> None:
        """Send what was put and end; what a terminal has not taken after ``seconds`` is dropped."""
        with self._wake:
            self._quiet = self._stopped = True
            self._until = time.monotonic() + seconds
            self._wake.notify_all()
        self._thread.join(seconds + TICK_SECONDS)

    # The thread.

    def _run(self) -> None:
        try:
            while (data := self._next()) is not None:
                self._send(data)
        except Exception as error:
            if self._failed is not None and not self._stopped:
                self._failed(error)
        finally:
            with self._wake:
                self._ended, self._more = True, False
                self._first.clear()
                self._wake.notify_all()
            if self._own is not None:
                os.close(self._own)

    def _send(self, data: bytes) -> None:
        while data and time.monotonic() < self._until:
            try:
                data = data[os.write(self._fd, data[:PIECE]) :]
            except BlockingIOError:
                with self._wake:
                    self.pace.stalled()
                self._poll.poll(1000 * TICK_SECONDS / 4)

    def _next(self) -> bytes | None:
        """What to send now, once there is something and the terminal takes it; ``None`` at the end."""
        while True:
            with self._wake:
                now = time.monotonic()
                if (self._stopped and not self._first) or now > self._until:
                    return None
                room = self.pace.room(now)
                if self._more and room <= 0:
                    self.pace.cut()
                overdue = not self._quiet and self.pace.overdue(now)
                takes = self._more and room > 0 and not self._quiet and (self._urgent or now >= self._held)
                if not (self._first or overdue or takes):
                    tick = TICK_SECONDS if self._more or self.pace.waiting else None
                    self._wake.wait(self._held - now if self._held > now and self._more else tick)
                    continue
            if not self._poll.poll(1000 * TICK_SECONDS):
                with self._wake:
                    self.pace.stalled()
                continue
            data = self._gather(room)
            if data:
                return data

    def _gather(self, room: int) -> bytes:
        with self._wake:
            now = time.monotonic()
            text = "".join(self._first)
            self._first.clear()
            self._kept = 0
            if self._more and not self._quiet and room > 0 and (self._urgent or now >= self._held):
                changes, self._more = self._take(room, now < self._held)
                text += changes
                self._urgent &= bool(changes)
                if self._more:
                    self.pace.cut()
            self.pace.sent(len(text.encode(self._encoding, "replace")))
            if not self._quiet and (self.pace.due(now) if text else self.pace.overdue(now)):
                marked = self.pace.marks
                move, place = self._where(marked)
                text += move + ASK
                self._more |= marked  # the cursor goes back
                self.pace.asked(now, len(move + ASK), place, marked=marked)
            return text.encode(self._encoding, "replace")


def _own(fd: int) -> int | None:
    """The terminal, opened once more: writing to it never waits, whatever others have set. ``None`` if it cannot be."""
    with contextlib.suppress(OSError):
        return os.open(os.ttyname(fd), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    return None
