"""A real memory limit of the kernel (control group v1, or v2 where it is delegated)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.trial import Skip

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@contextlib.contextmanager
def limited(limit: int) -> Iterator[Path]:
    """What is started inside lives in a group of at most ``limit`` bytes; raises :class:`Skip` where that cannot be had."""
    group, home_group = _make(limit)
    me = str(os.getpid())
    (group / "cgroup.procs").write_text(me)
    try:
        yield group
    finally:
        home_group.write_text(me)
        for _ in range(100):
            try:
                group.rmdir()
                break
            except OSError:  # the supervisor is still in it; what is left is empty and goes with the machine
                time.sleep(0.05)


def _make(limit: int) -> tuple[Path, Path]:
    name = f"tunedeck-fault-{os.getpid()}"
    try:
        if (V1 / "memory.limit_in_bytes").exists():
            line = next(x for x in Path("/proc/self/cgroup").read_text().splitlines() if x.split(":")[1] == "memory")
            own = line.split(":", 2)[2].lstrip("/")
            home = V1 / own / "cgroup.procs"
            group = V1 / name
            group.mkdir()
            (group / "memory.limit_in_bytes").write_text(str(limit))
            with contextlib.suppress(OSError):
                (group / "memory.memsw.limit_in_bytes").write_text(str(limit))
            return group, home if home.exists() else V1 / "cgroup.procs"
        if "memory" in (V2 / "cgroup.subtree_control").read_text().split():
            own = Path("/proc/self/cgroup").read_text().strip().split("::", 1)[1].lstrip("/")
            group = V2 / name
            group.mkdir()
            (group / "memory.max").write_text(str(limit))
            with contextlib.suppress(OSError):
                (group / "memory.swap.max").write_text("0")
            return group, V2 / own / "cgroup.procs"
    except (OSError, StopIteration) as error:
        raise Skip(f"no control group with a memory limit can be made here: {error}") from None
    raise Skip("no control group with a memory limit can be made here")
