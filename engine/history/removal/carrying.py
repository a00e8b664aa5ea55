"""Carries out a plan: exactly the planned objects go, each looked at for the last time where nobody else can reach it.

A name is not removed where it stands, since between the last look and the removal something else could be put there.
It is moved into a directory of ours first (mode 0700, a random name), looked at there, and only then removed; what turns
out to be something else is moved back. All of it goes by descriptors, so no link on a path is ever followed.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine.errors import InputError, Problem
from engine.history.removal import guards
from engine.history.removal.handles import folder, look, mount_of, reason
from engine.history.removal.holding import Hold, hold
from engine.history.removal.quarantine import Quarantine, Replaced
from engine.history.removal.records import DIRECTORY, FILE, RUN, Entry, Outcome, Plan
from engine.history.removal.traces import Traces, mark_not_resumable
from engine.rundir import META, RunDir
from engine.text import clean

Progress = Callable[[int, int, int], None]
_EVERY = 0.05
_RECORD, _RUN = f"{META}/", "run.json"
# Of a directory that fills up while it is emptied, so many names are told.
_MOST_NEW = 20


@dataclass(slots=True)
class _Node:
    """A planned name, and those planned in it, in their order; a directory without ``entry`` stays."""

    entry: Entry | None = None
    inner: dict[str, _Node] = field(default_factory=dict)


class _Stopped(Exception):
    """Somebody asked to stop."""


def carry_out(plan: Plan, progress: Progress | None = None, stop: threading.Event | None = None) -> Outcome:
    """Remove what ``plan`` says. ``progress`` is told (names done, names planned, bytes freed), at most 20 times a second.

    Raises :class:`TunedeckError` if nothing was begun: the plan was refused, or the run lives or was replaced since.
    What fails later is told in :attr:`Outcome.left`; then the run's record stays, so that it can be removed again.
    """
    if plan.refused:
        raise InputError(plan.refused)
    work = _Work(plan, progress or (lambda done, total, freed: None), stop or threading.Event())
    try:
        with folder(plan.path.parent) as parent, folder(plan.path.name, parent) as root:
            here = os.fstat(root)
            if (here.st_dev, here.st_ino) != (plan.device, plan.inode) or here.st_uid != os.geteuid():
                raise _refusal(plan, "replaced", "is another directory than the one that was looked at", "Look again")
            work.run(parent, root)
    except FileNotFoundError:
        raise _refusal(plan, "no-run", "is not there any more") from None
    except OSError as error:
        raise _refusal(plan, "no-removal", f"cannot be removed: {reason(error)}") from None
    return work.outcome


class _Work:
    """One removal under way."""

    def __init__(self, plan: Plan, progress: Progress, stop: threading.Event) -> None:
        self.plan, self.stop, self._progress = plan, stop, progress
        self.outcome = Outcome()
        self._tree = _tree(plan.entries)
        self._mount = -1
        self._told = 0.0
        self._made: set[str] = set()  # the removal's own files, which no plan knew
        self._quarantine: Quarantine

    def run(self, parent: int, root: int) -> None:
        """Remove everything; raises only while nothing has been removed."""
        self._mount = mount_of(root)
        with contextlib.ExitStack() as held:
            lock, meta = None, -1
            if self.plan.own:
                meta = held.enter_context(folder(META, root, self._mount))
                if os.fstat(meta).st_ino != self.plan.record:
                    raise _refusal(
                        self.plan, "replaced", "has another record than the one that was looked at", "Look again"
                    )
                lock = hold(meta, RunDir(self.plan.path), self.plan.lock)
                held.callback(os.close, lock.fd)
            self._look_again()
            traces = Traces.of(self.plan, root)
            try:
                with Quarantine(root, self._mount) as self._quarantine:
                    self._contents(root, meta, lock)
                    if self.plan.what != RUN and self.plan.own:
                        mark_not_resumable(root, meta, self._quarantine)
                if self.plan.what == RUN and self.outcome.complete:
                    self._itself(parent, root)
                    traces.forget()
            except (_Stopped, KeyboardInterrupt):
                self.outcome.stopped, self.outcome.complete = True, False
        self._tell(last=True)

    def _look_again(self) -> None:
        """What may have begun since the plan was made."""
        for pid, name in guards.writers(self.plan.path):
            text = f"process {pid} has {clean(name, 200)} open for writing"
            raise _refusal(self.plan, "in-use", text, "Wait for it, or end it first")
        if self.plan.what == RUN:
            for name, live, _, _ in guards.dependents(self.plan.path):
                if live:
                    text = f"is used by the run {clean(name, 100)}, which has not ended"
                    raise _refusal(self.plan, "run-in-use", text, "Look again")

    def _contents(self, root: int, meta: int, lock: Hold | None) -> None:
        """What was planned, the record last, and only if all else has gone: until then the run is listed."""
        record = self._tree.inner.pop(META, None)
        self._level(root, "", self._tree)
        if record is not None and lock is not None and not self.outcome.left:
            last = self._last(record, meta, lock)
            self._level(meta, _RECORD, record)
            if not self.outcome.left:
                self._level(meta, _RECORD, last)
            if record.entry is not None and not self.outcome.left:
                self._empty_folder(META, root, meta, record.entry)
        self.outcome.complete = not self.outcome.left

    def _last(self, record: _Node, meta: int, lock: Hold) -> _Node:
        """What of the record goes last of all: ``run.json``, then the lock's files, whoever wrote them last: we hold it."""
        last = _Node()
        if (known := record.inner.pop(_RUN, None)) is not None:
            last.inner[_RUN] = known
        for name, inode in reversed(lock.files.items()):
            if record.inner.pop(name, None) is None:
                self._made.add(_RECORD + name)
            if (info := look(name, meta)) is not None:
                last.inner[name] = _Node(Entry(_RECORD + name, FILE, info.st_size, info.st_dev, inode))
        return last

    def _level(self, fd: int, prefix: str, node: _Node) -> None:
        for name, child in node.inner.items():
            if self.stop.is_set():
                raise _Stopped
            if child.inner or (child.entry is not None and child.entry.kind == DIRECTORY):
                self._folder(name, fd, prefix + name, child)
            elif child.entry is not None:
                self._take(name, fd, child.entry)

    def _folder(self, name: str, at: int, path: str, node: _Node) -> None:
        try:
            with folder(name, at, self._mount) as fd:
                here, entry = os.fstat(fd), node.entry
                if entry is not None and (here.st_dev, here.st_ino) != (entry.device, entry.inode):
                    self.outcome.left.append((path, "was replaced by something else meanwhile"))
                    return
                self._level(fd, f"{path}/", node)
                if entry is not None:
                    self._empty_folder(name, at, fd, entry)
        except FileNotFoundError:
            pass
        except OSError as error:
            self.outcome.left.append((path, reason(error)))

    def _empty_folder(self, name: str, at: int, fd: int, entry: Entry) -> None:
        """Remove a planned directory that should be empty now; what is new in it is told and stays."""
        told = {path for path, _ in self.outcome.left}
        names = [f"{entry.path}/{found}" for found in sorted(os.listdir(fd))]
        new = [path for path in names if path not in told]
        self.outcome.left += [(path, "appeared meanwhile") for path in new[:_MOST_NEW]]
        if len(new) > _MOST_NEW:
            self.outcome.left.append((entry.path, f"{len(new) - _MOST_NEW} more names appeared in it meanwhile"))
        if not names:
            self._take(name, at, entry)

    def _take(self, name: str, at: int, entry: Entry) -> None:
        try:
            self._quarantine.remove(name, at, entry)
        except FileNotFoundError:
            return
        except Replaced as found:
            self.outcome.left.append((entry.path, str(found)))
        except OSError as error:
            self.outcome.left.append((entry.path, reason(error)))
        else:
            if entry.path not in self._made:
                self.outcome.removed += 1
                self.outcome.bytes += entry.bytes
            self._tell()

    def _itself(self, parent: int, root: int) -> None:
        """The run's own directory, if nothing is in it any more."""
        stays = {kept.path.partition("/")[0] for kept in self.plan.kept}
        names = os.listdir(root)
        self.outcome.left += [(name, "appeared meanwhile") for name in sorted(set(names) - stays)[:_MOST_NEW]]
        if names:
            return
        here = os.fstat(root)
        try:
            with Quarantine(parent, mount_of(parent)) as last:
                last.remove(self.plan.path.name, parent, Entry(".", DIRECTORY, 0, here.st_dev, here.st_ino))
        except (OSError, Replaced) as error:
            self.outcome.left.append((".", reason(error) if isinstance(error, OSError) else str(error)))
        else:
            self.outcome.removed += 1
            self.outcome.gone = True

    def _tell(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if last or now - self._told > _EVERY:
            self._told = now
            self._progress(self.outcome.removed, len(self.plan.entries) + (self.plan.what == RUN), self.outcome.bytes)


def _tree(entries: Sequence[Entry]) -> _Node:
    root = _Node()
    for entry in entries:
        node = root
        for part in entry.path.split("/"):
            node = node.inner.setdefault(part, _Node())
        node.entry = entry
    return root


def _refusal(plan: Plan, kind: str, message: str, hint: str = "") -> InputError:
    return InputError(Problem(kind, message, hint, file=str(plan.path)))
