"""``tunedeck export``: the curves of a run as CSV or JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from engine.cli import UsageParser
from engine.cli.compare import read
from engine.errors import EXIT_DONE
from engine.text import clean

ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def run(verb: str, arguments: list[str]) -> int:
    """Write what a run logged, to standard output or into a new file."""
    from engine.history import export
    from engine.history.scan import find_path

    parser = UsageParser(prog="tunedeck export", description="Everything that a run of any tool logged, row for row.")
    parser.add_argument("run", metavar="RUN", help="a run's directory, the beginning of its id, or its name")
    parser.add_argument("--format", choices=export.FORMATS, help="how to write [by the file's ending, else csv]")
    parser.add_argument("-o", "--output", metavar="FILE", help="write into this file, not to standard output")
    parser.add_argument(
        "--what", choices=export.KINDS, default="all", help="training, evaluations, or all in order [all]"
    )
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
    options = parser.parse_args(arguments)
    record = read(find_path(options.run))
    to_file = options.output not in (None, "-")
    kind = options.format or (ENDINGS.get(Path(options.output).suffix.lower(), "csv") if to_file else "csv")
    written: Callable[..., int] = export.write_csv if kind == "csv" else export.write_jsonl

    def write(file: TextIO) -> int:
        return written(record, file, options.what)

    if to_file:
        count = export.to_file(Path(options.output), write, force=options.force)
        print(f"{count} {'row' if count == 1 else 'rows'} written to {clean(options.output)}")
    else:
        utf8(sys.stdout)
        count = write(sys.stdout)
    if not count:
        print("Nothing of this was logged", file=sys.stderr)
    for problem in record.summary.problems:
        print(f"warning: {clean(problem, 500)}", file=sys.stderr)
    return EXIT_DONE


def utf8(stream: TextIO) -> None:
    """Have exported data leave in UTF-8 with its own line ends, whatever the locale is."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", errors="replace", newline="")
