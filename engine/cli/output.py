"""How headless commands speak: cleaned lines for people, one strict JSON document for scripts."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from engine.errors import Problem
from engine.events import finite
from engine.text import clean


def print_json(value: Any) -> None:
    """One strict JSON document on standard output; non-finite numbers are their names as strings.

    Beyond ASCII everything is escaped: control and bidirectional characters of other people's texts stay harmless.
    """
    print(json.dumps(finite(value), indent=2, allow_nan=False, default=str))


def print_problems(problems: Iterable[Problem]) -> None:
    """Each problem in one line on standard error: severity, where, what, what to do."""
    for problem in problems:
        print(f"{problem.severity}: {clean(problem, 2000)}", file=sys.stderr)


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = (), drop: Sequence[int] = ()
) -> str:
    """Aligned columns of cleaned text; wide (Korean) characters count double, ``right`` columns align right.

    On a terminal that is too narrow the columns ``drop`` are left out, the first of them first, and then the widest are
    shortened, so that no line wraps; what goes into a pipe is whole.
    """
    from rich.cells import cell_len, set_cell_size

    cells = [list(header), *[[clean(cell, 200) for cell in row] for row in rows]]
    widths = [max(cell_len(row[i]) for row in cells) for i in range(len(header))]
    shown = list(range(len(header)))
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns
        for column in drop:
            if sum(widths[i] + 2 for i in shown) - 2 > room:
                shown.remove(column)
        for column in sorted(shown, key=lambda i: -widths[i]):
            excess = sum(widths[i] + 2 for i in shown) - 2 - room
            if excess > 0 and header[column] != "ID":  # an id is for typing it again
                widths[column] = max(6, widths[column] - excess)
        excess = sum(widths[i] + 2 for i in shown) - 2 - room
        if excess > 0 and "ID" in header:  # a long one is named after its directory; its beginning will do
            widths[header.index("ID")] = max(24, widths[header.index("ID")] - excess)
    lines = []
    for row in cells:
        padded = []
        for i in shown:
            cell, width = row[i], widths[i]
            if cell_len(cell) > width:
                cell = set_cell_size(cell, width - 1).rstrip() + "…"
            space = " " * (width - cell_len(cell))
            padded.append(space + cell if i in right else cell + space)
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def seconds_text(seconds: float | None) -> str:
    """A duration as people say it: ``42s``, ``3m 05s``, ``2h 07m``; a dash if unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"


def bytes_text(size: float | None) -> str:
    """Bytes in binary units: ``3.4 GiB``; a dash if unknown."""
    if size is None:
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def number_text(value: float | None, digits: int = 4) -> str:
    """A number in few digits; NaN and infinities by their names, a dash if unknown."""
    return "-" if value is None else "NaN" if value != value else f"{value:.{digits}g}"
