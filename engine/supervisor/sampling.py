"""Samples the machine under a run without ever holding it up: cards, processor, memory, and room for checkpoints.

What may hang (a driver in trouble, a file system that does not answer) is asked in threads of its own. One that does
not come back is not waited for and not asked again until it does.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.hardware import CardReader, sensible
from engine.supervisor.processes import Family, machine_usage
from engine.view import RunView

# Every five seconds in the first hour, then every ten: a day of eight cards stays at some 20 MB.
SAMPLE_SECONDS, LATER_SECONDS, LATER_AFTER = 5.0, 10.0, 3600.0
# The second one comes sooner: the first cannot tell how busy the processor is.
SECOND_SECONDS = 2.0
# What a reading may cost, as a share of a core; a dear one is taken less often, but not so rarely that it looks stale.
MOST_COST = 0.004
# So long the guard waits for a reading at once; a later one is taken up at its next look.
AT_ONCE_SECONDS = 0.05
PATIENCE_SECONDS = 2.0
# A checkpoint of less is none.
LEAST_CHECKPOINT = 1024


class Sampler:
    """The machine of one run. ``devices`` is its CUDA_VISIBLE_DEVICES, ``None`` if it may use all cards."""

    def __init__(
        self, folder: Path, pid: int, devices: str | None, read_cards: Callable[[], list[dict[str, Any]]] | None = None
    ) -> None:
        self._devices = devices
        self._begun = time.monotonic()
        self._next = 0.0
        self._asked: float | None = None
        self._saving = False
        self._room: dict[str, Any] | None = None
        self._cards = _Asker(read_cards or CardReader().read)
        family = Family(pid)
        self._host = _Asker(lambda: machine_usage(family))
        self._disk = _Asker(lambda: _room(folder))

    def look(self, view: RunView) -> dict[str, Any] | None:
        """Call it often: the fields of a ``hardware`` event when a new reading is there, else ``None``."""
        now = time.monotonic()
        askers = (self._cards, self._host, self._disk)
        if self._asked is None:
            if now < self._next:
                return None
            self._asked, self._saving = now, _saves(view)
            for asker in askers:
                asker.ask()
            deadline = now + AT_ONCE_SECONDS
            for asker in askers:
                asker.wait(deadline - time.monotonic())
        if any(asker.busy for asker in askers) and now - self._asked < PATIENCE_SECONDS:
            return None
        self._asked = None
        cost = sum(asker.cost for asker in askers)
        usual = (
            SECOND_SECONDS if not self._next else SAMPLE_SECONDS if now - self._begun < LATER_AFTER else LATER_SECONDS
        )
        self._next = now + max(usual, min(LATER_SECONDS, cost / MOST_COST))
        return self._event(view)

    def _event(self, view: RunView) -> dict[str, Any]:
        host: dict[str, Any] = self._host.answer or {}
        pids = host.pop("pids", set())
        found: list[dict[str, Any]] = self._cards.answer or []
        cards = [own_share(card, pids) for card in found]
        mine = own_cards(cards, self._devices)
        event: dict[str, Any] = {
            "gpus": [
                {**{k: v for k, v in card.items() if k not in ("uuid", "holds")}, "own": card["index"] in mine}
                for card in cards
            ],
            "host": host,
            "disk": self._disk_now(view),
        }
        return {**event, "driver": "silent"} if self._cards.busy else event

    def _disk_now(self, view: RunView) -> dict[str, Any]:
        """Room and need. While a checkpoint is written beside the older ones both are in motion: the last ones stand."""
        if self._room is None or not (self._saving or _saves(view)):
            self._room = {**(self._disk.answer or {}), "next_checkpoint": next_checkpoint(view)}
        return self._room


class _Asker:
    """Asks one question again and again in a daemon thread; ``answer`` is that to the last one, ``None`` if it hangs."""

    def __init__(self, question: Callable[[], Any]) -> None:
        self.busy = False
        self.answer: Any = None
        self.cost = 0.0
        self._question = question
        self._wanted = threading.Event()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """Begin to find the answer, unless the last question is still open."""
        if self.busy:
            return
        self.busy, self.answer = True, None
        self._done.clear()
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="tunedeck-sampling", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread is to be had: next time
                self.busy = False
                return
            self._thread = thread
        self._wanted.set()

    def wait(self, seconds: float) -> None:
        """For the answer, but not longer."""
        self._done.wait(max(0.0, seconds))

    def _work(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            begun = time.thread_time()
            try:
                answer = self._question()
            except Exception:  # a machine that cannot be read is no reason to disturb its run
                answer = None
            self.cost = time.thread_time() - begun
            self.answer, self.busy = answer, False
            self._done.set()


def own_share(card: dict[str, Any], pids: set[int]) -> dict[str, Any]:
    """A card with ``memory_own``, what the processes of the run hold; ``holds`` whether any of them computes there."""
    by_pid = card.pop("memory_by_pid", {})
    own = [sensible(size) for pid, size in by_pid.items() if pid in pids]
    known = [size for size in own if size is not None]
    return {**card, "memory_own": sum(known) if known else None, "holds": bool(own)}


def own_cards(cards: list[dict[str, Any]], devices: str | None) -> set[int]:
    """Indices of the run's cards: where its processes compute, before they do the ones that it was given."""
    held = {card["index"] for card in cards if card["holds"]}
    if held:
        return held
    if devices is None:
        return {card["index"] for card in cards}
    named = [name.strip() for name in devices.split(",") if name.strip()]
    return {
        card["index"]
        for card in cards
        if str(card["index"]) in named
        or any(card["uuid"].startswith(name) for name in named if name.startswith("GPU-"))
    }


def next_checkpoint(view: RunView) -> int | None:
    """Bytes that the next checkpoint will take, as the last one did; ``None`` before the first."""
    for entry in reversed(view.checkpoints):
        size = sensible(entry.get("bytes"))
        if size is not None and size >= LEAST_CHECKPOINT:
            return int(size)
    return None


def _saves(view: RunView) -> bool:
    return view.phase.name == "saving"


def _room(folder: Path) -> dict[str, int]:
    found = os.statvfs(folder)
    if not found.f_blocks:  # a file system that knows no sizes
        return {}
    return {"free": found.f_bavail * found.f_frsize, "total": found.f_blocks * found.f_frsize}
