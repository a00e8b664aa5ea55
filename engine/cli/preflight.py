"""``tunedeck preflight``: what a run would be, before anything is started."""

from __future__ import annotations

import re
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from engine.cli import UsageParser
from engine.cli.output import bytes_text, print_json, print_problems, seconds_text, table
from engine.errors import EXIT_BAD_INPUT, EXIT_DONE, InputError, Problem
from engine.text import clean

if TYPE_CHECKING:
    from engine.preflight.lengths import Lengths
    from engine.preflight.sheet import Sheet

_PACE_SECONDS = 0.5
_BAR = 30
# So wide are lines that are wrapped: a terminal of 80 columns holds them.
_WIDE = 64


def run(verb: str, arguments: list[str]) -> int:
    """Print the sheet; 0 if the run may start, 2 if it may not."""
    from engine.cli.consenting import ask_consent
    from engine.cli.train import _unknown_flags, inspector_of
    from engine.config import flags, parse
    from engine.preflight.sheet import Sheet, sheet

    as_json = "--json" in arguments
    parser = _Parser(as_json)
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    parser.add_argument("--dry_run", "--dry-run", action="store_true",
                        help="do two real steps over the longest rows, and measure memory and time")  # fmt: skip
    flags.add_flags(parser)
    unknown: list[str] = []
    try:
        namespace, unknown = parser.parse_known_args(arguments)
        values = flags.values_from(namespace)
        values.update(_unknown_flags(unknown, prog="tunedeck preflight"))
        config = parse(values)
        ask_consent(config, arguments)
    except InputError as error:
        found = Sheet(errors=[_placed(problem, unknown) for problem in error.problems])
    else:
        inspector = inspector_of(config)
        try:
            found = sheet(config, inspector, tell=_progress(as_json))
        finally:
            inspector.close()
        if namespace.dry_run:
            dry_run(found, quiet=as_json)
    if as_json:
        print_json(found.as_dict())
    else:
        show(found)
    return EXIT_DONE if found.ok else EXIT_BAD_INPUT


def _placed(problem: Problem, unknown: list[str]) -> Problem:
    """A problem with a word that is no setting's is that word's."""
    return problem if problem.where or not unknown else replace(problem, setting=clean(unknown[0], 60))


class _Parser(UsageParser):
    """Says what is wrong with the command line in the JSON document, where one was asked for."""

    def __init__(self, as_json: bool) -> None:
        super().__init__(
            prog="tunedeck preflight", description="Check a run and say what it costs; nothing is started."
        )
        self._json = as_json

    def error(self, message: str) -> NoReturn:
        """As always, or as an :class:`InputError`."""
        if self._json:
            named = re.match(r"argument --([\w-]+)", message)
            setting = named[1].replace("-", "_") if named else None
            hint = f"Write --{setting}=VALUE" if "expected" in message and named else "See: tunedeck preflight --help"
            raise InputError(Problem("usage", clean(message, 500), hint, setting))
        super().error(message)
        raise AssertionError  # it has left


def dry_run(found: Sheet, *, quiet: bool = False) -> None:
    """Do the first steps for real, unless the run would be refused; what they measure, or end with, goes into the sheet."""
    from engine.inspecting import InspectError
    from engine.preflight.sheet import refused, rehearsed
    from engine.rehearsal import rehearse

    # That something stands in the output directory already does not matter here: nothing is written there.
    if found.config is None or any(problem.setting != "output_dir" for problem in found.errors):
        return
    try:
        rehearsed(found, rehearse(found.config, tell=_phases(quiet), checked=found.checked))
    except InspectError as error:
        refused(found, error)
    finally:
        if _phases(quiet) is not None:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _phases(quiet: bool) -> Callable[[str, int, int], None] | None:
    """A line on the terminal that says what the dry run does."""
    if quiet or not sys.stderr.isatty():
        return None
    names = {"loading": "loading", "tokenising": "looking for the longest rows", "compiling": "compiling kernels",
             "training": "training", "evaluating": "evaluating one batch"}  # fmt: skip

    def tell(phase: str, done: int, total: int) -> None:
        steps = f", {done} of {total} steps done" if phase == "training" and total else ""
        print(f"\r\x1b[KDry run: {names.get(phase, phase)}{steps}", end="", file=sys.stderr, flush=True)

    return tell


def _progress(quiet: bool) -> Callable[[int, int], None] | None:
    """A line on the terminal that says how far the rows are counted."""
    if quiet or not sys.stderr.isatty():
        return None
    told = [0.0]

    def tell(done: int, total: int) -> None:
        now = time.monotonic()
        if done >= total:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        elif now - told[0] > _PACE_SECONDS:
            told[0] = now
            print(f"\r\x1b[KCounting tokens: {done:,} of {total:,} rows", end="", file=sys.stderr, flush=True)

    return tell


def show(found: Sheet) -> None:
    """The sheet for people: problems first on standard error, then what is known."""
    print_problems([*found.warnings, *found.errors])
    rows = [*_data(found), *_costs(found)]
    if rows:
        print(table(["", ""], rows).split("\n", 1)[1])
    if found.lengths is not None and found.lengths.lengths:
        print(f"\nLength in tokens{' (of a sample)' if found.lengths.estimated else ''}\n{histogram(found.lengths)}")
    if found.ok:
        print("\nThe run may start.")


