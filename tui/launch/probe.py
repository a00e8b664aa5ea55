"""Looks at the files behind a form in a thread: data rows, the model's directory, the output directory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from engine.data import DataReport, check_file
from engine.errors import Problem, RunInUseError
from engine.modelfiles import check_model_directory
from engine.preflight import is_local_model
from engine.rundir import refuse_foreign_work

# Typing goes on for a moment after the last key: do not read every half-typed path.
SETTLE_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Asked:
    """The values whose files are looked at."""

    base_model: str
    train_path: str
    eval_path: str
    output_dir: str


@dataclass(slots=True)
class Found:
    """What there is: problems by setting, and the number of usable rows."""

    asked: Asked
    problems: dict[str, Problem] = field(default_factory=dict)
    rows: int | None = None
    eval_rows: int | None = None


class Probe:
    """Answers the newest question only; data files are read once for each size and time of change."""

    def __init__(self, deliver: Callable[[Found], None]) -> None:
        self._deliver = deliver
        self._asked: Asked | None = None
        self._wake = threading.Event()
        self._stopped = False
        self._reports: dict[tuple[str, int, int, int], DataReport] = {}

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._run, name="tunedeck-probe", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._wake.set()

    def ask(self, asked: Asked) -> None:
        """Ask; an earlier question that was not answered yet is dropped."""
        self._asked = asked
        self._wake.set()

    def _run(self) -> None:
        while not self._stopped:
            self._wake.wait()
            self._wake.clear()
            if self._wake.wait(SETTLE_SECONDS) or self._asked is None:
                continue  # another key was pressed
            found = self.look(self._asked)
            if found.asked == self._asked and not self._stopped:
                self._deliver(found)

    def look(self, asked: Asked) -> Found:
        """Look at everything once."""
        found = Found(asked)
        if asked.base_model.strip() and is_local_model(asked.base_model):
            errors, _ = check_model_directory(Path(asked.base_model).expanduser(), "all-linear")
            if errors:
                found.problems["base_model"] = errors[0]
        for setting, text in (("train_path", asked.train_path), ("eval_path", asked.eval_path)):
            if not text.strip():
                continue
            report = self._report(Path(text).expanduser(), setting)
            if report.errors:
                found.problems[setting] = _first(report)
            elif setting == "train_path":
                found.rows = report.rows
            else:
                found.eval_rows = report.rows
        if asked.output_dir.strip():
            try:
                refuse_foreign_work(Path(asked.output_dir).expanduser().absolute())
            except (RunInUseError, OSError) as error:
                if isinstance(error, RunInUseError):
                    found.problems["output_dir"] = error.problems[0]
        return found

    def _report(self, path: Path, setting: str) -> DataReport:
        try:
            info = path.stat()
            key = (str(path), info.st_ino, info.st_size, info.st_mtime_ns)
        except (OSError, ValueError):
            return check_file(path, setting=setting)
        if key not in self._reports:
            self._reports[key] = check_file(path, setting=setting)
        return self._reports[key]


def _first(report: DataReport) -> Problem:
    problem = report.errors[0]
    if report.error_count <= 1:
        return problem
    where = f"line {problem.line} {problem.message}" if problem.line else problem.message
    return Problem(problem.kind, f"{report.error_count} rows cannot be used; {where}", problem.hint, file=problem.file)
