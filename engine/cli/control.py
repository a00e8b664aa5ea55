"""``tunedeck stop``, ``checkpoint`` and ``evaluate``: a request left in the run's directory, and its answer."""

from __future__ import annotations

import sys
import time

from engine.cli import UsageParser
from engine.cli.output import print_json
from engine.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_FAILED
from engine.history import find_run
from engine.snapshot import RunFollower
from engine.text import clean

POLL_SECONDS = 0.2


def run(verb: str, arguments: list[str]) -> int:
    """Leave the request and wait for the answer; 0 once it is answered."""
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
    answered = len(view.controls)
    follower.rundir.request(request)
    outcome = _await(follower, request, answered, options.timeout)
    state = follower.view.state
    if options.json:
        print_json(
            {"id": view.id, "request": request, "outcome": outcome, "state": state.state, "reason": state.reason}
        )
    else:
        print(clean(outcome or f"no answer yet; the run is {state.state}"))
    return EXIT_DONE if outcome else EXIT_FAILED


def _await(follower: RunFollower, request: str, answered: int, timeout: float) -> str | None:
    deadline = time.monotonic() + timeout
    ends = request in ("stop", "stop-now")
    while time.monotonic() < deadline:
        follower.poll()
        view = follower.view
        if ends and not view.state.live:
            return f"{view.state.state}: {view.state.reason}"
        answers = [c for c in list(view.controls)[answered:] if c.get("request") == request]
        if answers and not ends:
            return str(answers[-1].get("outcome") or "done")
        if not view.state.live:
            return None
        time.sleep(POLL_SECONDS)
    return None
