"""How a run fares, found out from its figures in the reader's thread: pure logic, evidence in numbers, no flicker.

Every sign has one threshold at which it comes up and another, further back, at which it goes again; the words of a sign
that stays are renewed only every few seconds.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.view import RunView
from tui import format as fmt
from tui.watch.machine import Machine, entries, read, real
from tui.watch.times import heat, pace_words

DISK, DIVERGING, CLIMBING, SLOW, IDLE, PROGRESSING = "disk", "diverging", "climbing", "slow", "idle", "progressing"
NAMES = {
    DISK: "disk short", DIVERGING: "diverging", CLIMBING: "climbing", SLOW: "slow", IDLE: "idle GPU",
    PROGRESSING: "progressing",
}  # fmt: skip
RENEW_SECONDS = 5.0
BLOCK, RECENT = 20, 20
SLOW_ON, SLOW_OFF, SLOW_SECONDS = 1.5, 1.25, 0.02
TREND_STEPS, MOST_TREND_STEPS = 200, 5000
CLEAR, UNCLEAR = 3.0, 1.5
CLIMB_ON, CLIMB_OFF, CLIMB_CLEAR, CLIMB_STEPS = 0.20, 0.08, 5.0, 100
IDLE_SECONDS, IDLE_ON, IDLE_OFF, IDLE_READINGS = 60.0, 10.0, 20.0, 5
DISK_OFF = 1.1


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing that can be said of how a run fares: ``level`` is success, warning or error; ``text`` the evidence."""

    kind: str
    level: str
    text: str


