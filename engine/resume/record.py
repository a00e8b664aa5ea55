"""What a resume would do, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.checkpoints import Checkpoint
from engine.config import RunConfig, settings
from engine.errors import Problem
from engine.preflight import Preflight
from engine.rundir import RunDir


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs from when the checkpoint was made; ``name`` is a setting, ``data`` or ``version`` of what."""

    name: str
    old: str
    new: str


@dataclass(slots=True)
class ResumePlan:
    """What :func:`start` would do. Nothing may be started while there are errors.

    ``accumulation`` is ``gradient_accumulation_steps`` of a run that chooses its updates by itself and goes on: as they were.
    ``checkpoint`` is ``None`` where none stands: then the run begins anew. ``candidates`` are the checkpoints that can
    be chosen, newest first; ``last_step`` is the last step that the run has done, ``attempts``
    how many attempts there were when this was planned.
    """

    run: RunDir
    checkpoint: Checkpoint | None = None
    candidates: list[Checkpoint] = field(default_factory=list)
    config: RunConfig | None = None
    changes: list[Change] = field(default_factory=list)
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    as_new: bool = False
    last_step: int = 0
    attempts: int = 1
    checked: Preflight | None = None
    accumulation: int | None = None

    @property
    def ok(self) -> bool:
        """Whether it can be started."""
        return not self.errors

    @property
    def step(self) -> int:
        """The last step that is kept."""
        return self.checkpoint.step if self.checkpoint is not None else 0


def problem(kind: str, message: str, hint: str, run: RunDir, severity: str = "error") -> Problem:
    """A problem of the run as a whole."""
    return Problem(kind, message, hint, file=str(run.path), severity=severity)


def accumulation_of(record: dict[str, Any]) -> int | None:
    """``gradient_accumulation_steps`` that a run was trained by: what it chose itself, else what was set."""
    choice = mapping(mapping(record.get("auto")).get("gradient_accumulation_steps")).get("value")
    config = mapping(record.get("config"))
    if config.get("recipe") == "fastest" and isinstance(choice, int):
        return choice
    asked = config.get("gradient_accumulation_steps", settings()["gradient_accumulation_steps"].default)
    return asked if isinstance(asked, int) else None


def mapping(value: Any) -> dict[str, Any]:
    """A value of a record as a mapping; empty if it is something else."""
    return value if isinstance(value, dict) else {}
