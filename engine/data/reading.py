"""The chats of checked data, for training and for looking at them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engine.data import files, records
from engine.data.chat import Chat, Message
from engine.data.checking import recognise
from engine.data.faults import Bad, Note
from engine.data.options import AS_FOUND, Reading
from engine.data.single import Rows
from engine.errors import InputError, Problem


def read_rows(path: Path, reading: Reading = AS_FOUND) -> Iterator[list[Message]]:
    """The messages of every row of a checked file."""
    return (chat.messages for chat in read_chats(path, reading))


def read_chats(path: Path, reading: Reading = AS_FOUND) -> Iterator[Chat]:
    """Every row of a checked file as a chat; bad rows are left out if the reading says so.

    Raises :class:`InputError` for a bad row otherwise, and for a file that cannot be read.
    """
    return (chat for _, chat in numbered_chats(path, reading))


def numbered_chats(path: Path, reading: Reading = AS_FOUND) -> Iterator[tuple[int, Chat]]:
    """Like :func:`read_chats`, each chat with its line (of a Parquet file: the number of its row)."""
    line = None
    try:
        opened = files.Opened(path)
    except Bad as bad:
        raise InputError(Problem(bad.kind, bad.message, bad.hint, file=str(path))) from None
    stream = records.records(opened)
    try:
        shape, items = recognise(stream, reading)
        rows = Rows(shape, reading.fields)
        for line, item in items:
            try:
                chat = rows.chat(item)
            except Note:
                continue
            except Bad:
                if reading.skip:
                    continue
                raise
            yield line, chat
    except Bad as bad:
        raise InputError(Problem(bad.kind, bad.message, bad.hint, file=str(path), line=line)) from None
    finally:
        stream.close()  # type: ignore[attr-defined]
        opened.close()
