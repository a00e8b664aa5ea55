"""Parquet files as JSON lines, a few rows in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow
import pyarrow.parquet

# What pyarrow and the conversion of a value raise; a time beyond the calendar is an OverflowError.
BROKEN = (pyarrow.ArrowException, UnicodeDecodeError, OverflowError)
_ROWS = 512


class Twice(ValueError):
    """Two columns of one name: which of them is meant cannot be told."""


def lines(path: Path) -> Iterator[bytes]:
    """First ``#`` and the number of rows, then each row as a JSON line."""
    with pyarrow.parquet.ParquetFile(path, pre_buffer=False, memory_map=True) as file:
        names = file.schema_arrow.names
        again = next((name for place, name in enumerate(names) if name in names[:place]), None)
        if again is not None:
            raise Twice(again)
        yield b"#%d\n" % file.metadata.num_rows
        for batch in file.iter_batches(batch_size=_ROWS):
            for row in batch.to_pylist(maps_as_pydicts="lossy"):
                row = {
                    name: _without_nulls(value) if isinstance(value, list | dict) else value
                    for name, value in row.items()
                }
                yield orjson.dumps(row, default=_plain, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)


def _without_nulls(value: Any) -> Any:
    """Columns give every struct all fields that any has; those that a row did not have are null."""
    if isinstance(value, dict):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """What JSON has no word for. Some tools write texts as bytes; other bytes are pictures and the like, and no text."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"bytes": len(value)}
