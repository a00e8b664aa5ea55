"""The event stream of a run: strict JSON, one object a line, append-only (design of ``events.jsonl``, format 1).

Each line ends with the key ``crc``: CRC-32 (zlib's polynomial) of the line's bytes before ``,"crc"``, in eight hex
digits. Values that are not finite are the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import time
import zlib
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

try:
    import orjson

    _loads: Any = orjson.loads
    _dumps: Any = orjson.dumps
except ImportError:  # a worker in somebody else's environment: slower, the same result
    _loads = json.loads

    def _dumps(event: dict[str, Any]) -> bytes:
        return json.dumps(event, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


FORMAT = 1
_BEGIN = b'{"type":'
_CRC_KEY = b',"crc":"'
_CRC_END = b'"}'
_CRC_TAIL = len(_CRC_KEY) + 8 + len(_CRC_END)
_CRC_FORM = b',"crc":"%08x"}'
_TYPE = itemgetter("type")
_RECORD_END = re.compile(rb',"crc":"[0-9a-f]{8}"\}')
# How many beginnings are tried, from either side, in a damaged stretch: a bound on what a hostile line can cost.
_TRIES = 4
_CONTAINERS = (dict, list, tuple)
_INT_LIMIT = 1 << 63
MAX_LINE = 16 * 1024 * 1024
READ_CHUNK = 1 << 20
TAIL_BYTES = 64 * 1024


def finite(value: Any) -> Any:
    """A value that every strict JSON reader can hold: non-finite floats become their names, containers go deep.

    Integers beyond 64 bits become floats, or the name of an infinity where they are beyond those too.
    """
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int) and not -_INT_LIMIT <= value < _INT_LIMIT:
        return _far_float(value) if math.isfinite(_far_float(value)) else finite(_far_float(value))
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def number(value: Any) -> float | None:
    """The float behind an event's value; ``"NaN"`` and its like included, anything else is ``None``."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:  # an integer of hundreds of digits
            return None
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    return None


def _far_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def encode(event: dict[str, Any]) -> bytes:
    """One line, with its checksum and newline."""
    plain = all(type(v) not in _CONTAINERS and (type(v) is not float or v - v == 0.0) for v in event.values())
    try:
        head = _dumps(event if plain else finite(event))[:-1]
    except (TypeError, ValueError):  # numpy numbers, lone surrogates, integers beyond 64 bits
        text = json.dumps(finite(event), ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=str)
        head = text[:-1].encode("utf-8", "replace")
    return b'%b,"crc":"%08x"}\n' % (head, zlib.crc32(head))


class EventWriter:
    """Appends events; each is one ``write`` so that lines of a killed process are whole or torn at the end only.

    Never raises for a full or broken disk: the caller's work matters more. The number of events that could not be
    written is in ``lost``; the next one that succeeds is preceded by a ``notice`` that says so.
    """

    def __init__(self, path: Path, *, attempt: int = 1, mode: int = 0o600) -> None:
        self.path = path
        self.attempt = attempt
        self.lost = 0
        self._mode = mode
        self._fd: int | None = None
        self._torn = False

    def write(self, type: str, **fields: Any) -> bool:
        """Append one event; ``False`` if it could not be written."""
        event = {"type": type, "time": round(time.time(), 3), "attempt": self.attempt, **fields}
        try:
            line = encode(event)
            if self._fd is None:
                self._open()
            if self.lost:
                text = f"{self.lost} events could not be written here"
                line = encode({**event, "type": "notice", "level": "warning", "text": text, "lost": self.lost}
                              if type == "notice" else {"type": "notice", "time": event["time"], "attempt": self.attempt,
                              "level": "warning", "text": text, "lost": self.lost}) + line  # fmt: skip
            self._append(line)
        except (OSError, ValueError, TypeError, RecursionError):
            self.lost += 1
            return False
        self.lost = 0
        return True

    def close(self) -> None:
        """Flush to the disk and close; safe to call twice."""
        if self._fd is not None:
            try:
                os.fsync(self._fd)
            except OSError:
                pass
            os.close(self._fd)
            self._fd = None

    def _open(self) -> None:
        # Without O_NONBLOCK a pipe in place of the file would hold the writer for ever.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._fd = os.open(self.path, flags, self._mode)
        info = os.fstat(self._fd)
        if stat.S_IMODE(info.st_mode) != self._mode:  # the umask took bits away, or the file is older
            try:
                os.fchmod(self._fd, self._mode)
            except OSError:
                pass
        if info.st_size and stat.S_ISREG(info.st_mode):
            with self.path.open("rb") as file:
                file.seek(info.st_size - 1)
                self._torn = file.read(1) != b"\n"

    def _append(self, line: bytes) -> None:
        assert self._fd is not None
        if self._torn:  # an earlier process died, or the disk filled, in the middle of a line
            line = b"\n" + line
        written = os.write(self._fd, line)
        self._torn = written != len(line)
        if self._torn:
            raise OSError("short write")


