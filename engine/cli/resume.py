"""``tunedeck resume``: go on with a run that ended, from its newest complete checkpoint or from a chosen one."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import TYPE_CHECKING, Any, TextIO

from engine.cli import UsageParser
from engine.cli.output import print_json
from engine.cli.train import follow_to_the_end
from engine.errors import InputError
from engine.history import find_run
from engine.text import clean

if TYPE_CHECKING:
    from engine.resume import ResumePlan


def run(verb: str, arguments: list[str]) -> int:
    """Say what would go on and what has changed, start it, and follow it unless ``--detach``."""
    from engine import resume
    from engine.config import flags

    parser = UsageParser(prog="tunedeck resume", formatter_class=argparse.RawDescriptionHelpFormatter, description=(
        "Go on with a run that ended. Settings that are given are changed: more epochs\n"
        "(--num_train_epochs, --max_steps) and a new --learning_rate work as one means them.\n"
        "With --output_dir the run is left as it is, and a new one goes on from its checkpoint."))  # fmt: skip
    parser.add_argument("run", metavar="RUN", help="a run's directory, or the beginning of its id")
    parser.add_argument(
        "--checkpoint", type=int, metavar="STEP", help="go on from checkpoint-STEP, not from the newest"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would happen")
    parser.add_argument("--detach", action="store_true", help="return as soon as the run has started")
    parser.add_argument("--json", action="store_true", help="print one JSON document about the run and nothing else")
    flags.add_flags(parser)
    options = parser.parse_args(arguments)
    plan = resume.plan(find_run(options.run), checkpoint=options.checkpoint, overrides=flags.values_from(options))
    if options.dry_run and options.json:
        print_json(describe(plan))
        return 0 if plan.ok else InputError.exit_code
    _say(plan, file=sys.stderr if options.json else sys.stdout)
    if not plan.ok:
        raise InputError(plan.errors)
    if options.dry_run:
        return 0
    return follow_to_the_end(
        lambda: resume.start(plan, command=shlex.join(["tunedeck", "resume", *arguments])),
        detach=options.detach,
        as_json=options.json,
    )


def describe(plan: ResumePlan) -> dict[str, Any]:
    """The document of ``resume --dry-run --json``."""
    return {
        "ok": plan.ok,
        "checkpoint": plan.checkpoint.as_dict() if plan.checkpoint else None,
        "step": plan.step,
        "last_step": plan.last_step,
        "as_new": plan.as_new,
        "candidates": [c.as_dict() for c in plan.candidates],
        "changes": [{"name": c.name, "old": c.old, "new": c.new} for c in plan.changes],
        "errors": [p.as_dict() for p in plan.errors],
        "warnings": [p.as_dict() for p in plan.warnings],
    }


def _say(plan: ResumePlan, file: TextIO) -> None:
    if plan.ok:
        total = plan.checked.plan.total_steps if plan.checked is not None and plan.checked.plan is not None else None
        more = f": {total - plan.step} more steps, up to step {total}" if total is not None else ""
        if plan.checkpoint is not None:
            print(f"Going on after step {plan.step}, from {clean(plan.checkpoint.path)}{more}", file=file)
        else:
            print(f"Beginning at step 1{more}", file=file)
        if not plan.as_new and plan.last_step > plan.step:
            again = (
                f"Step {plan.last_step} is"
                if plan.last_step == plan.step + 1
                else f"Steps {plan.step + 1} to {plan.last_step} are"
            )
            print(f"{again} done again", file=file)
    for change in plan.changes:
        print(clean(f"changed: {change.name}: {change.old} -> {change.new}"), file=file)
    for problem in plan.warnings:
        print(f"{problem.severity}: {clean(problem, 2000)}", file=sys.stderr)
