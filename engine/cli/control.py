"""``tunedeck stop``, ``checkpoint`` and ``evaluate``: a request left in the run's directory, and its answer."""

from __future__ import annotations

import signal
import sys
import time
from typing import Any

from engine import process, registry
from engine import status as states
from engine.cli import UsageParser
from engine.cli.output import print_json
from engine.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_FAILED, Problem, TunedeckError
from engine.history import find_run
from engine.rundir import RunDir
from engine.snapshot import RunFollower
from engine.text import clean

POLL_SECONDS = 0.2
# How long a worker without a supervisor may take to end by itself, before it is killed.
STOP_NOW_GRACE = 3.0


def run(verb: str, arguments: list[str]) -> int:
    """Leave the request and wait for the answer; 0 once it is done, 1 if it was refused or not answered."""
    parser = UsageParser(prog=f"tunedeck {verb}")
    parser.add_argument("run", metavar="RUN", help="a run's directory, or the beginning of its id")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="how long to wait for the answer")
    if verb == "stop":
        parser.add_argument("--now", action="store_true", help="do not finish the step, do not save")
    options = parser.parse_args(arguments)
    follower = RunFollower(find_run(options.run).path)
    view = follower.read_all()
    request = "stop-now" if verb == "stop" and options.now else verb
    if not view.state.live:
        print(f"The run has already ended: {view.state.state}", file=sys.stderr)
        return EXIT_BAD_INPUT
    if view.state.state == states.QUEUED and request in ("checkpoint", "evaluate"):
        print("refused: the run waits in the queue and has not begun", file=sys.stderr)
        return EXIT_FAILED
    answered = view.controls_seen
    ask(follower.rundir, request)
    orphan = Orphan(follower) if request == "stop-now" else None
    outcome = _await(follower, request, answered, options.timeout, orphan)
    state = follower.view.state
    if options.json:
        print_json(
            {"id": view.id, "request": request, "outcome": outcome, "state": state.state, "reason": state.reason}
        )
    else:
        print(clean(outcome or f"no answer yet; the run is {state.state}"))
    return EXIT_DONE if outcome and not outcome.startswith(("refused", "too late")) else EXIT_FAILED


def ask(run: RunDir, request: str) -> None:
    """Leave a request; raises :class:`TunedeckError` in words if the run's directory cannot take it."""
    try:
        run.request(request)
    except OSError as error:
        in_the_way = isinstance(error, NotADirectoryError | FileExistsError)
        why = "something that is no directory stands in its place" if in_the_way else error.strerror or str(error)
        hint = "Only who may write there can ask the run for something"
        raise TunedeckError(
            Problem("no-request", f"cannot take a request: {why}", hint, file=str(run.control))
        ) from None


class Orphan:
    """A worker whose supervisor is dead: nobody else is left to stop it at once."""

    def __init__(self, follower: RunFollower) -> None:
        self.follower = follower
        self.told = 0.0
        self.sent: list[str] = []

    def attend(self) -> None:
        """Call it while waiting: SIGINT to the worker, and SIGKILL after a while; to that very process and no other."""
        view = self.follower.view
        status: dict[str, Any] = view.status
        if not view.state.live or not view.state.here or view.state.state == states.QUEUED:
            return
        # A script of somebody's own has no supervisor and takes every request itself.
        if status.get("supervisor_pid") is None or states.is_guarded(status):
            return
        if not self.sent or time.monotonic() - self.told > STOP_NOW_GRACE:
            number = signal.SIGKILL if self.sent else signal.SIGINT
            if process.signal_exactly(status, number, self.follower.rundir.lock):
                self.told = time.monotonic()
                self.sent.append(number.name)
                print(f"The run's supervisor is gone: {number.name} was sent to its worker", file=sys.stderr)

    def outcome(self) -> str:
        """What became of a worker that had to be signalled from here; empty if none was."""
        if not self.sent:
            return ""
        view = self.follower.view
        self.follower.rundir.take("stop-now")
        if view.state.state == states.LOST:  # nobody but this command knows how it ended
            end = {"state": states.STOPPED, "reason": "stopped at once on request", "ended": time.time(),
                   "signal": self.sent[-1], "resumable": view.state.resumable, "supervisor_pid": None}  # fmt: skip
            registry.remember_end(view.id, {**view.status, **end})
            self.follower.poll()
        return f"the worker has ended by {self.sent[-1]}, sent by this command: the run's supervisor was gone"


def _await(
    follower: RunFollower, request: str, answered: int, timeout: float, orphan: Orphan | None = None
) -> str | None:
    deadline = time.monotonic() + timeout
    ends = request in ("stop", "stop-now")
    while time.monotonic() < deadline:
        follower.poll()
        view = follower.view
        if ends and not view.state.live:
            said = orphan.outcome() if orphan is not None else ""
            return said or f"{view.state.state}: {view.state.reason}"
        answers = [c for c in view.controls_since(answered) if c.get("request") == request]
        if answers and not ends:
            return str(answers[-1].get("outcome") or "done")
        if not view.state.live:
            return None
        if orphan is not None:
            orphan.attend()
        time.sleep(POLL_SECONDS)
    return None