def _data(found: Sheet) -> list[list[str]]:
    data = found.checked.train if found.checked is not None else None
    if data is None or not data.rows:
        return []
    rows = [["Data", data.detected]]
    lengths = found.lengths
    if lengths is not None:
        about = "about " if lengths.estimated else ""
        cut = (
            f", {about}{lengths.truncated:,} of them cut off at {lengths.limit:,} tokens"
            if lengths.truncated
            else ", none cut off"
        )
        rows.append(["Usable rows", f"{about}{lengths.usable:,} of {data.rows:,}{cut}"])
        rows.append(
            [
                "Tokens",
                f"{about}{lengths.tokens:,}; after cutting {lengths.kept:,}, of which {lengths.trained:,} are learned",
            ]
        )
        names = {0.0: "shortest", 0.5: "median", 0.95: "95%", 1.0: "longest"}
        told = ", ".join(f"{names[share]} {value:,}" for share, value in lengths.quantiles().items() if share in names)
        rows.append(["Lengths", told or "-"])
        if lengths.suggested:
            rows.append(["", f"suggested max_seq_length {lengths.suggested:,}"])
        rows.append(["Padding", f"{lengths.padding:.1%} of what is computed"])
        if lengths.packed is not None:
            rows.append(["Packed", f"{lengths.packed:,} rows of up to {lengths.limit:,} tokens"])
    return rows


def _costs(found: Sheet) -> list[list[str]]:
    rows = []
    if found.plan is not None:
        rows.append(["Steps", f"{found.plan.total_steps:,} of {found.plan.samples_per_update} samples each"])
    if found.costs is not None:
        share = found.costs["trainable"] / max(1, found.costs["parameters"])
        rows.append(
            [
                "Trained",
                f"{found.costs['trainable']:,} parameters, {share:.2%} of the model's {found.costs['parameters']:,}",
            ]
        )
    rows += _memory(found)
    if found.memory is not None:
        # Each part stays in one line with its size.
        parts = ", ".join(
            f"{name}\0{bytes_text(size)}".replace(" ", "\0") for name, size in found.memory.parts().items()
        )
        whole = "" if found.needed == found.memory.total else f"{bytes_text(found.memory.total)} by estimate: "
        rows += [["", line.replace("\0", " ")] for line in textwrap.wrap(whole + parts, _WIDE, break_long_words=False)]
    if found.disk is not None:
        one, total = bytes_text(found.disk["checkpoint"]), bytes_text(found.disk["total"])
        rows.append(
            [
                "Disk",
                f"{found.disk['count']} checkpoints of {one}, with the adapter {total}; {bytes_text(found.disk['free'])} free",
            ]
        )
    if rows:
        rows.append(["Time", _time(found)])
        rows += [["", "--dry_run measures it"]] if found.seconds is None and found.ok else []
    return rows + _dry_run(found)


def _memory(found: Sheet) -> list[list[str]]:
    """What the run takes against what is free, by a dry run if there was one."""
    if found.needed is None:
        return []
    measured = found.rehearsal is not None and found.rehearsal.peak is not None
    known = f"{bytes_text(found.needed)} {'measured by a dry run' if measured else 'by estimate'}"
    free = (
        f"{bytes_text(found.gpu.memory_free)} {'allowed' if found.gpu.limited else 'free'} on GPU {found.gpu.index}"
        if found.gpu is not None
        else "there is no GPU here"
    )
    return [["Memory", f"{known}; {free}"]]


def _time(found: Sheet) -> str:
    words = {"runs": "as runs of this model took here", "dry run": "as the steps of a dry run took"}
    if found.seconds is None:
        return "unknown: no run of this model with such settings was measured here"
    return f"{seconds_text(found.seconds)}, {words.get(found.time_from or '', '')}"


def _dry_run(found: Sheet) -> list[list[str]]:
    tried = found.rehearsal
    if tried is None:
        return []
    where = f"on GPU {tried.gpu} ({tried.gpu_name})" if tried.gpu is not None else "on the processor"
    also = f", {tried.usual_seconds:.2f} s over rows as they come" if tried.usual_seconds is not None else ""
    rows = [
        ["Dry run", where],
        ["", f"a step of {tried.tokens_per_step:,} tokens takes {tried.step_seconds:.2f} s{also}"],
    ]
    if tried.peak is not None:
        rows.append(
            ["", f"{bytes_text(tried.peak)} of tensors at the peak, {bytes_text(tried.reserved)} held for them"]
        )
    return [*rows, ["", f"longest row {tried.longest:,} tokens; {bytes_text(tried.host_peak)} of the machine's memory"]]


def brief(found: Sheet) -> list[str]:
    """The sheet in a few lines, for a run that starts now."""
    data = found.checked.train if found.checked is not None else None
    rows = [["Data", clean(data.detected)]] if data is not None else []
    if found.lengths is not None and data is not None:
        lengths, about = found.lengths, "about " if found.lengths.estimated else ""
        cut = f"{about}{lengths.truncated:,}" if lengths.truncated else "none"
        rows.append(
            ["Usable", f"{about}{lengths.usable:,} of {data.rows:,} rows, {cut} cut off at {lengths.limit:,} tokens"]
        )
    if found.plan is not None:
        about = "about " if found.lengths is None or found.lengths.estimated else ""
        rows.append(["Steps", f"{about}{found.plan.total_steps:,} of {found.plan.samples_per_update} samples each"])
    rows += _memory(found)
    if rows and found.lengths is not None:
        rows.append(["Time", _time(found)])
    return [f"{name}: {text}" for name, text in rows]


def histogram(lengths: Lengths) -> str:
    """Rows by length as bars."""
    parts = lengths.histogram()
    most = max(count for _, _, count in parts)
    wide = len(f"{parts[-1][1]:,}")
    return "\n".join(
        f"  {low:>{wide},} to {high - 1:>{wide},}  {'#' * -(-count * _BAR // most):<{_BAR}}  {count:,}"
        for low, high, count in parts
    )
