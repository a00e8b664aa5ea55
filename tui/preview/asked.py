"""What a preview is of: a model, files, and the settings that decide about tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from engine.config import RunConfig
from engine.data import DataReport, Reading, Source, sources
from engine.errors import InputError
from engine.inspecting import model_fields
from engine.paths import expand
from engine.preflight.counting import Part, parts_of
from engine.text import clean
from tui.launch.model import FormModel

# Settings that must be right before anything can be shown.
NEEDED = ("base_model", "revision", "chat_template_path", "train_path", "max_seq_length", "assistant_only_loss",
          "trust_remote_code", "data_format", "data_fields", "on_bad_rows", "worker_python")  # fmt: skip


class NotYet(Exception):
    """The form is not far enough; ``setting`` is the one to look at."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(message)
        self.setting = setting


@dataclass(frozen=True)
class Asked:
    """``rows`` is how many rows the form has counted in all files, if it has; ``parts`` are the files and what it knows of them."""

    config: RunConfig
    model: dict[str, Any]
    sources: tuple[Source, ...]
    reading: Reading
    limit: int
    assistant_only: bool | str = "auto"
    python: str | None = None
    rows: int | None = None
    parts: tuple[Part, ...] = ()

    @property
    def fields(self) -> dict[str, Any]:
        """What every question to the inspector holds."""
        return {"model": self.model, "assistant_only_loss": self.assistant_only, "max_seq_length": self.limit}

    def of_file(self, file: int) -> dict[str, Any]:
        """What a question about one file holds."""
        reading = {"format": self.reading.format, "fields": dict(self.reading.fields), "skip": self.reading.skip}
        return {**self.fields, "file": str(self.sources[file].path), "reading": reading}

    def with_limit(self, limit: int) -> Asked:
        """The same with another ``max_seq_length``."""
        return replace(self, limit=limit, config=self.config.model_copy(update={"max_seq_length": limit}))

    @property
    def draws(self) -> bool:
        """Whether a run takes another number of rows than there are."""
        return any(source.amount for source in self.sources)


def of_form(form: FormModel) -> Asked:
    """What the form's settings mean. Raises :class:`NotYet` with words."""
    for name in NEEDED:
        problem = form.problems.get(name)
        if problem is not None:
            missing = problem.kind == "missing-setting"
            what = "is not filled in yet" if missing else clean(problem.message, 200)
            raise NotYet(name, f"{name} {what}: the preview needs it")
    config = form.so_far
    if config is None:
        raise NotYet("base_model", "The settings are not valid yet: the preview needs the model and the data")
    report = form.train
    sure = report is not None and not report.error_count and not report.skipped
    rows = report.rows if report is not None and sure else None
    return of_config(config, rows, report)


def of_config(config: RunConfig, rows: int | None = None, report: DataReport | None = None) -> Asked:
    """What a configuration means; ``report`` is what the check of its data has found, if it is over. Raises :class:`NotYet`."""
    try:
        found = tuple(sources.parse(config.train_path))
    except (InputError, OSError, ValueError, RuntimeError) as error:
        raise NotYet("train_path", clean(str(error), 200)) from None
    values = config.model_dump()
    try:
        model = model_fields(values)
    except InputError as error:
        raise NotYet("chat_template_path", clean(str(error), 200)) from None
    python = str(expand(config.worker_python)) if config.worker_python else None
    return Asked(config, model, found, Reading.of(values), config.max_seq_length, config.assistant_only_loss, python, rows,
                 _parts(found, report))  # fmt: skip


def _parts(found: tuple[Source, ...], report: DataReport | None) -> tuple[Part, ...]:
    """The files, with what their check has found where it was of these."""
    known = parts_of(report) if report is not None and not report.error_count else []
    if [part.path for part in known] == [source.path for source in found]:
        return tuple(replace(part, source=source) for part, source in zip(known, found, strict=True))
    return tuple(Part(source.path, source) for source in found)
