"""Who else computes on a GPU: runs of this app by name, and other people's processes by user."""

from __future__ import annotations

import itertools
import os
import pwd
from dataclasses import dataclass

from engine import registry
from engine.hardware import Gpu
from engine.rundir import RunDir
from engine.text import clean

_LOOKED_AT = 50


@dataclass(frozen=True, slots=True)
class Other:
    """One process on a GPU; ``user`` is empty where it cannot be told, ``run`` the name of the run it belongs to."""

    pid: int
    user: str
    run: str = ""

    @property
    def words(self) -> str:
        """``run chat-style (you)``, ``a process of anna``."""
        whose = f"of {self.user}" if self.user else "of somebody"
        return f"run {self.run}" if self.run else f"process {self.pid} {whose}"


def others(gpu: Gpu) -> list[Other]:
    """The processes that compute on it now, runs first. May read a few files; raises nothing."""
    if not gpu.pids:
        return []
    runs = _runs(set(gpu.pids))
    found = [Other(pid, _user(pid), runs.get(pid, "")) for pid in gpu.pids]
    return sorted(found, key=lambda other: (not other.run, other.user, other.pid))


def _runs(pids: set[int]) -> dict[int, str]:
    """Names of the registered runs that these processes belong to."""
    found: dict[int, str] = {}
    for _, path in itertools.islice(registry.entries(), _LOOKED_AT):
        status = RunDir(path).read_status() or {}
        ranks = status.get("ranks")
        ranks = [rank.get("pid") for rank in ranks if isinstance(rank, dict)] if isinstance(ranks, list) else []
        for pid in [status.get("pid"), *ranks]:
            if type(pid) is int and pid in pids and status.get("ended") is None:
                record = RunDir(path).read_run() or {}
                found[pid] = clean(str(record.get("name") or path.name), 40)
    return found


def _user(pid: int) -> str:
    try:
        return clean(pwd.getpwuid(os.stat(f"/proc/{pid}").st_uid).pw_name, 30)
    except (OSError, KeyError):
        return ""
