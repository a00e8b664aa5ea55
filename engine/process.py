"""Who a process is: pid numbers are reused, so a process is known by pid, start time, boot, namespace and machine."""

from __future__ import annotations

import os
import signal
import socket
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
    """Whether a record speaks of this machine and pid namespace, so that pids mean anything."""
    return record.get("machine_id") == machine_id() and record.get("pid_namespace") == pid_namespace()


def is_alive(record: dict[str, Any], pid_key: str = "pid", started_key: str = "pid_started") -> bool:
    """Whether exactly the recorded process still runs; only meaningful if :func:`is_here`."""
    pid, begun = record.get(pid_key), record.get(started_key)
    if not isinstance(pid, int) or not isinstance(begun, int) or pid <= 1 or not is_here(record):
        return False
    return record.get("boot_id") == boot_id() and started(pid) == begun


def signal_exactly(record: dict[str, Any], number: int, pid_key: str = "pid", started_key: str = "pid_started") -> bool:
    """Send a signal to the recorded process and to nobody else; ``False`` if it is not there."""
    if not is_alive(record, pid_key, started_key):
        return False
    try:
        fd = os.pidfd_open(record[pid_key])
    except (AttributeError, OSError):
        return False
    try:
        # Between check and open the pid could have been reused: check again behind the descriptor.
        if not is_alive(record, pid_key, started_key):
            return False
        signal.pidfd_send_signal(fd, number)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
