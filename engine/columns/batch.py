"""Many step events at once: what is usual goes through C loops, everything else one event at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from operator import itemgetter, lt
from typing import Any

from engine.records import MAX_COUNT, MAX_TIME, is_count

# Below so many events nothing is gained.
FEWEST = 8


@dataclass(slots=True)
class Batch:
    """Steps of one attempt, ascending; ``columns`` holds raw values by key."""

    attempt: int
    steps: Sequence[int]
    columns: Mapping[str, Sequence[Any]]


def batch(events: list[dict[str, Any]]) -> Batch | None:
    """The events as columns, ``None`` unless each is a whole and usual one: attempt, step and time as they must be."""
    columns = _columns(events)
    steps, times, attempts = (columns.get(key, ()) for key in ("step", "time", "attempt"))
    if not steps or not times or not attempts or set(map(type, attempts)) != {int} or len(set(attempts)) != 1:
        return None
    if set(map(type, steps)) != {int} or not set(map(type, times)) <= {int, float}:
        return None
    ascending = steps[-1] - steps[0] == len(steps) - 1 and tuple(range(steps[0], steps[-1] + 1)) == tuple(steps)
    if not ascending and not all(map(lt, steps, islice(steps, 1, None))):
        return None
    if steps[0] < 0 or steps[-1] >= MAX_COUNT or not (min(times) > 0 and max(times) < MAX_TIME):
        return None
    totals = columns.get("total_steps")
    if totals is not None and not (is_count(totals[-1]) and totals[-1] > 0) and any(map(is_count, totals)):
        return None
    return Batch(attempts[0], steps, columns)


def _columns(events: list[dict[str, Any]]) -> Mapping[str, Sequence[Any]]:
    names = tuple(events[0])
    if len(names) > 1 and set(map(len, events)) == {len(names)}:
        try:
            return dict(zip(names, zip(*map(_getter(names), events), strict=True), strict=True))
        except KeyError:
            pass
    found = dict.fromkeys(chain.from_iterable(events))
    return {name: [event.get(name) for event in events] for name in found}


@lru_cache(64)
def _getter(names: tuple[str, ...]) -> Any:
    return itemgetter(*names)
