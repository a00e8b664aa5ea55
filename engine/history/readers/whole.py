"""The record of another tool's run: everything that its directory tells."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from engine.checkpoints import checkpoints
from engine.history.readers.foreign import row
from engine.history.readers.log import curves
from engine.history.readers.sources import Reading, reading
from engine.history.record import Curves, RunRecord
from engine.history.walk import is_run

# Where tools write what they print, the best first.
_PRINTED = (
    "running_log.txt",
    "train.log",
    "training.log",
    "debug.log",
    "log.txt",
    "output.log",
    "trainer.log",
    "nohup.out",
)


def record(path: Path) -> RunRecord | None:
    """Everything that is known of a directory."""
    found = reading(path, whole=True)
    if not found.logs and not is_run(path):
        return None
    steps, evals = curves(found.log) if found.log is not None else (Curves(), Curves())
    made = RunRecord(
        summary=row(found),
        settings=found.settings,
        other=found.other,
        sources=found.sources,
        data={"train": {"path": found.data}} if found.data else {},
        versions=found.versions,
        results=found.results,
        steps=steps,
        evals=evals,
        checkpoints=checkpoints(path) + [c for folder in gathered(found) for c in checkpoints(folder)],
        log=_printed(found),
    )
    return made


def gathered(found: Reading) -> list[Path]:
    """Folders of the run in which checkpoints stand besides its own."""
    return sorted({(found.place.path / name).parent for name in found.place.deeper})


def _printed(found: Reading) -> Path | None:
    """The file of printed lines, if there is one; no link."""
    for name in _PRINTED:
        info = found.place.files.get(name)
        if info is not None and stat.S_ISREG(info.st_mode) and os.access(found.place.path / name, os.R_OK):
            return found.place.path / name
    return None
