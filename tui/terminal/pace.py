"""How much may be on its way to the terminal, so that what a key does never waits behind much else.

Now and then what is sent ends with a question that every terminal answers (where is the cursor?): the answer says that
all before it has arrived. From how long answers take with how many bytes on their way follow the line's speed and
delay, and from those the window: what may be unanswered at a time.

Answers come in the order of the questions, but one may be lost, or come very late. So there is one open question at a
time; where a second one is needed, it is marked: asked with the cursor at a place of its own, which the answer names.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

ASK = "\x1b[6n"
# What waits on the line in front of a key's answer, beyond the line's own delay.
WAIT_SECONDS = 0.03
# The first window is small enough for a slow line to answer before it is taken for mute.
SMALLEST, FIRST, LARGEST = 40, 256, 1 << 16
GROWTH = 4
# Nothing was ever answered: nobody will. Something was: the terminal is stalled, and is asked again.
# Foreign output may also have torn a question.
MUTE_SECONDS, AGAIN_SECONDS, AGAIN_TIMES = 0.6, 1.0, 4
# A terminal that answered and does not any more gets so many bytes a second, so many of them at once.
CAREFUL_RATE, CAREFUL_BYTES = 4096.0, 1024
MOST_PATIENCE = 30.0
SAMPLES, APART = 16, 32  # answers that are remembered; bytes by which two must differ to tell the speed
OPEN = 8  # questions that are remembered
# A byte takes longer than this: what is not urgent waits for a key's answer.
SLOW_SLOPE = 1e-4

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Question:
    """When it was asked, the bytes sent by then (it among them) and those unanswered then.

    ``place`` is where the cursor should be, if that is known; with a mark nobody else's answer names it. ``alone``
    says that no other question was open.
    """

    when: float
    sent: int
    unanswered: int
    place: Place | None
    marked: bool
    alone: bool


class Pace:
    """The window. All times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self.window = FIRST
        self.deaf = False
        self._heard = False
        self._sent = self._arrived = self._asked_at = 0
        self._asks: deque[Question] = deque(maxlen=OPEN)
        self._again = 0
        self._samples: deque[tuple[int, float]] = deque(maxlen=SAMPLES)
        self.delay = self.slope = 0.0  # seconds without a load, seconds a byte
        self._full = self._stalled = False
        self._spare, self._clock = 0.0, 0.0

    @property
    def waiting(self) -> bool:
        """Whether answers are still to come."""
        return bool(self._asks)

    @property
    def slow(self) -> bool:
        """Whether a few bytes take a time that a person notices."""
        return self.slope > SLOW_SLOPE

    @property
    def patience(self) -> float:
        """Seconds in which an answer should be there."""
        return min(1.0, 0.1 + 2 * self.delay + self.slope * self.window) if self._heard else 0.1

    def room(self, now: float) -> int:
        """How many bytes may be sent now."""
        if self._asks and not self.deaf and not self._heard and now - self._asks[0].when > MUTE_SECONDS:
            self.deaf = True
        if not self.deaf:
            return max(0, self.window - (self._sent - self._arrived))
        if not self._heard:
            return LARGEST
        rate = min(CAREFUL_RATE, 0.5 / self.slope) if self.slope else CAREFUL_RATE
        self._spare = min(CAREFUL_BYTES, self._spare + (now - self._clock) * rate)
        self._clock = now
        return int(self._spare) if self._spare >= SMALLEST else 0

    def cut(self) -> None:
        """There is more to send than there is room for."""
        self._full = True

    def stalled(self) -> None:
        """The terminal takes nothing: how long open questions take says nothing of the line."""
        self._stalled = bool(self._asks)

    def sent(self, count: int) -> None:
        """So many bytes were sent."""
        self._sent += count
        self._spare -= count

    @property
    def marks(self) -> bool:
        """Whether the next question needs a mark: another one is open, or answers to somebody else may be on their way."""
        return bool(self._asks) or not self._heard

    def due(self, now: float) -> bool:
        """Whether to ask behind what was just sent."""
        if self._asks:
            return self.overdue(now)
        return not self._heard or self._full or self._sent - self._asked_at >= min(1024, self.window // 4)

    def asked(self, now: float, count: int = len(ASK), place: Place | None = None, *, marked: bool = False) -> None:
        """A question of so many bytes was sent, with the cursor at ``place`` if that is known."""
        alone = not self._asks
        if self._asks:
            self._again += 1
            if self._again >= AGAIN_TIMES and not self.deaf:
                self.deaf = True
                self._spare, self._clock = 0.0, now
        self.sent(count)
        self._asked_at = self._sent
        self._asks.append(Question(now, self._sent, self._sent - self._arrived, place, marked, alone))

    def overdue(self, now: float) -> bool:
        """Whether to ask without sending anything: the window is full of what nobody asked about, or no answer came."""
        if not self._asks:
            return not self.deaf and self._sent > self._asked_at and self._sent - self._arrived >= self.window
        if self.deaf and self._sent == self._asked_at:
            return False  # nothing was sent since: a screen that rests stays silent
        patience = (AGAIN_SECONDS + 4 * (self.delay + self.slope * self.window)) * 2**self._again
        return (self._heard or self.deaf) and now - self._asks[-1].when > min(MOST_PATIENCE, patience)

    def answered(self, now: float, place: Place | None = None) -> None:
        """An answer came: the cursor is at ``place``. One that nobody asked for is left aside."""
        number = self._which(place)
        if number is None:
            return
        question = self._asks[number]
        # Those before it were answered, or their answers are lost.
        for _ in range(number + 1):
            self._asks.popleft()
        self._arrived = question.sent
        silent, again = self.deaf and self._heard, self._again or self._stalled or not question.alone
        self._stalled &= bool(self._asks)
        self._heard, self.deaf, self._again = True, False, 0
        if silent:
            self.window = min(self.window, FIRST)
        if not again:
            self._judge(question.unanswered, max(1e-6, now - question.when))

    def _which(self, place: Place | None) -> int | None:
        """The number of the question that this answers."""
        for number, question in enumerate(self._asks):
            if question.marked and question.place == place:
                return number
        found = next((number for number, question in enumerate(self._asks) if not question.marked), None)
        # Shift and F3 reads like an answer from the first row.
        if found is not None and place is not None and place[1] == 0 and 0 < place[0] < 16:
            return found if self._asks[found].place == place else None
        return found

    def _judge(self, count: int, took: float) -> None:
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
