"""Whose turn it is: pure decisions over the entries of one queue and the slots that are free."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.queue.entries import Entry

# Any slot of the processors, one of the GPUs that are named, so many of them (``count``), every one of them.
CPU, ONE, SOME, EVERY = "cpu", "one", "some", "every"


def key(entry: Entry) -> tuple[float, float, str]:
    """Sorts a queue; equal positions go by age, then by id."""
    return entry.position, entry.created, entry.id


def allocate(entries: Iterable[Entry], free: Sequence[str], cpu_slots: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Which slots every entry could take now, by id; who is not named has to wait.

    ``free`` lists the free slots, the best first. The entries are served in their order, so nobody is overtaken by one
    that could take a slot it waits for. One that waits for several slots keeps those that are free already: otherwise a
    stream of small runs would hold it up for ever.
    """
    left = list(free)
    given: dict[str, tuple[str, ...]] = {}
    for entry in sorted(entries, key=key):
        wanted = _wanted(entry, cpu_slots)
        found = [name for name in left if name in wanted]
        needed = number(entry, len(set(wanted)))
        taken = found[:needed]
        left = [name for name in left if name not in taken]
        if taken and len(taken) == needed:
            given[entry.id] = tuple(taken)
    return given


def number(entry: Entry, named: int) -> int:
    """How many slots an entry needs of the ``named`` ones it may take."""
    return named if entry.kind == EVERY else entry.count if entry.kind == SOME else 1


def turn(run_id: str, entries: Iterable[Entry], free: Sequence[str], cpu_slots: Sequence[str]) -> tuple[str, ...]:
    """The slots that a run may take now; empty if it has to wait.

    It waits, too, while somebody before it who could use the same slots has not yet taken what is there for him: with
    several slots free at once the first in the queue still starts first.
    """
    queue = sorted(entries, key=key)
    given = allocate(queue, free, cpu_slots)
    mine = next((entry for entry in queue if entry.id == run_id), None)
    if mine is None or run_id not in given:
        return ()
    wanted = set(_wanted(mine, cpu_slots))
    before = queue[: queue.index(mine)]
    due = any(entry.id in given and wanted.intersection(_wanted(entry, cpu_slots)) for entry in before)
    return () if due else given[run_id]


def _wanted(entry: Entry, cpu_slots: Sequence[str]) -> Sequence[str]:
    return cpu_slots if entry.kind == CPU else entry.slots


def between(others: Sequence[float], place: int) -> float | None:
    """A position that makes an entry the ``place``-th (1-based) among the others; ``None`` if there is no room left.

    ``others`` are the sorted positions of the other entries; a place beyond the end is the end.
    """
    index = min(max(place, 1) - 1, len(others))
    before = others[index - 1] if index else None
    after = others[index] if index < len(others) else None
    if before is None and after is None:
        return 1.0
    if before is None or after is None:
        value = after - 1 if before is None else before + 1  # type: ignore[operator]
    else:
        value = before + (after - before) / 2
    fits = (before is None or before < value) and (after is None or value < after) and math.isfinite(value)
    return value if fits else None
