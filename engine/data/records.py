"""The rows of a file of any format, one at a time, each with its line (of a Parquet file: its number)."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterator
from typing import IO, Any

import orjson

from engine.data import files, helper, jsonscan, tables
from engine.data.faults import Bad
from engine.text import clean

ROW_HINT = 'Each line must be {"messages": [{"role": …, "content": …}]}'
Item = bytes | dict[str, Any] | Bad


def records(opened: files.Opened) -> Iterator[tuple[int, Item]]:
    """Line and content of each row: JSON text, cells, or what is wrong with it.

    Raises :class:`Bad` where the file cannot be read on.
    """
    if opened.format == files.PARQUET:
        yield from helper.rows(opened.path, lambda share: opened.tick(int(share * opened.size)))
        return
    stream = opened.stream()
    try:
        if opened.format in (files.CSV, files.TSV):
            yield from tables.rows(stream, tables.delimiter(opened.head, tabs=opened.format == files.TSV))
        elif opened.format == files.JSON:
            yield from jsonscan.elements(stream, opened.layout)
        else:
            yield from lines(stream)
    except (EOFError, zlib.error):
        raise files.broken_gzip() from None
    except OSError as error:
        if opened.packed and error.errno is None:
            raise files.broken_gzip() from None
        raise


def lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes | Bad]]:
    """Number and text of each line that is not empty."""
    number, limit = 0, jsonscan.MAX_ROW
    while raw := stream.readline(limit):
        number += 1
        if number == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if len(raw) == limit and not raw.endswith(b"\n"):
            while raw and not raw.endswith(b"\n"):
                raw = stream.readline(limit)
            yield number, jsonscan.too_long()
            continue
        raw = raw.strip()
        if raw:
            yield number, raw


def parsed(item: Item) -> Any:
    """The value of a row. Raises :class:`Bad`."""
    if type(item) is bytes:
        try:
            value = orjson.loads(item)
        except orjson.JSONDecodeError as error:
            raise _broken(item, error) from None
        if type(value) is list and value and type(value[0]) is dict and ("role" in value[0] or "from" in value[0]):
            return {"messages": value}  # a conversation by itself
        return value
    if isinstance(item, Bad):
        raise item
    return item


def _broken(raw: bytes, error: orjson.JSONDecodeError) -> Bad:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as bad:
        return Bad("invalid-utf8", f"is not UTF-8 (byte {bad.start + 1} of the line)", "Convert the file to UTF-8")
    return Bad("broken-json", f"broken JSON: {clean(error.msg, 120)} (column {error.colno})", ROW_HINT)
