"""The walks of one scan: which roots are searched, which have ended, and which do not answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from engine.history.index.crew import Crew, Helper

# A root of which nothing was heard for so long (seconds) is left out of a scan; one that was left out before, sooner.
SILENT = 3.0
SILENT_AGAIN = 1.0
# A helper beats by itself; one that does not is ill, and what it walked is walked again by another.
_ILL = 5.0


@dataclass(slots=True)
class Walk:
    """One root, or (with a NUL before it) the registered runs below one mount."""

    key: str
    heard: float
    moved: bool = False
    ended: bool = False
    why: str = ""

    @property
    def name(self) -> str:
        """The folder, for people."""
        return self.key.lstrip("\0")


@dataclass(slots=True)
class Walks:
    """Follows what the walking helper tells."""

    crew: Crew
    roots: list[str]
    registered: bool
    serial: int
    silent_before: set[str] = field(default_factory=set)
    walks: dict[str, Walk] = field(default_factory=dict)
    listed: bool = False
    answered: bool = False
    tries: int = 0

    def begin(self) -> None:
        """Ask for the walks; of a helper that still stands, if there is one."""
        self.tries += 1
        helpers = self.crew.of("walk")
        helper = helpers[0] if helpers else self.crew.start("walk")
        now = time.monotonic()
        for root in self.roots:
            self.walks.setdefault(root, Walk(root, now)).heard = now
        self.listed, self.answered = not self.registered, False
        if helper is None:
            self._fail("no process can be started")
            return
        helper.heard = now
        helper.send({"serial": self.serial, "roots": self._open(), "registered": self.registered})

    def _open(self) -> list[str]:
        return [root for root in self.roots if not self.walks[root].ended]

    def take(self, fields: list[str | int | list[str] | None], kind: bytes) -> None:
        """What a line of the helper tells about walks."""
        now = time.monotonic()
        if kind == b"B":
            for key in fields[0]:  # type: ignore[union-attr]
                if key in self.walks:
                    self.walks[str(key)].heard, self.walks[str(key)].moved = now, True
        elif fields[0] != self.serial:
            return
        elif kind == b"W":
            self.answered = True
            for key in fields[1]:  # type: ignore[union-attr]
                self.walks.setdefault(str(key), Walk(str(key), now)).heard = now
            self.listed = self.listed or len(fields) > 2
        else:
            walk = self.walks.setdefault(str(fields[1]), Walk(str(fields[1]), now))
            walk.heard, walk.moved = now, True
            if kind == b"E":
                walk.ended, walk.why = True, str(fields[2] or "")

    def lost(self, helper: Helper) -> None:
        """The helper has ended or was given up: another one walks what it had not walked."""
        if self.tries < 2:
            self.begin()
        else:
            self._fail("it could not be searched: the process that did so ended twice")

    def _fail(self, why: str) -> None:
        self.listed = True
        for walk in self.walks.values():
            if not walk.ended:
                walk.ended, walk.why = True, why

    def look_after(self) -> None:
        """Give up a helper that is ill."""
        for helper in self.crew.of("walk"):
            if not self.over and time.monotonic() - helper.heard > _ILL:
                self.crew.give_up(helper)
                self.lost(helper)

    @property
    def over(self) -> bool:
        """Whether nothing more will be found: every walk has ended or does not answer."""
        now = time.monotonic()
        return self.listed and not any(self.is_open(walk, now) for walk in self.walks.values())

    def is_open(self, walk: Walk, now: float) -> bool:
        """Whether a walk goes on, as far as is known: until the helper has loaded nothing is."""
        limit = SILENT_AGAIN if walk.key in self.silent_before and not walk.moved else SILENT
        return not walk.ended and (not self.answered or now - walk.heard <= limit)

    def unreachable(self) -> dict[str, str]:
        """Folders that could not be searched to their end, and why."""
        now, found = time.monotonic(), {}
        for walk in self.walks.values():
            if walk.ended and walk.why:
                found[walk.name] = walk.why
            elif not walk.ended and not self.is_open(walk, now):
                found[walk.name] = "does not answer"
        return found

    def silent(self) -> set[str]:
        """Walks that do not answer."""
        now = time.monotonic()
        return {walk.key for walk in self.walks.values() if not walk.ended and not self.is_open(walk, now)}
