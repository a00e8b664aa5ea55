"""The event stream of a run: strict JSON, one object a line, append-only (design of ``events.jsonl``, format 1).

Each line ends with the key ``crc``: CRC-32 (zlib's polynomial) of the line's bytes before ``,"crc"``, in eight hex
digits. Values that are not finite are the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``.
"""

from __future__ import annotations

import json
import math
import os
import time
import zlib
from collections.abc import Iterator
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
_CRC_TAIL = len(_CRC_KEY) + 8 + len(b'"}')
_CONTAINERS = (dict, list, tuple)
MAX_LINE = 16 * 1024 * 1024
READ_CHUNK = 1 << 20


def finite(value: Any) -> Any:
    """A number that strict JSON can hold: non-finite floats become their names, containers are converted deep."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
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
        return float(value)
    if value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    return None


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
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, self._mode)
        size = os.fstat(self._fd).st_size
        if size:
            with self.path.open("rb") as file:
                file.seek(size - 1)
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

    ``damaged`` counts the lines that had to be skipped. A torn last line is kept back until its end arrives. If the
    file was replaced or shrank, reading starts anew and ``restarts`` goes up.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        self.restarts = 0
        self.offset = 0
        self._inode = -1
        self._tail = b""

    def poll(self, limit_bytes: int = 8 * READ_CHUNK) -> list[dict[str, Any]]:
        """Events that arrived since the last call, from at most ``limit_bytes``; empty if there is nothing new."""
        try:
            info = self.path.stat()
        except OSError:
            return []
        if info.st_ino != self._inode or info.st_size < self.offset:
            if self._inode != -1:
                self.restarts += 1
                self.damaged = 0
            self._inode, self.offset, self._tail = info.st_ino, 0, b""
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

    def _split(self, data: bytes) -> Iterator[dict[str, Any]]:
        lines = (self._tail + data).split(b"\n")
        self._tail = lines.pop()
        if len(self._tail) > MAX_LINE:
            self.damaged += 1
            self._tail = b""
        for line in lines:
            if line:
                yield from self._parse(line)

    def _parse(self, line: bytes) -> Iterator[dict[str, Any]]:
        event = decode(line)
        if event is not None:
            yield event
            return
        self.damaged += 1
        # A damaged newline joins two records: find the next one by its beginning.
        start = line.find(_BEGIN, 1)
        while start != -1:
            event = decode(line[start:])
            if event is not None:
                yield event
                return
            start = line.find(_BEGIN, start + 1)


def decode(line: bytes) -> dict[str, Any] | None:
    """The event of one line, or ``None`` if it is damaged. Lines without a checksum are accepted."""
    line = line.rstrip(b"\r")
    tail = line[-_CRC_TAIL:]
    if tail.startswith(_CRC_KEY) and tail.endswith(b'"}'):
        digits = tail[len(_CRC_KEY) : -2]
        try:
            if int(digits, 16) != zlib.crc32(line[:-_CRC_TAIL]):
                return None
        except ValueError:
            return None
    elif b'"crc"' in line:
        return None
    try:
        event = _loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("type"), str) else None
