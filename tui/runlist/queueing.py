"""What can be done to a run that waits in the queue; for threads: the queue's lock may have to be waited for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import InputError, Problem
from engine.text import clean

if TYPE_CHECKING:
    from engine.history import RunSummary


def move(run: RunSummary, by: int) -> tuple[str, list[str]]:
    """Move a run so many places; returns where it stands now, in words, and the ids of all that wait, in order.

    Raises :class:`InputError` if it does not wait any more.
    """
    from engine.queue import entries

    order = [entry.id for entry in entries.read_all()]
    if run.id not in order:
        raise InputError(Problem("not-queued", "does not wait in the queue any more", file=run.path))
    before = order.index(run.id) + 1
    wanted = min(max(before + by, 1), len(order))
    if wanted == before:
        return f"{clean(run.name, 100)} is the {'first' if by < 0 else 'last'} in the queue", order
    after = [entry.id for entry in entries.move(run.id, wanted)]
    place = after.index(run.id) + 1 if run.id in after else wanted
    return f"{clean(run.name, 100)} is number {place} of {len(after)} in the queue", after


def cancel(path: Path | str) -> None:
    """Take a run out of the queue; it ends as stopped.

    Raises :class:`InputError` if the queue cannot be locked, ``OSError`` if the request cannot be left.
    """
    from engine import queue
    from engine.queue import entries
    from engine.rundir import RunDir

    with entries.locked():  # nothing leaves the queue to start meanwhile: what is asked here is heard before that
        RunDir(path).request("stop")
    queue.revive()  # a supervisor answers; one that is gone is started for that
