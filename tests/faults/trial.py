"""One trial: what was done to which run, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


class Skip(Exception):
    """This machine cannot show the fault; the text says why."""


class Bad(AssertionError):
    """The run or its reader did the wrong thing; the text says which."""


@dataclass
class Trial:
    """A line of the results: ``detect`` is how many seconds the reader took to tell the truth."""

    fault: str
    number: int
    where: str = ""
    ok: bool = False
    skipped: str = ""
    outcome: str = ""
    detect: float | None = None
    seconds: float = 0.0
    counts: dict[str, float] = field(default_factory=dict)
    commit: str = ""
    time: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """One line of the results file."""
        return asdict(self)

    def saw(self, detect: float) -> None:
        """Remember the slowest detection."""
        self.detect = max(round(detect, 3), self.detect or 0.0)

    def count(self, **counts: float) -> None:
        """Add to the figures that the table sums up."""
        for name, value in counts.items():
            self.counts[name] = self.counts.get(name, 0) + value


# A fault is a function that does the trials of some numbers (usually one) in a folder of their own.
Doer = Callable[[Sequence[int], Path], list[Trial]]


@dataclass(frozen=True)
class Fault:
    """``total``: trials of the full table; ``batch``: how many of them share one process."""

    name: str
    total: int
    doer: Doer
    batch: int = 1
    limit: float = 180.0
    training: bool = False


def each(name: str, one: Callable[[Trial, Path], None]) -> Doer:
    """A doer of single trials out of a function that fills in a trial or raises."""

    def do(numbers: Sequence[int], folder: Path) -> list[Trial]:
        trials = []
        for number in numbers:
            trial = Trial(name, number, time=round(time.time(), 1))
            begun = time.monotonic()
            where = folder / f"{number}"
            where.mkdir(parents=True, exist_ok=True)
            try:
                one(trial, where)
                trial.ok = True
            except Skip as reason:
                trial.skipped = trial.outcome = str(reason)
            except AssertionError as error:
                trial.outcome = str(error)[:1500] or "an assertion failed without words"
            except Exception as error:
                trial.outcome = f"{type(error).__name__}: {error}"[:1500]
                import traceback

                traceback.print_exc()
            trial.seconds = round(time.monotonic() - begun, 2)
            trials.append(trial)
        return trials

    return do
