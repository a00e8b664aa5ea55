"""Finds runs in a thread: live ones anew each second, newly registered ones at once, folders every few seconds."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.history import RunSummary

BEAT_SECONDS = 1.0
# While another screen is in front only the ends of runs matter.
REST_SECONDS = 2.0
WALK_SECONDS = 5.0
# A search of large or slow folders must not take more than a thirtieth of the time.
WALK_SHARE = 30.0
BATCH_SECONDS = 0.1
Stamp = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """News for the list: runs that are new or differ, paths that are gone, whether more is being looked for."""

    changed: list[RunSummary] = field(default_factory=list)
    gone: frozenset[str] = frozenset()
    searching: bool = False
    failure: Exception | None = None


class RunsFeed:
    """Polls in its own thread and hands over what changed since the last time."""

    def __init__(self, roots: Callable[[], list[Path]], deliver: Callable[[Batch], None]) -> None:
        self._roots = roots
        self._deliver = deliver
        self._known: dict[str, tuple[Stamp, RunSummary]] = {}
        self._real: dict[str, str] = {}
        self._pending: dict[str, RunSummary] = {}
        self._registry_stamp: int | None = -1
        self._next_walk = 0.0
        self._next_live = 0.0
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._paused = threading.Event()
        self._failed = False

    def start(self) -> None:
        """Poll in a thread that never keeps the app from ending."""
        threading.Thread(target=self._run, name="tunedeck-runs", daemon=True).start()

    def stop(self) -> None:
        """End the thread at its next chance."""
        self._stopped.set()
        self._wake.set()

    def pause(self) -> None:
        """Look only after the live runs, and less often, while another screen is in front."""
        self._paused.set()

    def resume(self) -> None:
        """Go on, and look at once."""
        self._paused.clear()
        self._wake.set()

    def rescan(self) -> None:
        """Search everything again now."""
        self._next_walk = 0.0
        self._wake.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._poll_safely()
            self._wake.wait(REST_SECONDS if self._paused.is_set() else BEAT_SECONDS)
            self._wake.clear()

    def _poll_safely(self) -> None:
        # One run that cannot be read must not end the list; what happened is told once.
        try:
            self.poll()
        except Exception as error:
            self._next_walk = time.monotonic() + WALK_SECONDS
            if not self._failed:
                self._failed = True
                self._deliver(Batch(failure=error))

    def poll(self) -> None:
        """One beat."""
        if not self._paused.is_set() and time.monotonic() >= self._next_walk:
            self._walk()
        elif self._registry_changed():
            self._visit(self._registered())
            self._hand_over()
        else:
            self._visit_live()
            self._hand_over()

    def _walk(self) -> None:
        from engine import registry
        from engine.history.scan import below

        begun = last = time.monotonic()
        self._registry_changed()
        self._next_live = begun + BEAT_SECONDS
        seen: set[str] = set()
        for path in self._unique(itertools.chain(self._registered(), below([*self._roots(), *registry.roots()]))):
            if self._visit([path]):
                seen.add(str(path))
            now = time.monotonic()
            if now - last > BATCH_SECONDS:
                last = now
                if now >= self._next_live:
                    self._visit_live()
                self._hand_over(searching=True)
            if self._stopped.is_set():
                return
        gone = frozenset(self._known.keys() - seen)
        for path_text in gone:
            del self._known[path_text]
        self._hand_over(gone, done=True)
        now = time.monotonic()
        self._next_walk = now + max(WALK_SECONDS, WALK_SHARE * (now - begun))

    def _registered(self) -> list[Path]:
        from engine import registry

        return [path for _, path in registry.runs()]

    def _registry_changed(self) -> bool:
        """Asking the registry reads every run's record; its directory's time says whether that is worth while."""
        from engine import paths

        try:
            stamp: int | None = (paths.state_dir() / "runs").stat().st_mtime_ns
        except OSError:
            stamp = None
        changed = stamp != self._registry_stamp
        self._registry_stamp = stamp
        return changed

    def _visit_live(self) -> None:
        self._next_live = time.monotonic() + BEAT_SECONDS
        self._visit([Path(run.path) for _, run in list(self._known.values()) if run.live])

    def _visit(self, paths: Iterable[Path]) -> bool:
        """Summarise runs that are new, changed or live; returns whether the last one is there."""
        from engine.history import summarise
        from engine.rundir import RunDir

        there = False
        for path in paths:
            run = RunDir(path)
            key = str(run.path)
            stamp = tuple(_stamp(file) for file in (run.run_json, run.status_json, run.notes_json))
            known = self._known.get(key)
            if known is not None and known[0] == stamp and not known[1].live:
                there = True
                continue
            summary = summarise(path)
            there = summary is not None
            if summary is None:
                continue
            self._known[key] = (stamp, summary)
            if known is None or known[1] != summary:
                self._pending[key] = summary
        return there

    def _hand_over(self, gone: frozenset[str] = frozenset(), *, searching: bool = False, done: bool = False) -> None:
        if self._stopped.is_set() or not (self._pending or gone or done):
            return
        changed, self._pending = list(self._pending.values()), {}
        self._deliver(Batch(changed, gone, searching))

    def _unique(self, paths: Iterable[Path]) -> Iterator[Path]:
        seen: set[str] = set()
        for path in paths:
            text = str(path)
            real = self._real.get(text)
            if real is None:
                real = self._real[text] = os.path.realpath(path)
            if real not in seen:
                seen.add(real)
                yield path


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_ino, info.st_mtime_ns
