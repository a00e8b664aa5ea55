"""What speaks against a removal: places that are no run's, runs that live, other runs that need this one."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine import paths, process, registry
from engine import status as states
from engine.errors import Problem
from engine.history.removal import layouts
from engine.history.removal.handles import person
from engine.history.walk import is_run
from engine.records import sane_run, sane_status
from engine.rundir import FORMAT, META, RunDir

# A run of another machine that was not heard for so long (seconds) is believed to be over.
SILENT = 24 * 3600.0
_SYSTEM = frozenset(
    ("/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root", "/run",
     "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/local", "/usr/share", "/var", "/var/lib", "/var/tmp")
)  # fmt: skip


def place_problems(path: Path, info: os.stat_result, names: set[str], *, whole: bool) -> list[Problem]:
    """Why a directory is not one that may be removed, whatever is in it. ``path`` has no links."""
    found = []

    def no(kind: str, message: str, hint: str = "") -> None:
        found.append(Problem(kind, message, hint, file=str(path)))

    if not stat.S_ISDIR(info.st_mode):
        no("no-run", "is no directory")
        return found
    if info.st_uid != os.geteuid():
        no("other-owner", f"belongs to {person(info.st_uid)}", "Only its owner can remove it")
    if str(path) in _SYSTEM or _holds(path, _precious()):
        no("precious", "holds a home directory, the system, or tunedeck's own files", "Name the directory of one run")
    elif whole and _holds(path, [Path.cwd()] if _cwd() else []):
        no("precious", "is the directory in which you are, or holds it", "Leave it first")
    if whole and ".git" in names:
        no("precious", "is a git checkout", "Remove it yourself, or free space with --prune")
    removing = any(name.startswith(layouts.QUARANTINE) for name in names)
    if META not in names and not removing and not is_run(path):
        model = layouts.is_model(names)
        what = "is a model without any sign of training" if model else "holds no run"
        no("no-run", what, "Only what a training left can be removed here")
    parent = _checkpoint_of(path)
    if parent:
        no("checkpoint", f"is a checkpoint of the run {parent}", f"Prune that run: tunedeck rm {parent} --prune")
    return found


def state_problems(run: RunDir) -> tuple[list[Problem], list[Problem]]:
    """Why the recorded state of an own run forbids its removal, and what there is to know."""
    where = str(run.path)
    if run.meta.is_symlink():
        return [Problem("no-run", f"{META} is a link, not a record", "Remove the link yourself", file=where)], []
    record, status = run.read_run() or {}, sane_status(run.read_status())[0]
    form = record.get("format")
    if isinstance(form, int) and form > FORMAT:
        return [Problem("newer-format", "was recorded by a newer version", "Remove it with that one", file=where)], []
    locked = run.lock_state
    state = states.infer(status or None, locked=locked)
    if not state.live and locked:
        text = "has ended, but one of its processes still holds its lock"
        return [Problem("run-in-use", text, "End that process first", file=where)], []
    if not state.live:
        return [], []
    if state.here:
        hint = "Cancel it first: tunedeck queue cancel" if state.state == states.QUEUED else "Stop it first"
        return [Problem("run-in-use", f"is {state.state}", hint, file=where)], []
    silent = time.time() - (state.heard or 0.0)
    if silent > SILENT:
        text = f"was {state.state} on {state.host}, which has not been heard for {silent / 86400:.0f} days"
        return [], [
            Problem("other-host", text, "If it still runs there, stop it first", file=where, severity="warning")
        ]
    text = f"is {state.state} on {state.host}, last heard {max(0.0, silent):.0f} s ago"
    return [Problem("run-in-use", text, f"Stop it first, or remove it on {state.host}", file=where)], []


def dependents(path: Path) -> Iterator[tuple[str, bool, str, str]]:
    """Registered runs that use something below ``path``: (name, whether it lives, for what, the path that it uses)."""
    for run_id, where in registry.runs():
        if where == path or os.path.realpath(where) == str(path):
            continue
        run = RunDir(where)
        record, _ = sane_run(run.read_run())
        uses = list(_uses(record, path))
        if uses:
            state = states.infer(sane_status(run.read_status())[0] or None, locked=run.lock_state)
            for what, used in uses:
                yield str(record.get("name") or run_id), state.live, what, used


def writers(path: Path) -> list[tuple[int, str]]:
    """Processes that have something below ``path`` open for writing, as far as they may be seen: (pid, relative path)."""
    found = []
    own, prefix = os.getpid(), f"{path}/"
    locks = (f"{META}/lock", f"{META}/lock.owner")
    for pid in os.listdir("/proc") if os.path.isdir("/proc/self/fd") else ():
        if not pid.isdigit() or int(pid) == own:
            continue
        try:
            numbers = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for number in numbers:
            try:
                target = os.readlink(f"/proc/{pid}/fd/{number}")
                if target.startswith(prefix) and _writes(pid, number):
                    relative = target[len(prefix) :].removesuffix(" (deleted)")
                    if relative not in locks:
                        found.append((int(pid), relative))
            except OSError:
                continue
    return found


def _writes(pid: str, number: str) -> bool:
    with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii", errors="replace") as file:
        flags = next((line.split()[1] for line in file if line.startswith("flags:")), "0")
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


def _uses(record: dict[str, Any], path: Path) -> Iterator[tuple[str, str]]:
    config, attempts = record.get("config"), record.get("attempts")
    named = [("its setting " + key, value) for key, value in config.items()] if isinstance(config, dict) else []
    for attempt in attempts if isinstance(attempts, list) else []:
        if isinstance(attempt, dict):
            named.append(("the checkpoint that it began from", attempt.get("checkpoint")))
    for what, value in named:
        if isinstance(value, str) and value.startswith("/") and "\0" not in value and what != "its setting output_dir":
            real = os.path.realpath(value)
            if real.startswith(f"{path}/") or real == str(path):
                yield what, real


def _precious() -> list[Path]:
    found = [paths.state_dir(), paths.cache_dir(), paths.config_dir(), Path(sys.prefix), Path(__file__).parent]
    for home in (os.environ.get("HOME"), os.path.expanduser("~")):
        if home and home.startswith("/"):
            found.append(Path(home))
    return found


def _holds(path: Path, places: list[Path]) -> bool:
    real = [Path(os.path.realpath(place)) for place in places]
    return any(place == path or path in place.parents for place in real)


def _cwd() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def _checkpoint_of(path: Path) -> Path | None:
    """The run whose checkpoint a directory is, if it is one."""
    if not layouts.is_checkpoint(path.name):
        return None
    try:
        names = set(os.listdir(path.parent)) - {path.name}
    except OSError:
        return None
    return path.parent if META in names or layouts.shows_training(names) else None


def process_name(pid: int) -> str:
    """What a process is called, untrusted."""
    return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip() if process.started(pid) is not None else "?"