class EventReader:
    """Reads a stream incrementally by polling; tolerant of torn, damaged and unknown lines.

    ``damaged`` counts the lines that were damaged, whether or not records in them could still be read. A torn last line
    is kept back until its end arrives, see :attr:`torn`; one that lacks only its newline is given out at once. If the
    file was replaced or shrank, reading starts anew and ``restarts`` goes up.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        self.restarts = 0
        self.offset = 0
        self._inode = -1
        self._tail = b""
        self._given = 0  # bytes of the tail whose records have been given out
        self._counted = False  # whether damage in the tail's line has been counted

    def poll(self, limit_bytes: int = 8 * READ_CHUNK) -> list[dict[str, Any]]:
        """Events that arrived since the last call, from at most ``limit_bytes``; empty if there is nothing new."""
        try:
            info = self.path.stat()
        except OSError:
            return []
        if not stat.S_ISREG(info.st_mode):  # a pipe would hold the reader
            return []
        if info.st_ino != self._inode or info.st_size < self.offset:
            if self._inode != -1:
                self.restarts += 1
                self.damaged = 0
            self._inode, self.offset = info.st_ino, 0
            self._keep(b"")
        if info.st_size == self.offset:
            return []
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read(min(limit_bytes, info.st_size - self.offset))
        except OSError:
            return []
        self.offset += len(data)
        return list(self._split(data))

    @property
    def at_end(self) -> bool:
        """Whether everything in the file has been read."""
        try:
            return self.path.stat().st_size <= self.offset
        except OSError:
            return True

    @property
    def torn(self) -> bool:
        """Whether the last line read so far is unfinished and not yet counted; damage, once nobody writes any more."""
        return bool(self._tail[self._given :].strip(b"\r")) and not self._counted

    def forget(self) -> None:
        """Read from the beginning at the next call."""
        self._inode, self.offset, self.damaged = -1, 0, 0
        self._keep(b"")

    def place(self) -> dict[str, Any]:
        """Where this reader is, for :meth:`resume` in another process."""
        tail = self._tail.decode("latin-1")
        return {"inode": self._inode, "offset": self.offset, "damaged": self.damaged, "tail": tail,
                "given": self._given, "counted": self._counted}  # fmt: skip

    def resume(self, place: dict[str, Any]) -> None:
        """Go on from where another reader of the same file was."""
        tail = place["tail"].encode("latin-1")
        self._inode, self.offset, self.damaged = place["inode"], place["offset"], place["damaged"]
        self._tail, self._given, self._counted = tail, place["given"], place["counted"]

    def _keep(self, tail: bytes) -> None:
        self._tail, self._given, self._counted = tail, 0, False

    def _split(self, data: bytes) -> Iterator[dict[str, Any]]:
        first, *lines = data.split(b"\n")
        self._tail += first
        if lines and not self._given and not self._counted:
            usual = _decode_all([self._tail, *lines[:-1]])
            if usual is not None:
                yield from usual
                self._keep(lines[-1])
                lines = []
        for line in lines:
            yield from self._end_line()
            self._keep(line)
        if len(self._tail) > MAX_LINE:
            self.damaged += not self._counted
            self._keep(b"")
        yield from self._early()

    def _end_line(self) -> Iterator[dict[str, Any]]:
        rest = self._tail[self._given :]
        if not rest.strip(b"\r"):
            return
        if not self._given and not self._counted:
            event = decode(rest)
            if event is not None:
                yield event
                return
        self.damaged += not self._counted
        for _, _, found in salvage(rest):
            yield found

    def _early(self) -> Iterator[dict[str, Any]]:
        """Records of the unfinished last line that are whole: at most a newline is still to come."""
        found = salvage(self._tail[self._given :])
        for start, _, event in found:
            if (start or self._given) and not self._counted:
                self._counted = True
                self.damaged += 1
            yield event
        if found:
            self._given += found[-1][1]


def decode(line: bytes) -> dict[str, Any] | None:
    """The event of one line, or ``None`` if it is damaged. Lines without a checksum are accepted."""
    line = line.rstrip(b"\r")
    tail = line[-_CRC_TAIL:]
    if tail.startswith(_CRC_KEY) and tail.endswith(_CRC_END):
        if tail[len(_CRC_KEY) : -len(_CRC_END)] != b"%08x" % zlib.crc32(line[:-_CRC_TAIL]):
            return None
    elif b'"crc"' in line or _almost_checksum(tail):
        return None
    try:
        event = _loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("type"), str) else None


def _decode_all(lines: list[bytes]) -> list[dict[str, Any]] | None:
    """What :func:`decode` says of each line, much faster; ``None`` if any of them is damaged or has no checksum."""
    heads = [line[:-_CRC_TAIL] for line in lines]
    ends = b"".join([line[-_CRC_TAIL:] for line in lines])
    if ends != (_CRC_FORM * len(lines)) % tuple(map(zlib.crc32, heads)):
        return None
    try:
        events = list(map(_loads, lines))
        kinds = set(map(type, events)) == {dict} and set(map(type, map(_TYPE, events))) == {str}
    except (ValueError, RecursionError, KeyError):
        return None
    return events if kinds else None


def _almost_checksum(tail: bytes) -> bool:
    """Whether a line's end is a checksum but for one byte: then it had one, and is damaged."""
    if len(tail) < _CRC_TAIL:
        return False
    frame, expected = tail[: len(_CRC_KEY)] + tail[-len(_CRC_END) :], _CRC_KEY + _CRC_END
    return sum(a != b for a, b in zip(frame, expected, strict=True)) <= 1


