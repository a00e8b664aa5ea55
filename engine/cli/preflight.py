"""``tunedeck preflight``: what a run would be, before anything is started."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli import UsageParser
from engine.cli.output import bytes_text, print_json, print_problems, seconds_text, table
from engine.errors import EXIT_BAD_INPUT, EXIT_DONE, InputError

if TYPE_CHECKING:
    from engine.preflight.lengths import Lengths
    from engine.preflight.sheet import Sheet

_PACE_SECONDS = 0.5
_BAR = 30


def run(verb: str, arguments: list[str]) -> int:
    """Print the sheet; 0 if the run may start, 2 if it may not."""
    from engine.cli.train import _unknown_flags
    from engine.config import flags, parse
    from engine.inspecting import Inspector
    from engine.preflight.sheet import Sheet, sheet

    parser = UsageParser(
        prog="tunedeck preflight", description="Check a run and say what it costs; nothing is started."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    flags.add_flags(parser)
    namespace, unknown = parser.parse_known_args(arguments)
    try:
        values = flags.values_from(namespace)
        values.update(_unknown_flags(unknown, prog="tunedeck preflight"))
        config = parse(values)
    except InputError as error:
        found = Sheet(errors=error.problems)
    else:
        inspector = Inspector(str(Path(config.worker_python).expanduser()) if config.worker_python else None)
        try:
            found = sheet(config, inspector, tell=_progress(namespace.json))
        finally:
            inspector.close()
    if namespace.json:
        print_json(found.as_dict())
    else:
        show(found)
    return EXIT_DONE if found.ok else EXIT_BAD_INPUT


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
        rows.append(
            ["Lengths", f"{told}; suggested max_seq_length {lengths.suggested:,}" if lengths.suggested else "-"]
        )
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
    if found.memory is not None:
        parts = ", ".join(f"{name} {bytes_text(size)}" for name, size in found.memory.parts().items())
        there = (
            f"; {bytes_text(found.gpu.memory_free)} free on GPU {found.gpu.index}"
            if found.gpu is not None
            else "; there is no GPU here"
        )
        rows.append(["Memory", f"{bytes_text(found.memory.total)} by estimate{there}"])
        rows.append(["", parts])
    if found.disk is not None:
        one, total = bytes_text(found.disk["checkpoint"]), bytes_text(found.disk["total"])
        rows.append(
            [
                "Disk",
                f"{found.disk['count']} checkpoints of {one}, with the adapter {total}; {bytes_text(found.disk['free'])} free",
            ]
        )
    if rows:
        known = f"{seconds_text(found.seconds)}, as runs of this model took here" if found.seconds is not None else \
            "unknown: no run of this model with such settings was measured here"  # fmt: skip
        rows.append(["Time", known])
    return rows


def histogram(lengths: Lengths) -> str:
    """Rows by length as bars."""
    parts = lengths.histogram()
    most = max(count for _, _, count in parts)
    wide = len(f"{parts[-1][1]:,}")
    return "\n".join(
        f"  {low:>{wide},} to {high - 1:>{wide},}  {'#' * -(-count * _BAR // most):<{_BAR}}  {count:,}"
        for low, high, count in parts
    )