class Watcher:
    """Follows one view; :meth:`follow` gives the signs of this moment, the most urgent first."""

    def __init__(self) -> None:
        self.signs: tuple[Sign, ...] = ()
        self._renewed = -math.inf
        self._seen: tuple[int, float | None, str, bool] | None = None
        self._idle_marks: list[tuple[float, float]] = []
        self._reading: tuple[Mapping[str, Any] | None, Machine] = (None, Machine())
        self._begin(None)

    def machine(self, view: RunView) -> Machine:
        """The newest reading of the machine; read anew only when there is one."""
        event = view.hardware
        if event is not self._reading[0]:
            self._reading = event, read(event, view.readings)
        return self._reading[1] if event else Machine()

    def _begin(self, view: RunView | None) -> None:
        self._start = (view.attempt_row, view.steps.rewrites) if view is not None else (-1, -1)
        self._rows = view.attempt_row if view is not None else 0
        self._paces: list[float] = []
        self._lowest, self._lowest_step = math.inf, 0
        self._on: set[str] = set()
        self._trend = ""

    def follow(
        self, view: RunView, machine: Machine, now: float | None = None, *, fresh: bool = False
    ) -> tuple[Sign, ...]:
        """Look at what is new; ``now`` is Unix seconds. ``fresh``: a new attempt has not done a step yet."""
        now = time.time() if now is None else now
        if (view.attempt_row, view.steps.rewrites) != self._start:
            self._begin(view)
        if not view.state.live:
            self.signs = ()
            return self.signs
        self._note_reading(view)
        stamp = (len(view.steps), machine.time, view.phase.name, fresh)
        if stamp == self._seen or 0 <= now - self._renewed < 1.0:
            return self.signs
        self._seen = stamp
        self._read_blocks(view)
        training = () if fresh else self._training(view, machine, now)
        found = [sign for sign in (self._disk(view, machine), *training) if sign is not None]
        same = [sign.kind for sign in found] == [sign.kind for sign in self.signs]
        if not same or not 0 <= now - self._renewed < RENEW_SECONDS:
            self.signs, self._renewed = tuple(found), now
        return self.signs

    def _training(self, view: RunView, machine: Machine, now: float) -> Iterable[Sign | None]:
        if len(view.steps) <= view.attempt_row:
            return
        alarms = [self._diverging(view), self._slow(view, machine), self._idle(view, machine, now)]
        yield from alarms
        if not any(alarms):
            yield self._progress(view)

    # -- loss -------------------------------------------------------------------------------------------------------

    def _read_blocks(self, view: RunView) -> None:
        """Medians of each ``BLOCK`` steps, of a long record that is opened those at evenly spread places."""
        starts: Sequence[int] = range(self._rows, len(view.steps) - BLOCK + 1, BLOCK)
        if not starts:
            return
        self._rows = starts[-1] + BLOCK
        if len(starts) > 200:
            starts = [*starts[:: max(1, len(starts) // 200)], starts[-1]]
        losses, seconds = view.steps.column("loss"), view.steps.column("step_seconds")
        for start in starts:
            pace = _median(seconds[start : start + BLOCK])
            if pace is not None:
                self._paces.append(pace)
            loss = _median(losses[start : start + BLOCK])
            if loss is not None and loss < self._lowest:
                self._lowest, self._lowest_step = loss, view.steps.steps[start + BLOCK - 1]
        if len(self._paces) > 400:
            self._paces = self._paces[::2]

    def _diverging(self, view: RunView) -> Sign | None:
        rows = len(view.steps) - view.attempt_row
        recent = _median(view.steps.column("loss")[-RECENT:])
        if rows < 3 * BLOCK or recent is None or not math.isfinite(self._lowest):
            return None
        # The limit at which the worker says it, too.
        rise = 0.5 * abs(self._lowest) + 0.5
        if self._switch(DIVERGING, recent > self._lowest + rise, recent <= self._lowest + rise / 2):
            text = f"loss {_short(recent)} over {RECENT} steps, after {_short(self._lowest)} near step {self._lowest_step:,}"
            return Sign(DIVERGING, "warning", text)
        change, clear, steps = _trend(view, 10)
        climbs = clear >= CLIMB_CLEAR and change >= CLIMB_ON and steps >= CLIMB_STEPS
        if self._switch(CLIMBING, climbs, change < CLIMB_OFF):
            return Sign(CLIMBING, "warning", f"loss {_short(recent)}, up {change:.0%} over {steps:,} steps")
        return None

    def _progress(self, view: RunView) -> Sign:
        rows = len(view.steps) - view.attempt_row
        recent = _median(view.steps.column("loss")[-min(RECENT, rows) :])
        pace = view.median_step_seconds
        words = []
        if recent is not None:
            words.append(f"loss {_short(recent)}{self._trend_words(view)}")
        elif rows:
            words.append(f"{rows:,} {fmt.unit(rows, 'steps')} done")
        if pace is not None:
            words.append(pace_words(pace))
        return Sign(PROGRESSING, "success", "; ".join(words))

    def _trend_words(self, view: RunView) -> str:
        change, clear, steps = _trend(view, 2)
        if not steps:
            return ""
        if clear < (UNCLEAR if self._trend else CLEAR) or abs(change) < 0.005:
            self._trend = ""
        else:
            self._trend = "falling" if change < 0 else "rising"
        over = f" over {steps:,} steps"
        return f", {self._trend} {max(1, round(abs(change) * 100))}%{over}" if self._trend else f", level{over}"

    # -- pace -------------------------------------------------------------------------------------------------------

    def _slow(self, view: RunView, machine: Machine) -> Sign | None:
        recent = _median(view.steps.column("step_seconds")[-RECENT:])
        earlier = self._paces[1:-2]  # neither the first ones, which warm up, nor the recent ones themselves
        if recent is None or len(earlier) < 2:
            return None
        usual = statistics.median(earlier)
        on = recent >= SLOW_ON * usual and recent - usual >= SLOW_SECONDS
        if not self._switch(SLOW, on, recent < SLOW_OFF * usual):
            return None
        text = f"{pace_words(recent)}, {pace_words(usual, alone=True)} before (medians)"
        return Sign(SLOW, "warning", text + _why_slow(machine))

    # -- machine ----------------------------------------------------------------------------------------------------

    def _note_reading(self, view: RunView) -> None:
        """Keep the use of the run's cards at each reading that was taken while it trained."""
        phase = view.phase
        for reading in list(view.readings)[-16:]:
            when = real(reading.get("time"))
            if when is None or (self._idle_marks and when <= self._idle_marks[-1][0]):
                continue
            if phase.name != "training" or (phase.since is not None and when < phase.since + 2):
                continue
            uses = [real(card.get("utilization")) for card in entries(reading) if card.get("own") is not False]
            known = [use for use in uses if use is not None]
            if known:
                self._idle_marks.append((when, max(known)))
        del self._idle_marks[:-20]

    def _idle(self, view: RunView, machine: Machine, now: float) -> Sign | None:
        if view.phase.name != "training":  # who evaluates or saves does something else with the card
            self._on.discard(IDLE)
            return None
        marks = [use for when, use in self._idle_marks if now - IDLE_SECONDS - 5 <= when]
        enough = len(marks) >= IDLE_READINGS and now - IDLE_SECONDS + 15 >= self._idle_marks[0][0]
        top = max(marks, default=100.0)
        if not self._switch(IDLE, enough and top < IDLE_ON, top >= IDLE_OFF or not marks):
            return None
        cards = machine.mine
        name = f"GPU {cards[0].index}" if len(cards) == 1 else "the cards"
        text = f"{name} at most {top:.0f}% in use over the last minute"
        if machine.run_cpu is not None:
            text += f"; the run uses {machine.run_cpu / 100:.1f} processor cores"
            if machine.run_cpu >= 90:
                text += ": the card may wait for them"
        return Sign(IDLE, "warning", text)

    def _disk(self, view: RunView, machine: Machine) -> Sign | None:
        free, needed = machine.disk_free, machine.checkpoint
        if free is None or not needed:
            self._on.discard(DISK)
            return None
        over = view.total_steps is not None and view.step >= view.total_steps
        # Whatever the settings say, the adapter is saved at the end.
        coming = view.pace.saves_to_come(view) or int(not over)
        kept = view.config.get("save_total_limit")
        more = 1 if isinstance(kept, int) and kept > 0 else max(1, coming)
        if not self._switch(DISK, free < needed * more, free >= needed * more * DISK_OFF) or not coming:
            return None
        if free < needed:
            return Sign(DISK, "error", f"{fmt.size(free)} free, the next checkpoint needs {fmt.size(needed)}")
        room = int(free / needed)
        text = f"{fmt.size(free)} free, room for {room:,} {fmt.unit(room, 'checkpoints')} of {fmt.size(needed)}"
        return Sign(DISK, "warning", f"{text}; {coming:,} {'is' if coming == 1 else 'are'} to come")

    def _switch(self, kind: str, on: bool, off: bool) -> bool:
        """Whether a sign stands: it comes up when ``on``, and goes when ``off``."""
        if on:
            self._on.add(kind)
        elif off:
            self._on.discard(kind)
        return kind in self._on


def _trend(view: RunView, part: int) -> tuple[float, float, int]:
    """How the loss changed over the last steps (share of itself), how clear that is (in deviations), over how many.

    It looks at ``TREND_STEPS``, or at the last ``1 / part`` of all steps where that is more.
    """
    rows = len(view.steps) - view.attempt_row
    size = min(MOST_TREND_STEPS, max(TREND_STEPS, rows // part), rows)
    if size < 30:
        return 0.0, 0.0, 0
    # Round, so that the words stay the same for a while.
    size = size // (10 ** (len(str(size)) - 1)) * 10 ** (len(str(size)) - 1) if size >= 100 else size // 10 * 10
    values = [v for v in view.steps.column("loss")[-size:] if math.isfinite(v)]
    third = len(values) // 3
    if third < 8:
        return 0.0, 0.0, 0
    before, after = statistics.median(values[:third]), statistics.median(values[-third:])
    jumps = [abs(b - a) for a, b in itertools.pairwise(values)]
    noise = 1.4826 * statistics.median(jumps) / math.sqrt(2)
    error = 1.2533 * noise * math.sqrt(2 / third)
    if not before:
        return 0.0, 0.0, size
    return (after - before) / abs(before), abs(after - before) / error if error > 0 else math.inf, size


def _why_slow(machine: Machine) -> str:
    hot = [card for card in machine.mine if card.temperature is not None and card.temperature >= 87]
    if hot:
        return f"; GPU {hot[0].index} is at {heat(hot[0].temperature or 0)}"
    for card in machine.mine:
        if card.own is not None and card.used is not None and card.used - card.own > 2 * 1024**3:
            return f"; others hold {fmt.size(card.used - card.own)} of GPU {card.index}"
    if machine.cpu is not None and machine.cpu >= 95:
        return f"; the processor is {machine.cpu:.0f}% in use"
    if machine.memory_used is not None and machine.memory_total and machine.memory_used > 0.97 * machine.memory_total:
        return "; host memory is full"
    return ""


def _short(value: float) -> str:
    """Three digits: as much of a loss as stays the same for a while."""
    return f"{value:#.3g}".rstrip(".") if 0.001 <= abs(value) < 1000 else f"{value:.3g}"


def _median(values: Sequence[float]) -> float | None:
    finite = [v for v in values if math.isfinite(v)]
    return statistics.median(finite) if finite else None
