"""A disk that fails: nothing is lost without a word, earlier checkpoints stay whole, and the end names the reason."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from engine import checkpoints
from engine.events import EventReader
from engine.rundir import RunDir
from engine.snapshot import RunView
from tests.faults import home, realrun
from tests.faults.trial import Skip, Trial

KINDS = ("full tmpfs", "read-only mount", "EIO on fsync", "too few inodes", "too few file descriptors")
# Long enough for more than the last page of the events' file, which is there even on a full disk.
EVENTS_UNTIL = 10
MOMENTS = ("events", "checkpoint", "final save")
WORDS = {
    "full tmpfs": r"disk full|[Nn]o space|space",
    "read-only mount": r"[Rr]ead-only",
    "EIO on fsync": r"[Ii]nput/output|I/O error|EIO|the disk",
    "too few inodes": r"disk full|[Nn]o space|inodes",
    "too few file descriptors": r"open files|file descriptors|EMFILE",
}
# fsync that fails once a file is there. The run's own processes alone load it.
EIO_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int broken(void) { const char *path = getenv("TUNEDECK_FAULT_EIO"); return path && access(path, F_OK) == 0; }
int fsync(int fd) { if (broken()) { errno = EIO; return -1; } return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd); }
int fdatasync(int fd) { if (broken()) { errno = EIO; return -1; } return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd); }
"""


def trial(trial: Trial, folder: Path) -> None:
    """Full or read-only disk, EIO on fsync, no inodes, no file descriptors × during events, checkpoint, final save."""
    kind = KINDS[trial.number % 5]
    moment = MOMENTS[trial.number // 5 % 3]
    turn = trial.number // 15
    trial.where = f"{kind}, {moment}"
    disk = folder / "disk"
    with _place(kind, disk, folder) as env:
        # Events: broken for steps 1 to 10, mended before the only checkpoint. Checkpoint: before steps 4 to 6 and their save.
        at: str | int = {"events": 0, "checkpoint": 3 + turn % 3, "final save": "final"}[moment]
        places = f"0 {EVENTS_UNTIL}" if moment == "events" else at
        more: dict[str, object] = {"worker_python": realrun.barrier_python(folder, places), "output_dir": disk / "out"}
        if moment == "events":
            more |= {"save_steps": realrun.STEPS, "eval_steps": realrun.SAVE_STEPS}
        run = realrun.launch(folder, env=env, **more)
        realrun.reached(folder, run, at)
        stood = [c.step for c in checkpoints.checkpoints(run.path) if c.valid]
        mend = _break(kind, disk, run, folder, moment, turn)
        broken = time.monotonic()
        realrun.go(folder, at)
        if moment == "events":
            realrun.reached(folder, run, EVENTS_UNTIL)
            mend()
            realrun.go(folder, EVENTS_UNTIL)
        view = realrun.ended(run)
        gone = time.monotonic() - broken
        trial.outcome = f"{view.state.state}: {view.state.reason} ({gone:.1f} s)"
        _judge(trial, kind, moment, run, view, stood)
        mend()


def _judge(trial: Trial, kind: str, moment: str, run: RunDir, view: RunView, stood: list[int]) -> None:
    said = trial.outcome
    for step in stood:
        found = next((c for c in checkpoints.checkpoints(run.path) if c.step == step), None)
        assert found is not None, f"{said}: checkpoint-{step} is gone"
        why = checkpoints.verify(found)
        assert not why, f"{said}: checkpoint-{step} stood before and is now damaged: {why}"
    for one in checkpoints.checkpoints(run.path):
        why = checkpoints.verify(one) if one.valid else ""
        assert not why, f"{said}: checkpoint-{one.step} is offered, but {why}"
    trial.count(**{"earlier checkpoints whole": len(stood)})
    lost, missing, noted = _events(run, view)
    trial.count(**{"events missing": missing, "counted as lost": lost})
    if view.state.state == "completed":
        realrun_adapter = realrun.digest(run.path / realrun.ADAPTER)
        assert realrun_adapter == realrun.control_in_trial()["adapter"], f"{said}: but the adapter is not the control's"
        # A final save may just fit, into what the run had kept in reserve: then nothing is missing and nothing to be said.
        whole = not (missing or lost)
        assert moment == "events" or kind in ("too few file descriptors", "EIO on fsync") or noted or whole, (
            f"{said}: with nothing said of the fault"
        )
        assert lost >= missing, (
            f"{said}: {missing} steps are missing in the events and notices count {lost} lost events"
        )
    else:
        assert view.state.state == "failed", (
            f"{said}: a run that its disk ended reads {view.state.state}; {realrun.last_words(run)}"
        )
        assert re.search(WORDS[kind], view.state.reason), (
            f"{said}: the reason does not name {kind}; {realrun.last_words(run)}"
        )
    if (kind, moment) == ("full tmpfs", "checkpoint") or (kind == "read-only mount" and moment != "events"):
        assert view.state.state == "failed", f"{said}: nothing could be saved, yet it reads {view.state.state}"


def _events(run: RunDir, view: RunView) -> tuple[int, int, bool]:
    """Events that notices count as lost, steps that are missing up to the last one, whether any warning was given."""
    events = EventReader(run.events).poll(1 << 26)
    lost = sum(int(e.get("lost") or 0) for e in events if e["type"] == "notice")
    steps = {e["step"] for e in events if e["type"] == "step"}
    missing = len(set(range(1, max(steps, default=0) + 1)) - steps)
    noted = any(n.level in ("warning", "error") for n in view.notices)
    return lost, missing, noted


@contextmanager
def _place(kind: str, disk: Path, folder: Path) -> Iterator[dict[str, str]]:
    """A disk of its own, and the environment in which the run is launched."""
    env = dict(os.environ)
    if kind == "EIO on fsync":
        if shutil.which("cc") is None:
            raise Skip("there is no C compiler to build the failing fsync with")
        (folder / "eio.c").write_text(EIO_SOURCE)
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-o", str(folder / "eio.so"), str(folder / "eio.c"), "-ldl"], check=True
        )
        env |= {"LD_PRELOAD": str(folder / "eio.so"), "TUNEDECK_FAULT_EIO": str(folder / "eio-on")}
    with home.small_disk(disk, "24m", inodes=400):
        yield env


