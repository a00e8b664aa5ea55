"""Scans: finds all runs, reads those that are new or changed, and tells what is news, bit by bit."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.history.index import crew as processes
from engine.history.index import rows as codec
from engine.history.index.crew import Crew, Helper
from engine.history.index.reads import Reads
from engine.history.index.rows import Entry
from engine.history.index.store import Below, Index, Known
from engine.history.index.walks import Walks
from engine.history.summary import RunSummary
from engine.paths import expand

# Rows are handed over so often (seconds); the first ones at once.
_EVERY = 0.15
# How many rows are fetched or written at once at most.
_PORTION = 1000
# A scan that has so many runs left to read will take a while.
_LONG = 1000


@dataclass(frozen=True, slots=True)
class Batch:
    """News of a scan: rows that are new or differ, paths of runs that are gone, how far it is.

    ``done`` of ``total`` runs found so far were looked at. ``unreachable`` are the folders that could not be searched
    (their rows stay as they were), and the runs that could not be read, with the reason.
    """

    changed: list[RunSummary] = field(default_factory=list)
    gone: frozenset[str] = frozenset()
    searching: bool = False
    done: int = 0
    total: int = 0
    unreachable: dict[str, str] = field(default_factory=dict)


class Scanner:
    """Keeps an index true. What it hands over and what :meth:`rows` returned, taken together, is how the runs are now.

    ``roots`` is asked anew for each scan; ``registered`` adds the launched runs and remembered folders. Scans of one
    scanner come one after the other; :meth:`close` may be called from any thread.
    """

    def __init__(
        self,
        index: Index,
        roots: Callable[[], Sequence[Path]] = list,
        registered: bool = True,
        *,
        command: Sequence[str] = processes.COMMAND,
    ) -> None:
        self.index, self._roots, self._registered = index, roots, registered
        self._crew = Crew(command)
        self._closed = self._scanning = False
        self._lock = threading.Lock()
        self._serial = 0
        self._silent: set[str] = set()

    def roots(self) -> list[str]:
        """The folders that are searched, as absolute paths."""
        from engine import registry

        places = [*self._roots(), *(registry.roots() if self._registered else [])]
        return list(dict.fromkeys(map(_absolute, places)))

    def rows(self) -> list[RunSummary]:
        """What the index knows of the runs that a scan would find; nothing of theirs is looked at."""
        from engine import registry

        roots = self.roots()
        below = Below(roots)
        others = any(below.root_of(path) is None for path in self.index.paths())
        launched = [str(path) for _, path in registry.entries()] if self._registered and others else []
        return self.index.rows(roots, launched)

    def scan(self, stop: Callable[[], bool] | Any = None) -> Iterator[Batch]:
        """Look at everything once. ``stop`` (a function, or an event) ends it early; the last batch is not searching."""
        with self._lock:
            if self._closed:
                return
            self._scanning = True
        self._serial += 1
        stopped: Callable[[], bool] = getattr(stop, "is_set", None) or stop or (lambda: False)
        scan = _Scan(self.index, self._crew, self.roots(), self._registered, self._serial, self._silent)
        try:
            yield from scan.run(lambda: self._closed or stopped())
        finally:
            self._silent = scan.walks.silent()
            for helper in self._crew.of("read"):
                if helper.asked:  # it would answer for this scan in the next one
                    self._crew.give_up(helper)
            with self._lock:
                self._scanning = False
                if self._closed:
                    self._crew.close()

    def close(self) -> None:
        """End the scan that goes on, and all helpers; returns at once."""
        with self._lock:
            self._closed = True
            if self._scanning:
                self._crew.kill()
            else:
                self._crew.close()


class _Scan:
    """One scan."""

    def __init__(
        self, index: Index, crew: Crew, roots: list[str], registered: bool, serial: int, silent: set[str]
    ) -> None:
        self.index, self.crew = index, crew
        self.walks = Walks(crew, roots, registered, serial, silent)
        self.reads = Reads(crew)
        self.below = Below(roots)
        self.known: dict[str, Known] = {}
        self.seen: set[str] = set()
        self.real: set[str] = set()
        self.done = 0
        self.rows: list[tuple[str, int, bytes]] = []
        self.kept: list[Entry] = []
        self.same: list[str] = []
        self.left: set[str] = set()

    def run(self, stopped: Callable[[], bool]) -> Iterator[Batch]:
        """All batches."""
        self.crew.poll(0)  # those that had nothing to do have left
        for helper in self.crew.helpers:
            helper.proven = False
        self.walks.begin()
        if not self.crew.of("read"):
            self.crew.start("read")  # it loads while the first runs are found
        self.known = self.index.known()
        first, last = True, time.monotonic()
        while self.same or not (self.walks.over and self.reads.over):
            if stopped():
                self._store()
                return
            for helper, lines in self.crew.poll(0.05):
                self._hear(helper, lines)
            self.walks.look_after()
            self.reads.look_after()
            self.reads.hand_out()
            self._spare()
            now = time.monotonic()
            ready = bool(self.rows or self.same)
            if (first and ready) or now - last > (_EVERY if ready else 3 * _EVERY):
                yield self._batch()
                first, last = first and not ready, time.monotonic()
        self._failures()
        changed = self._changed()
        gone = self._gone()
        yield Batch(changed, gone, False, self.done, len(self.seen), self._unreachable())

    def _spare(self) -> None:
        """A helper that will have nothing to do for long gives its memory back."""
        if self.reads.left > _LONG and self.walks.over and not self.walks.silent():
            for helper in self.crew.of("walk"):
                self.crew.give_up(helper)

    def _batch(self) -> Batch:
        return Batch(self._changed(), frozenset(), True, self.done, len(self.seen), self._unreachable())

    def _unreachable(self) -> dict[str, str]:
        return {**self.walks.unreachable(), **self.reads.unreachable(), **dict(self.reads.failed)}

    def _hear(self, helper: Helper, lines: list[bytes] | None) -> None:
        if lines is None:
            (self.walks if helper.role == "walk" else self.reads).lost(helper)
            return
        for text in lines:
            kind, *fields = text.split(b"\t")
            if helper.role == "read":
                self._read(helper, kind, fields)
                continue
            told = [json.loads(one) for one in fields]
            self.walks.take(told, kind)
            if kind == b"F" and told[0] == self.walks.serial:
                self._found(*told[1:])

    def _found(self, key: str, path: str, real: str) -> None:
        if self.below.root_of(real) is not None:
            path = real  # found through a link, it has the name under which the other root has it
        if real in self.real or path in self.seen:
            return
        self.real.add(path if path == real else real)
        self.seen.add(path)
        known = self.known.get(path)
        self.reads.add(key, path, known.digest if known is not None and not known.live else None)

    def _read(self, helper: Helper, kind: bytes, fields: list[bytes]) -> None:
        path = json.loads(fields[0])
        self.reads.answered(helper, path)
        self.done += kind != b"N"
        if kind == b"S":
            if self.index.delivered.get(path) != self.known[path].crc:
                self.same.append(path)
        elif kind == b"N":
            self.seen.discard(path)
            self.left.add(path)
        else:
            digest, live, row = bytes.fromhex(fields[1].decode()), fields[2] == b"1", fields[3]
            self.kept.append(Entry(path, digest, live, row))
            crc = zlib.crc32(row)
            if self.index.delivered.get(path) != crc:
                self.rows.append((path, crc, row))

    def _failures(self) -> None:
        """Runs that could not be read have their old row, or one that says so."""
        self.done += len(self.reads.failed)
        for path, why in self.reads.failed:
            if path not in self.known:
                name = os.path.basename(path)
                row = codec.pack(RunSummary(path, path, name, "unknown", "unknown", problems=[why]))
                if self.index.delivered.get(path) != zlib.crc32(row):
                    self.rows.append((path, zlib.crc32(row), row))

    def _store(self) -> None:
        kept, self.kept = self.kept, []
        for start in range(0, len(kept), _PORTION):
            self.index.put(kept[start : start + _PORTION])

    def _changed(self) -> list[RunSummary]:
        """What is news, after it was put into the index."""
        self._store()
        same, self.same = self.same, []
        found = self.index.fetch(same) if same else {}
        for path in same:
            if path in found:
                self.rows.append((path, *found[path]))
            else:  # the row has gone meanwhile
                self.done -= 1
                self.reads.add(self.below.root_of(path, or_parent=True) or "", path, None)
        rows, self.rows = self.rows, []
        changed = []
        for (path, crc, _), run in zip(rows, codec.unpack_all([row for _, _, row in rows]), strict=True):
            if run is not None:
                run.root = self.below.root_of(path, or_parent=True)
                self.index.delivered[path] = crc
                changed.append(run)
        return changed

    def _gone(self) -> frozenset[str]:
        """Runs that were handed over and are there no more. Of folders that could not be searched nothing is said."""
        unsure = Below([*self._unsearched()])
        gone = {path for path in self.index.delivered if path not in self.seen and unsure.root_of(path) is None}
        searched = Below([walk.key for walk in self.walks.walks.values() if walk.ended and not walk.why])
        dropped = (self.left | gone) | {
            path for path in self.known if path not in self.seen and searched.root_of(path) is not None
        }
        self.index.drop(path for path in dropped if unsure.root_of(path) is None)
        for path in gone:
            with contextlib.suppress(KeyError):
                del self.index.delivered[path]
        return frozenset(gone)

    def _unsearched(self) -> Iterator[str]:
        for walk in self.walks.walks.values():
            if (not walk.ended or walk.why) and not _is_missing(walk.why):
                yield walk.name
        yield from self.reads.unreachable()


def _is_missing(why: str) -> bool:
    """Whether a folder was not searched because there is none: then there are no runs in it either."""
    return why in (os.strerror(2), os.strerror(20))


def _absolute(path: Path) -> str:
    try:
        return os.path.abspath(expand(path))
    except RuntimeError:  # the home directory of nobody
        return os.path.abspath(path)
