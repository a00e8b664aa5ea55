"""Looks at the files behind a form in a thread: data rows, the model's directory, the output directory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config.coerce import word_or_list
from engine.data import Cancelled, DataReport, Reading, Tally, check_sources, rows_in_both, sources
from engine.data.shapes import SHAPES
from engine.errors import InputError, Problem, RunInUseError
from engine.modelfiles import check_model_directory, check_template
from engine.models.cache import model_folder
from engine.paths import expand
from engine.preflight import is_local_model
from engine.rundir import refuse_foreign_work
from tui.launch.templates import Choice, choices
from tui.models import behind

if TYPE_CHECKING:
    from engine.models.catalogue import Model
    from engine.models.hub import HubAnswer

# Typing goes on for a moment after the last key: do not read every half-typed path.
SETTLE_SECONDS = 0.25
# How often it is told how far the reading has come.
TELL_SECONDS = 0.5
KEPT_REPORTS = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """The values whose files are looked at."""

    base_model: str
    train_path: str
    eval_path: str
    output_dir: str
    target_modules: str = "all-linear"
    data_format: str = "auto"
    data_fields: str = ""
    on_bad_rows: str = "refuse"
    chat_template_path: str = ""
    revision: str = ""
    trust_remote_code: str = ""
    worker_python: str = ""
    settled: bool = False  # the model's name is typed to its end: the hub may be asked about it

    @property
    def trusts(self) -> bool:
        """Whether the model's own code may run."""
        return self.trust_remote_code.strip().lower() in ("true", "yes", "on", "1")

    @property
    def data(self) -> tuple[str, ...]:
        """What the reading of data depends on."""
        return self.train_path, self.eval_path, self.data_format, self.data_fields, self.on_bad_rows

    @property
    def reading(self) -> Reading:
        """How data are to be read; words that are none mean nothing yet."""
        fields = word_or_list(self.data_fields)
        known = self.data_format if self.data_format in SHAPES else "auto"
        return Reading.of({"data_format": known, "data_fields": fields if isinstance(fields, list) else None,
                           "on_bad_rows": self.on_bad_rows.strip()})  # fmt: skip


@dataclass(slots=True)
class Found:
    """What there is: problems by setting, and what sound data files hold."""

    asked: Asked
    problems: dict[str, Problem] = field(default_factory=dict)
    choices: dict[str, dict[str, Choice]] = field(default_factory=dict)
    train: DataReport | None = None
    eval: DataReport | None = None
    leak: Tally | None = None  # rows to evaluate with that are trained on, too
    model: Model | None = None  # what lies on this machine
    hub: HubAnswer | None = None  # what the hub said, of a model that does not
    asking: bool = False  # the hub's answer is on its way
    code: str | None = None  # SHA-256 of the code that the model brings, empty for none; where it is allowed to run


