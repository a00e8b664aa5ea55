"""``tunedeck compare``: what differs between runs, and which did best."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli import UsageParser
from engine.cli.output import number_text, print_json, table
from engine.errors import EXIT_DONE, InputError, Problem, RunNotFoundError
from engine.text import clean

if TYPE_CHECKING:
    from engine.history.compare import Comparison, Difference
    from engine.history.record import RunRecord

TITLES = {"settings": "SETTING", "data": "DATA", "versions": "VERSION"}


def run(verb: str, arguments: list[str]) -> int:
    """Compare two runs or more."""
    from engine.history import compare

    parser = UsageParser(
        prog="tunedeck compare", description="What differs between runs of any tool, and which did best."
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's directory, the beginning of its id, or its name"
    )
    parser.add_argument("--metric", help="what they are ranked by [eval_loss; loss if none evaluated]")
    parser.add_argument("--by", choices=compare.BY, default="best", help="its best, last or last smoothed value [best]")
    parser.add_argument("--smoothing", type=float, default=compare.WEIGHT, metavar="WEIGHT",
                        help=f"how much the smoothed value remembers, from 0 up to 1 [{compare.WEIGHT}]")  # fmt: skip
    parser.add_argument("--all", action="store_true", help="also what is the same, and what only some runs tell")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    options = parser.parse_args(arguments)
    if not 0 <= options.smoothing < 1:
        raise InputError(Problem("usage", "--smoothing is a weight from 0 up to 1, 1 not included"))
    records = _records(options.runs)
    result = compare.compare(records, _metric(options.metric, records), options.by, options.smoothing)
    if options.json:
        print_json(result.as_dict())
    else:
        _say(result, everything=options.all)
    return EXIT_DONE


def _records(names: list[str]) -> list[RunRecord]:
    from engine.history.scan import find_path

    if len(names) < 2:
        raise InputError(Problem("usage", "compare needs two runs or more", "List runs with: tunedeck runs"))
    paths: list[Path] = []
    for name in names:
        path = find_path(name)
        if path.resolve() in [other.resolve() for other in paths]:
            raise InputError(Problem("same-run", f"{clean(name, 200)} is named twice", "Name each run once"))
        paths.append(path)
    return [read(path) for path in paths]


def read(path: Path) -> RunRecord:
    """Everything of the run in a directory; raises :class:`RunNotFoundError` if there is none."""
    from engine.history import readers, walk

    record = readers.read_record(path) if walk.is_run(path) else None
    if record is None:
        raise RunNotFoundError(
            Problem("no-run", "holds no training run", "List runs with: tunedeck runs", file=str(path))
        )
    return record


def _metric(wanted: str | None, records: list[RunRecord]) -> str:
    """The metric that was asked for, if a run has it; else the losses, that of evaluations first."""
    from engine.history import compare

    there = compare.metrics(records)
    if wanted is None:
        return next((name for name in ("eval_loss", "loss") if name in there), "eval_loss")
    if wanted in there or wanted in ("eval_loss", "loss"):
        return wanted
    near = difflib.get_close_matches(wanted, there, n=3)
    some = ", ".join(clean(name, 60) for name in (near or there)[:12])
    hint = f"Did you mean {some}?" if near else f"They have {some}" if some else "Nothing was logged"
    raise InputError(Problem("bad-metric", f"none of these runs has a metric {clean(wanted, 60)!r}", hint))


# For people.


def _say(result: Comparison, *, everything: bool) -> None:
    letters = [letter(place) for place in range(len(result.runs))]
    rows = [[at, run.id, run.name if run.name != run.id else "", run.tool, run.state, run.path]
            for at, run in zip(letters, result.runs, strict=True)]  # fmt: skip
    print(table(["", "ID", "NAME", "TOOL", "STATE", "DIRECTORY"], rows, drop=(4, 3, 5)))
    _say_differences(result.differences, letters)
    if not result.differences:
        print("\nNo difference is known.")
    if everything:
        for title, found in (("Told by some runs only", result.partial), ("The same", result.same)):
            if found:
                print(f"\n{title}:")
                _say_differences(found, letters)
    else:
        print(
            f"\n{len(result.same)} others are the same, {len(result.partial)} are told by some runs only (--all shows them)"
        )
    _say_ranking(result, letters)


def _say_differences(found: list[Difference], letters: list[str]) -> None:
    for group, title in TITLES.items():
        rows = [[d.name, *(value_text(value) for value in d.values)] for d in found if d.group == group]
        if rows:
            print("\n" + table([title, *letters], rows))


def _say_ranking(result: Comparison, letters: list[str]) -> None:
    from engine.history.compare import higher_is_better

    better = "higher" if higher_is_better(result.metric) else "lower"
    how = f"smoothed with weight {result.weight:g}, last" if result.by == "smoothed" else result.by
    print(f"\nBy {clean(result.metric, 60)} ({how} value; {better} is better):")
    rows = []
    for one in result.ranking:
        run = result.runs[one.run]
        place = "-" if one.place is None else str(one.place)
        step = "-" if one.step is None else f"{one.step:g}"
        rows.append([place, letters[one.run], number_text(one.value, 6), step, run.name, one.note])
    print(table(["PLACE", "", "VALUE", "STEP", "NAME", ""], rows, right=(0, 2, 3)))


def letter(place: int) -> str:
    """A, B, C … of a run."""
    return chr(ord("A") + place) if place < 26 else str(place + 1)


def value_text(value: Any) -> str:
    """A setting's value in a cell; a dash if it is unknown."""
    from engine.config.flags import format_value

    if value is None:
        return "-"
    try:
        return format_value(value)
    except (TypeError, ValueError, OverflowError):
        return str(value)
