"""Evidence that the kernel's memory killer ended a process: its own count of kills in the process's control group."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
SAMPLE_SECONDS = 0.2
# A process that held much memory takes a while to die after the kernel has counted it.
WINDOW_SECONDS = 5.0


class MemoryKiller:
    """Watches the counts around one process: only a kill that was counted just before its death is its own."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._samples: deque[tuple[float, dict[Path, int]]] = deque()
        self._files: list[Path] = []

    def sample(self) -> None:
        """Note the counts now; call it at every look at the living process."""
        now = time.monotonic()
        if self._samples and now - self._samples[-1][0] < SAMPLE_SECONDS / 2:
            return
        # A dying process is already counted among the root's: where it has lived before stays in view.
        self._files += [file for file in counters(self.pid) if file not in self._files]
        self._samples.append((now, _read(self._files)))
        # The newest sample that is older than the window stays: it tells what was before.
        while len(self._samples) > 1 and now - self._samples[1][0] > WINDOW_SECONDS:
            self._samples.popleft()

    def has_killed(self) -> bool:
        """Whether a count rose within the last seconds of the process; call it once, after its death."""
        after = _read(self._files)
        seen = [counts for _, counts in self._samples] + [after]
        for file in self._files:
            counts = [counts[file] for counts in seen if file in counts]
            if len(counts) > 1 and counts[-1] > counts[0]:
                return True
        return False


def counters(pid: int) -> list[Path]:
    """The files that count memory kills of a process's control group.

    Both hierarchies count a victim in its own group whoever ran out of memory, so the nearest group that can be seen is
    enough. In the root of all groups nothing is counted: there the count of the whole machine has to do.
    """
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    roots: tuple[Path, ...]
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            roots, name = (CGROUPS, CGROUPS / "unified"), "memory.events"
        elif "memory" in controllers.split(","):
            roots, name = (CGROUPS / "memory",), "memory.oom_control"
        else:
            continue
        found += [file for root in roots if (file := _nearest(root, group, name)) is not None]
    return found or [Path("/proc/vmstat")]


def _nearest(root: Path, group: str, name: str) -> Path | None:
    """The file of the group, or of the first group above it that can be seen (a container sees only its own)."""
    parts = [part for part in group.split("/") if part not in ("", ".", "..")]
    for length in range(len(parts), -1, -1):
        file = root.joinpath(*parts[:length], name)
        if _count(file) is not None:
            return file
    return None


def _read(files: list[Path]) -> dict[Path, int]:
    return {file: count for file in files if (count := _count(file)) is not None}


def _count(file: Path) -> int | None:
    try:
        for line in file.read_text(encoding="ascii", errors="replace").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    except (OSError, ValueError):
        pass
    return None
