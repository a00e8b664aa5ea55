"""The processes of a run and what they use: read from /proc, cheaply, without looking at others' processes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")
CGROUP = Path("/sys/fs/cgroup")
MOST = 1000


class Family:
    """A process and all its descendants."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ticks: dict[int, int] = {}
        self._read_at: float | None = None

    @property
    def fresh(self) -> bool:
        """Whether nothing was read yet."""
        return self._read_at is None

    def members(self) -> set[int]:
        """The pids that live now."""
        found: set[int] = set()
        todo = [self.pid]
        while todo and len(found) < MOST:
            pid = todo.pop()
            if pid not in found:
                found.add(pid)
                todo += _children(pid)
        return found

    def usage(self) -> dict[str, Any]:
        """``run_cpu`` (percent of one core since the last call, ``None`` at the first), ``run_memory`` (bytes), ``pids``.

        Memory that a child shares with others counts once, with its parent.
        """
        pids, now = self.members(), time.monotonic()
        memory, ticks = 0, {}
        for pid in pids:
            try:
                _, resident, shared = map(int, Path(f"/proc/{pid}/statm").read_bytes().split()[:3])
                stat = Path(f"/proc/{pid}/stat").read_bytes()
            except (OSError, ValueError):
                continue
            memory += (resident if pid == self.pid else max(0, resident - shared)) * _PAGE
            fields = stat[stat.rfind(b")") + 2 :].split()
            ticks[pid] = int(fields[11]) + int(fields[12])
        cpu = None
        if self._read_at is not None and now > self._read_at:
            used = sum(max(0, count - self._ticks.get(pid, 0)) for pid, count in ticks.items())
            cpu = round(100 * used / _TICK / (now - self._read_at), 1)
        self._ticks, self._read_at = ticks, now
        return {"run_cpu": cpu, "run_memory": memory or None, "pids": pids}


def machine_usage(family: Family) -> dict[str, Any]:
    """The ``host`` of a ``hardware`` event: CPU in percent of all cores since the last call, memory in bytes."""
    import psutil

    memory = psutil.virtual_memory()
    used, total = memory.total - memory.available, memory.total
    limit = _group_memory(family.pid)
    if limit is not None and limit[1] < total:  # in a container that may have less than the machine
        used, total = limit
    cpu = psutil.cpu_percent()
    return {
        "cpu": None if family.fresh else cpu,  # since nothing: the first call tells nothing
        "cores": psutil.cpu_count() or 1,
        "memory_used": used,
        "memory_total": total,
        **family.usage(),
    }


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            try:
                found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_bytes().split())
            except (OSError, ValueError):
                continue
    except OSError:
        pass
    return found


def _group_memory(pid: int) -> tuple[int, int] | None:
    """Bytes used and allowed in the nearest control group (version 2) with a limit; caches that can go do not count."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
        group = next(line[3:] for line in lines if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    parts = [part for part in group.split("/") if part not in ("", ".", "..")]
    for length in range(len(parts), -1, -1):
        folder = CGROUP.joinpath(*parts[:length])
        try:
            limit = int((folder / "memory.max").read_text())
            used = int((folder / "memory.current").read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            return max(0, used - int(stat.get("inactive_file", 0))), limit
        except (OSError, ValueError):
            continue
    return None
