"""What is kept of a run outside its directory: its registration, its place in the queue, cached columns, our notes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from engine import paths, queue, registry
from engine.checkpoints import newest_valid
from engine.columns import store
from engine.events import finite
from engine.history.removal.handles import folder, look
from engine.history.removal.holding import read
from engine.history.removal.quarantine import Quarantine
from engine.history.removal.records import Entry, Plan
from engine.rundir import META, read_json

_ID = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,120}", re.ASCII)


@dataclass(slots=True)
class Traces:
    """Found while the run still stands, forgotten when it has gone. Files outside are only touched below our own folders."""

    path: Path
    ids: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, plan: Plan, root: int) -> Traces:
        """The traces of a run whose directory is behind ``root``, its earlier records (``.tunedeck.ID``) among them."""
        found = cls(plan.path)
        for entry in plan.entries:
            parts = entry.path.split("/")
            if len(parts) != 2 or not parts[0].startswith(META):
                continue
            if parts[1] == "events.jsonl":
                found.columns.append(_columns_key(entry))
            if parts[1] == "run.json":
                with contextlib.suppress(OSError):
                    found.ids += _id_behind(parts[0], root)
        return found

    def forget(self) -> None:
        """Remove them; what cannot be removed only costs space. A copy of the run elsewhere keeps its registration."""
        for run_id in self.ids:
            file, queued = paths.state_dir() / "runs" / f"{run_id}.json", queue.entry_path(run_id)
            if _speaks_of(file, self.path):
                registry.forget_end(run_id)
                _unlink(file)
            if queued is not None and _speaks_of(queued, self.path):
                _unlink(queued)
        for key in self.columns:
            with contextlib.suppress(OSError):
                for data in store.folder().glob(f"{key}-*{store.DATA}"):
                    store.remove(data)
        _forget_notes(self.path)


def mark_not_resumable(root: int, meta: int, quarantine: Quarantine) -> None:
    """Say in the status of a run whose last checkpoint to go on from has gone that none stands; its lock must be held.

    ``root`` and ``meta`` are the descriptors of the run's directory and of its record.
    """
    with contextlib.suppress(OSError, ValueError):
        info = look("status.json", meta)
        status = read(meta, "status.json") or {}
        if info is None or not status.get("resumable") or newest_valid(Path(f"/proc/self/fd/{root}")) is not None:
            return
        text = json.dumps(finite({**status, "resumable": False}), ensure_ascii=False, indent=1, allow_nan=False)
        data = text.encode("utf-8", "replace") + b"\n"
        quarantine.replace("status.json", meta, info.st_ino, data, info.st_mode & 0o777)


def _id_behind(record: str, root: int) -> list[str]:
    with folder(record, root) as meta:
        run_id = (read(meta, "run.json") or {}).get("id")
    return [run_id] if isinstance(run_id, str) and _ID.fullmatch(run_id) else []


def _speaks_of(file: Path, path: Path) -> bool:
    """Whether a record of ours names this directory: an id can be forged or copied."""
    known = (read_json(file) or {}).get("path")
    return (
        isinstance(known, str) and "\0" not in known and (Path(known) == path or os.path.realpath(known) == str(path))
    )


def _unlink(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink(missing_ok=True)


def _forget_notes(path: Path) -> None:
    """Our notes on another tool's run; there may be none."""
    with contextlib.suppress(ImportError, OSError):
        forget = getattr(import_module("engine.history.notes"), "forget", None)
        if forget is not None:
            forget(path)


def _columns_key(entry: Entry) -> str:
    """As :func:`engine.columns.store.key` makes it, of the event file that the plan saw."""
    return hashlib.sha256(f"{store.FORMAT}:{entry.device}:{entry.inode}".encode()).hexdigest()[:32]
