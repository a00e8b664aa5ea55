"""Tokenised files, kept for the next run of the same data: Arrow files that are mapped, not read into memory.

One file for each tokenised data file, named by a digest of all that decides its tokens (:mod:`engine.worker.tokenising`). It is
an Arrow stream, then what is known of its rows and checksums, and is put in place whole: nobody sees half of one. Several runs may
share the folder: of two that want the same tokens one makes them and the other waits, and what a run has mapped is never
removed. The folder is kept below 20 GB or a tenth of its disk, whichever is less; what was used longest ago goes first.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import secrets
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from engine import paths
from engine.worker.marking import IGNORED, Marked

MOST_BYTES, MOST_OF_DISK = 20 * 10**9, 0.1
"""The folder's limit: bytes, and the share of its disk."""
SPARE = 2 * 2**30
"""Bytes that stay free on the disk: checkpoints matter more."""
SCHEMA = pa.schema([("input_ids", pa.list_(pa.int32())), ("labels", pa.list_(pa.int32())), ("flags", pa.uint8())])
_MAGIC = b"tunedeck tokens1"
_PIECE = 64 * 2**20
# A block is written when it has so many rows or tokens.
_ROWS, _TOKENS = 1000, 1 << 20
_POLL_SECONDS, _PATIENCE_SECONDS = 0.2, 30.0
# Where files cannot be locked, one that was not used for so long is taken for unused.
_UNLOCKABLE_SECONDS = 7 * 86400.0
Note = dict[str, Any]
# (rows done)
Tell = Callable[[int], None]
# Writes the rows, tells of them, returns what is to be kept beside them: JSON.
Make = Callable[["Writer", Tell], Note]


class CannotKeep(OSError):
    """The cache takes no file: a full disk, a folder that cannot be written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The rows of one file, mapped (``path``) or, where no disk takes them, in memory; ``note`` is what is kept beside them."""

    table: Any
    note: Note
    path: Path | None = None


class Writer:
    """Rows on their way to an Arrow stream or, without a file, to memory; some thousand are held at a time."""

    def __init__(self, file: Any = None) -> None:
        self.rows = 0
        self._held: list[tuple[Marked | None, int]] = []
        self._tokens = 0
        self._batches: list[Any] = []
        with _keeping():
            self._stream = None if file is None else pa.ipc.new_stream(file, SCHEMA)

    def add(self, row: Marked | None, flags: int) -> None:
        """One row; ``None`` for one that holds the place of a row that is left out."""
        self._held.append((row, flags))
        self.rows += 1
        self._tokens += 0 if row is None else row.kept
        if len(self._held) >= _ROWS or self._tokens >= _TOKENS:
            self._close_block()

    def finish(self) -> Any:
        """Write what is left; returns the table if it is in memory."""
        self._close_block()
        if self._stream is None:
            return pa.Table.from_batches(self._batches, SCHEMA)
        with _keeping():
            self._stream.close()
        return None

    def write(self, batch: Any) -> None:
        """Rows that are packed already (:func:`batch_of`)."""
        self._close_block()
        self.rows += batch.num_rows
        self._put(batch)

    def _close_block(self) -> None:
        if self._held:
            batch = batch_of(self._held)
            self._held.clear()
            self._tokens = 0
            self._put(batch)

    def _put(self, batch: Any) -> None:
        if self._stream is None:
            self._batches.append(batch)
            return
        with _keeping():
            self._stream.write_batch(batch)


def batch_of(rows: list[tuple[Marked | None, int]]) -> Any:
    """Rows and their flags as a record batch; ``None`` becomes a row without tokens."""
    ends = np.cumsum([0, *(0 if row is None else row.kept for row, _ in rows)], dtype=np.int32)
    ids, trained = np.empty(ends[-1], np.int32), np.empty(ends[-1], bool)
    for (row, _), begin, end in zip(rows, ends, ends[1:], strict=False):
        if row is not None:
            ids[begin:end] = row.ids[: row.kept]
            trained[begin:end] = np.frombuffer(bytes(row.trained[: row.kept]), bool)
    lists = [pa.ListArray.from_arrays(ends, values) for values in (ids, np.where(trained, ids, np.int32(IGNORED)))]
    flags = pa.array(np.fromiter((flags for _, flags in rows), np.uint8, len(rows)))
    return pa.record_batch([*lists, flags], schema=SCHEMA)


