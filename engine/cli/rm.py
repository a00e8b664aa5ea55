"""``tunedeck rm``: remove a run, or what can be spared of it; says first what would go, and asks for its name."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.cli import UsageParser
from engine.cli.output import bytes_text, print_json, print_problems, table
from engine.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_FAILED, EXIT_STOPPED, InputError, Problem
from engine.history import find_path, removal
from engine.history.removal import Outcome, Plan
from engine.paths import expand
from engine.text import clean, clean_path

# Longer lists are cut on the screen; ``--json`` has them whole.
_MOST_LINES = 60


def run(verb: str, arguments: list[str]) -> int:
    """Show what would go, ask for the name (or take it from ``--yes``), remove."""
    parser = _parser(verb)
    options = parser.parse_args(arguments)
    if options.keep and not options.prune:
        parser.error("--keep says what --prune leaves; without --prune the whole run would go")
    plan = removal.plan(_find(options.run), checkpoints_only=options.prune, optimizer_states=options.optimizer_states,
                        keep=options.keep or (removal.BEST, removal.LAST), everything=options.everything)  # fmt: skip
    if plan.refused:
        if options.json:
            print_json({**plan.as_dict(), "dry_run": options.dry_run})
        else:
            print_problems(plan.refused)
        return EXIT_BAD_INPUT
    if options.dry_run:
        _tell(plan, as_json=options.json)
        return EXIT_DONE
    if not plan.ok:
        print_json({**plan.as_dict(), "dry_run": False}) if options.json else print("There is nothing to remove.")
        return EXIT_DONE
    if not _confirmed(plan, options):
        print("Nothing was removed.", file=sys.stderr)
        return EXIT_BAD_INPUT
    return _remove(plan, as_json=options.json)


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = UsageParser(prog=f"tunedeck {verb}")
    parser.add_argument("run", metavar="RUN", help="a run's directory, the beginning of its id, or its name")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go and what stays")
    parser.add_argument("--prune", action="store_true", help="only its checkpoints, except the best and the last")
    parser.add_argument("--keep", type=_keep, metavar="WORDS",
                        help="what --prune keeps: best, last, steps; with commas (best,last)")  # fmt: skip
    parser.add_argument("--optimizer-states", action="store_true",
                        help="of the checkpoints that stay, what only a resume needs")  # fmt: skip
    parser.add_argument("--everything", action="store_true",
                        help="also files of which it is not known that they belong to the run")  # fmt: skip
    parser.add_argument("--yes", metavar="NAME", help="the run's name, as it would be typed when asked")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    return parser


def _keep(text: str) -> tuple[str | int, ...]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    bad = [
        word for word in words if word not in (removal.BEST, removal.LAST) and not (word.isascii() and word.isdigit())
    ]
    if bad or not words:
        raise argparse.ArgumentTypeError(f"best, last or steps, with commas: {bad[0] if bad else text!r}")
    return tuple(int(word) if word.isdigit() else word for word in words)


def _find(text: str) -> Path:
    """The directory that is meant. One that is named by its path is taken as it is: a link is not followed."""
    with contextlib.suppress(ValueError, RuntimeError, OSError):
        path = expand(text)
        if text.strip() and os.path.lexists(path):
            return path
    return find_path(text)


def _confirmed(plan: Plan, options: argparse.Namespace) -> bool:
    if options.yes is not None:
        if plan.confirms(options.yes):
            return True
        text = f"--yes {clean(options.yes, 100)!r} is not the name of this run"
        raise InputError(Problem("not-confirmed", text, f"It is called {plan.name}", file=str(plan.path)))
    if options.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        hint = f"Look first, with --dry-run; then add --yes {plan.name!r}"
        raise InputError(
            Problem("not-confirmed", "there is no terminal to ask for the name", hint, file=str(plan.path))
        )
    _tell(plan, as_json=False)
    try:
        typed = input(f"\nType its name, {plan.name}, to remove this; nothing leaves it as it is: ")
    except EOFError:
        return False
    return plan.confirms(typed)


def _tell(plan: Plan, *, as_json: bool) -> None:
    if as_json:
        print_json({**plan.as_dict(), "dry_run": True})
        return
    what = {removal.RUN: "The run", removal.CHECKPOINTS: "Checkpoints of", removal.STATES: "Optimizer states of"}[
        plan.what
    ]
    print(f"{what} {clean_path(plan.path)}")
    rows = [[f"{clean(g.name, 80)}/" if g.kind == "directory" else clean(g.name, 80), str(g.count), bytes_text(g.bytes)]
            for g in plan.groups()]  # fmt: skip
    if rows:
        print("\nGoes:")
        print(_cut(table(["NAME", "NAMES", "SIZE"], rows, right=(1, 2)).split("\n")))
        print(f"Together {bytes_text(plan.bytes)}, {len(plan.entries)} names.")
    else:
        print("\nNothing goes.")
    if plan.kept:
        print("\nStays:")
        print(_cut([f"{clean(kept.path, 120)}: {clean(kept.why, 300)}" for kept in plan.kept]))
    if plan.warnings:
        print()
        print_problems(plan.warnings)


def _cut(lines: list[str]) -> str:
    more = len(lines) - _MOST_LINES
    return "\n".join(lines if more <= 0 else [*lines[:_MOST_LINES], f"... and {more} more"])


def _remove(plan: Plan, *, as_json: bool) -> int:
    stop = threading.Event()
    shown = sys.stderr.isatty() and not as_json

    def progress(done: int, total: int, freed: int) -> None:
        if shown:
            print(f"\r{done} of {total}, {bytes_text(freed)}\x1b[K", end="", file=sys.stderr, flush=True)

    with _stopping(stop):
        outcome = removal.carry_out(plan, progress, stop)
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    if as_json:
        document: dict[str, Any] = {**plan.as_dict(), "dry_run": False, "outcome": outcome.as_dict()}
        print_json(document)
    else:
        _report(plan, outcome)
    return EXIT_STOPPED if outcome.stopped else EXIT_DONE if outcome.complete else EXIT_FAILED


def _report(plan: Plan, outcome: Outcome) -> None:
    itself = "; the directory is gone" if outcome.gone else ""
    print(f"Removed {outcome.removed - outcome.gone} names, {bytes_text(outcome.bytes)}{itself}.")
    if outcome.left:
        print(_cut([f"left: {clean(path, 200)}: {clean(why, 300)}" for path, why in outcome.left]))
    if outcome.stopped or not outcome.complete:
        print("It is not finished; the same command goes on with it.", file=sys.stderr)
    elif plan.what == removal.RUN and not outcome.gone and not any(path == "." for path, _ in outcome.left):
        print(f"{clean_path(plan.path)} stays, with what does not belong to the run.")


@contextlib.contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C lets the name at hand finish, and ends then."""
    try:
        before = signal.signal(signal.SIGINT, lambda number, frame: stop.set())
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
