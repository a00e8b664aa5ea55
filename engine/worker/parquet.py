"""Parquet files as JSON lines, a few rows in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow
import pyarrow.parquet

BROKEN = (pyarrow.ArrowException, UnicodeDecodeError)
_ROWS = 512


def lines(path: Path) -> Iterator[bytes]:
    """First ``#`` and the number of rows, then each row as a JSON line."""
    with pyarrow.parquet.ParquetFile(path, pre_buffer=False, memory_map=True) as file:
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


def _plain(value: Any) -> str:
    """What JSON has no word for; bytes are pictures and the like, of which only the size is told."""
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else str(value)
