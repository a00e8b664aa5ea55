"""What a check of data has found."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.data.duplicates import Duplicates
from engine.data.remarks import NO_ANSWER, WORDS
from engine.data.sources import Source
from engine.errors import Problem

FIRST_LINES = 5


@dataclass(slots=True)
class Tally:
    """One kind of error or warning: how many rows, and the first of them. ``places`` are lines with what is said there."""

    kind: str
    severity: str
    count: int = 0
    hint: str = ""
    places: list[tuple[str, int | None, str]] = field(default_factory=list)

    def add(self, file: str, line: int | None, message: str, hint: str) -> None:
        """One more."""
        self.count += 1
        if len(self.places) < FIRST_LINES:
            self.places.append((file, line, message))
            self.hint = self.hint or hint

    def absorb(self, other: Tally) -> None:
        """Those of another file."""
        self.count += other.count
        self.places = (self.places + other.places)[:FIRST_LINES]
        self.hint = self.hint or other.hint

    def problem(self, setting: str | None, rows: int) -> Problem:
        """All of them in one sentence, at the first place."""
        file, line, message = self.places[0]
        one, several, hint = WORDS.get(self.kind, ("", "", self.hint))
        if one:
            first, message = message, f"{self.count:,} of {rows:,} rows {several if self.count > 1 else one}"
            if first:
                message += f", the first in {first}" if self.count > 1 else f", in {first}"
        elif self.count > 1:
            message = f"{message}; {self.count:,} rows in all"
        more = [str(place[1]) for place in self.places[1:] if place[0] == file and place[1] is not None]
        if more:
            message += f" (also lines {', '.join(more)}{'' if self.count == len(self.places) else ' …'})"
        return Problem(self.kind, message, hint, setting, file, line, self.severity)


@dataclass(slots=True)
class DataReport:
    """What data hold.

    ``rows`` are all that are there, ``usable`` those that could be read and have an assistant's answer, ``unanswered``
    those without one. ``errors`` are the first ones found and at least one of each kind; ``error_count`` is the number
    of all rows that cannot be used, and of files. Rows that are left out instead are in ``skipped`` by kind.
    ``tallies`` count every kind of error and warning. ``format``, ``shape`` and ``mapping`` are what was detected (or
    chosen), in words; ``files`` are the reports of the single files where there are several, ``seen`` the hashes of one
    file's rows.
    """

    path: Path
    bytes: int = 0
    rows: int = 0
    usable: int = 0
    sha256: str = ""
    errors: list[Problem] = field(default_factory=list)
    error_count: int = 0
    unanswered: int = 0
    format: str = ""
    shape: str = ""
    mapping: str = ""
    messages: int = 0
    with_tools: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    files: list[DataReport] = field(default_factory=list)
    source: Source | None = None
    seen: Duplicates | None = field(default=None, repr=False, compare=False)

    def tally(self, kind: str, severity: str, line: int | None, message: str, hint: str = "") -> None:
        """Count one error or warning."""
        if kind not in self.tallies:
            self.tallies[kind] = Tally(kind, severity)
        self.tallies[kind].add(str(self.path), line, message, hint)

    def warnings(self, setting: str | None = None) -> list[Problem]:
        """One for each kind of warning and of rows that are skipped. Rows without an answer are said elsewhere."""
        said = [tally for tally in self.tallies.values() if tally.kind in self.skipped or tally.severity == "warning"]
        found = [tally.problem(setting, self.rows) for tally in said if tally.kind != NO_ANSWER]
        return [replace(problem, severity="warning") for problem in found]

    def samples(self, assistant_only: bool = True) -> int:
        """How many rows are trained on: those that are left, limited or repeated as the sources ask for."""
        if self.files:
            return sum(report.samples(assistant_only) for report in self.files)
        rows = self.usable + (0 if assistant_only else self.unanswered)
        return self.source.taken(rows) if self.source is not None else rows

    @property
    def plain_text(self) -> bool:
        """Whether the rows are texts without roles."""
        return self.shape == "text"

    @property
    def summary(self) -> str:
        """What was detected, in a few words."""
        from engine.data.shapes import TITLES

        names = dict.fromkeys(TITLES.get(part.shape, part.shape) for part in self.files or [self] if part.shape)
        return ", ".join(
            part for part in (" and ".join(dict.fromkeys(self.format.split(" and "))), " and ".join(names)) if part
        )

    @property
    def detected(self) -> str:
        """The same in a sentence, with the numbers and what becomes of the fields."""
        left_out = f", {sum(self.skipped.values()):,} of them skipped" if self.skipped else ""
        return f"{self.summary}; {self.rows:,} rows{left_out}, {self.messages:,} messages; {self.mapping}"

    def record(self) -> dict[str, Any]:
        """What ``run.json`` keeps of it."""
        path = ",".join(str(report.path.absolute()) for report in self.files) or str(self.path.absolute())
        out: dict[str, Any] = {"path": path, "bytes": self.bytes, "rows": self.rows, "sha256": self.sha256,
                               "format": self.format, "shape": self.shape}  # fmt: skip
        if self.skipped:
            out["skipped"] = dict(self.skipped)
        if self.source is not None and self.source.amount:
            out["amount"] = self.source.amount
        if self.files:
            out["files"] = [report.record() for report in self.files]
        return out


def merged(path: Path, reports: list[DataReport], max_errors: int) -> DataReport:
    """One report of several files."""
    whole = DataReport(path, files=reports)
    kinds = set()
    for report in reports:
        for name in ("bytes", "rows", "usable", "error_count", "unanswered", "messages", "with_tools"):
            setattr(whole, name, getattr(whole, name) + getattr(report, name))
        for problem in report.errors:
            if len(whole.errors) < max_errors or problem.kind not in kinds:
                whole.errors.append(problem)
                kinds.add(problem.kind)
        for kind, count in report.skipped.items():
            whole.skipped[kind] = whole.skipped.get(kind, 0) + count
        for kind, tally in report.tallies.items():
            whole.tallies.setdefault(kind, Tally(kind, tally.severity)).absorb(tally)
    whole.format = " and ".join(dict.fromkeys(report.format for report in reports if report.format))
    shapes = list(dict.fromkeys(report.shape for report in reports if report.shape))
    whole.shape = shapes[0] if len(shapes) == 1 else " and ".join(shapes)
    whole.mapping = "; ".join(dict.fromkeys(report.mapping for report in reports if report.mapping))
    if all(report.sha256 for report in reports):
        parts = [f"{report.sha256} {report.source.amount if report.source else ''}\n" for report in reports]
        whole.sha256 = hashlib.sha256("".join(parts).encode()).hexdigest()
    return whole
