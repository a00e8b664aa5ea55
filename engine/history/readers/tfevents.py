"""TensorBoard's event files, read by hand: TFRecords that hold protobuf messages, of which a few fields are needed.

A record is its length (8 bytes, little-endian), a checksum of that (4), the data, and a checksum of it (4). Of an Event:
wall_time (1, double), step (2, varint), summary (5); of a Summary its values (1); of a Value: tag (1), simple_value (2,
float), tensor (8); of a Tensor: tensor_content (4), float_val (5), double_val (6), string_val (8).
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

# Limits on what foreign bytes can cost: of one record, and of the end that is read of a file that is too large.
MAX_RECORD = 8 * 1024 * 1024
TAIL = 2 * 1024 * 1024
_DOUBLE, _FLOAT, _LENGTH = struct.Struct("<d"), struct.Struct("<f"), struct.Struct("<Q")
# How a record looks at its beginning: a small length, its checksum, a time, and (but for step 0) a step or a summary.
_BEGINNING = re.compile(
    rb"[\x0a-\xff][\x00-\xff][\x00\x01]\x00{5}[\x00-\xff]{4}\x09[\x00-\xff]{8}[\x10\x2a]", re.DOTALL
)


class Event(NamedTuple):
    """The values of one event; ``used`` bytes were read so far, ``problem`` is what ended the reading."""

    wall: float
    step: int
    values: list[tuple[str, float | str]]
    used: int
    problem: str = ""
    left_out: bool = False


def events(path: Path, most: int, *, whole: bool = True) -> Iterator[Event]:
    """Every event with values. Of a file beyond ``most`` bytes its beginning and (if ``whole``) its end.

    Links are not followed.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, ValueError):
        yield Event(0.0, 0, [], 0, "cannot be read")
        return
    with open(fd, "rb", buffering=1 << 18) as file:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            return
        large = info.st_size > most and whole
        limit = max(0, most - TAIL) if large else most
        used = 0
        for event in _records(file, limit):
            used = event.used
            yield event
            if event.problem:
                return
        if large:
            file.seek(max(used, info.st_size - TAIL))
            end = file.read(TAIL)
            yield Event(0.0, 0, [], most, "is too large: only its two ends were read", left_out=True)
            yield from _from_midst(end, most)


def _records(file: Any, most: int) -> Iterator[Event]:
    used = 0
    while True:
        head = file.read(12)
        if len(head) < 12:
            return
        (length,) = _LENGTH.unpack_from(head)
        if length > MAX_RECORD:
            yield Event(0.0, 0, [], used, "is damaged")
            return
        if used + length + 16 > most:
            return
        data = file.read(length + 4)
        used += 16 + length
        if len(data) < length + 4:
            return  # torn: its writer was killed
        yield from _decoded(data[:length], used)


def _decoded(data: bytes, used: int) -> Iterator[Event]:
    try:
        wall, step, values = _event(data)
    except (ValueError, IndexError, struct.error):
        return
    if values:
        yield Event(wall, step, values, used)


def _from_midst(data: bytes, used: int) -> Iterator[Event]:
    """The events of a piece that begins anywhere: from the first place on behind which records follow one another."""
    for match in _BEGINNING.finditer(data):
        place = match.start()
        if not _chained(data, place, 3):
            continue
        while place + 12 <= len(data):
            (length,) = _LENGTH.unpack_from(data, place)
            if length > MAX_RECORD or place + 16 + length > len(data):
                return
            yield from _decoded(data[place + 12 : place + 12 + length], used)
            place += 16 + length
        return


def _chained(data: bytes, place: int, count: int) -> bool:
    for _ in range(count):
        if place + 12 > len(data):
            return False
        (length,) = _LENGTH.unpack_from(data, place)
        if not 9 <= length <= MAX_RECORD or place + 13 > len(data) or data[place + 12] != 0x09:
            return False
        place += 16 + length
        if place == len(data):
            return True
    return place <= len(data)


