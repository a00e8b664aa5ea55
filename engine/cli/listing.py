"""``tunedeck runs``: every run of any tool, filtered, sorted, as a table for people, JSON or CSV."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.cli import UsageParser
from engine.cli.output import bytes_text, number_text, print_json, seconds_text, table
from engine.errors import EXIT_DONE, InputError, Problem
from engine.history import RunSummary
from engine.history import fields as known
from engine.history.fields import Field
from engine.history.scan import refuse_bad_roots
from engine.paths import expand
from engine.records import is_time
from engine.text import clean

HEADER = ["ID", "STATE", "TOOL", "NAME", "MODEL", "STEP", "LOSS", "EVAL", "DATE"]
CSV_COLUMNS = ("id", "name", "tool", "state", "model", "step", "steps", "epoch", "epochs", "loss", "best", "eval", "best_eval",
               "points", "lr", "r", "alpha", "batch", "length", "data", "seconds", "created", "started", "ended", "bytes",
               "checkpoints", "tags", "host", "path", "reason", "problems")  # fmt: skip
# In a folder that is not there are no runs.
_GONE = (os.strerror(errno.ENOENT), os.strerror(errno.ENOTDIR))
DESCRIPTION = """\
List runs: those that were launched on this account and those below the folders it knows, or only those below ROOT.

