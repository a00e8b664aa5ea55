"""States of a run, and how a reader infers the true one from what stands on the disk.

Only a run's owner writes its state; readers infer. A record that says ``running`` is believed only while its process
is alive on this machine and the run's lock is held (a copied directory names the same process), or while nothing can be
known from here (another host, a container).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from engine import process
from engine.queue import entry_exists

QUEUED, STARTING, RUNNING, STOPPING = "queued", "starting", "running", "stopping"
COMPLETED, STOPPED, FAILED, KILLED, LOST = "completed", "stopped", "failed", "killed", "lost"
UNKNOWN = "unknown"
LIVE = frozenset({QUEUED, STARTING, RUNNING, STOPPING})
ENDED = frozenset({COMPLETED, STOPPED, FAILED, KILLED, LOST})

STALL_SECONDS = 30.0
STALL_STEPS = 10.0
# A supervisor beats once a second; a lost one is noticed when its beat is this old and its process is gone.
HEARTBEAT_GRACE = 3.0


@dataclass(frozen=True, slots=True)
class RunState:
    """What a reader may say of a run.

    ``stalled`` is a flag on running; ``here`` is false for runs of other hosts and containers, of which nothing is
    inferred; ``heard`` is when the run last gave a sign (Unix seconds).
    """

    state: str
    reason: str = ""
    stalled: bool = False
    resumable: bool = False
    here: bool = True
    host: str = ""
    heard: float | None = None

    @property
    def live(self) -> bool:
        """Whether the run has not ended."""
        return self.state in LIVE


def infer(status: dict[str, Any] | None, *, locked: bool | None = None, stalled: bool = False) -> RunState:
    """The state behind ``status.json``; ``locked`` says whether a process holds the run's lock (``None``: not known).

    What a lost run left behind (a remembered end, checkpoints) is the caller's to find out.
    """
    if not status or not isinstance(status.get("state"), str) or status["state"] not in LIVE | ENDED:
        return RunState(STARTING if locked else UNKNOWN, "" if locked else "no status was recorded")
    state, reason = str(status["state"]), str(status.get("reason") or "")
    heard = status.get("heartbeat") if isinstance(status.get("heartbeat"), int | float) else None
    host = str(status.get("host") or "")
    recorded = RunState(state, reason, resumable=bool(status.get("resumable")), host=host, heard=heard)
    if state in ENDED:
        return recorded
    if not process.is_here(status):
        return replace(recorded, here=False)
    recorded_lives = process.is_alive(status) or is_guarded(status)
    if recorded_lives and locked is not False:
        return replace(recorded, stalled=stalled and state == RUNNING)
    if state in (QUEUED, STARTING) and locked:
        return recorded
    if state in (QUEUED, STARTING) and entry_exists(str(status.get("id") or "")):
        return replace(recorded, state=QUEUED, reason="waits in the queue; goes on with the next tunedeck command")
    if status.get("boot_id") != process.boot_id():
        return replace(recorded, state=LOST, reason="the machine was restarted while it ran")
    if heard is not None and 0 <= time.time() - heard < HEARTBEAT_GRACE:
        return recorded  # its supervisor may be writing the end this moment
    if recorded_lives:
        return replace(recorded, state=LOST, reason="the process it names does not work in this directory (a copy?)")
    if state == QUEUED:
        return replace(recorded, state=LOST, reason="it lost its place in the queue")
    return replace(recorded, state=LOST, reason="its processes are gone and left no word how")


def is_guarded(status: dict[str, Any]) -> bool:
    """Whether the recorded supervisor lives; only meaningful on the machine that the record speaks of."""
    return process.is_alive(status, "supervisor_pid", "supervisor_started")


def is_stalled(now: float, last_event: float | None, median_step: float | None, phase: str) -> bool:
    """Whether a running worker has been silent for max(30 s, 10 × the median step) while training.

    ``now`` and ``last_event`` are Unix seconds. Other phases beat at least every 10 s, so the same limit serves them.
    """
    if last_event is None:
        return False
    limit = max(STALL_SECONDS, STALL_STEPS * (median_step or 0.0)) if phase == "training" else STALL_SECONDS
    return now - last_event > limit
