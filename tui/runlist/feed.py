"""Finds runs in threads: live ones anew each second, newly registered ones at once, folders every few seconds."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tui.runlist.spark import Growing

if TYPE_CHECKING:
    from engine.history import RunSummary
    from engine.history.index import Scanner

BEAT_SECONDS = 1.0
# While another screen is in front only the ends of runs matter.
REST_SECONDS = 2.0
WALK_SECONDS = 5.0
# What the index knows shall be on the screen before looking whether it is true takes the processor from it.
PAINT_SECONDS = 0.15
# A search of large or slow folders must not take more than a thirtieth of the time.
WALK_SHARE = 30.0
# What a live run's record does not tell each second, and its row in the index does.
KEPT = ("learning_rate", "lora_r", "lora_alpha", "num_train_epochs", "batch_size", "max_seq_length", "dataset", "checkpoints",
        "tags", "bytes", "root", "seconds", "modified", "epoch")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a search is: ``done`` of ``total`` runs were read; ``unreachable`` are folders and runs, and why.

    ``searching`` is true only of searches that people wait for.
    """

    searching: bool = False
    done: int = 0
    total: int = 0
    unreachable: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """News for the list: runs that are new or differ, paths that are gone, how far the search is if that changed."""

    changed: list[RunSummary] = field(default_factory=list)
    gone: frozenset[str] = frozenset()
    progress: Progress | None = None
    failure: Exception | None = None


