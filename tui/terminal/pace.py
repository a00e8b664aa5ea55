"""How much may be on its way to the terminal, so that what a key does never waits behind much else.

Now and then what is sent ends with a question that every terminal answers (where is the cursor?): the answer says that
all before it has arrived. From how long answers take with how many bytes on their way follow the line's speed and
delay, and from those the window: what may be unanswered at a time.
"""

from __future__ import annotations

from collections import deque
from statistics import median

ASK = "\x1b[6n"
# What waits on the line in front of a key's answer, beyond the line's own delay.
WAIT_SECONDS = 0.03
SMALLEST, FIRST, LARGEST = 40, 1024, 1 << 16
GROWTH = 4
# Nothing was ever answered: nobody will. Something was: the terminal is stalled, and is asked again.
# Foreign output may also have torn a question.
MUTE_SECONDS, AGAIN_SECONDS, AGAIN_TIMES = 0.6, 1.0, 4
SAMPLES, APART = 16, 32  # answers that are remembered; bytes by which two must differ to tell the speed


class Pace:
    """The window. All times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self.window = FIRST
        self.deaf = False
        self._heard = False
        self._sent = self._arrived = self._asked_at = 0
        self._asks: deque[tuple[float, int, int]] = deque()  # when, bytes sent by then, bytes unanswered then
        self._again = 0
        self._samples: deque[tuple[int, float]] = deque(maxlen=SAMPLES)
        self.delay = self.slope = 0.0  # seconds without a load, seconds a byte
        self._full = False

    @property
    def waiting(self) -> bool:
        """Whether answers are still to come."""
        return bool(self._asks)

    @property
    def patience(self) -> float:
        """Seconds in which an answer should be there."""
        return min(1.0, 0.1 + 2 * self.delay + self.slope * self.window) if self._heard else 0.1

    def room(self, now: float) -> int:
        """How many bytes may be sent now."""
        if self._asks and not self.deaf and not self._heard and now - self._asks[0][0] > MUTE_SECONDS:
            self.deaf = True
        if self.deaf:
            return LARGEST
        return max(0, self.window - (self._sent - self._arrived))

    def cut(self) -> None:
        """There is more to send than there is room for."""
        self._full = True

    def sent(self, count: int) -> None:
        """So many bytes were sent."""
        self._sent += count

    def asks(self, now: float) -> bool:
        """Whether to ask behind what was just sent; counts the question."""
        if self._asks:
            if not self.overdue(now):
                return False
            self._again += 1
            if self._again >= AGAIN_TIMES:
                self.deaf = True
        elif self._heard and not self._full and self._sent - self._asked_at < min(1024, self.window // 4):
            return False
        self._sent += len(ASK)
        self._asked_at = self._sent
        self._asks.append((now, self._sent, self._sent - self._arrived))
        return True

    def overdue(self, now: float) -> bool:
        """Whether to ask without sending anything: the window is full of what nobody asked about, or no answer came."""
        if self.deaf:
            return False
        if not self._asks:
            return self._sent > self._asked_at and self._sent - self._arrived >= self.window
        patience = (AGAIN_SECONDS + 4 * (self.delay + self.slope * self.window)) * 2**self._again
        return self._heard and now - self._asks[-1][0] > patience

    def answered(self, now: float) -> None:
        """An answer came."""
        if not self._asks:
            return
        # Of several questions some may be lost; which one this answers cannot be told.
        when, _, count = self._asks[0]
        self._arrived = self._asks[-1][1]
        again, self._heard, self.deaf, self._again = len(self._asks) > 1, True, False, 0
        self._asks.clear()
        if again:
            return
        took = max(1e-6, now - when)
        self._samples.append((count, took))
        self._learn()
        if self.slope and self.delay + count * self.slope > took / 2:
            window = (self.delay + WAIT_SECONDS) / self.slope
        else:
            window = float(self.window if took < 0.25 + self.delay else count / 2)
        if self._full and took - self.delay <= WAIT_SECONDS * 1.5:
            window = max(window, count * (GROWTH if count * self.slope < WAIT_SECONDS / GROWTH else 1.25))
        self.window = int(min(LARGEST, max(SMALLEST, window)))
        self._full = False

    def _learn(self) -> None:
        """Delay and slope of a line through the samples that a few odd ones do not bend."""
        samples = list(self._samples)
        slopes = [
            (took - other_took) / (count - other)
            for place, (count, took) in enumerate(samples)
            for other, other_took in samples[:place]
            if abs(count - other) >= APART
        ]
        if slopes:
            self.slope = max(0.0, median(slopes))
        self.delay = max(0.0, min(took - count * self.slope for count, took in samples))
