"""How a run ended, from evidence: exit code, signal, the worker's own last word, the kernel's memory killer.

A signal always wins over a guess: a worker that died by one reads as killed, whatever it said before (its reason is kept
as an addition). Two exceptions, because they are no guesses: SIGTERM is a request, and a worker that had already said
``completed`` had saved everything; a crash while it cleared up took nothing away.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from pathlib import Path

from engine import status as states
from engine.snapshot import RunFollower, tail
from engine.status import RunState
from engine.text import clean

MAX_REASON = 500
LAST_LINES = 3


@dataclass(frozen=True, slots=True)
class Ending:
    """The final state, its reason in one line, and the evidence."""

    state: str
    reason: str
    exit_code: int | None = None
    signal: str | None = None


@dataclass(frozen=True, slots=True)
class Other:
    """A worker that is not the first of its run: its rank and its last word (``state``, ``reason``), if it had one."""

    rank: int
    word: dict[str, object] | None


def classify(
    code: int,
    follower: RunFollower,
    *,
    attempt: int,
    stop_now: bool,
    oom_killed: bool,
    train_log: Path,
    other: Other | None = None,
) -> Ending:
    """Judge the end of a run by the exit code (negative: a signal) of its worker; of several, of ``other`` if given."""
    word = follower.view.last_state if follower.view.last_state_attempt == attempt else None
    if other is not None:
        said = RunState(str(other.word.get("state")), str(other.word.get("reason") or "")) if other.word else None
        ending = _judge(code, said, follower, attempt, stop_now, oom_killed, train_log)
        if ending.state in (states.FAILED, states.KILLED):
            return replace(ending, reason=clean(f"{ending.reason} (rank {other.rank})", MAX_REASON))
        return ending
    return _judge(code, word, follower, attempt, stop_now, oom_killed, train_log)


def _judge(
    code: int,
    word: RunState | None,
    follower: RunFollower,
    attempt: int,
    stop_now: bool,
    oom_killed: bool,
    train_log: Path,
) -> Ending:
    if code < 0:
        return _by_signal(-code, word, stop_now, oom_killed)
    if code == 0 and word is not None and word.state == states.COMPLETED:
        return Ending(states.COMPLETED, word.reason, exit_code=0)
    if word is not None and word.state == states.STOPPED:
        return Ending(states.STOPPED, word.reason, exit_code=code)
    if stop_now:
        return Ending(states.STOPPED, "stopped at once on request", exit_code=code)
    stepped = len(follower.view.steps) > 0 and follower.view.step_attempt == attempt
    if word is not None and word.state == states.FAILED:
        return Ending(states.FAILED, _failure(word.reason, stepped), exit_code=code)
    reason = f"ended by itself with exit code {code}" + (" before all steps were done" if code == 0 else "")
    lines = last_lines(train_log)
    reason += f"; its log ends with: {lines}" if lines else " and said nothing"
    return Ending(states.FAILED, _failure(reason, stepped), exit_code=code)


def unjudged(code: int | None) -> Ending:
    """What can be said by the exit code alone, when judging itself went wrong."""
    if code is None:
        return Ending(states.FAILED, "the run's guardian failed; see the log")
    if code < 0:
        return _by_signal(-code, None, False, False)
    return Ending(states.FAILED, f"ended by itself with exit code {code}", exit_code=code)


def _by_signal(number: int, word: RunState | None, stop_now: bool, oom_killed: bool) -> Ending:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    said = word.state if word is not None else ""
    if word is not None and said == states.COMPLETED:
        after = f"it ended by {name} after everything was saved"
        return Ending(
            states.COMPLETED, clean(f"{word.reason}; {after}" if word.reason else after, MAX_REASON), None, name
        )
    if stop_now and number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        return Ending(states.STOPPED, "stopped at once on request", signal=name)
    if number == signal.SIGTERM:
        stopped = word is not None and said == states.STOPPED and word.reason
        return Ending(states.STOPPED, stopped or "ended by SIGTERM", signal=name)
    if number == signal.SIGKILL and oom_killed:
        return Ending(states.KILLED, "killed by the kernel's memory killer: the host ran out of memory", signal=name)
    reason = f"killed by {name}"
    if word is not None and said in (states.FAILED, states.STOPPED):
        reason += f" after it had {said}: {word.reason}" if word.reason else f" after it had {said}"
    return Ending(states.KILLED, clean(reason, MAX_REASON), signal=name)


def _failure(reason: str, stepped: bool) -> str:
    """The reason in one line; a failure before the first step says so."""
    if not stepped and not reason.startswith("failed to start"):
        reason = f"failed to start: {reason}"
    return clean(reason, MAX_REASON)


def last_lines(log: Path) -> str:
    """The last lines of a log that say anything, joined by bars."""
    lines = [text for line in tail(log, 20) if (text := clean(line, 160).strip())]
    return " | ".join(lines[-LAST_LINES:])
