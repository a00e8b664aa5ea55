"""``tunedeck train``: the flags of the script that people use today, in front of a run that outlives its terminal."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from bisect import bisect_right
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from engine.cli import UsageParser
from engine.cli.output import number_text, print_json, print_problems, seconds_text
from engine.errors import EXIT_DONE, EXIT_FAILED, EXIT_STOPPED, InputError, Problem
from engine.paths import expand
from engine.rundir import RunDir
from engine.snapshot import RunFollower, RunView
from engine.text import clean

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.inspecting import Inspector
    from engine.preflight.sheet import Sheet

POLL_SECONDS = 0.25
# What needs the libraries is checked in at most so long: that they are slow to load must not hold a run up.
SHEET_SECONDS = 30.0


def run(verb: str, arguments: list[str]) -> int:
    """Check, launch, and follow the run to its end unless ``--detach``."""
    from engine.cli.consenting import ask_consent
    from engine.cli.preflight import brief
    from engine.config import flags, parse
    from engine.launchers import launch

    parser = UsageParser(
        prog="tunedeck train", description="Fine-tune with LoRA on chats: JSONL, JSON, CSV, TSV or Parquet."
    )
    parser.add_argument("--detach", action="store_true", help="return as soon as the run has started")
    parser.add_argument("--json", action="store_true", help="print one JSON document about the run and nothing else")
    flags.add_flags(parser)
    namespace, unknown = parser.parse_known_args(arguments)
    values = flags.values_from(namespace)
    values.update(_unknown_flags(unknown))
    config = parse(values)
    ask_consent(config, arguments)
    found = look_first(config, quiet=namespace.json)
    print_problems(found.warnings)
    if not found.ok:
        raise InputError(found.errors)

    def start() -> RunDir:
        started = launch(config, checked=found.checked, command=shlex.join(["tunedeck", "train", *arguments]))
        if not namespace.json:
            print(*brief(found), sep="\n")
        return started

    return follow_to_the_end(
        start,
        detach=namespace.detach,
        as_json=namespace.json,
    )


def look_first(config: RunConfig, *, quiet: bool = False) -> Sheet:
    """The sheet of a run that is about to start, its tokens counted on a sample; nothing slow is asked where it is refused anyway."""
    from engine.preflight import check
    from engine.preflight.sheet import Sheet, sheet

    inspector, shown = inspector_of(config), not quiet and sys.stderr.isatty()
    try:
        inspector.warm(config)  # it loads its libraries while the data are read
        checked = check(config)
        if not checked.ok:
            return Sheet(config, checked.errors, checked.warnings, checked)
        if shown:
            print("Checking tokens and memory …", end="", file=sys.stderr, flush=True)
        return sheet(config, inspector, sample=True, checked=checked, limit=SHEET_SECONDS)
    finally:
        inspector.close()
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def inspector_of(config: RunConfig) -> Inspector:
    """An inspector in the environment that trains."""
    from engine.inspecting import Inspector

    return Inspector(str(expand(config.worker_python)) if config.worker_python else None)


def follow_to_the_end(start: Callable[[], RunDir], *, detach: bool, as_json: bool) -> int:
    """Start a run and follow it to its end unless ``detach``; returns the exit code of the command."""
    # Ctrl-C while the run is being started must not leave one behind that nobody was told of.
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        started = start()
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        started.request("stop")
    follower = RunFollower(started.path)
    follower.poll()
    if not as_json:
        print(f"Run {follower.view.id} in {clean(started.path)}")
        waiting = _waiting(follower.view)
        if waiting and detach:
            print(f"{waiting}. It starts by itself when it is its turn")
        print(f"It goes on if this terminal is lost. To come back: tunedeck watch {follower.view.id}", flush=True)
    if not detach:
        follow(follower, quiet=as_json)
    if as_json:
        from engine.history.describe import describe

        print_json(describe(started.path))
    return EXIT_DONE if detach else exit_code(follower.view)


def _unknown_flags(words: list[str], prog: str = "tunedeck train") -> dict[str, str]:
    """Unknown flags become unknown settings, so that they are refused with the nearest known name."""
    found = {}
    for word in words:
        if not word.startswith("--"):
            raise InputError(
                Problem("usage", f"{prog}: what is {clean(word, 80)!r}?", "Settings are given as --name value")
            )
        name, _, value = word[2:].partition("=")
        found[name] = value
        if not value:
            break  # what follows may be this flag's value
    return found


def exit_code(view: RunView) -> int:
    """0 done, 130 stopped by the user, 1 anything else."""
    return {"completed": EXIT_DONE, "stopped": EXIT_STOPPED}.get(view.state.state, EXIT_FAILED)


def follow(follower: RunFollower, *, quiet: bool = False) -> None:
    """Show progress until the run has ended. Ctrl-C asks for a graceful stop, a second one for an immediate one."""
    asked = 0

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        try:
            follower.rundir.request("stop" if asked == 1 else "stop-now")
        except OSError as error:
            print(f"\nThe run cannot be asked to stop: {clean(error)}", file=sys.stderr, flush=True)
            return
        if not quiet:
            text = "Stopping after this step; press Ctrl-C again to stop at once" if asked == 1 else "Stopping at once"
            text = "Leaving the queue" if follower.view.state.state == "queued" else text
            print(f"\n{text}", file=sys.stderr, flush=True)

    before = signal.signal(signal.SIGINT, on_interrupt)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a lost terminal ends only this follower
    try:
        show = _silent if quiet else _bar if sys.stderr.isatty() else _lines
        show(follower)
    finally:
        signal.signal(signal.SIGINT, before)
    if "bell" in (follower.view.config.get("notify") or ()) and sys.stderr.isatty():
        print("\a", end="", file=sys.stderr, flush=True)
    if not quiet:
        view = follower.view
        reason = f": {clean(view.state.reason)}" if view.state.reason else ""
        print(f"{view.state.state}{reason}", flush=True)
        if view.state.state not in ("completed", "stopped"):
            print(f"The log: {clean(follower.rundir.train_log)}", file=sys.stderr)


def _wait(follower: RunFollower) -> bool:
    """Poll once; whether the run still lives."""
    follower.poll(0.2)
    if not follower.view.state.live:
        follower.read_all()
        return False
    time.sleep(POLL_SECONDS)
    return True


def _silent(follower: RunFollower) -> None:
    while _wait(follower):
        pass


def _waiting(view: RunView) -> str:
    """Where a queued run stands; empty for any other."""
    if view.state.state != "queued":
        return ""
    position, reason = view.status.get("queue_position"), view.status.get("waits_for")
    place = f"Number {position} in the queue" if isinstance(position, int) else "In the queue"
    return clean(f"{place}: {reason}" if reason else place, 300)


def _lines(follower: RunFollower) -> None:
    """Without a terminal: a line at each change of phase, every ``logging_steps`` steps and at evaluations."""
    every = follower.view.config.get("logging_steps") or 10
    shown_step = shown_eval = follower.view.resumed_step or 0
    shown_phase, shown_notices, shown_waiting = "", 0, ""
    alive = True
    while alive:
        alive = _wait(follower)
        view = follower.view
        if (waiting := _waiting(view)) != shown_waiting:
            print(waiting or "The wait is over", flush=True)
            shown_waiting = waiting
        for text in _notices(view, shown_notices):
            print(text, flush=True)
        shown_notices = view.notices_seen
        if view.phase.name in ("loading", "tokenising", "saving") and view.phase.name != shown_phase:
            print(f"{clean(view.phase.name)} …", flush=True)
        shown_phase = view.phase.name
        row = bisect_right(view.steps.steps, shown_step)
        for step, loss in zip(view.steps.steps[row:], view.steps.column("loss")[row:], strict=True):
            if step % every == 0 or step == view.total_steps:
                print(f"step {step}/{view.total_steps}  loss {number_text(loss)}", flush=True)
                shown_step = step
        row = bisect_right(view.evals.steps, shown_eval)
        for step, loss in zip(view.evals.steps[row:], view.evals.column("eval_loss")[row:], strict=True):
            print(f"step {step}  eval loss {number_text(loss)}", flush=True)
            shown_eval = step


def _notices(view: RunView, seen: int) -> list[str]:
    """Cleaned lines of what is new; what was said of earlier attempts is left out."""
    begun = view.attempts[-1].get("time") if view.attempts else None
    after = begun if isinstance(begun, int | float) else 0.0
    return [clean(f"{n.level}: {n.text}") for n in view.notices_since(seen) if not n.time < after - 1]


def _bar(follower: RunFollower) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"))
    console = Console(stderr=True, markup=False)
    with Progress(*columns, console=console, refresh_per_second=2, transient=False) as progress:
        task = progress.add_task("starting", total=None, words="")
        alive, notices = True, 0
        while alive:
            alive = _wait(follower)
            view = follower.view
            for text in _notices(view, notices):
                progress.console.print(text, highlight=False)
            notices = view.notices_seen
            state = view.state.state
            name = state if state in ("queued", "stopping") else view.phase.name or state
            words = _waiting(view)
            # Until the first step of a resumed run, what stands there is of the attempt before.
            fresh = len(view.steps) > 0 and view.step_attempt == view.attempt_number
            if fresh and not words:
                loss, evaluation = number_text(view.steps.last("loss")), view.evals.last("eval_loss")
                words = f"{view.step}/{view.total_steps}  loss {loss}"
                words += f"  eval {number_text(evaluation)}" if evaluation is not None else ""
                words += f"  {seconds_text(view.remaining)} left" if view.remaining is not None else ""
            done = view.step if fresh else view.resumed_step or 0
            total = view.total_steps if fresh else None
            progress.update(task, description=clean(name), completed=done, total=total, words=words)
