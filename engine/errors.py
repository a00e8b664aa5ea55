"""The one family of errors meant for people: what happened, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_STOPPED = 130


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, in words a person can act on.

    ``kind`` is a short stable identifier for scripts; ``setting``, ``file`` and ``line`` (1-based) say where.
    """

    kind: str
    message: str
    hint: str = ""
    setting: str | None = None
    file: str | None = None
    line: int | None = None
    severity: str = "error"

    @property
    def where(self) -> str:
        """``file:line``, ``file`` or the setting's name, or an empty string."""
        if self.file is not None:
            return f"{self.file}:{self.line}" if self.line is not None else self.file
        return self.setting or ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}. {self.hint}" if self.hint else text

    def as_dict(self) -> dict[str, object]:
        """The shape that ``preflight --json`` documents: where-keys only if they apply."""
        out: dict[str, object] = {"kind": self.kind, "message": self.message, "hint": self.hint}
        for key in ("file", "line", "setting"):
            value = getattr(self, key)
            if value is not None:
                out[key] = value
        return out


class TunedeckError(Exception):
    """Base of everything that is shown to a person instead of a traceback."""

    exit_code = EXIT_FAILED

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: list[Problem] = [problems] if isinstance(problems, Problem) else list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class InputError(TunedeckError):
    """Bad settings, data or paths; nothing has been started."""

    exit_code = EXIT_BAD_INPUT


class RunInUseError(InputError):
    """The output directory belongs to a run that is alive, or holds another run's work."""


class RunNotFoundError(InputError):
    """No run answers to the given directory or id prefix."""
