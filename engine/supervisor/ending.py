"""How a run ended, from evidence: exit code, signal, the worker's own last word, the kernel's memory killer."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from engine import status as states
from engine.snapshot import RunFollower, tail
from engine.text import clean

MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class Ending:
    """The final state, its reason in one line, and the evidence."""

    state: str
    reason: str
    exit_code: int | None = None
    signal: str | None = None


def classify(
    code: int, follower: RunFollower, *, attempt: int, stop_now: bool, oom_killed: bool, train_log: Path
) -> Ending:
    """Judge the end of a worker by its exit code (negative: a signal); a signal always wins over a guess."""
    word = follower.view.last_state if follower.view.last_state_attempt == attempt else None
    if code < 0:
        return _by_signal(-code, stop_now, oom_killed)
    if code == 0 and word is not None and word.state == states.COMPLETED:
        return Ending(states.COMPLETED, word.reason, exit_code=0)
    if word is not None and word.state == states.STOPPED:
        return Ending(states.STOPPED, word.reason, exit_code=code)
    if stop_now:
        return Ending(states.STOPPED, "stopped at once on request", exit_code=code)
    if word is not None and word.state == states.FAILED:
        return Ending(states.FAILED, _before_first_step(word.reason, follower, attempt), exit_code=code)
    what = f"the worker ended by itself with exit code {code}"
    last = _last_words(train_log)
    reason = f"{what}; its log ends with: {last}" if last else f"{what} and said nothing"
    return Ending(states.FAILED, _before_first_step(reason, follower, attempt), exit_code=code)


def _by_signal(number: int, stop_now: bool, oom_killed: bool) -> Ending:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if stop_now and number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        return Ending(states.STOPPED, "stopped at once on request", signal=name)
    if number == signal.SIGTERM:
        return Ending(states.STOPPED, "ended by SIGTERM", signal=name)
    if number == signal.SIGKILL and oom_killed:
        return Ending(states.KILLED, "killed by the kernel's memory killer: the host ran out of memory", signal=name)
    return Ending(states.KILLED, f"killed by {name}", signal=name)


def _before_first_step(reason: str, follower: RunFollower, attempt: int) -> str:
    view = follower.view
    stepped = len(view.steps) > 0 and view.step_attempt == attempt
    if not stepped and not reason.startswith("failed to start"):
        reason = f"failed to start: {reason}"
    return clean(reason, MAX_REASON)


def _last_words(train_log: Path) -> str:
    lines = [clean(line, 300).strip() for line in tail(train_log, 20)]
    return next((line for line in reversed(lines) if line), "")
