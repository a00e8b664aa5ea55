"""Runs and their curves as CSV and JSON lines: every number comes back as it was, and no cell becomes a formula.

Spreadsheets take a text that begins with ``= + - @``, a tab or a line end for a formula, and so could be made to run
what somebody put into a run's name. Such texts get an apostrophe in front; :func:`plain` takes it off again.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from engine.errors import InputError, Problem, TunedeckError
from engine.events import finite
from engine.history.fields import TIME, Field
from engine.history.record import AXES, Curves, RunRecord
from engine.history.summary import RunSummary
from engine.paths import expand
from engine.records import is_time
from engine.text import clean

KINDS = ("steps", "evals", "all")
FORMATS = ("csv", "jsonl")
# What begins a formula, half and full width, behind any blanks or apostrophes.
_FORMULA = re.compile(r"['\s\x00-\x1f]*[=+\-@\uff1d\uff0b\uff0d\uff20\u2212]|['\s]*[\t\r\n]")
# What needs no quotes, whatever a reader splits at.
_WORD = re.compile(r"[\w./:%()-]+(?: [\w./:%()-]+)*")
_WHOLE = 1 << 53


def rows(record: RunRecord, kind: str = "all") -> Iterator[dict[str, Any]]:
    """What was logged, row for row: ``steps``, ``evals``, or ``all`` in order, told apart by ``kind``.

    A metric that has no value in a row is missing there; axes that no row knows are left out.
    """
    if kind == "all":
        yield from _merged(record)
    else:
        yield from _rows(_curves(record, kind))


def header(record: RunRecord, kind: str = "all") -> list[str]:
    """The columns of these rows: what tells them apart, the axes, then the metrics."""
    parts = [record.steps, record.evals] if kind == "all" else [_curves(record, kind)]
    axes = [a for a in AXES if a == "step" or any(not math.isnan(x) for part in parts for x in part.axis(a))]
    names = dict.fromkeys(name for part in parts for name in part.names if name not in (*AXES, "kind"))
    return [*(["kind"] if kind == "all" else []), *axes, *names]


def write_csv(record: RunRecord, file: TextIO, kind: str = "all") -> int:
    """The curves as CSV (RFC 4180, UTF-8, with a header); returns how many rows were written."""
    return write_table(file, header(record, kind), rows(record, kind))


def write_jsonl(record: RunRecord, file: TextIO, kind: str = "all") -> int:
    """The curves as strict JSON, one object a line; numbers that are none are their names."""
    return write_lines(file, rows(record, kind))


def write_table(file: TextIO, names: Sequence[str], table: Iterable[Mapping[str, Any]]) -> int:
    """Any rows as CSV. ``file`` must be opened with ``newline=""``.

    All but plain words stand in quotes: a reader that splits at semicolons or tabs, too, finds no cell inside one.
    """
    count = 0
    file.write(_line(names))
    for row in table:
        file.write(_line([row.get(name) for name in names]))
        count += 1
    return count


def write_runs(file: TextIO, runs: Iterable[RunSummary], fields: Sequence[Field]) -> int:
    """A list of runs as CSV, one a line; moments in UTC as spreadsheets know them, all other numbers as they are."""
    names = [field.name for field in fields]
    return write_table(file, names, ({field.name: _value(field, run) for field in fields} for run in runs))


def _value(field: Field, run: RunSummary) -> Any:
    value = field.get(run)
    if field.kind != TIME or not is_time(value):
        return value
    moment = datetime.fromtimestamp(value, UTC).replace(tzinfo=None)
    return moment.isoformat(" ", "microseconds" if moment.microsecond else "seconds")


def write_lines(file: TextIO, table: Iterable[Mapping[str, Any]]) -> int:
    """Any rows as JSON lines, in ASCII."""
    count = 0
    for row in table:
        file.write(json.dumps(finite(dict(row)), allow_nan=False, default=str) + "\n")
        count += 1
    return count


def cell(value: Any) -> str:
    """One cell as it stands between two commas."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < _WHOLE else _quoted(str(value))
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else _quoted(finite(value))
    if isinstance(value, list | tuple):
        value = ", ".join(str(part) for part in value)
    return _quoted(value if isinstance(value, str) else str(value))


