"""The lock of a run: an flock that the run's processes inherit, and a record of its owner beside it.

The flock is the truth where it works. Where it does not (some network file systems), the exclusively created record says
who is here; of a holder on another host or in another container only its run's heartbeat can tell.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
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
    for _ in range(20):
        try:
            seen = path.read_bytes()
        except FileNotFoundError:
            seen = None
        except OSError:
            seen = b""
        if _taken(path, seen, works, status):
            raise Held
        if works:  # what stands there is stale: the flock is ours
            return
        if seen is not None:
            _put_aside(path, seen)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(fd, "wb") as file:
            file.write(_record())
        return
    raise Held


def _taken(path: Path, seen: bytes | None, works: bool, status: dict[str, Any]) -> bool:
    owner = _parse(seen)
    beats = _beats(status)
    if works:  # flock may work within a host only: believe what another one's run says of itself
        return owner is not None and not process.is_here(owner) and beats and owner.get("host") == status.get("host")
    if owner is None:
        return _is_being_written(path) if seen is not None else _run_lives(status)
    if process.is_here(owner):
        lock = path.with_name(path.name.removesuffix(".owner"))
        return (process.is_alive(owner) and process.has_open(owner["pid"], lock)) or _run_lives(status)
    return beats


def _run_lives(status: dict[str, Any]) -> bool:
    """Whether the recorded processes of the run live: a worker outlives its supervisor."""
    if not process.is_here(status):
        return _beats(status)
    return process.is_alive(status) or process.is_alive(status, "supervisor_pid", "supervisor_started")


def _beats(status: dict[str, Any]) -> bool:
    from engine.status import LIVE

    beat = status.get("heartbeat")
    return status.get("state") in LIVE and isinstance(beat, int | float) and time.time() - beat < FRESH_SECONDS


def _is_being_written(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime < _WRITING_SECONDS
    except OSError:
        return False


def _put_aside(path: Path, seen: bytes) -> None:
    """Remove exactly the stale record that was judged: of several who try, nobody removes a winner's new one."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return
    try:
        if aside.read_bytes() != seen:
            os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        aside.unlink(missing_ok=True)


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