def salvage(data: bytes) -> list[tuple[int, int, dict[str, Any]]]:
    """The records with a right checksum in a damaged stretch, as (start, end, event), in order.

    A damaged newline joins two records; each is known by its beginning and by its own checksum.
    """
    found = []
    done = 0
    for match in _RECORD_END.finditer(data):
        for start in _beginnings(data, done, match.start()):
            event = decode(data[start : match.end()])
            if event is not None:
                found.append((start, match.end(), event))
                break
        done = match.end()
    return found


def _beginnings(data: bytes, low: int, high: int) -> list[int]:
    """Where a record that ends behind ``high`` may begin: the first few places and the last few."""
    starts: list[int] = []
    start = data.find(_BEGIN, low, high)
    while start != -1 and len(starts) < _TRIES:
        starts.append(start)
        start = data.find(_BEGIN, start + 1, high)
    start = data.rfind(_BEGIN, low, high)
    while start != -1 and start not in starts and len(starts) < 2 * _TRIES:
        starts.append(start)
        start = data.rfind(_BEGIN, low, start)
    return starts


def last_events(path: Path, max_bytes: int = TAIL_BYTES) -> list[dict[str, Any]]:
    """The undamaged events in the last ``max_bytes`` of a stream, oldest first; empty if it cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return []
        with path.open("rb") as file:
            start = max(0, file.seek(0, 2) - max_bytes)
            file.seek(start)
            lines = file.read(max_bytes).split(b"\n")
    except OSError:
        return []
    if start:  # the first one is most likely cut
        lines = lines[1:]
    # Without its newline a last line counts only if its checksum says that it is whole.
    return [e for line in lines[:-1] if line and (e := decode(line)) is not None] + [
        e for _, _, e in salvage(lines[-1])
    ]