@contextmanager
def _keeping() -> Iterator[None]:
    """What a disk refuses is told apart from what is wrong with the data."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise CannotKeep(str(error)) from error


def folder() -> Path:
    """Where the files lie."""
    return paths.cache_dir() / "tokens"


def fetch(key: str | None, make: Make, *, expected: int, tell: Tell) -> Entry:
    """The rows under a digest, made by ``make`` if they are not there; without a digest they are made for this process alone.

    ``expected`` is a guess of their size in bytes; ``tell`` hears how many rows are done, also while another run makes them.
    Raises only what ``make`` raises: rows that no disk takes are made again in memory.
    """
    try:
        with _keeping():
            folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        if key is None:
            return _once(make, expected, tell)
        found = _open(key)
        if found is not None:
            return found
        with _turn(key, tell) as told:
            found = _open(key)
            return found or _made(key, make, expected, told)
    except CannotKeep as error:
        print(f"Tokens are kept in memory, not in {folder()}: {error}", flush=True)
    writer = Writer()
    note = make(writer, tell)
    return Entry(writer.finish(), note)


def _once(make: Make, expected: int, tell: Tell) -> Entry:
    """Rows that nobody else can use: a file all the same, so that they need no memory, and gone with this process."""
    key = f"once-{os.getpid()}-{secrets.token_hex(4)}"
    atexit.register(lambda: _path(key).unlink(missing_ok=True))
    return _made(key, make, expected, tell)


def _path(key: str) -> Path:
    return folder() / f"{key}.arrow"


def _made(key: str, make: Make, expected: int, tell: Tell) -> Entry:
    make_room(expected)
    part = folder() / f"{key}.{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        with _keeping():
            file = open(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b", buffering=1 << 20)  # noqa: SIM115
        with file:
            _lock(file.fileno(), fcntl.LOCK_EX)
            writer = Writer(file)
            note = make(writer, tell)
            writer.finish()
            with _keeping():
                _seal(file, writer.rows, note)
                os.replace(part, _path(key))
            _lock(file.fileno(), fcntl.LOCK_SH)
            found = _open(key, checked=True)
    finally:
        part.unlink(missing_ok=True)
    if found is None:
        raise CannotKeep("it was removed at once")
    make_room(0)
    return found


def _seal(file: Any, rows: int, note: Note) -> None:
    """What comes after the rows: where they end, checksums, and the note, with a checksum of its own."""
    file.flush()
    size = file.tell()
    head = json.dumps({"bytes": size, "rows": rows, "sums": _sums(file.fileno(), size), "note": note}).encode()
    file.write(head + len(head).to_bytes(8, "little") + zlib.crc32(head).to_bytes(4, "little") + _MAGIC)
    file.flush()


def _sums(fd: int, size: int) -> list[int]:
    """Checksums of the pieces of a file, on all cores."""

    def sum_of(begin: int) -> int:
        sum, at, end = 0, begin, min(begin + _PIECE, size)
        while at < end:
            piece = os.pread(fd, min(4 << 20, end - at), at)
            if not piece:
                return -1
            sum, at = zlib.crc32(piece, sum), at + len(piece)
        return sum

    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        return list(pool.map(sum_of, range(0, size, _PIECE)))


# Files that this process has mapped stay locked, and so stay, until it ends.
_held: list[int] = []


def _open(key: str, *, checked: bool = False) -> Entry | None:
    """The rows of a file if they are whole; a damaged one is removed. ``checked``: this process wrote it just now."""
    path = _path(key)
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        _lock(fd, fcntl.LOCK_SH)
        head = _head(fd)
        if head is None or (not checked and _sums(fd, head["bytes"]) != head["sums"]):
            raise ValueError("damaged")
        table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
        if (
            table.schema != SCHEMA
            or table.num_rows != head["rows"]
            or not os.path.samestat(os.fstat(fd), os.stat(path))
        ):
            raise ValueError("not what it says")
        os.utime(fd)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        os.close(fd)
        print(f"{path} cannot be used ({error}): the rows are tokenised anew", flush=True)
        path.unlink(missing_ok=True)
        return None
    _held.append(fd)
    return Entry(table, head["note"], path)


def _head(fd: int) -> dict[str, Any] | None:
    """What is said after the rows; ``None`` if that is not whole."""
    size, tail = os.fstat(fd).st_size, len(_MAGIC) + 12
    end = os.pread(fd, tail, max(0, size - tail))
    if len(end) != tail or end[12:] != _MAGIC:
        return None
    length = int.from_bytes(end[:8], "little")
    if length > size - tail:
        return None
    said = os.pread(fd, length, size - tail - length)
    if zlib.crc32(said) != int.from_bytes(end[8:12], "little"):
        return None
    head: dict[str, Any] = json.loads(said)
    return head if head["bytes"] == size - tail - length else None


@contextmanager
def _turn(key: str, tell: Tell) -> Iterator[Tell]:
    """Wait until nobody else makes these rows; yields what tells others, and ``tell``, how many are done.

    Who makes no progress for half a minute (it was stopped, or sits on another machine) is waited for no longer: the rows
    are then made twice, and whoever is done last puts his in place.
    """
    path = folder() / f"{key}.lock"
    with _keeping():
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        seen, since, said = -1, time.monotonic(), False
        while not (mine := _lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)) and time.monotonic() - since < _PATIENCE_SECONDS:
            if not said:
                said = True
                print("Another run tokenises the same data: waiting for it", flush=True)
            done = _number(fd)
            if done != seen:
                seen, since = done, time.monotonic()
                tell(max(0, done))
            time.sleep(_POLL_SECONDS)

        def told(rows: int) -> None:
            if mine:
                _say_number(fd, rows)
            tell(rows)

        try:
            yield told
        finally:
            if mine:
                path.unlink(missing_ok=True)
    finally:
        os.close(fd)


def _number(fd: int) -> int:
    text = os.pread(fd, 20, 0)
    return int(text) if text.strip().isdigit() else -1


def _say_number(fd: int, number: int) -> None:
    try:
        os.pwrite(fd, b"%-20d" % number, 0)
    except OSError:
        pass  # whoever waits loses patience


def _lock(fd: int, kind: int) -> bool:
    """Whether it was locked; a file system that knows no locks lets everybody go on."""
    try:
        fcntl.flock(fd, kind)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def make_room(expected: int) -> None:
    """Remove what was used longest ago until the folder is below its limit with ``expected`` bytes more.

    Raises :class:`CannotKeep` where the disk has no room for them even then.
    """
    with _keeping():
        disk = shutil.disk_usage(folder())
    limit = min(MOST_BYTES, int(disk.total * MOST_OF_DISK))
    found = []
    for path in folder().iterdir():
        try:
            found.append((path.stat(), path))
        except OSError:
            continue
    size = sum(info.st_blocks * 512 for info, _ in found)
    free = disk.free
    for info, path in sorted(found, key=lambda pair: pair[0].st_mtime):
        leftover = path.suffix != ".arrow" and time.time() - info.st_mtime > 60
        if not leftover and size + expected <= limit and free >= expected + SPARE:
            continue
        if (leftover or path.suffix == ".arrow") and _removed(path, info.st_mtime):
            size -= info.st_blocks * 512
            free += info.st_blocks * 512
    if expected and free < expected + SPARE:
        raise CannotKeep(f"the disk has {free / 1e9:.1f} GB free, and the tokens may take {expected / 1e9:.1f}")


def _removed(path: Path, used: float) -> bool:
    """Remove a file unless somebody uses it."""
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except BlockingIOError:
        return False
    except OSError:
        if time.time() - used < _UNLOCKABLE_SECONDS:
            return False
        path.unlink(missing_ok=True)
    finally:
        os.close(fd)
    return True