A filter is words, and fields with : = < > between: qwen, state:failed, is:live, loss<1.2, lr>=1e-4, date>2026-10,
tag:keep, loss:nan, eval:none; words side by side must all fit; and, or, not, -x and brackets combine; @NAME is a saved one."""


def run(verb: str, arguments: list[str]) -> int:
    """List runs."""
    options = _parser().parse_args(joined(arguments, ("--filter", "--sort", "--columns")))
    if options.columns == "help":
        return _explain()
    if options.format == "json" or options.json:
        options.format = "json"
    columns = _columns(options.columns)
    order = _field(options.sort.removeprefix("-")) if options.sort else None
    reverse = options.reverse or (options.sort or "").startswith("-")
    wanted = _filter(options.filter)
    if options.limit is not None and options.limit < 0:
        raise InputError(Problem("usage", "--limit is how many runs to list, from 0 on"))
    refuse_bad_roots(options.roots)
    runs = _gathered(options.roots)
    names = [order.name if order else "", *(field.name for field in columns), options.filter or ""]
    if options.format in ("json", "csv", "jsonl") or any(word in name for name in names for word in ("bytes", "size")):
        _measure(runs)
    runs = [one for one in runs if wanted(one)]
    found = len(runs)
    runs = _sorted(runs, order, reverse=reverse)[: options.limit]
    if options.format == "table":
        _print_table(runs, columns, found=found, filtered=options.filter is not None)
    else:
        _print_data(runs, columns, options.format)
    return EXIT_DONE


def _parser() -> argparse.ArgumentParser:
    parser = UsageParser(
        prog="tunedeck runs", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("roots", nargs="*", metavar="ROOT", type=Path, help="list only the runs below these")
    parser.add_argument(
        "--filter", metavar="TEXT", help="list only the runs that fit, e.g. 'model:qwen loss<1.2 -tag:old'"
    )
    parser.add_argument("--sort", metavar="FIELD", help="order by a field, the smallest first; unknown ones come last")
    parser.add_argument("--reverse", action="store_true", help="the largest first (also: --sort -FIELD)")
    parser.add_argument("--columns", metavar="A,B,…", help="show these fields; --columns help names them")
    parser.add_argument("--limit", metavar="N", type=int, help="list at most so many")
    parser.add_argument(
        "--format", choices=("table", "csv", "jsonl", "json"), default="table", help="how to print [table]"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    return parser


def joined(words: Sequence[str], flags: Sequence[str]) -> list[str]:
    """The words with the values of these flags joined to them, so that a value may begin with a hyphen."""
    out: list[str] = []
    for word in words:
        if out and out[-1] in flags and "--" not in out:
            out[-1] = f"{out[-1]}={word}"
        else:
            out.append(word)
    return out


def _gathered(roots: list[Path]) -> list[RunSummary]:
    """All runs; what could not be searched is said, so that nobody takes the list for whole."""
    from engine.history import gather

    silent: dict[str, str] = {}
    runs = list(gather([expand(root).absolute() for root in roots], not roots, silent))
    for place, why in sorted(silent.items()):
        if why not in _GONE:
            print(
                f"warning: {clean(place)}: {clean(why)}; what is below it is listed as it was last seen",
                file=sys.stderr,
            )
    return runs


def _measure(runs: list[RunSummary]) -> None:
    from engine.history.summary import directory_bytes

    for one in runs:
        if one.bytes is None:
            one.bytes = directory_bytes(Path(one.path))


def _filter(text: str | None) -> Callable[[RunSummary], bool]:
    if text is None or not text.strip():
        return lambda _: True
    from engine.history import query

    parsed, now = query.parse(text), time.time()
    return lambda one: parsed.matches(one, now)


def _sorted(runs: list[RunSummary], order: Field | None, *, reverse: bool) -> list[RunSummary]:
    """By a field; the newest first without one."""
    field, turned = (order, reverse) if order else (known.FIELDS["date"], not reverse)
    runs = sorted(runs, key=lambda one: (one.id, one.path))
    return sorted(runs, key=known.sort_key(field, reverse=turned), reverse=turned)


# Fields by name.


def _columns(text: str | None) -> list[Field]:
    if text is None:
        return []
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError(Problem("bad-column", "--columns names no field", "See: tunedeck runs --columns help"))
    return [_field(name) for name in names]


def _field(name: str) -> Field:
    found = known.find(name.strip())
    if found is None:
        near = known.near(name)
        hint = f"Did you mean {' or '.join(near)}?" if near else "See: tunedeck runs --columns help"
        raise InputError(Problem("bad-field", f"runs have no field {clean(name, 60)!r}", hint))
    return found


def _explain() -> int:
    rows = [[field.name, field.kind, ", ".join(field.aliases) or "-", field.help] for field in known.FIELDS.values()]
    print(table(["FIELD", "KIND", "ALSO", "WHAT"], rows, drop=(1, 2)))
    return EXIT_DONE


# For programs.


def _print_data(runs: list[RunSummary], columns: list[Field], kind: str) -> None:
    from engine.history import export

    if kind == "csv":
        from engine.cli.export import utf8

        utf8(sys.stdout)
        chosen = columns or [known.FIELDS[name] for name in CSV_COLUMNS]
        export.write_runs(sys.stdout, runs, chosen)
        return
    if columns:
        documents = [{field.name: field.get(one) for field in columns} for one in runs]
    else:
        documents = [one.as_dict() for one in runs]
    if kind == "jsonl":
        export.write_lines(sys.stdout, documents)
    else:
        print_json(documents)


# For people.


def _print_table(runs: list[RunSummary], columns: list[Field], *, found: int, filtered: bool) -> None:
    if not runs:
        if filtered or found:
            print("No run fits." if filtered and not found else "No run is listed.")
        else:
            print("No runs yet. Try one: tunedeck demo")
        return
    if columns:
        rows = [[_cell(field, one) for field in columns] for one in runs]
        right = [place for place, field in enumerate(columns) if field.numeric and field.kind != known.TIME]
        print(table([field.title.upper() for field in columns], rows, right=right))
    else:
        print(table(HEADER, [_row(one) for one in runs], right=(5, 6, 7), drop=(4, 8, 7, 2)))
    notes = []
    if len(runs) < found:
        notes.append(f"{found - len(runs)} more fit; --limit is {len(runs)}")
    odd = sum(bool(one.problems) for one in runs)
    if odd and "problems" not in [field.name for field in columns]:
        what = "1 run could" if odd == 1 else f"{odd} runs could"
        notes.append(f"{what} not be read whole: tunedeck show RUN, or --columns id,problems")
    if notes:
        print("\n".join(notes), file=sys.stderr)


def _row(summary: RunSummary) -> list[str]:
    step = "-" if summary.step is None else f"{summary.step}/{summary.total_steps or '?'}"
    when = summary.started or summary.created or summary.modified
    started = _date(when)
    model = Path(summary.base_model).name if summary.base_model else "-"
    losses = [number_text(summary.last_loss), number_text(summary.last_eval_loss)]
    name = clean(summary.name, 40)
    return [summary.id, _state(summary), summary.tool, name, clean(model, 30), step, *losses, started]


def _date(when: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(when)) if is_time(when) else "-"


def _state(summary: RunSummary) -> str:
    """The state in the few words of a column."""
    state = f"{summary.state} (stalled)" if summary.stalled else summary.state
    if summary.queue_position is not None:
        state = f"{state} {summary.queue_position}"
    if summary.live and not summary.here:
        state = f"{summary.state} on {summary.host}"
    return f"{state}, attempt {summary.attempts}" if (summary.attempts or 1) > 1 else state


def _cell(field: Field, one: RunSummary) -> str:
    """A field as people read it; a dash if it is unknown."""
    value = field.get(one)
    if field.name == "state":
        return _state(one)
    if value is None:
        return "-"
    if field.kind == known.TIME:
        return _date(value)
    if field.kind == known.SECONDS:
        return seconds_text(value)
    if field.kind == known.BYTES:
        return bytes_text(value)
    if field.kind == known.NUMBER:
        return number_text(value)
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
