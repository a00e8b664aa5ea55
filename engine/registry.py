"""Which runs were launched on this account, and which directories are searched for more.

One small file a run and one a root under ``XDG_STATE_HOME/tunedeck``: nothing is shared, so nothing needs a lock. The
run directories are the truth; the registry only remembers where to look.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine import paths
from engine.rundir import RunDir, read_json, write_atomic, write_json


def remember_run(run_id: str, path: Path) -> None:
    """Register a launched run; a state directory that cannot be written only costs the memory of it."""
    _remember(paths.state_dir() / "runs", run_id, path)


def remember_root(path: Path) -> None:
    """Remember a directory below which runs are searched."""
    _remember(paths.state_dir() / "roots", hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:16], path)


def remember_end(run_id: str, status: dict[str, Any]) -> bool:
    """Keep the last status of a run whose own directory cannot be written; whether it could be kept."""
    file = _end_file(run_id)
    if file is None:
        return False
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(file, status)
    except OSError:
        return False
    return True


def recall_end(run_id: str) -> dict[str, Any] | None:
    """The last status of a run that :func:`remember_end` kept; readers ask for it when a run would read as lost."""
    file = _end_file(run_id)
    return read_json(file) if file is not None else None


def forget_end(run_id: str) -> None:
    """Drop a remembered end: the run's own directory tells it, or a new attempt begins."""
    file = _end_file(run_id)
    if file is not None:
        try:
            file.unlink()
        except OSError:
            pass


def _end_file(run_id: str) -> Path | None:
    name = re.fullmatch(r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,120}", run_id, re.ASCII)
    return paths.state_dir() / "ends" / f"{run_id}.json" if name else None


def roots() -> list[Path]:
    """Remembered roots, oldest first."""
    return [path for _, path in _recall(paths.state_dir() / "roots")]


def runs() -> list[tuple[str, Path]]:
    """Launched runs as (id, directory), newest first; a run that was moved within its parent is found again."""
    found = []
    siblings: dict[Path, dict[str, Path]] = {}
    for run_id, path in _recall(paths.state_dir() / "runs"):
        where = _locate(run_id, path, siblings)
        if where is not None:
            found.append((run_id, where))
    return sorted(found, reverse=True)


def entries() -> Iterator[tuple[str, Path]]:
    """Launched runs as they were registered, newest first; their directories are not looked at (they may not answer)."""
    folder = paths.state_dir() / "runs"
    try:
        names = sorted((name for name in os.listdir(folder) if name.endswith(".json")), reverse=True)
    except OSError:
        return
    for name in names:
        record = read_json(folder / name) or {}
        if "id" in record and isinstance(record.get("path"), str):
            yield str(record["id"]), Path(record["path"])


def locate(run_id: str, path: Path, siblings: dict[Path, dict[str, Path]]) -> Path | None:
    """Where a registered run is now: in its place, or elsewhere below its parent. ``siblings`` is kept between calls."""
    return _locate(run_id, path, siblings)


def _locate(run_id: str, path: Path, siblings: dict[Path, dict[str, Path]]) -> Path | None:
    if _holds(path, run_id):
        return path
    if path.parent not in siblings:
        siblings[path.parent] = _ids_below(path.parent)
    where = siblings[path.parent].get(run_id)
    if where is not None:
        remember_run(run_id, where)
    return where


def _ids_below(folder: Path) -> dict[str, Path]:
    """The runs directly below a folder by their ids, read once for all that were moved or deleted there."""
    try:
        records = {path: RunDir(path).read_run() for path in sorted(folder.iterdir())[:2000]}
    except OSError:
        return {}
    return {str(record["id"]): path for path, record in records.items() if record and "id" in record}


def _holds(path: Path, run_id: str) -> bool:
    record = RunDir(path).read_run()
    return record is not None and record.get("id") == run_id


def _remember(folder: Path, name: str, path: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        record = {"id": name, "path": os.fsencode(path.absolute()).decode("utf-8", "surrogateescape")}
        write_atomic(folder / f"{name}.json", json.dumps(record).encode() + b"\n")
    except OSError:
        pass


def _recall(folder: Path) -> list[tuple[str, Path]]:
    try:
        files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime)
    except OSError:
        return []
    records = [read_json(file) for file in files]
    return [(str(r["id"]), Path(r["path"])) for r in records if r and isinstance(r.get("path"), str) and "id" in r]