class RunsFeed:
    """One thread looks after the runs that live, another one searches; both hand over what changed."""

    def __init__(self, roots: Callable[[], list[Path]], deliver: Callable[[Batch], None]) -> None:
        self._roots = roots
        self._deliver = deliver
        self._known: dict[str, RunSummary] = {}
        self._growing: dict[str, Growing] = {}
        self._wanted: set[str] = set()
        self._early: set[str] = set()
        self._lock = threading.Lock()
        self._registry_stamp: int | None = -1
        self._scanner: Scanner | None = None
        self._progress = Progress(True)
        self._next_search = 0.0
        self._awaited = True
        self._wake, self._search = threading.Event(), threading.Event()
        self._stopped, self._paused, self._again = threading.Event(), threading.Event(), threading.Event()
        self._failed = False

    def start(self) -> None:
        """Begin, in threads that never keep the app from ending."""
        threading.Thread(target=self._look_after, name="tunedeck-runs", daemon=True).start()
        threading.Thread(target=self._go_searching, name="tunedeck-search", daemon=True).start()

    def stop(self) -> None:
        """End the threads at their next chance."""
        self._stopped.set()
        self._wake.set()
        self._search.set()
        if self._scanner is not None:
            self._scanner.close()

    def pause(self) -> None:
        """Look only after the live runs, and less often, while another screen is in front."""
        self._paused.set()

    def resume(self) -> None:
        """Go on, and look at once."""
        self._paused.clear()
        self._wake.set()
        self._search.set()

    def rescan(self) -> None:
        """Search everything again now; people wait for it, and are told how it ends even if nothing is new."""
        with self._lock:
            self._progress = Progress(True, unreachable=self._progress.unreachable)
        self._awaited = True
        self._next_search = 0.0
        self._again.set()
        self._search.set()

    def visit(self, paths: Iterable[str]) -> None:
        """Read these runs again now: something was done to them."""
        with self._lock:
            self._wanted.update(paths)
        self._wake.set()

    # Runs that live, and those that come.

    def _look_after(self) -> None:
        while not self._stopped.is_set():
            self._safely(self.beat)
            self._wake.wait(REST_SECONDS if self._paused.is_set() else BEAT_SECONDS)
            self._wake.clear()

    def beat(self) -> None:
        """Newly registered runs, those that were asked for, and all that live."""
        with self._lock:
            wanted, self._wanted = self._wanted, set()
        if self._registry_changed():
            wanted |= self._newly_registered()
        changed, gone = [], set()
        for path in wanted:
            run = self._read(path)
            if run is None:
                gone.add(path)
            else:
                changed.append(run)
                self._early.add(path)
        for run in [run for run in list(self._known.values()) if run.live and run.path not in wanted]:
            fresh = self._follow(run)
            if fresh is not None:
                changed.append(fresh)
            elif not os.path.isdir(run.path):
                gone.add(run.path)
        self._hand_over(changed, gone)

    def _newly_registered(self) -> set[str]:
        from engine import registry

        return {str(path) for _, path in registry.runs()} - self._known.keys()

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

    def _read(self, path: str) -> RunSummary | None:
        from engine.history.index import reread

        run = reread(Path(path))
        known = self._known.get(path)
        if run is not None and known is not None and known.root is not None:
            run.root = known.root
        return run if run is None or not run.live else self._grown(run, known)

    def _follow(self, known: RunSummary) -> RunSummary | None:
        """A live run as it is now; one that has ended is read whole."""
        from engine.history import summarise

        run = summarise(Path(known.path))
        if run is None:
            return None
        if not run.live:
            return self._read(known.path)
        return self._grown(run, known)

    def _grown(self, run: RunSummary, known: RunSummary | None) -> RunSummary:
        """With its curve as far as it was followed, and what its row knew already."""
        if known is not None:
            for name in KEPT:
                value = getattr(run, name)
                if value is None or value == []:
                    setattr(run, name, getattr(known, name))
        growing = self._growing.get(run.path)
        if growing is None:
            seed = run.sparkline or (known.sparkline if known is not None else [])
            growing = self._growing[run.path] = Growing(seed, run.step)
        growing.add(run.step, run.last_loss)
        run.sparkline = growing.values
        return run

    # Searching.

    def _go_searching(self) -> None:
        while not self._stopped.is_set():
            if not self._paused.is_set() and time.monotonic() >= self._next_search:
                self._safely(self.search)
            wait = self._next_search - time.monotonic()
            self._search.wait(None if self._paused.is_set() else max(0.05, wait))
            self._search.clear()

    def search(self) -> None:
        """Everything there is: first what the index knows, then what the folders hold."""
        begun = time.monotonic()
        self._again.clear()
        awaited, self._awaited = self._awaited, False
        if self._scanner is None:
            self._open()
        assert self._scanner is not None
        unreachable: tuple[tuple[str, str], ...] = ()
        for found in self._scanner.scan(self._is_over):
            unreachable = tuple(sorted(found.unreachable.items()))
            progress = Progress(found.searching, found.done, found.total, unreachable) if awaited else None
            gone = {str(path) for path in found.gone}
            self._hand_over(self._as_they_are(found.changed), gone, progress)
        if self._is_over():
            return
        # Of runs that no search has seen none can say that they are gone.
        early, self._early = self._early, set()
        self._hand_over([], {path for path in early if not os.path.isdir(path)}, Progress(unreachable=unreachable))
        now = time.monotonic()
        self._next_search = now + max(WALK_SECONDS, WALK_SHARE * (now - begun))

    def _is_over(self) -> bool:
        return self._stopped.is_set() or self._again.is_set()

    def _open(self) -> None:
        from engine.history.index import Index, Scanner

        self._scanner = Scanner(Index(), self._roots)
        rows = self._scanner.rows()
        if rows:
            self._hand_over(self._as_they_are(rows), set())
            self._stopped.wait(PAINT_SECONDS)

    def _as_they_are(self, runs: Iterable[RunSummary]) -> list[RunSummary]:
        """Runs that lived when their rows were written may have ended since."""
        found = []
        for run in runs:
            if not run.live:
                found.append(run)
                continue
            fresh = self._follow(self._known.get(run.path, run))
            if fresh is not None:
                found.append(fresh)
        return found

    # Handing over.

    def _hand_over(self, runs: list[RunSummary], gone: set[str], progress: Progress | None = None) -> None:
        """Deliver what differs from what was delivered."""
        with self._lock:
            changed = [run for run in runs if self._known.get(run.path) != run]
            self._known.update((run.path, run) for run in changed)
            left = frozenset(path for path in gone if self._known.pop(path, None) is not None)
            for path in (*left, *(run.path for run in changed if not run.live)):
                self._growing.pop(path, None)
            if progress == self._progress:
                progress = None
            elif progress is not None:
                self._progress = progress
        if not self._stopped.is_set() and (changed or left or progress is not None):
            self._deliver(Batch(changed, left, progress))

    def _safely(self, work: Callable[[], None]) -> None:
        # One run that cannot be read must not end the list; what happened is told once.
        try:
            work()
        except Exception as error:
            self._next_search = time.monotonic() + WALK_SECONDS
            if not self._failed:
                self._failed = True
                self._deliver(Batch(failure=error))