def plain(text: str) -> str:
    """A text as it was before :func:`cell` made it harmless."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def to_file(path: Path, write: Callable[[TextIO], int], *, force: bool = False) -> int:
    """Write a new file whole or not at all; returns what ``write`` returns.

    Raises :class:`InputError` if something stands there already (with ``force`` a plain file is replaced) and
    :class:`TunedeckError` if it cannot be written.
    """
    target = expand(path).absolute()
    _refuse(target, force=force)
    temporary = ""
    try:
        fd, temporary = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
        with open(fd, "w", encoding="utf-8", errors="replace", newline="") as file:
            count = write(file)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            os.fsync(file.fileno())
        _put(temporary, target, force=force)
        return count
    except OSError as error:
        raise TunedeckError(
            Problem("not-written", f"cannot be written: {error.strerror or error}", file=str(path))
        ) from None
    finally:
        if temporary:
            try:
                os.unlink(temporary)
            except OSError:
                pass


def _refuse(target: Path, *, force: bool) -> None:
    try:
        mode = os.lstat(target).st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(Problem("bad-output", f"cannot be written: {why}", file=str(target))) from None
    if not force:
        raise InputError(_exists(target))
    if not stat.S_ISREG(mode):
        raise InputError(
            Problem("bad-output", "is no plain file, and is left alone", "Name another file", file=str(target))
        )


def _exists(target: Path) -> Problem:
    return Problem("file-exists", "exists already", "Name another file, or replace it with --force", file=str(target))


def _put(temporary: str, target: Path, *, force: bool) -> None:
    """Give the file its name; without ``force`` nothing is ever replaced, whoever was quicker."""
    if force:
        os.replace(temporary, target)
        return
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise InputError(_exists(target)) from None
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        if os.path.lexists(target):  # a file system without hard links
            raise InputError(_exists(target)) from None
        os.rename(temporary, target)


def _umask() -> int:
    """The process's mask, without changing it under the feet of other threads."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next(int(line.split()[1], 8) for line in file if line.startswith("Umask:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0o077


# Rows.


def _curves(record: RunRecord, kind: str) -> Curves:
    if kind not in KINDS:
        raise InputError(Problem("bad-export", f"there are {', '.join(KINDS)} to export, no {clean(kind, 60)!r}"))
    return record.evals if kind == "evals" else record.steps


def _rows(curves: Curves) -> Iterator[dict[str, Any]]:
    for row in curves.rows():
        yield {name: _number(name, value) for name, value in row.items()}


def _merged(record: RunRecord) -> Iterator[dict[str, Any]]:
    """Both kinds in the order of their steps; an evaluation comes after the step it measures."""
    evals = _rows(record.evals)
    waiting = next(evals, None)
    for row in _rows(record.steps):
        while waiting is not None and waiting.get("step", math.inf) < row.get("step", -math.inf):
            yield {"kind": "eval", **waiting}
            waiting = next(evals, None)
        yield {"kind": "step", **row}
    while waiting is not None:
        yield {"kind": "eval", **waiting}
        waiting = next(evals, None)


def _number(name: str, value: float) -> float:
    """Steps and tokens are counted: they are whole numbers."""
    return int(value) if name in ("step", "tokens") and value.is_integer() and abs(value) < _WHOLE else value


# Cells.


def _line(values: Iterable[Any]) -> str:
    return ",".join(cell(value) for value in values) + "\r\n"


def _quoted(text: str) -> str:
    harmless = "\t".join(clean(part, None, keep_newlines=True) for part in text.split("\t"))
    if _FORMULA.match(harmless):
        harmless = "'" + harmless
    return harmless if _WORD.fullmatch(harmless) else '"' + harmless.replace('"', '""') + '"'
