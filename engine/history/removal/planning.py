"""Looks at a run and says what its removal would take, without touching anything."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.errors import Problem
from engine.history.readers import read_summary
from engine.history.removal import guards, layouts, pruning
from engine.history.removal.handles import folder, kind_of, look, mount_of, reason
from engine.history.removal.layouts import CHECKPOINT, IN_ROOT
from engine.history.removal.pruning import BEST, LAST
from engine.history.removal.records import CHECKPOINTS, DIRECTORY, LINK, RUN, STATES, Entry, Kept, Plan
from engine.history.removal.sources import foreign_record, sources
from engine.history.removal.survey import Survey
from engine.rundir import META, RunDir
from engine.text import clean

# A directory without a lock in which something is younger (seconds) may belong to a training that goes on.
FRESH = 600.0


def plan(
    path: str | os.PathLike[str],
    *,
    checkpoints_only: bool = False,
    optimizer_states: bool = False,
    keep: Iterable[str | int] = (BEST, LAST),
    everything: bool = False,
) -> Plan:
    """What a removal of the run at ``path`` would take; never raises, and writes nothing.

    ``checkpoints_only`` frees space and leaves the run: all checkpoints go but those in ``keep`` (``BEST``, ``LAST``, or
    steps); ``optimizer_states`` frees the optimizer's states of those that stay, alone or together with that.
    ``everything`` takes files, too, of which it is not known that they belong to a run; other runs, models and what the
    run was made from stay even then.
    """
    if "\0" in os.fsdecode(path):
        return Plan(Path("?"), RUN, "?", refused=[Problem("no-run", "is no name of a directory")])
    where = Path(os.path.abspath(os.path.expanduser(path)))
    real = Path(os.path.realpath(where.parent)) / where.name if where.name else where
    what = CHECKPOINTS if checkpoints_only else STATES if optimizer_states else RUN
    result = Plan(real, what, clean(real.name or str(real), 200))
    try:
        _plan(result, optimizer_states, list(keep), everything)
    except OSError as error:
        words = (
            "there is no such directory" if isinstance(error, FileNotFoundError) else f"cannot be read: {reason(error)}"
        )
        result.refused.append(Problem("no-run", words, file=str(real)))
    return result


def _plan(result: Plan, optimizer_states: bool, keep: list[str | int], everything: bool) -> None:
    path, info = result.path, os.lstat(result.path)
    if stat.S_ISLNK(info.st_mode):
        text = "is a link; what it leads to is never removed through it"
        result.refused.append(
            Problem("link", text, f"Name the directory itself: {os.path.realpath(path)}", file=str(path))
        )
        return
    if not stat.S_ISDIR(info.st_mode):
        result.refused.append(Problem("no-run", "is no directory", file=str(path)))
        return
    with folder(path) as fd:
        here = os.fstat(fd)
        result.device, result.inode = here.st_dev, here.st_ino
        names = set(os.listdir(fd))
        result.refused += guards.place_problems(path, here, names, whole=result.what == RUN)
        meta = look(META, fd)
        result.record = meta.st_ino if meta is not None and kind_of(meta) in (DIRECTORY, LINK) else None
        record: dict[str, Any] = _own(result) if result.own else _foreign(result)
        if result.refused:
            return
        _in_use(result)
        needed = _needed(result)
        if result.refused:
            return
        survey = Survey(mount_of(fd), sources(path, record, names, everything=everything), everything)
        if result.what == RUN:
            survey.walk(fd, IN_ROOT)
            result.entries, result.kept = survey.entries, survey.kept
            _tell_of_links(result)
            if not os.access(path.parent, os.W_OK | os.X_OK):
                text = "stays, empty: the directory that it is in may not be changed"
                result.warnings.append(Problem("parent", text, file=str(path), severity="warning"))
        else:
            _spare(result, fd, survey, needed, keep, optimizer_states)
        if not result.own:
            _tell_of_fresh(result)


def _own(result: Plan) -> dict[str, Any]:
    run = RunDir(result.path)
    result.tool = "tunedeck"
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        result.lock = os.lstat(run.lock).st_ino
    refused, warnings = guards.state_problems(run)
    result.refused += refused
    result.warnings += warnings
    record = run.read_run() or {}
    result.id = record["id"] if isinstance(record.get("id"), str) else None
    return record


def _foreign(result: Plan) -> dict[str, Any]:
    summary = read_summary(result.path) if not result.refused else None
    result.tool = summary.tool if summary is not None else result.tool
    return foreign_record(result.path, summary)


def _in_use(result: Plan) -> None:
    found = guards.writers(result.path)
    if found:
        pid, name = found[0]
        text = f"{clean(guards.process_name(pid), 60)} (process {pid}) has {clean(name, 200)} open for writing"
        result.refused.append(Problem("in-use", text, "Wait for it, or end it first", file=str(result.path)))


def _needed(result: Plan) -> dict[str, str]:
    """First parts of paths that other runs use, with the words why; refuses the whole where such a run lives."""
    needed: dict[str, str] = {}
    for name, live, what, used in guards.dependents(result.path):
        name, relative = clean(name, 100), os.path.relpath(used, result.path)
        relative = "its directory" if relative == "." else relative
        needed[relative.partition("/")[0]] = f"the run {name} uses it: it is {what}"
        if result.what == RUN and live:
            text = f"{clean(relative, 200)} is used by the run {name}, which has not ended: it is {what}"
            result.refused.append(
                Problem("run-in-use", text, f"Wait for {name}, or stop it first", file=str(result.path))
            )
        elif result.what == RUN:
            text = f"the run {name} can no longer begin from {clean(relative, 200)}: it is {what}"
            result.warnings.append(Problem("dependent", text, file=str(result.path), severity="warning"))
    return needed


def _tell_of_links(result: Plan) -> None:
    for entry in result.entries:
        if entry.kind == LINK:
            try:
                target = clean(os.readlink(result.path / entry.path), 200)
            except OSError:
                continue
            text = f"{clean(entry.path, 200)} is a link: only the link goes, {target} stays as it is"
            result.warnings.append(Problem("link", text, file=str(result.path), severity="warning"))


def _tell_of_fresh(result: Plan) -> None:
    """Another tool's run has no lock: one that trains on another machine shows by its times only."""
    newest = max((entry.modified for entry in result.entries), default=0) / 1e9
    age = time.time() - newest
    if 0 <= age < FRESH:
        text = f"was written to {max(1, round(age / 60))} min ago: if it still trains, stop it first"
        result.warnings.append(Problem("fresh", text, file=str(result.path), severity="warning"))


