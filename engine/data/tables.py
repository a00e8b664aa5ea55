"""CSV and TSV: a header with known names, and a row of text for each sample."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from typing import IO, Any

from engine.data.faults import Bad
from engine.data.jsonscan import MAX_ROW
from engine.data.options import FIELDS
from engine.text import clean

_DELIMITERS = (",", "\t", ";", "|")
_SAMPLE_LINES = 20
_KNOWN = frozenset((*FIELDS, "context", "answer", "question", "chosen", "rejected"))
MAX_CELL = 16 << 20
_SEPARATOR = re.compile("sep=([,\t;|])\r?\n")  # a line before the header by which spreadsheets know the mark
_LOST = re.compile("[\udc80-\udcff]")  # bytes that are no UTF-8


def known(head: bytes) -> int:
    """How many columns of a first line have names that are known."""
    mark = delimiter(head, tabs=False)
    names = head.split(b"\n", 1)[0].decode("utf-8", "replace").split(mark)
    return sum(name.strip(' \r"').lower() in _KNOWN for name in names)


def delimiter(head: bytes, *, tabs: bool) -> str:
    """What stands between cells: the mark with which the first line names most fields that are known, then most cells."""
    text = head.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
    if said := _SEPARATOR.match(text):
        return said.group(1)
    lines = text.splitlines(keepends=True)[:_SAMPLE_LINES]

    def worth(mark: str) -> tuple[int, int, bool]:
        try:
            header = next(csv.reader(lines, delimiter=mark), [])
        except csv.Error:
            header = []
        names = [name.strip().lower() for name in header]
        return sum(name in _KNOWN for name in names), len(names), tabs and mark == "\t"

    return max(_DELIMITERS, key=worth)


def rows(stream: IO[bytes], mark: str) -> Iterator[tuple[int, dict[str, Any] | Bad]]:
    """Line and cells of each row by the header's names. Raises :class:`Bad` for a header that cannot be used."""
    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(_decoded(stream), delimiter=mark, strict=True)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            found = _broken(str(error))
            if header is None:
                raise found from None
            yield line, found
            continue
        if not cells or (len(cells) == 1 and not cells[0].strip()):
            continue
        if header is None:
            header = _header(cells)
        elif len(cells) != len(header):
            yield line, Bad("ragged-row", f"has {len(cells)} cells where the header has {len(header)}",
                            "Put cells with commas, quotes or line breaks into quotes")  # fmt: skip
        else:
            yield line, _row(header, cells)


def _header(cells: list[str]) -> list[str]:
    names = [_LOST.sub("\ufffd", name.strip()) for name in cells]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise Bad("bad-header", f"names the column {clean(twice, 40)!r} twice", "Give each column a name of its own")
    lower = {name.lower(): name for name in names}
    return [name.lower() if name.lower() in _KNOWN and lower[name.lower()] == name else name for name in names]


def _row(header: list[str], cells: list[str]) -> dict[str, Any] | Bad:
    if any(not cell.isascii() and _LOST.search(cell) for cell in cells):
        return Bad("invalid-utf8", "is not UTF-8", "Convert the file to UTF-8")
    return {name: cell for name, cell in zip(header, cells, strict=True) if name}


def _decoded(stream: IO[bytes]) -> Iterator[str]:
    """Physical lines; bytes that are no UTF-8 are kept apart, so that their row can be named."""
    first = True
    while line := stream.readline(MAX_ROW):
        if first:
            line, first = line.removeprefix(codecs.BOM_UTF8), False
            if _SEPARATOR.match(line.decode("utf-8", "replace")):
                line = b"\n"
        yield line.decode("utf-8", "surrogateescape")


def _broken(why: str) -> Bad:
    if "field larger" in why:
        return Bad("row-too-long", f"has a cell of more than {MAX_CELL >> 20} MB", "Is a quote missing?")
    if "unexpected end" in why:
        return Bad(
            "broken-csv", "begins a quoted cell that never ends", 'Close the quotes; a quote in a cell is written ""'
        )
    return Bad("broken-csv", f"broken CSV: {clean(why, 100)}", 'A quote in a cell is written ""')
