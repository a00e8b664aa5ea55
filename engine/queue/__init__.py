"""The queue: runs wait for a free GPU, or for a free slot on a machine without one. There is no daemon.

Every queued run has a detached supervisor of its own, which looks about once a second whether it is its turn. The order
stands in small files of the user; whether a slot is free says the kernel, for all users of the machine.

This module stays light: every reader of a run's state asks it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from engine import paths, process

_ID = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,120}", re.ASCII)


def folder() -> Path:
    """Where this user's queue of this machine stands."""
    machine = re.sub(r"[^0-9A-Za-z_.-]", "_", process.machine_id()).lstrip(".")
    return paths.state_dir() / "queue" / (machine or "machine")


def entry_path(run_id: str) -> Path | None:
    """The file of a run's place in the queue, whether it exists or not; ``None`` for what is no id of a run."""
    return folder() / f"{run_id}.json" if isinstance(run_id, str) and _ID.fullmatch(run_id) else None


def entry_exists(run_id: str) -> bool:
    """Whether the run has a place in the queue, so that it goes on with the next command though nothing runs now."""
    path = entry_path(run_id)
    return path is not None and path.is_file()


def entry_names() -> list[str]:
    """The ids of all queued runs, in no order; one listing of a directory."""
    try:
        names = os.listdir(folder())
    except OSError:
        return []
    return [name[:-5] for name in names if name.endswith(".json") and _ID.fullmatch(name[:-5])]


def revive() -> int:
    """Have the supervisors started again that a reboot or a kill took from the queue; returns how many are missing.

    Cheap (one listing) while nothing is queued, and never in the way: the work is done by a detached process, and
    whatever goes wrong is quiet. Every command of tunedeck calls it.
    """
    try:
        if not entry_names():
            return 0
        from engine.queue.reviving import dead, start_reviver

        missing = len(dead())
        if missing:
            start_reviver()
    except Exception:  # no command may fail because of other people's runs
        return 0
    return missing