def _fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """The fields of a protobuf message: number, wire type, value."""
    place, end = 0, len(data)
    while place < end:
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield number, kind, value
        elif kind == 1:
            yield number, kind, data[place : place + 8]
            place += 8
        elif kind == 5:
            yield number, kind, data[place : place + 4]
            place += 4
        elif kind == 2:
            length, place = _varint(data, place)
            if place + length > end:
                raise ValueError("torn message")
            yield number, kind, data[place : place + length]
            place += length
        else:
            raise ValueError("unknown wire type")


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("long varint")


def _event(data: bytes) -> tuple[float, int, list[tuple[str, float | str]]]:
    usual = _usual(data)
    return usual if usual is not None else _any_event(data)


def _usual(data: bytes) -> tuple[float, int, list[tuple[str, float | str]]] | None:
    """What nearly every event is: a time, a step and one plain number; ``None`` for all others."""
    end = len(data)
    if end < 20 or data[0] != 0x09 or data[9] != 0x10:
        return None
    step, place = _varint(data, 10)
    # A summary that fills the rest, one value that fills it, a short tag, and a number of 32 bits behind it.
    if place + 6 > end or data[place] != 0x2A or data[place + 1] != end - place - 2 or data[place + 1] > 127:
        return None
    if data[place + 2] != 0x0A or data[place + 3] != end - place - 4 or data[place + 4] != 0x0A:
        return None
    stop = place + 6 + data[place + 5]
    if stop + 5 != end or data[stop] != 0x15 or step >= 1 << 53:
        return None
    tag = data[place + 6 : stop].decode("utf-8", "replace")
    return (_DOUBLE.unpack_from(data, 1)[0], step, [(tag, _single(data[stop + 1 :]))]) if tag else None


def _any_event(data: bytes) -> tuple[float, int, list[tuple[str, float | str]]]:
    wall, step = 0.0, 0
    values: list[tuple[str, float | str]] = []
    for number, kind, value in _fields(data):
        if number == 1 and kind == 1:
            (wall,) = _DOUBLE.unpack(value)
        elif number == 2 and kind == 0:
            step = value if value < 1 << 53 else 0
        elif number == 5 and kind == 2:
            for inner, inner_kind, message in _fields(value):
                if inner == 1 and inner_kind == 2:
                    found = _value(message)
                    if found is not None:
                        values.append(found)
    return wall, step, values


def _value(data: bytes) -> tuple[str, float | str] | None:
    tag = ""
    value: float | str | None = None
    for number, kind, field_value in _fields(data):
        if number == 1 and kind == 2:
            tag = field_value.decode("utf-8", "replace")[:200]
        elif number == 2 and kind == 5:
            value = _single(field_value)
        elif number == 8 and kind == 2:
            value = _tensor(field_value)
    return (tag, value) if tag and value is not None else None


def _single(data: bytes) -> float:
    """A number of four bytes as people wrote it: the shortest that is the same there (0.1, not 0.10000000149011612)."""
    value = float(_FLOAT.unpack(data)[0])
    try:
        for digits in ("%.7g", "%.8g"):
            short = float(digits % value)
            if _FLOAT.pack(short) == data:
                return short
    except OverflowError:
        pass
    return value


def _tensor(data: bytes) -> float | str | None:
    """A tensor of one number, or of one text."""
    kind_of = 0
    for number, kind, value in _fields(data):
        if number == 1 and kind == 0:
            kind_of = value
        elif number == 8 and kind == 2:
            return value[: 1 << 20].decode("utf-8", "replace")
        elif number == 5 and kind in (2, 5) and len(value) == 4:
            return _single(value)
        elif number == 6 and kind in (1, 2) and len(value) == 8:
            return float(_DOUBLE.unpack(value)[0])
        elif number == 4 and (kind, kind_of, len(value)) == (2, 1, 4):
            return _single(value)
        elif number == 4 and (kind, kind_of, len(value)) == (2, 2, 8):
            return float(_DOUBLE.unpack(value)[0])
    return None
