"""Waits for the slots that a run needs, in the queue's order; the supervisor's part before the worker starts."""

from __future__ import annotations

import math
import os
import signal
import time
import traceback
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from engine import hardware, queue
from engine import status as states
from engine.errors import TunedeckError
from engine.queue import entries, order, reviving, slots
from engine.queue.entries import Entry
from engine.ranks import wanted as ranks_wanted
from engine.supervisor.ending import Ending
from engine.text import clean

if TYPE_CHECKING:
    from pathlib import Path

    from engine.supervisor.guard import Guard

TICK_SECONDS = 0.5
LOOK_SECONDS = 0.9
NEIGHBOUR_SECONDS = 2.0
# Who is far from his turn looks less often.
NEAR, FAR_LOOK_SECONDS, FAR_NEIGHBOUR_SECONDS = 8, 3.0, 10.0
BEAT_SECONDS = 5.0
# A place whose supervisor cannot be started again for so long holds up nobody any more.
DEAD_SECONDS = 30.0


@dataclass(slots=True)
class Turn:
    """The end of waiting: the slots that are held, by name with their descriptors, or why the run does not start.

    ``devices`` is what CUDA_VISIBLE_DEVICES has to say, ``None`` to leave it as it is. ``left``: the supervisor was told
    to go, and the run keeps its place for whoever revives it.
    """

    slots: dict[str, int] = field(default_factory=dict)
    devices: str | None = None
    notice: str = ""
    ending: Ending | None = None
    left: bool = False


def wait_for_turn(guard: Guard) -> Turn:
    """Return when the run may start, or when it is not to start any more.

    A run that need not wait never shows as queued. Its state is ``starting`` when this returns with slots.
    """
    try:
        waiting = Waiting(guard)
        return waiting.start_at_once() if guard.config.get("queue") is False else _wait(waiting)
    except Exception as error:  # it must not come back to the same fault for ever
        traceback.print_exc()
        entries.remove(str((guard.run.read_run() or {}).get("id") or ""))
        reason = f"failed to start: its turn in the queue cannot be found out: {clean(error, 200)}"
        return Turn(ending=Ending(states.FAILED, reason))


def _wait(waiting: Waiting) -> Turn:
    next_look = next_neighbours = 0.0
    while True:
        turn = waiting.asked_to_end()
        if turn is None and time.monotonic() >= next_look:
            turn = waiting.look()
            if turn is None:
                waiting.report()
                turn = waiting.unrecorded()
            next_look = time.monotonic() + (LOOK_SECONDS if waiting.position <= NEAR else FAR_LOOK_SECONDS)
        if turn is not None:
            return turn
        if time.monotonic() >= next_neighbours:
            waiting.wake_neighbours()
            far = waiting.position > NEAR
            next_neighbours = time.monotonic() + (FAR_NEIGHBOUR_SECONDS if far else NEIGHBOUR_SECONDS)
        time.sleep(TICK_SECONDS)


def wake_waiting() -> None:
    """At the end of a run: whoever waits without a supervisor gets one, so that the free slot is used."""
    try:
        queue.revive()
    except Exception:  # the run's own end stands already; nothing here may spoil it
        traceback.print_exc()