class _Mend:
    """Takes a fault back, once."""

    def __init__(self, *actions: object) -> None:
        self.actions = list(actions)

    def __call__(self) -> None:
        while self.actions:
            action = self.actions.pop()
            assert callable(action)
            action()


def _break(kind: str, disk: Path, run: RunDir, folder: Path, moment: str, turn: int) -> _Mend:
    """Break the disk now; returns how to mend it."""
    if kind == "full tmpfs":
        # To the last byte, or with some room left that a checkpoint (0.9 MB) does not fit in.
        filler = home.fill(disk, leave=(0, 100_000, 400_000)[turn % 3] if moment != "events" else 0)
        return _Mend(lambda: filler.unlink(missing_ok=True))
    if kind == "read-only mount":
        # A mount that is written to cannot be made read-only; one that is laid over it can.
        home.mount("--bind", run.path, run.path)
        home.mount("-o", "remount,bind,ro", run.path)
        return _Mend(lambda: subprocess.run(["umount", "-l", str(run.path)], check=False))
    if kind == "EIO on fsync":
        (folder / "eio-on").touch()
        return _Mend(lambda: (folder / "eio-on").unlink(missing_ok=True))
    if kind == "too few inodes":
        home.fill_inodes(disk, leave=(0, 1, 4)[turn % 3])
        return _Mend(lambda: shutil.rmtree(disk / "inodes", ignore_errors=True))
    pid = realrun.worker_pid(run)
    assert pid is not None
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    lowest = next(n for n in range(len(taken) + 1) if n not in taken)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest + turn % 3, before[1]))  # room for none, one or two more

    def mend() -> None:
        if psutil.pid_exists(pid) and realrun.worker_pid(run) == pid:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

    return _Mend(mend)
