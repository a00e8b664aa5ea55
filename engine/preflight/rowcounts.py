"""Lengths of a file's rows as arrays, what of each is learned at any limit, and the files that remember them."""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from engine import paths
from engine.rundir import write_atomic

_FORMAT = 2
_KEPT_FILES, _KEPT_BYTES, _LARGEST_FILE, _LARGEST_ROWS = 60, 512 * 2**20, 256 * 2**20, 200_000_000
_ARRAYS = ("lengths", "learned", "ends", "spans")


@dataclass(slots=True)
class Rows:
    """Rows in the order of their file, a few bytes each. A row that cannot be rendered has the length 0 and is ``refused``.

    ``lengths`` are all tokens of a row and ``learned`` those that are learned of it, both before ``max_seq_length`` cuts.
    ``spans`` are begin and end of each stretch of learned tokens, ``ends`` where those of a row end. ``answered``: whether
    an assistant says something. ``refused`` are row, line and why.
    """

    lengths: array[int] = field(default_factory=lambda: array("I"))
    learned: array[int] = field(default_factory=lambda: array("I"))
    ends: array[int] = field(default_factory=lambda: array("Q"))
    spans: array[int] = field(default_factory=lambda: array("I"))
    answered: bytearray = field(default_factory=bytearray)
    refused: list[tuple[int, int, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.answered)  # the last to grow: whoever reads meanwhile sees whole rows only

    def add(self, answer: dict[str, Any]) -> None:
        """Those of one answer of the inspector to ``lengths``."""
        for spans in answer["spans"]:
            self.spans.extend(spans)
            self.learned.append(sum(spans[1::2]) - sum(spans[::2]))
            self.ends.append(len(self.spans))
        self.lengths.extend(answer["lengths"])
        self.refused.extend((said["row"], said["line"], sys.intern(said["message"])) for said in answer["refused"])
        self.answered.extend(answer["answered"])

    def kept(self, row: int, limit: int) -> int:
        """How many tokens of a row are learned where ``limit`` cuts it."""
        if self.lengths[row] <= limit:
            return self.learned[row]
        first = self.ends[row - 1] if row else 0
        parts = self.spans[first : self.ends[row]]
        return sum(min(end, limit) - begin for begin, end in zip(parts[::2], parts[1::2], strict=True) if begin < limit)

    def places(self, *, answered: bool) -> Sequence[int]:
        """The rows that can be trained on: those that are ``answered`` only, or all."""
        if not answered or 0 not in self.answered:
            return range(len(self))
        return array("I", (row for row, said in enumerate(self.answered) if said))

    def at(self, limit: int, rows: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Length and learned tokens of these rows."""
        lengths, learned = self.lengths, self.learned
        for row in rows:
            length = lengths[row]
            yield length, learned[row] if length <= limit else self.kept(row, limit)

    def next(self, kind: str, row: int, limit: int) -> int | None:
        """The next row from ``row`` on that is ``cut``, or has ``nothing`` to learn; refused ones count as that, too."""
        for number in range(row, len(self)):
            if self.lengths[number] > limit if kind == "cut" else not self.kept(number, limit):
                return number
        return None


def _folder() -> Path:
    return paths.cache_dir() / "lengths"


def recall(key: str | None) -> Rows | None:
    """The rows that are remembered under a digest; ``None`` where there are none, or they are damaged."""
    if key is None:
        return None
    path = _folder() / f"{key}.rows"
    try:
        if path.stat().st_size > _LARGEST_FILE:
            return None
        head, _, packed = path.read_bytes().partition(b"\n")
        record = orjson.loads(head)
        return _rows(record, packed)
    except (OSError, ValueError, TypeError, KeyError, zlib.error):
        return None


def _rows(record: Any, packed: bytes) -> Rows | None:
    if record["format"] != _FORMAT or record["byteorder"] != sys.byteorder or zlib.crc32(packed) != record["crc"]:
        return None
    out, sizes, at = Rows(), record["bytes"], 0
    if sum(sizes) > 40 * _LARGEST_ROWS:
        return None
    unpacking = zlib.decompressobj()
    body = unpacking.decompress(packed, sum(sizes) + 1)
    for name, size in zip(_ARRAYS, sizes, strict=False):
        getattr(out, name).frombytes(body[at : at + size])
        at += size
    out.answered.extend(body[at:])
    out.refused = [(int(row), int(line), str(message)) for row, line, message in record["refused"]]
    count = len(out)
    whole = len(out.lengths) == len(out.learned) == len(out.ends) == count and len(body) == sum(sizes)
    return out if whole and (out.ends[-1] if count else 0) == len(out.spans) else None


def remember(key: str | None, rows: Rows) -> None:
    """Keep rows for the next time; a cache that cannot be written costs only time."""
    if key is None:
        return
    folder = _folder()
    parts = [*(getattr(rows, name).tobytes() for name in _ARRAYS), bytes(rows.answered)]
    packed = zlib.compress(b"".join(parts), 1)
    head = {"format": _FORMAT, "byteorder": sys.byteorder, "crc": zlib.crc32(packed), "bytes": [len(part) for part in parts],
            "refused": rows.refused}  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(folder / f"{key}.rows", orjson.dumps(head) + b"\n" + packed, durable=False)
        _clear(folder)
    except OSError:
        pass


def _clear(folder: Path) -> None:
    """Remove what was used longest ago, and what an earlier format left."""
    for file in folder.glob("*.json"):
        file.unlink(missing_ok=True)
    files = sorted(
        ((file.stat(), file) for file in folder.glob("*.rows")), key=lambda pair: pair[0].st_mtime, reverse=True
    )
    size = 0
    for number, (info, file) in enumerate(files):
        size += info.st_size
        if number >= _KEPT_FILES or (number and size > _KEPT_BYTES):
            file.unlink(missing_ok=True)
