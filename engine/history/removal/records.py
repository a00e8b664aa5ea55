"""What a removal would take and what it took, as data."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import Problem
from engine.text import clean, clean_path

RUN, CHECKPOINTS, STATES = "run", "checkpoints", "optimizer states"
FILE, DIRECTORY, LINK, OTHER = "file", "directory", "link", "other"


@dataclass(frozen=True, slots=True)
class Entry:
    """One name that goes: ``path`` is relative to the run's directory; ``bytes`` are what its going frees.

    ``device``, ``inode``, ``kind`` and, of a file outside the record, ``size`` and ``modified`` (nanoseconds) say which
    object was meant: if something else stands there when it is its turn, it stays.
    """

    path: str
    kind: str
    bytes: int
    device: int
    inode: int
    size: int = 0
    modified: int = 0

    @property
    def top(self) -> str:
        """The first part of its path: what people see as one thing."""
        return self.path.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Kept:
    """One thing that stays, and why; ``path`` is relative to the run's directory, untrusted."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Group:
    """The entries below one name of the run's directory, summed for a list."""

    name: str
    kind: str
    bytes: int
    count: int


@dataclass(slots=True)
class Plan:
    """A dry run: nothing has been touched. :func:`carry_out` takes exactly ``entries`` and nothing else.

    ``what`` is ``run``, ``checkpoints`` or ``optimizer states``. ``refused`` says why nothing may be removed,
    ``warnings`` what will be different afterwards. ``name`` is what must be typed (safe to draw); an id is accepted, too.
    """

    path: Path
    what: str
    name: str
    id: str | None = None
    tool: str = "unknown"
    entries: list[Entry] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    refused: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    device: int = 0
    inode: int = 0
    record: int | None = None
    lock: int | None = None

    @property
    def own(self) -> bool:
        """Whether the run has a record of tunedeck's; ``record`` is that directory's inode, ``lock`` its lock's."""
        return self.record is not None

    @property
    def bytes(self) -> int:
        """What the file system gets back."""
        return sum(entry.bytes for entry in self.entries)

    @property
    def ok(self) -> bool:
        """Whether there is something to do, and nothing against it."""
        return not self.refused and (bool(self.entries) or self.what == RUN)

    def confirms(self, text: str) -> bool:
        """Whether what somebody typed is this run's name (or id)."""
        typed = text.strip()
        # A name that cannot be drawn cannot be typed either, but it can be pasted or come from a script.
        return bool(typed) and (typed in (self.name.strip(), self.id or self.name.strip()) or text == self.path.name)

    def groups(self) -> list[Group]:
        """The entries by the first part of their paths, in the order in which they go."""
        found: dict[str, list[Any]] = {}
        for entry in self.entries:
            group = found.setdefault(entry.top, [DIRECTORY, 0, 0])
            group[1] += entry.bytes
            group[2] += 1
            if entry.path == entry.top:
                group[0] = entry.kind
        return [Group(name, *parts) for name, parts in found.items()]

    def as_dict(self) -> dict[str, Any]:
        """The document of ``rm --dry-run --json``."""
        return {
            "id": self.id,
            "path": os.fsencode(self.path).decode("utf-8", "replace"),
            "name": self.name,
            "tool": self.tool,
            "what": self.what,
            "bytes": self.bytes,
            "entries": [{"path": clean_path(e.path), "kind": e.kind, "bytes": e.bytes} for e in self.entries],
            "kept": [{"path": clean_path(k.path), "why": clean(k.why)} for k in self.kept],
            "refused": [problem.as_dict() for problem in self.refused],
            "warnings": [problem.as_dict() for problem in self.warnings],
        }


@dataclass(slots=True)
class Outcome:
    """What became of it: ``removed`` names (files and directories) and the ``bytes`` that they took.

    ``left`` are things that stand though they were to go, or that appeared meanwhile: (relative path, why). ``gone``
    says whether the run's directory itself is away; ``complete`` whether all that was planned is; ``stopped`` whether
    somebody asked to stop. What is not complete is finished by removing the run again.
    """

    removed: int = 0
    bytes: int = 0
    left: list[tuple[str, str]] = field(default_factory=list)
    gone: bool = False
    complete: bool = False
    stopped: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The document of ``rm --json``."""
        return {
            "removed": self.removed,
            "bytes": self.bytes,
            "left": [{"path": clean_path(path), "why": clean(why)} for path, why in self.left],
            "gone": self.gone,
            "complete": self.complete,
            "stopped": self.stopped,
        }
