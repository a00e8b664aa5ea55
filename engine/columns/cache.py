"""The index beside a file of old rows: everything known of a stream up to a place, to go on from there next time.

It is found by the event file's device and inode and believed only if the head, the tail and samples of what had been
read are still the same bytes. It is written whole and renamed, so that several apps can do so at once; one that is
damaged is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from engine.columns import table as tables
from engine.columns.store import DATA, FORMAT, INDEX, TEMPORARY, DataFile, Store, folder, is_held, key, remove
from engine.columns.table import Block, MetricTable

# Shorter streams are read faster than a cache is worth.
WORTH_BYTES = 20 << 20
# How much more there must be until it is kept again: while the stream grows, and at its end.
MORE_BYTES, LAST_BYTES = 20 << 20, 1 << 20
# An index larger than this is not kept.
MAX_INDEX = 32 << 20
_END_BYTES = 64 << 10
_SAMPLES, _SAMPLE_BYTES = 16, 4096


@dataclass(slots=True)
class Found:
    """A cache that fits: where its rows are, and what was remembered with them."""

    data: DataFile
    index: dict[str, Any]


def fingerprint(path: Path, offset: int) -> str:
    """A checksum of the head, the tail and samples of the first ``offset`` bytes. Raises ``OSError``."""
    places = {(0, _END_BYTES), (max(0, offset - _END_BYTES), _END_BYTES)}
    places |= {(offset * part // _SAMPLES, _SAMPLE_BYTES) for part in range(1, _SAMPLES)}
    found = hashlib.blake2b(str(offset).encode(), digest_size=16)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError("no regular file")
        for start, count in sorted(places):
            found.update(os.pread(fd, max(0, min(count, offset - start)), start))
    finally:
        os.close(fd)
    return found.hexdigest()


def is_long(path: Path) -> bool:
    """Whether a stream is long enough for a cache."""
    try:
        info = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(info.st_mode) and info.st_size >= WORTH_BYTES


def is_due(offset: int, kept: int, *, growing: bool) -> bool:
    """Whether what is known up to ``offset`` is to be kept, after it was last kept at ``kept``."""
    return offset >= WORTH_BYTES and offset - kept >= (MORE_BYTES if growing else LAST_BYTES)


def find(events: Path, supervisor: Path) -> Found | None:
    """The newest cache that fits both streams and whose every block is whole."""
    for path, index in _fitting(events, supervisor):
        try:
            data = DataFile.open(path)
            with contextlib.suppress(OSError):  # a cache that may only be read is one, too
                os.utime(path)  # the oldest unused ones are removed first
            if _sound(data, index):
                return Found(data, index)
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return None


def is_known(events: Path, supervisor: Path) -> bool:
    """Whether a cache stands ready that can be read as a whole; whether its bytes are right is not looked at."""
    return any(_is_complete(path, index) for path, index in _fitting(events, supervisor))


def _is_complete(path: Path, index: dict[str, Any]) -> bool:
    try:
        end = max(block[1] + block[2] for name in ("steps", "evals") for block in index[name]["blocks"])
        return os.access(path, os.R_OK) and bool(path.stat().st_size >= end)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _fitting(events: Path, supervisor: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The data files and indices that fit these streams, newest first."""
    if not is_long(events):
        return
    try:
        found = sorted(folder().glob(f"{key(events)}-*{INDEX}"), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return
    for path in found:
        try:
            index = _load(path)
            if not (_fits(index["events"], events) and _fits(index["supervisor"], supervisor)):
                continue
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue
        yield path.with_suffix(DATA), index


def may_publish(store: Store, offset: int, supervisor: Path) -> bool:
    """Whether what is known up to ``offset`` can become the cache: the store is this object's, and nobody else keeps one.

    Of several readers of a stream the first one keeps the cache; another does so only if that one falls far behind.
    """
    if store.refused or store.lost or store.events is None or len(store.files) > 1:
        return False
    own = store.files[0] if store.files else None
    try:
        if own is not None and not (own.owned and own.named and own.path.name.startswith(key(store.events))):
            return False
        for path, index in _fitting(store.events, supervisor):
            if (own is None or path != own.path) and path.exists():
                held, known = is_held(path), index["events"]["offset"]
                if known > offset or (held and known > offset - 2 * MORE_BYTES):
                    return False
    except OSError:
        return False
    return True


def publish(store: Store, index: dict[str, Any]) -> bool:
    """Make what is in the store the cache, where it :func:`may_publish`; ``False`` where the disk refuses."""
    if len(store.files) != 1 or store.refused or store.events is None:
        return False
    data = store.files[0].path
    temporary = data.with_suffix(TEMPORARY)
    try:
        name = key(store.events)
        # As UTF-8, not in escapes, which make six bytes of each letter beyond ASCII.
        text = json.dumps(index, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
        if len(text) > MAX_INDEX:
            return False
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(fd, "wb") as file:
            file.write(b"%08x " % zlib.crc32(text) + text)
        os.replace(temporary, data.with_suffix(INDEX))
        for other in data.parent.glob(f"{name}-*{INDEX}"):
            if other.stem != data.stem and not _is_in_use(other.with_suffix(DATA)):
                remove(other.with_suffix(DATA))
    except (OSError, ValueError, TypeError, RecursionError):
        return False
    return True


def _is_in_use(data: Path) -> bool:
    try:
        return bool(is_held(data))
    except OSError:
        return False


def dump(table: MetricTable) -> dict[str, Any]:
    """A table as the index holds it. Raises ``OSError`` where the rows in memory cannot be written to its store."""
    newest = table.write(len(table) - table.stored)
    if newest is None:
        raise OSError("the newest rows cannot be kept")
    return {
        "names": table.names(),
        "marked": table.marked_names(),
        "version": table.version,
        "rewrites": table.rewrites,
        "blocks": [astuple(block) for block in (*table.blocks, newest)],
    }


def restore(index: dict[str, Any], store: Store) -> MetricTable:
    """The table that :func:`dump` described. Raises ``OSError``."""
    table = MetricTable(store)
    blocks = [Block(*parts) for parts in index["blocks"]]
    table.take_over(blocks, index["names"], index["marked"])
    table.version, table.rewrites = index["version"], index["rewrites"]
    return table


def _load(path: Path) -> dict[str, Any]:
    if path.stat().st_size > 2 * MAX_INDEX:
        raise ValueError("too large")
    crc, _, text = path.read_bytes().partition(b" ")
    if crc != b"%08x" % zlib.crc32(text):
        raise ValueError("damaged")
    index = json.loads(text)
    if not isinstance(index, dict) or index["format"] != FORMAT:
        raise ValueError("another format")
    return index


def _fits(reader: dict[str, Any], path: Path) -> bool:
    """Whether a stream still begins with what had been read of it."""
    if not reader["offset"]:
        return True
    info = path.stat()
    if info.st_ino != reader["inode"] or info.st_size < reader["offset"]:
        return False
    return bool(fingerprint(path, reader["offset"]) == reader["print"])


def _sound(data: DataFile, index: dict[str, Any]) -> bool:
    """Whether all blocks are whole; a hundred megabytes take a tenth of a second."""
    for name in ("steps", "evals"):
        blocks = [Block(*parts) for parts in index[name]["blocks"]]
        if any(block.rows != tables.BLOCK for block in blocks[:-1]):
            return False
        for block in blocks:
            content = bytearray(block.size)
            if os.preadv(data.fd, [content], block.offset) != block.size or zlib.crc32(content) != block.crc:
                return False
    return True
