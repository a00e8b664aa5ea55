"""Writers of data files in every format, for the tests of :mod:`engine.data`."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Rows = Iterable[Any]


def text(rows: Rows, **options: Any) -> str:
    """JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False, **options) + "\n" for row in rows)


def jsonl(path: Path, rows: Rows) -> Path:
    path.write_text(text(rows), encoding="utf-8")
    return path


def gzipped(path: Path, rows: Rows) -> Path:
    path.write_bytes(gzip.compress(text(rows).encode()))
    return path


def json_list(path: Path, rows: Rows, indent: int | None = 2) -> Path:
    path.write_text(json.dumps(list(rows), ensure_ascii=False, indent=indent), encoding="utf-8")
    return path


def json_object(path: Path, rows: Rows, indent: int | None = 2, key: str = "data") -> Path:
    whole = {"version": "1.0", "tags": ["a", "b"], "about": {"by": ["me"]}, key: list(rows), "end": [1, 2]}
    path.write_text(json.dumps(whole, ensure_ascii=False, indent=indent), encoding="utf-8")
    return path


def values(path: Path, rows: Rows) -> Path:
    """JSON values laid out over lines, one after another."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False, indent=2) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path, rows: Rows, delimiter: str = ",", encoding: str = "utf-8", python: bool = False) -> Path:
    """CSV with the keys of the first row as header; lists are written as JSON, or as Python prints them."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))

    def cell(value: Any) -> str:
        if isinstance(value, list | dict):
            return repr(value) if python else json.dumps(value, ensure_ascii=False)
        return "" if value is None else str(value)

    with path.open("w", encoding=encoding, newline="") as file:
        out = csv.writer(file, delimiter=delimiter)
        out.writerow(names)
        out.writerows([cell(row.get(name)) for name in names] for row in rows)
    return path


def parquet(path: Path, rows: Rows) -> Path:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path, row_group_size=3)
    return path
