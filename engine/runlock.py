"""The lock of a run: an flock that the run's processes inherit, and a record of its owner beside it.

The flock is the truth where it works. Where it does not (some network file systems), the exclusively created record says
who is here; of a holder on another host or in another container only its run's heartbeat can tell.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

from engine import process

# A beat this young of another host's run means that it lives.
FRESH_SECONDS = 60.0
# A record without contents may be one that is being written at this moment.
_WRITING_SECONDS = 10.0
_PATIENCE = 0.5
_MOST_BYTES = 1 << 16
_Seen = tuple[bytes, os.stat_result]


class Held(Exception):
    """A living process holds the lock."""


def acquire(lock: Path, status: dict[str, Any] | None) -> int:
    """Take the lock for this process and whoever inherits the returned descriptor; raises :class:`Held`, ``OSError``.

    ``status`` is what the run's ``status.json`` says: it tells of a holder where flock cannot.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            works = _flock_patiently(fd, deadline)
            if works and not _same(fd, lock):  # the run's record was set aside meanwhile
                os.close(fd)
                if time.monotonic() > deadline:
                    raise Held
                continue
            _claim_record(lock, works, status or {})
        except BaseException:
            _close(fd)
            raise
        write_owner(lock, fd)
        return fd


def state(lock: Path) -> bool | None:
    """Whether a process holds the flock: ``None`` where flock does not work or the file cannot be read."""
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(lock, os.O_RDWR | flags)
    except FileNotFoundError:
        return False
    except OSError:
        try:  # another user's run, or a read-only file system
            fd = os.open(lock, os.O_RDONLY | flags)
        except OSError:
            return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, so that readers do not see each other
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(fd)
    return False


def inherited(lock: Path, descriptor: str) -> int | None:
    """The descriptor number that an environment variable names, if it really is this lock, and held by it."""
    try:
        fd = int(descriptor)
        if not _same(fd, lock):
            return None
    except (ValueError, OSError):
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # changes nothing for whoever holds it by this descriptor
    except BlockingIOError:
        return None
    except OSError:
        pass
    return fd


def write_owner(lock: Path, fd: int) -> None:
    """Name this process as the owner, e.g. after a fork; the holder's record only informs, so a full disk is no error."""
    from engine.rundir import write_atomic

    try:
        write_atomic(owner_file(lock), _record(), durable=False)
    except OSError:
        pass
    try:
        os.pwrite(fd, f"{os.getpid()}\n".encode().ljust(12), 0)
    except OSError:
        pass


def release(lock: Path, fd: int) -> None:
    """Give the lock back: the record goes if it is this process's own, then the descriptor."""
    owner = _read_owner(lock)
    if owner is not None and owner.get("pid") == os.getpid() and process.is_alive(owner):
        try:
            owner_file(lock).unlink()
        except OSError:
            pass
    _close(fd)


def owner_file(lock: Path) -> Path:
    """Where the owner is recorded: ``lock.owner``."""
    return lock.with_name(f"{lock.name}.owner")


def _flock_patiently(fd: int, deadline: float) -> bool:
    """Take the flock (a reader that only looks holds it for microseconds); ``False`` where flock does not work."""
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Held from None
            time.sleep(0.01)
        except OSError:
            return False


def _claim_record(lock: Path, works: bool, status: dict[str, Any]) -> None:
    """See that nobody else is recorded as a living owner, and without flock put our own record there exclusively."""
    path = owner_file(lock)
    if works:  # what stands there is stale if it is of this host: the flock is ours
        if _taken_elsewhere(_read_owner(lock), status):
            raise Held
        return
    for _ in range(20):
        if _seize(path, lock, status):
            return
        time.sleep(0.01)  # one who judged the same stale record is replacing it at this moment
    raise Held


def _seize(path: Path, lock: Path, status: dict[str, Any]) -> bool:
    """Put our record at ``path``: exclusively where nothing stands, or over a stale one; ``False``: look again.

    A stale record never leaves its place before the new one is there, else a third process would find nothing. Of the
    several who judged the same record, only the one who holds a record named after it may replace it; that one is taken
    in the same way, since its holder, too, may have died. Raises :class:`Held`, ``OSError``.
    """
    from engine.rundir import write_atomic

    seen = _look(path)
    if seen is None:
        return _create(path, status)
    if _taken(*seen, lock, status):
        raise Held
    claim = owner_file(lock).with_name(f".{owner_file(lock).name}.{_name(seen)}")
    try:
        if not _seize(claim, lock, {}):
            return False
    except Held:
        return False
    try:
        now = _look(path)
        if now is None or _name(now) != _name(seen):
            return False
        write_atomic(path, _record(), durable=False)
    finally:
        claim.unlink(missing_ok=True)
    return True


def _look(path: Path) -> _Seen | None:
    """A record's contents (none where they may not be read) and what the file system says of it; ``None``: not there."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return file.read(_MOST_BYTES), os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    except OSError:
        pass
    try:
        return b"", os.lstat(path)
    except FileNotFoundError:
        return None


def _create(path: Path, status: dict[str, Any]) -> bool:
    """Put our record where none is; ``False`` if somebody was faster."""
    if _run_lives(status):
        raise Held
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(fd, "wb") as file:
        file.write(_record())
    return True


def _name(seen: _Seen) -> str:
    """A name for exactly this record: another one with equal contents has another."""
    data, found = seen
    return hashlib.sha256(data + f"{found.st_ino} {found.st_mtime_ns}".encode()).hexdigest()[:12]


def _taken(data: bytes, found: os.stat_result, lock: Path, status: dict[str, Any]) -> bool:
    """Whether the process behind a record lives, as far as that can be told without flock."""
    owner = _parse(data)
    young = time.time() - found.st_mtime < _WRITING_SECONDS
    if owner is None:
        return young
    if process.is_here(owner):
        return (process.is_alive(owner) and process.has_open(owner["pid"], lock)) or _run_lives(status)
    return young or _beats(status)  # one that was taken just now beats soon


def _taken_elsewhere(owner: dict[str, Any] | None, status: dict[str, Any]) -> bool:
    """Flock may work within a host only: believe what another one's run says of itself."""
    return (
        owner is not None and not process.is_here(owner) and _beats(status) and owner.get("host") == status.get("host")
    )


def _run_lives(status: dict[str, Any]) -> bool:
    """Whether the recorded processes of the run live: a worker outlives its supervisor."""
    if not process.is_here(status):
        return _beats(status)
    return process.is_alive(status) or process.is_alive(status, "supervisor_pid", "supervisor_started")


def _beats(status: dict[str, Any]) -> bool:
    from engine.status import LIVE

    beat = status.get("heartbeat")
    return status.get("state") in LIVE and isinstance(beat, int | float) and time.time() - beat < FRESH_SECONDS


def _read_owner(lock: Path) -> dict[str, Any] | None:
    from engine.rundir import read_json

    return read_json(owner_file(lock))


def _parse(data: bytes | None) -> dict[str, Any] | None:
    try:
        value = json.loads(data or b"")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _record() -> bytes:
    return json.dumps(process.identity(os.getpid())).encode() + b"\n"


def _same(fd: int, lock: Path) -> bool:
    try:
        found = os.lstat(lock)
        return stat.S_ISREG(found.st_mode) and os.path.samestat(os.fstat(fd), found)
    except FileNotFoundError:
        return False


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass
