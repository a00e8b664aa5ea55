"""Who a process is: pid numbers are reused, so a process is known by pid, start time, boot, namespace and machine."""

from __future__ import annotations

import os
import signal
import socket
import stat
from functools import cache
from pathlib import Path
from typing import Any


@cache
def boot_id() -> str:
    """The kernel's id of this boot; empty where there is none."""
    return _read("/proc/sys/kernel/random/boot_id")


@cache
def machine_id() -> str:
    """A stable id of this machine (systemd's, else the host name)."""
    return _read("/etc/machine-id") or socket.gethostname()


@cache
def host() -> str:
    """The host's name."""
    return socket.gethostname()


def pid_namespace() -> str:
    """The pid namespace of this process, e.g. ``pid:[4026531836]``; a container has its own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def started(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot (field 22 of ``/proc/PID/stat``), ``None`` if it is gone.

    A zombie counts as gone: its work has ended.
    """
    try:
        data = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = data[data.rfind(b")") + 2 :].split()
    if len(fields) < 20 or fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def identity(pid: int) -> dict[str, Any]:
    """What ``status.json`` records of a process on this machine."""
    return {
        "pid": pid,
        "pid_started": started(pid),
        "boot_id": boot_id(),
        "pid_namespace": pid_namespace(),
        "machine_id": machine_id(),
        "host": host(),
    }


def is_here(record: dict[str, Any]) -> bool:
    """Whether a record speaks of this machine and pid namespace, so that pids mean anything.

    Copies of one disk image share their machine id: then the boot, or at least the host's name, must be the same too.
    """
    if record.get("machine_id") != machine_id() or record.get("pid_namespace") != pid_namespace():
        return False
    return record.get("boot_id") == boot_id() or record.get("host") == host()


def is_alive(record: dict[str, Any], pid_key: str = "pid", started_key: str = "pid_started") -> bool:
    """Whether exactly the recorded process still runs; only meaningful if :func:`is_here`."""
    pid, begun = record.get(pid_key), record.get(started_key)
    if not isinstance(pid, int) or not isinstance(begun, int) or pid <= 1 or not is_here(record):
        return False
    return record.get("boot_id") == boot_id() and started(pid) == begun


def signal_exactly(
    record: dict[str, Any], number: int, lock: Path, pid_key: str = "pid", started_key: str = "pid_started"
) -> bool:
    """Send a signal to the recorded process of a run and to nobody else; ``False`` if it is not there.

    A record can be forged or stale. So the process must be the recorded one, belong to this user, and hold the run's
    ``lock`` (a path): no other process of the machine does.
    """
    if not is_alive(record, pid_key, started_key):
        return False
    pid = record[pid_key]
    try:
        fd = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return False
    try:
        # Checked behind the descriptor: from here on the number cannot come to mean another process.
        if not (is_alive(record, pid_key, started_key) and is_mine(pid) and holds(pid, lock)):
            return False
        signal.pidfd_send_signal(fd, number)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def is_mine(pid: int) -> bool:
    """Whether a process runs under this user's id, real and effective."""
    words = next((line.split() for line in _read(f"/proc/{pid}/status").splitlines() if line.startswith("Uid:")), [])
    return words[1:3] == [str(os.getuid())] * 2


def holds(pid: int, lock: Path) -> bool:
    """Whether a process has a lock file open and holds its flock (where flock works: else open is all that is known).

    Only a plain file of this user with a single name counts: a link could lead to anything that others have open.
    """
    from engine import runlock

    held = runlock.state(lock)
    try:
        file = os.lstat(lock)
        if held is False or not stat.S_ISREG(file.st_mode) or file.st_nlink != 1 or file.st_uid != os.getuid():
            return False
        found = _descriptors(pid, file)
    except OSError:
        return False
    return any(held is None or "FLOCK  ADVISORY  WRITE" in _read(f"/proc/{pid}/fdinfo/{name}") for name in found)


def has_open(pid: int, path: Path) -> bool:
    """Whether a process has a file open; also true where its descriptors may not be seen."""
    try:
        return bool(_descriptors(pid, os.stat(path)))
    except PermissionError:
        return True
    except OSError:
        return False


def _descriptors(pid: int, file: os.stat_result) -> list[str]:
    """Numbers of the descriptors by which a process has a file open; raises ``OSError``."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.path.samestat(os.stat(f"/proc/{pid}/fd/{name}"), file):
                found.append(name)
        except OSError:
            continue
    return found


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
