"""The order of the list by any column, kept while runs change; what is unknown stands last, either way round."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tui.runlist.catalogue import COLUMNS
from tui.runlist.values import begun

if TYPE_CHECKING:
    from engine.history import RunSummary


class Order:
    """Paths of all runs, sorted; a run that changes is sorted anew, the others keep what they were sorted by."""

    def __init__(self, sort: str = "started", falling: bool = True) -> None:
        self.sort, self.falling = sort, falling
        self.paths: list[str] = []
        self._keys: dict[str, tuple[Any, ...]] = {}

    def turn(self, sort: str, falling: bool, runs: Mapping[str, RunSummary]) -> None:
        """Order by another column, or the other way round."""
        self.sort, self.falling = sort, falling
        self._keys = {}
        self.take(runs.values())

    def take(self, changed: Iterable[RunSummary], gone: Iterable[str] = ()) -> None:
        """Runs that are new or differ, and paths that are no more."""
        fresh = [run.path for run in changed if self._learn(run)]
        left = {path for path in gone if self._keys.pop(path, None) is not None}
        if left:
            self.paths = [path for path in self.paths if path not in left]
        if len(self._keys) != len(self.paths):
            known = set(self.paths)
            self.paths += [path for path in dict.fromkeys(fresh) if path not in known]
        if fresh:
            self.paths.sort(key=self._keys.__getitem__, reverse=self.falling)

    def _learn(self, run: RunSummary) -> bool:
        key = self._key(run)
        if self._keys.get(run.path) == key:
            return False
        self._keys[run.path] = key
        return True

    def _key(self, run: RunSummary) -> tuple[Any, ...]:
        value = COLUMNS[self.sort].value(run)
        rank = 2
        if value is None or value == "":
            rank, value = 0, 0.0
        elif isinstance(value, float) and not math.isfinite(value):
            rank, value = 1, 0.0
        newest = begun(run) or 0.0
        # Equal ones stand newest first, and the ids decide between twins: the list must never shuffle.
        return (rank, value, newest, run.id) if self.falling else (-rank, value, -newest, run.id)