class Waiting:
    """One run's wait for its turn."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.id = str((guard.run.read_run() or {}).get("id") or "")
        self.place: Path | None = None
        self.position = 1
        self.placed = False
        self._warned = False
        self._reported: tuple[int, str] | None = None
        self._beat = 0.0
        self._dead: dict[str, float] = {}
        earlier = entries.read(self.id)
        if earlier is not None and math.isfinite(earlier.position):
            entries.restore_environment(earlier)
            self.placed = True
        self.visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        self.cards = slots.cards_now()
        self._cards_read = time.monotonic()
        ranks = ranks_wanted(guard.config.get("gpus"), guard.config.get("num_gpus"))
        wanted = slots.wish(guard.config.get("gpus", "auto"), self.cards, self.visible, ranks)
        if earlier is not None and self.placed:
            # What it waited for before a restart of the machine: the driver may not be there yet.
            self.me = replace(earlier, path=str(guard.run.path))
            if earlier.path != self.me.path:
                self.placed = False  # moved since: its place is written again
        else:
            self.me = Entry(self.id, str(guard.run.path), math.inf, time.time(), wanted.kind, wanted.slots, wanted.labels,
                            entries.environment_to_keep(), wanted.count)  # fmt: skip
        try:
            self.place, warning = slots.directory()
        except OSError as error:
            warning = f"no slot can be taken ({error.strerror}): it starts beside whatever runs here"
        if warning:
            self._notice(warning, "warning")

    def start_at_once(self) -> Turn:
        """The slots that happen to be free, so that others see the run; it starts in any case."""
        held: dict[str, int] = {}
        wanted = slots.cpu_slots() if self.me.kind == order.CPU else list(self.me.slots)
        crowd = slots.crowded(self.cards)
        names = [
            name for name in slots.best_first(wanted, self.cards) if name not in crowd or self.me.kind == order.EVERY
        ]
        for name in names:
            fd = self._take(name)
            if fd is not None:
                held[name] = fd
                if len(held) == order.number(self.me, len(names)):
                    break
        entries.remove(self.id)
        return self._begin(held)

    def asked_to_end(self) -> Turn | None:
        """A stop that was asked for while the run waits, or the end of this supervisor alone."""
        if not self.placed and self._reported is None:
            return None  # it has not waited yet
        run, events = self.guard.run, self.guard.events
        for verb in ("stop", "stop-now"):
            if verb in run.requests() and run.take(verb):
                entries.remove(self.id)
                events.write("control", request=verb, outcome="cancelled in the queue")
                return Turn(ending=Ending(states.STOPPED, "cancelled in the queue"))
        if self.guard.terminated:
            # A shutdown of the machine says SIGTERM to everybody: a run in the queue has to outlive that.
            return Turn(left=True) if self.placed else Turn(ending=Ending(states.STOPPED, "ended by SIGTERM",
                                                                          signal=signal.SIGTERM.name))  # fmt: skip
        return None

    def look(self) -> Turn | None:
        """Take the slots if it is this run's turn; else make sure that it has a place in the queue."""
        if self.place is None:
            entries.remove(self.id)
            return self._begin({})
        if self.placed and not self.guard.run.meta.is_dir():
            return Turn(left=True)  # moved or deleted: whoever revives the queue finds it, or drops its place
        if self.placed and not self._given():
            return None
        try:
            with entries.locked(0.3 if self._reported is not None else 10.0):
                return self._look_alone()
        except TunedeckError:
            if not self.placed:
                self._write_place()
            return None
        except OSError as error:
            self._no_place(error)
            return self._look_alone()

    def _look_alone(self) -> Turn | None:
        ending = self.asked_to_end()
        if ending is not None:
            return ending
        given = self._given()
        if given:
            held: dict[str, int] = {}
            for name in given:
                fd = self._take(name)
                if fd is None:  # another user was faster
                    _release(held)
                    held = {}
                    break
                held[name] = fd
            if held:
                # The state first: killed in between, the entry brings the run back, and it has not begun twice.
                turn = self._begin(held)
                entries.remove(self.id)
                return turn
        if not self.placed:
            self._write_place()
        return None

    def report(self) -> None:
        """Say in ``status.json`` where in the queue the run stands and what it waits for."""
        everybody = self._everybody()
        self.position = next((n for n, entry in enumerate(everybody, 1) if entry.id == self.id), len(everybody))
        said = (self.position, self._waits_for())
        guard = self.guard
        guard.status.update(queue_position=said[0], waits_for=said[1])
        if self._reported is None:
            guard._set_state(states.QUEUED)
        elif said != self._reported:
            guard._write_status(force=True)
        elif time.monotonic() - self._beat >= BEAT_SECONDS:
            guard._write_status()
        else:
            return
        self._reported, self._beat = said, time.monotonic()

    def unrecorded(self) -> Turn | None:
        """The end of a run whose wait cannot be written down: whoever launched it is told that it did not start."""
        if self.guard.recorded:
            return None
        entries.remove(self.id)
        return Turn(ending=Ending(states.FAILED, "failed to start: the run's record cannot be written"))

    def wake_neighbours(self) -> None:
        """Revive what waits without a supervisor, and note whose place stays without one."""
        try:
            still = reviving.revive_now(but=self.id)
        except Exception:  # the neighbours' troubles are not this run's
            traceback.print_exc()
            return
        now = time.monotonic()
        self._dead = {run_id: self._dead.get(run_id, now) for run_id in still}

    def _everybody(self) -> list[Entry]:
        """The queue in its order with this run in it, without those that nobody can start."""
        found = entries.read_all()
        mine = next((entry for entry in found if entry.id == self.id and math.isfinite(entry.position)), None)
        self.placed = mine is not None and mine.path == self.me.path
        # Without a place it stands behind all others.
        position = mine.position if mine is not None else entries.next_position(found)
        self.me = replace(self.me, position=position)
        now = time.monotonic()
        others = [
            e for e in found if e.id != self.id and now - self._dead.get(e.id, now) < DEAD_SECONDS and e.reachable
        ]
        return sorted([*others, self.me], key=order.key)

    def _given(self) -> tuple[str, ...]:
        """The slots this run could take now, by the queue's order; empty if it has to wait."""
        assert self.place is not None
        everybody, cpu = self._everybody(), slots.cpu_slots()
        names = dict.fromkeys(n for entry in everybody for n in (cpu if entry.kind == order.CPU else entry.slots))
        free = [name for name in names if slots.holder(self.place, name) is None]
        given = order.turn(self.id, everybody, free, cpu)
        if not any(name.startswith("gpu-") for name in given):
            return given
        # Only now ask the driver, which is not cheap: a card counts as free if nobody computes on it.
        self._read_cards()
        absent, crowd = self._absent(), slots.crowded(self.cards)
        free = slots.best_first([n for n in free if n not in crowd and n not in absent], self.cards)
        return order.turn(self.id, everybody, free, cpu)

    def _read_cards(self) -> None:
        self.cards, self._cards_read = slots.cards_now(), time.monotonic()

    def _absent(self) -> set[str]:
        """Cards this run waits for that the driver does not know (any more, or yet)."""
        there = {slots.slot_name(card) for card in self.cards}
        return {name for name in self.me.slots if name not in there and not name.startswith("gpu-MIG-")}

    def _waits_for(self) -> str:
        """What holds this run up, in words."""
        cpu = self.me.kind == order.CPU
        if not cpu and time.monotonic() - self._cards_read > 10:
            self._read_cards()
        absent, crowd, names = self._absent(), slots.crowded(self.cards), slots.cpu_slots() if cpu else self.me.slots
        labels = dict(zip(self.me.slots, self.me.labels, strict=False))
        found = []
        for name in names:
            holder = slots.holder(self.place, name) if self.place is not None else None
            what = str(holder) if holder else "is not there" if name in absent else crowd.get(name)
            if what:
                found.append(f"{labels.get(name) or slots.label(name, self.cards)} {what}")
        if len(found) > 3:
            found[2:] = [f"and {len(found) - 2} more are taken"]
        if self.position > 1:
            ahead = self.position - 1
            found.insert(0, f"{ahead} {'run is' if ahead == 1 else 'runs are'} before it")
        return "; ".join(found) or "a free slot"

    def _write_place(self) -> None:
        """Make sure of a place in the queue that outlives this process."""
        self._everybody()
        if self.placed:
            return
        try:
            entries.write(self.me)
            self.placed = True
        except OSError as error:
            self._no_place(error)

    def _no_place(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            self._notice(f"the queue cannot be written ({error.strerror or error}): this run waits behind all others, and "
                         "does not go on by itself after a restart of the machine", "warning")  # fmt: skip

    def _take(self, name: str) -> int | None:
        try:
            return slots.take(self.place, name, self.id) if self.place is not None else None
        except OSError:
            return None

    def _begin(self, held: dict[str, int]) -> Turn:
        """The turn with these slots, and the state ``starting``."""
        guard = self.guard
        turn = Turn(held, *self._devices(list(held)))
        if turn.notice:
            self._notice(turn.notice, "info")
        guard.status.update(queue_position=None, waits_for=None, slots=sorted(held))
        guard._set_state(states.STARTING)
        return turn

    def _devices(self, held: list[str]) -> tuple[str | None, str]:
        """CUDA_VISIBLE_DEVICES for the worker, and what is worth saying about the choice."""
        wanted: Any = self.guard.config.get("gpus", "auto")
        if isinstance(wanted, list) and wanted:
            taken = [g.index for g in self.cards if g.index in wanted and g.foreign_processes]
            notice = f"others' processes are on GPU {', '.join(map(str, taken))}" if taken else ""
            return ",".join(str(index) for index in wanted), notice
        if self.me.kind not in (order.ONE, order.SOME):
            return None, ""
        names = held or self.me.slots
        if self.me.kind == order.SOME:
            # Where it starts without a turn, and fewer are free than it needs, those with the most free memory.
            rest = [name for name in slots.best_first(self.me.slots, self.cards) if name not in held]
            several = sorted(slots.device(name, self.cards, self.visible) for name in [*held, *rest][: self.me.count])
            return ",".join(several), f"GPUs {', '.join(several)} were chosen"
        cards = [card for card in self.cards if slots.slot_name(card) in names]
        card = hardware.freest(cards)
        if card is None:
            return slots.device(names[0], self.cards, self.visible), ""
        free = f"{card.memory_free / 2**30:.1f} GiB of memory are free"
        return str(card.index), f"GPU {card.index} ({card.name}) was chosen: {free}"

    def _notice(self, text: str, level: str) -> None:
        self.guard.events.write("notice", level=level, text=text)


def _release(held: dict[str, int]) -> None:
    for fd in held.values():
        os.close(fd)
