"""Starts supervisors again that a reboot or a kill took from the queue; ``python -P -m engine.queue.reviving``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from engine import registry
from engine import status as states
from engine.errors import TunedeckError
from engine.queue import entries
from engine.queue.entries import Entry
from engine.rundir import RunDir


def dead(but: str = "") -> list[Entry]:
    """The entries, in their order, whose run is held by no living process; ``but`` is left out."""
    return [entry for entry in entries.read_all() if entry.id != but and not (entry.path and RunDir(entry.path).locked)]


def start_reviver() -> None:
    """Start the detached process that does :func:`revive_now`."""
    # The shell leaves at once, so nobody waits for Python to start and no zombie stays in a long-lived app.
    subprocess.run(
        ["/bin/sh", "-c", '"$0" -P -m engine.queue.reviving &', sys.executable],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        check=False,
    )


def revive_now(but: str = "") -> list[str]:
    """Start what is missing and drop what needs no place any more; returns the ids that stay dead for now."""
    return [entry.id for entry in dead(but) if not _revive(entry)]


def _revive(entry: Entry) -> bool:
    """Whether the entry is looked after now: started, in somebody else's hands, or dropped."""
    run = _find(entry)
    if run is None:
        # Its disk may not be mounted yet; a directory that is gone from where it stood is gone.
        gone = bool(entry.path) and Path(entry.path).parent.is_dir()
        if gone:
            entries.remove(entry.id)
        return gone
    try:
        lock = run.acquire_lock()
    except TunedeckError:
        return True
    except OSError:
        return False
    # With the lock in hand: nobody else starts it, and what its record says is not about to change.
    if not waits(run):
        entries.remove(entry.id)
        run.release_lock(lock)
        return True
    from engine.launchers.local import start_supervisor

    try:
        start_supervisor(run, lock)  # closes the lock
    except (TunedeckError, OSError):
        return False
    return True


def _find(entry: Entry) -> RunDir | None:
    if entry.path and (RunDir(entry.path).read_run() or {}).get("id") == entry.id:
        return RunDir(entry.path)
    return next((RunDir(path) for run_id, path in registry.runs() if run_id == entry.id), None)


def waits(run: RunDir) -> bool:
    """Whether the newest attempt of a run, which nobody holds now, has neither started nor ended."""
    status, record = run.read_status() or {}, run.read_run() or {}
    attempts = record.get("attempts")
    number = len(attempts) if isinstance(attempts, list) and attempts else 1
    if not status or (isinstance(status.get("attempts"), int) and status["attempts"] < number):
        return True  # killed before it could say anything
    if status.get("state") == states.QUEUED:
        return True
    return status.get("state") == states.STARTING and not status.get("pid") and not status.get("started")


if __name__ == "__main__":
    revive_now()
