"""States of a run, and how a reader infers the true one from what stands on the disk.

Only a run's owner writes its state; readers infer. A record that says ``running`` is believed only while its process
is alive on this machine, or while nothing can be known from here (another host, a container).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
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


def infer(status: dict[str, Any] | None, *, locked: bool = False, stalled: bool = False) -> RunState:
    """The state behind ``status.json``; ``locked`` says that a living process holds the run's lock."""
    if not status or not isinstance(status.get("state"), str) or status["state"] not in LIVE | ENDED:
        return RunState(STARTING if locked else UNKNOWN, "" if locked else "no status was recorded")
    state, reason = str(status["state"]), str(status.get("reason") or "")
    heard = status.get("heartbeat") if isinstance(status.get("heartbeat"), int | float) else None
    resumable = bool(status.get("resumable"))
    host = str(status.get("host") or "")
    if state in ENDED:
        return RunState(state, reason, resumable=resumable, host=host, heard=heard)
    if not process.is_here(status):
        return RunState(state, reason, resumable=resumable, here=False, host=host, heard=heard)
    if process.is_alive(status) or process.is_alive(status, "supervisor_pid", "supervisor_started"):
        return RunState(state, reason, stalled and state == RUNNING, resumable, True, host, heard)
    if state in (QUEUED, STARTING) and locked:
        return RunState(state, reason, resumable=resumable, host=host, heard=heard)
    if state in (QUEUED, STARTING) and entry_exists(str(status.get("id") or "")):
        reason = "waits in the queue; goes on with the next tunedeck command"
        return RunState(QUEUED, reason, resumable=resumable, host=host, heard=heard)
    if status.get("boot_id") != process.boot_id():
        return RunState(LOST, "the machine was restarted while it ran", resumable=resumable, host=host, heard=heard)
    if heard is not None and 0 <= time.time() - heard < HEARTBEAT_GRACE:
        # Its supervisor may be writing the end this moment.
        return RunState(state, reason, resumable=resumable, host=host, heard=heard)
    return RunState(LOST, "its processes are gone and left no word how", resumable=resumable, host=host, heard=heard)


def is_stalled(now: float, last_event: float | None, median_step: float | None, phase: str) -> bool:
    """Whether a running worker has been silent for max(30 s, 10 × the median step) while training.

    ``now`` and ``last_event`` are Unix seconds. Other phases beat at least every 10 s, so the same limit serves them.
    """
    if last_event is None:
        return False
    limit = max(STALL_SECONDS, STALL_STEPS * (median_step or 0.0)) if phase == "training" else STALL_SECONDS
    return now - last_event > limit
