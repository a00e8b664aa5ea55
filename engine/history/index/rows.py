"""Rows as the index keeps them: one JSON list a run, read a thousand at a time.

The losses of a sparkline are four bytes each; what is not finite stands as its name, and its place in front of the row.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, NamedTuple

import orjson

from engine.history.summary import RunSummary

NAMES = tuple(field.name for field in fields(RunSummary))
# Rows of a version with other fields are not read.
LAYOUT = zlib.crc32(("1 " + " ".join(NAMES)).encode())
_SPARK, _ROOT = NAMES.index("sparkline"), NAMES.index("root")
# Texts that many rows share are kept once.
_SHARED = tuple(NAMES.index(name) for name in ("tool", "state", "base_model", "dataset", "host"))
_values = attrgetter(*NAMES)


class Entry(NamedTuple):
    """A row to keep, with the print of what it was read from (empty if it must be read again in any case)."""

    path: str
    digest: bytes
    live: bool
    row: bytes


def pack(run: RunSummary) -> bytes:
    """A row without its root, which depends on who asks."""
    row = [*_values(run)]
    row[_ROOT] = None
    row[_SPARK] = base64.b64encode(array("f", map(_small, run.sparkline)).tobytes()).decode() if run.sparkline else None
    odd = [place for place, value in enumerate(row) if type(value) is float and not math.isfinite(value)]
    for place in odd:
        row[place] = str(row[place])
    record = [odd or None, *row]
    try:
        return orjson.dumps(record)
    except TypeError:  # a name that is no Unicode, a number beyond 64 bits
        return json.dumps(record, default=str).encode()


def _small(value: float) -> float:
    """A number that four bytes can hold."""
    return value if abs(value) < 3e38 or not math.isfinite(value) else math.copysign(math.inf, value)


def unpack_all(rows: Sequence[bytes]) -> list[RunSummary | None]:
    """The runs of rows; ``None`` in place of one that is damaged."""
    try:
        records = orjson.loads(b"[" + b",".join(rows) + b"]")
        if len(records) == len(rows):
            shared: dict[Any, Any] = {}
            return [_run(record, shared) for record in records]
    except (ValueError, TypeError, LookupError):
        pass
    return [_alone(row) for row in rows]


def unpack(row: bytes) -> RunSummary | None:
    """The run of one row, ``None`` if it is damaged."""
    return unpack_all([row])[0]


def _alone(row: bytes) -> RunSummary | None:
    try:
        return _run(json.loads(row), {})
    except (ValueError, TypeError, LookupError, RecursionError):
        return None


def _run(record: list[Any], shared: dict[Any, Any]) -> RunSummary:
    odd = record.pop(0)
    for place in _SHARED:
        value = record[place]
        if value is not None:
            record[place] = shared.setdefault(value, value)
    if odd:
        for place in odd:
            record[place] = float(record[place])
    spark = record[_SPARK]
    record[_SPARK] = _floats(spark) if spark else []
    if len(record) != len(NAMES):
        raise ValueError("another layout")
    return RunSummary(*record)


def _floats(text: str) -> list[float]:
    found = array("f")
    found.frombytes(base64.b64decode(text))
    return found.tolist()
