"""The index: rows of runs in an SQLite file of the user's cache directory. It may vanish or be damaged at any moment.

Whatever happens to the file costs a rebuild and no more: an index that cannot be kept on the disk is kept in memory. A
rollback journal is used, not a write-ahead log: the log's shared memory is mapped, and a process whose mapped file
somebody truncates is killed (SIGBUS); nor does it work where the cache lies on a network file system.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from engine import paths
from engine.history.index import rows as codec
from engine.history.index.rows import Entry
from engine.history.summary import RunSummary

NAME = "history.sqlite3"
VERSION = 1
# How long one process waits for another that writes (seconds).
WAIT = 5.0
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS runs (path BLOB PRIMARY KEY, digest BLOB, layout INT, live INT, crc INT, row BLOB)"
)
_PUT = "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)"
_ONES = 500
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)
T = TypeVar("T")


class Known(NamedTuple):
    """What the index knows of a run: the print of what its row was read from, whether it lived then, the row's checksum."""

    digest: bytes
    live: bool
    crc: int


class Index:
    """Rows by path. Every method may be called from any thread and raises nothing for what befell the file."""

    def __init__(self, path: Path | None = None) -> None:
        self._path: Path | None = path or paths.cache_dir() / NAME
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._closed = False
        # Checksums of the rows that were handed out: what has changed since is news.
        self.delivered: dict[str, int] = {}
        # How often it was given up to wait for another process.
        self.refusals = self._waits = 0

    @property
    def in_memory(self) -> bool:
        """Whether the rows will not outlive this object: the cache directory cannot be used."""
        return self._path is None

    def rows(self, roots: Iterable[str | os.PathLike[str]] | None = None, also: Iterable[str] = ()) -> list[RunSummary]:
        """All rows at or below the roots, and of the paths ``also`` (without roots: all rows), as they were last read."""
        known = Below(_remembered_roots() if roots is None else [str(root) for root in roots])
        others = None if roots is None else set(also)
        return self._do(lambda db: self._rows(db, known, others)) or []

    def _rows(self, db: sqlite3.Connection, known: Below, others: set[str] | None) -> list[RunSummary]:
        """In portions, so that the text of all rows is never in memory beside what is made of it."""
        runs: list[RunSummary] = []
        cursor = db.execute("SELECT path, crc, row FROM runs WHERE layout = ?", (codec.LAYOUT,))
        while portion := cursor.fetchmany(_ONES):
            kept = [
                (place, crc, row)
                for place, crc, row in ((os.fsdecode(path), crc, row) for path, crc, row in portion)
                if _is_whole(row, crc) and (others is None or place in others or known.root_of(place) is not None)
            ]
            for (place, crc, _), run in zip(kept, codec.unpack_all([row for _, _, row in kept]), strict=True):
                if run is not None:
                    run.path, run.root = place, known.root_of(place, or_parent=True)
                    self.delivered[place] = crc
                    runs.append(run)
        return runs

    def paths(self) -> list[str]:
        """All paths that there are rows of."""
        query = "SELECT path FROM runs WHERE layout = ?"
        return self._do(lambda db: [os.fsdecode(path) for (path,) in db.execute(query, (codec.LAYOUT,))]) or []

    def known(self) -> dict[str, Known]:
        """What is known of all runs, without their rows."""
        return self._do(_known) or {}

    def fetch(self, places: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """Checksums and rows of some runs; those that are missing or damaged are left out."""
        found: dict[str, tuple[int, bytes]] = {}
        for start in range(0, len(places), _ONES):
            some = [os.fsencode(place) for place in places[start : start + _ONES]]
            found.update(self._do(partial(_fetched, some=some)) or {})
        return found

    def put(self, entries: Sequence[Entry]) -> None:
        """Keep rows, in place of earlier ones of the same paths."""
        values = [(os.fsencode(e.path), e.digest, codec.LAYOUT, int(e.live), zlib.crc32(e.row), e.row) for e in entries]
        self._write(_PUT, values)

    def drop(self, places: Iterable[str]) -> None:
        """Forget runs that are gone."""
        self._write("DELETE FROM runs WHERE path = ?", [(os.fsencode(place),) for place in places])

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            self._closed = True
            self._disconnect()

    def _write(self, statement: str, values: Sequence[tuple[object, ...]]) -> None:
        if not values:
            return

        def work(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            db.executemany(statement, values)
            db.execute("COMMIT")

        self._do(work)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """The answer of the database, ``None`` where it has none: of the next one, if this one must be given up."""
        with self._lock:
            for tries in range(4):
                if self._closed:
                    return None
                try:
                    found = work(self._connected())
                except sqlite3.Error as error:
                    if not self._recover(error, last=tries > 1):
                        return None
                except OSError:
                    self._to_memory()
                except (TypeError, ValueError, OverflowError):  # values of kinds that were never written
                    self._remove()
                else:
                    self._waits = 0
                    return found
        return None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and self._path is not None and _identity(self._path) != self._inode:
            self._disconnect()  # somebody deleted or replaced it
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        if self._path is None:
            return _prepare(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False))
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            # Only a new file is opened here: to close an old one would drop the locks that this process has on it.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(self._path, timeout=WAIT, isolation_level=None, check_same_thread=False)
        try:
            _prepare(db)
        except sqlite3.Error:
            db.close()
            raise
        self._inode = _identity(self._path)
        return db

    def _recover(self, error: sqlite3.Error, *, last: bool) -> bool:
        """Get over an error; whether it is worth trying again."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        if code & 0xFF in _BUSY:
            self.refusals, self._waits = self.refusals + 1, self._waits + 1
            if self._waits > 1:  # locks that are never given back, or do not work there
                self._disconnect()
                self._path = None
            return False  # what could not be written is read again next time
        if self._path is None or code == sqlite3.SQLITE_READONLY_DBMOVED:
            self._disconnect()
        elif last or code & 0xFF in _NO_ROOM:
            self._to_memory()
        else:
            self._remove()
        return True

    def _remove(self) -> None:
        """Begin anew: a cache that cannot be read is worth nothing."""
        self._disconnect()
        if self._path is None:
            return
        try:
            for ending in ("", "-journal", "-wal", "-shm"):
                Path(f"{self._path}{ending}").unlink(missing_ok=True)
        except OSError:
            self._path = None

    def _to_memory(self) -> None:
        """Go on without the disk, with the rows that stand in the file."""
        earlier: list[tuple[object, ...]] = []
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                earlier = self._connection.execute("SELECT * FROM runs").fetchall()
        self._disconnect()
        self._path = None
        with contextlib.suppress(sqlite3.Error):
            self._connection = self._open()
            self._connection.executemany(_PUT, earlier)

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None


class Below:
    """Folders, and which of them a path lies in."""

    def __init__(self, roots: Iterable[str]) -> None:
        self._roots = {root.rstrip("/") or "/" for root in roots}

    def root_of(self, place: str, *, or_parent: bool = False) -> str | None:
        """The deepest folder that holds a path or is it; with ``or_parent`` its own parent where there is none."""
        at = place
        while at not in self._roots:
            at, slash, _ = at.rpartition("/")
            if not at:
                if slash and "/" in self._roots:
                    return "/"
                return os.path.dirname(place) if or_parent else None
        return at


def _known(db: sqlite3.Connection) -> dict[str, Known]:
    found = db.execute("SELECT path, digest, live, crc FROM runs WHERE layout = ?", (codec.LAYOUT,))
    return {
        os.fsdecode(path): Known(digest if isinstance(digest, bytes) else b"", bool(live), int(crc))
        for path, digest, live, crc in found
    }


def _fetched(db: sqlite3.Connection, some: list[bytes]) -> dict[str, tuple[int, bytes]]:
    query = f"SELECT path, crc, row FROM runs WHERE layout = ? AND path IN ({','.join('?' * len(some))})"
    found = db.execute(query, (codec.LAYOUT, *some))
    return {os.fsdecode(path): (crc, row) for path, crc, row in found if _is_whole(row, crc)}


def _prepare(db: sqlite3.Connection) -> sqlite3.Connection:
    """Settings of a connection and the table. Raises ``sqlite3.Error`` for a file of another version."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version not in (0, VERSION) or (version == 0 and db.execute("SELECT 1 FROM sqlite_master").fetchone()):
        raise sqlite3.DatabaseError("another version")
    db.execute("PRAGMA mmap_size = 0")
    db.execute("PRAGMA journal_mode = TRUNCATE")
    db.execute("PRAGMA synchronous = OFF")  # after a power failure it is rebuilt
    db.execute("PRAGMA cache_size = -2000")
    if version == 0:
        db.execute("BEGIN IMMEDIATE")
        db.execute(_SCHEMA)
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    return db


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _is_whole(row: object, crc: object) -> bool:
    return isinstance(row, bytes) and zlib.crc32(row) == crc


def _remembered_roots() -> list[str]:
    from engine import registry

    return [str(root) for root in registry.roots()]
