"""Everything known of one run as one document: what ``show --json`` prints, for runs of any tool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.checkpoints import checkpoints
from engine.errors import Problem, RunNotFoundError
from engine.history.record import Curves, RunRecord
from engine.history.summary import directory_bytes
from engine.rundir import RunDir
from engine.snapshot import RunFollower


def describe(path: Path) -> dict[str, Any]:
    """The document of ``show --json``; unknown is ``None``. Raises :class:`RunNotFoundError` if there is no run."""
    from engine.history import readers, walk

    if RunDir(path).meta.is_dir():
        return _own(RunDir(path))
    record = readers.read_record(path) if walk.is_run(path) else None
    if record is None:
        raise RunNotFoundError(
            Problem("no-run", "holds no training run", "List runs with: tunedeck runs", file=str(path))
        )
    return foreign(record)


def _own(run: RunDir) -> dict[str, Any]:
    from engine.history import readers

    summary = readers.read_summary(run.path)
    view = RunFollower(run.path).read_all()
    assert summary is not None
    if summary.bytes is None:
        summary.bytes = directory_bytes(run.path)
    record = summary.as_dict()
    if view.damaged:
        record["problems"].append(damage_text(view.damaged))
    notes = run.read_notes()
    return {
        **record,
        "config": view.run.get("config"),
        "auto": view.run.get("auto"),
        "data": view.run.get("data"),
        "versions": view.run.get("versions"),
        "checkpoints": [checkpoint.as_dict() for checkpoint in checkpoints(run.path)],
        "reason": view.state.reason or None,
        "stalled": view.state.stalled,
        "command": view.run.get("command"),
        "attempt_records": view.attempts,
        "seconds": view.elapsed,
        "notices": [
            {"time": n.time, "level": n.level, "text": n.text, "kind": n.kind or None, "step": n.step}
            for n in view.notices
        ],
        "notes": notes.get("notes") if isinstance(notes.get("notes"), str) else None,
        "other": None,
        "sources": None,
        "results": None,
        "logged": None,
    }


def foreign(record: RunRecord) -> dict[str, Any]:
    """The document of a run of another tool."""
    from engine.history import notes

    path = Path(record.summary.path)
    summary = record.summary.as_dict()
    if summary["bytes"] is None:
        summary["bytes"] = directory_bytes(path)
    words = notes.foreign(path)
    return {
        **summary,
        "tags": list(words.tags),
        "config": record.settings or None,
        "auto": record.auto or None,
        "data": record.data or None,
        "versions": record.versions or None,
        "checkpoints": [checkpoint.as_dict() for checkpoint in record.checkpoints],
        "reason": record.summary.reason or None,
        "stalled": False,
        "command": record.command or None,
        "attempt_records": None,
        "notices": record.notices,
        "notes": words.notes or None,
        "other": record.other or None,
        "sources": record.sources or None,
        "results": record.results or None,
        "logged": {"steps": _counted(record.steps), "evals": _counted(record.evals)},
    }


def _counted(curves: Curves) -> dict[str, int]:
    """How many values each metric has."""
    return {name: len(curves.values(name)) for name in curves.names}


def damage_text(count: int) -> str:
    """How damage in the event streams is said."""
    what = "1 damaged line in its events was" if count == 1 else f"{count} damaged lines in its events were"
    return f"{what} skipped"
