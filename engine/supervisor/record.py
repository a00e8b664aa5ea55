"""What stands in ``status.json``: who guards the run, which attempt it is, and how far it has come."""

from __future__ import annotations

import os
import time
from typing import Any

from engine import process
from engine import status as states
from engine.snapshot import RunView

_FIGURES = ("step", "total_steps", "epoch", "points", "last_loss", "best_loss", "last_eval_loss", "best_eval_loss")


def first_status(run: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """The status of a new attempt, or of one whose guardian is started again while it waits in the queue.

    ``run`` is ``run.json``, ``earlier`` the status that stands; either may be empty.
    """
    attempt = attempt_number(run, earlier)
    return {
        "format": 1,
        "id": run.get("id"),
        "state": states.STARTING,
        "reason": "",
        "resumable": False,
        "attempts": attempt,
        "seconds_before": seconds_before(earlier, attempt),
        "created": run.get("created"),
        "started": None,
        "ended": None,
        "exit_code": None,
        "signal": None,
        **process.identity(os.getpid()),
        "pid": None,
        "pid_started": None,
        "ranks": [],
        "supervisor_pid": os.getpid(),
        "supervisor_started": process.started(os.getpid()),
    }


def attempt_number(run: dict[str, Any], earlier: dict[str, Any]) -> int:
    """Which attempt this is: the last one that ``run.json`` lists; records of older versions list none."""
    attempts = run.get("attempts")
    if isinstance(attempts, list) and attempts:
        return len(attempts)
    done = earlier.get("attempts")
    count = done if isinstance(done, int) and 0 <= done < 10**6 else 0
    return max(1, count if earlier.get("state") == states.QUEUED else count + 1)


def seconds_before(earlier: dict[str, Any], attempt: int) -> float:
    """Seconds that earlier attempts ran: until their end, or where nobody wrote one, until their last sign of life."""
    before = _seconds(earlier.get("seconds_before"))
    if earlier.get("attempts") == attempt:
        return before
    begun, last = _seconds(earlier.get("started")), _seconds(earlier.get("ended")) or _seconds(earlier.get("heartbeat"))
    return round(before + max(0.0, last - begun), 3) if begun and last else before


def update_progress(status: dict[str, Any], view: RunView) -> None:
    """Bring the figures that lists show up to date; what has not been read yet is not known."""
    if view.behind:
        status.update(dict.fromkeys(_FIGURES), stalled=False)
        return
    status.update(
        stalled=status["state"] == states.RUNNING
        and states.is_stalled(time.time(), view.last_event, view.median_step_seconds, view.phase.name),
        step=view.step,
        total_steps=view.total_steps,
        epoch=view.epoch,
        points=len(view.steps),
        last_loss=view.steps.last("loss"),
        best_loss=view.steps.best("loss"),
        last_eval_loss=view.evals.last("eval_loss"),
        best_eval_loss=view.evals.best("eval_loss"),
    )


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e11 else 0.0