def _spare(
    result: Plan, fd: int, survey: Survey, needed: dict[str, str], keep: list[str | int], optimizer_states: bool
) -> None:
    """Frees space and leaves the run: checkpoints, optimizer states, or both."""
    path = result.path
    checkpoints = list(pruning.steps_of(path).values())
    staying = {name: ["is not to be pruned"] for name in checkpoints}
    if result.what == CHECKPOINTS:
        staying, known = pruning.choose(path, keep)
        for name in checkpoints:
            if name in needed:
                staying.setdefault(name, []).append(needed[name])
        survey.walk(fd, IN_ROOT, [name for name in checkpoints if name not in staying])
        if BEST in keep and not known and len(checkpoints) > 1:
            text = "no evaluation says which checkpoint is the best: only the last is kept for sure"
            result.warnings.append(Problem("no-best", text, file=str(path), severity="warning"))
        result.kept += [Kept(name, "; ".join(whys)) for name, whys in staying.items()]
    result.entries, result.kept = survey.entries, [*result.kept, *survey.kept]
    if optimizer_states:
        _states(result, fd, survey, [name for name in staying if name not in needed])


def _states(result: Plan, fd: int, survey: Survey, names: list[str]) -> None:
    looked = Survey(survey.mount, survey.protected)
    looked.walk(fd, IN_ROOT, {*names, "optimizer.pt", "optimizer.bin"})
    doomed = [entry for entry in looked.entries if _is_state(entry)]
    result.entries += doomed
    freed = sorted({entry.top for entry in doomed if CHECKPOINT.fullmatch(entry.top)}, key=layouts.order)
    if freed:
        text = (
            f"{', '.join(freed)} cannot be resumed from afterwards: weights and logs stay, the optimizer's state goes"
        )
        result.warnings.append(Problem("not-resumable", text, file=str(result.path), severity="warning"))


def _is_state(entry: Entry) -> bool:
    parts = tuple(entry.path.split("/"))
    if entry.kind == DIRECTORY:
        return len(parts) == 2 and layouts.is_optimizer_state((parts[1], ""))
    return layouts.is_optimizer_state(parts[1:] or parts)
