"""What a follower knows of a run's streams, as the cache's index keeps it."""

from __future__ import annotations

import json
import math
from typing import Any

from engine.columns import cache
from engine.columns.store import Store
from engine.events import EventReader
from engine.status import RunState
from engine.view import Notice, Phase, RunView

_PLAIN = ("notices_seen", "controls_seen", "step", "attempt", "step_attempt", "attempt_row", "last_state_attempt",
          "last_event")  # fmt: skip
_LISTS = ("checkpoints", "controls", "readings")


def remember(view: RunView, events: EventReader, supervisor: EventReader) -> bool:
    """Keep all this for the next opening; ``False`` where it cannot be kept. Never raises."""
    store = view.steps.store
    if not cache.may_publish(store, events.offset, supervisor.path):
        return False  # before anything is copied
    try:
        index = {
            "format": cache.FORMAT,
            "events": _reader(events),
            "supervisor": _reader(supervisor),
            "kept": _kept(view, view.step_attempt),
            "view": _state(view),
            "steps": cache.dump(view.steps),
            "evals": cache.dump(view.evals),
            # Beside the rows, since long answers must not make the index too large to be kept.
            "samples": store.keep(json.dumps(list(view.samples)).encode()) if view.samples else None,
        }
    except (OSError, ValueError, TypeError, RecursionError):
        return False
    return cache.publish(store, index)


def recall(view: RunView, events: EventReader, supervisor: EventReader) -> int:
    """Bring a view that has read nothing to where an earlier one was; returns the bytes that need not be read."""
    found = cache.find(events.path, supervisor.path)
    if found is None:
        return 0
    index = found.index
    try:
        if index["kept"] != _kept(view, index["view"]["step_attempt"]):
            return 0
        store = Store(events.path, found.data)
        steps, evals = cache.restore(index["steps"], store), cache.restore(index["evals"], store)
        samples = [dict(event) for event in json.loads(store.kept(index["samples"]))] if index["samples"] else []
        fresh = RunView(view.path)
        _apply(fresh, index["view"])
        events.resume(index["events"])
        supervisor.resume(index["supervisor"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return 0
    _apply(view, index["view"])
    view.samples.clear()
    view.samples.extend(samples)
    view.steps, view.evals = steps, evals
    return events.offset


def _reader(reader: EventReader) -> dict[str, Any]:
    place = reader.place()
    return {**place, "print": cache.fingerprint(reader.path, place["offset"]) if place["offset"] else ""}


def _kept(view: RunView, attempts: int) -> list[Any]:
    """What run.json says of the attempts that have begun: it decides which rows they superseded."""
    return [entry.get("step") for entry in view.attempts[:attempts]]


def _state(view: RunView) -> dict[str, Any]:
    last, phase = view.last_state, view.phase
    return {
        **{name: getattr(view, name) for name in _PLAIN},
        **{name: list(getattr(view, name)) for name in _LISTS},
        "total_steps": view.total_steps,
        "notices": [[n.time, n.level, n.text, n.kind, n.step] for n in view.notices],
        "phase": [phase.name, phase.done, phase.total, phase.since],
        "last_state": [last.state, last.reason] if last is not None else None,
    }


def _apply(view: RunView, state: dict[str, Any]) -> None:
    for name in _PLAIN:
        setattr(view, name, state[name])
    for name in _LISTS:
        kept = getattr(view, name)
        kept.clear()
        kept.extend(state[name])
    if state["total_steps"] is not None:
        view.total_steps = state["total_steps"]
    view.notices.clear()
    view.notices.extend(Notice(math.nan if when is None else when, *rest) for when, *rest in state["notices"])
    view.phase = Phase(*state["phase"])
    view.last_state = RunState(*state["last_state"]) if state["last_state"] else None