class Probe:
    """Answers the newest question only; data files are read once for each size and time of change."""

    def __init__(self, deliver: Callable[[Found], None], tell: Callable[[float], None] | None = None) -> None:
        self._deliver, self._tell, self._told = deliver, tell, 0.0
        self._asked: Asked | None = None
        self._wake = threading.Event()
        self._stopped = False
        self._reports: dict[tuple[object, ...], DataReport] = {}
        self._leak: tuple[DataReport, DataReport, Tally | None] | None = None
        self._hub = behind.Hub(self._wake.set)

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
            while self._wake.wait(SETTLE_SECONDS) and not self._stopped:
                self._wake.clear()  # another key was pressed
            asked = self._asked
            if asked is None or self._stopped:
                continue
            try:
                found = self.look(asked)
            except Cancelled:
                continue  # other data are asked for by now
            if asked == self._asked and not self._stopped:
                self._deliver(found)

    def look(self, asked: Asked) -> Found:
        """Look at everything once. A path that the system cannot even take is a problem, not an error."""
        found = Found(asked)
        for name, look in (("base_model", self._model), ("train_path", self._data), ("eval_path", self._data),
                           ("output_dir", self._output)):  # fmt: skip
            text = getattr(asked, name)
            if not text.strip():
                continue
            try:
                look(found, name, text)
            except (OSError, ValueError, RuntimeError) as error:
                reason = getattr(error, "strerror", None) or "no possible path"
                found.problems[name] = Problem("bad-path", f"cannot be read: {reason}", "Check the path", setting=name)
        self._template(found)
        found.leak = self._in_both(found)
        return found

    def _in_both(self, found: Found) -> Tally | None:
        """Rows of both data; looked for once for two reports."""
        train, evaluation = found.train, found.eval
        if train is None or evaluation is None:
            return None
        if self._leak is None or self._leak[0] is not train or self._leak[1] is not evaluation:
            self._leak = train, evaluation, rows_in_both(train, evaluation, lambda: self._withdrawn(found.asked))
        return self._leak[2]

    def _model(self, found: Found, name: str, text: str) -> None:
        targets = [part.strip() for part in found.asked.target_modules.split(",") if part.strip()]
        if is_local_model(text):
            errors, _ = check_model_directory(expand(text), "all-linear" if targets == ["all-linear"] else targets)
            for problem in errors:
                found.problems.setdefault(problem.setting or name, problem)
        behind.look(found, self._hub)

    def _template(self, found: Found) -> None:
        """After the data: plain text needs no chat template."""
        asked, name = found.asked, "chat_template_path"
        model, revision = asked.base_model.strip(), asked.revision.strip() or None
        plain = asked.data_format.strip() == "text" or (found.train is not None and found.train.plain_text)
        try:
            folder = model_folder(model, revision) if model else None
            problems = check_template(folder, asked.chat_template_path.strip() or None, chats=not plain)
            found.choices = {name: choices(model, revision)}
        except (OSError, ValueError, RuntimeError) as error:
            problems = [Problem("bad-path", f"cannot be read: {getattr(error, 'strerror', None) or 'no possible path'}",
                                "Check the path", setting=name)]  # fmt: skip
        for problem in problems:
            if problem.severity == "error":
                found.problems.setdefault(problem.setting or name, problem)

    def _data(self, found: Found, name: str, text: str) -> None:
        report = self._report(text, name, found.asked)
        if report.errors:
            found.problems[name] = _first(report)
        elif name == "train_path":
            found.train = report
        else:
            found.eval = report

    def _output(self, found: Found, name: str, text: str) -> None:
        path = expand(text).absolute()
        if path.exists() and not path.is_dir():
            found.problems[name] = Problem("bad-output", "is a file", "Choose a directory", setting=name)
            return
        try:
            refuse_foreign_work(path)
        except RunInUseError as error:
            found.problems[name] = error.problems[0]

    def _report(self, text: str, setting: str, asked: Asked) -> DataReport:
        try:
            named = sources.parse(text, setting)
            prints = tuple((str(source.path), source.amount, *_print(source.path)) for source in named)
        except (InputError, FileNotFoundError):
            return check_sources(text, setting=setting)
        reading = asked.reading
        key = (setting, prints, reading.format, tuple(reading.fields.items()), reading.skip)
        if key not in self._reports:
            self._reports[key] = check_sources(text, setting=setting, reading=reading, progress=self._progress,
                                               stop=lambda: self._withdrawn(asked))  # fmt: skip
            while len(self._reports) > KEPT_REPORTS:
                self._reports.pop(next(iter(self._reports)))
        return self._reports[key]

    def _withdrawn(self, asked: Asked) -> bool:
        """Whether other data are asked for than those being read."""
        now = self._asked
        return self._stopped or (now is not None and now is not asked and now.data != asked.data)

    def _progress(self, done: int, total: int) -> None:
        if self._tell is not None and total and time.monotonic() - self._told > TELL_SECONDS:
            self._told = time.monotonic()
            self._tell(done / total)


def _print(path: Path) -> tuple[int, int, int]:
    info = path.stat()
    return info.st_ino, info.st_size, info.st_mtime_ns


def _first(report: DataReport) -> Problem:
    problem = report.errors[0]
    several = len(report.files) > 1 and problem.file is not None
    where = f"{Path(str(problem.file)).name}: " if several else ""
    if report.error_count <= 1:
        return replace(problem, message=where + problem.message)
    message = f"{where}{problem.message}; {report.error_count} rows cannot be used"
    return Problem(problem.kind, message, problem.hint, problem.setting, problem.file, problem.line)
