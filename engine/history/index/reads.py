"""Hands runs to the helpers that read them, so that a root that hangs keeps no other waiting."""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass, field

from engine.history.index.crew import Crew, Helper

# Runs given at once: few at first, so that there are rows to show.
_FIRST, _CHUNK = 4, 24
# A helper that was silent for so long (seconds) may hang: its root is given to no other, and another helper serves the rest.
SUSPICIOUS = 1.0
# No run takes so long to read: the helper is given up, and the run left out of this scan.
LIMIT = 6.0
_MORE = 3
# A root in which so many runs did not answer, one after the other, is left out of the scan.
_STUCK = 2


def readers_wanted() -> int:
    """How many helpers read: one for each core, and not more than two, for each takes its memory."""
    return max(1, min(2, len(os.sched_getaffinity(0))))


@dataclass(slots=True)
class Reads:
    """Runs that wait to be read, by root."""

    crew: Crew
    waiting: dict[str, deque[tuple[str, str | None]]] = field(default_factory=dict)
    stuck: dict[str, int] = field(default_factory=dict)
    given: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    # Runs that were given together when a helper was lost.
    alone: deque[tuple[str, str]] = field(default_factory=deque)

    def add(self, key: str, path: str, known: bytes | None) -> None:
        """One more run to read; ``known`` is the print of the row that is there."""
        self.waiting.setdefault(key, deque()).append((path, known.hex() if known else None))

    @property
    def left(self) -> int:
        """How many were given to no helper yet."""
        return sum(map(len, self.waiting.values())) + len(self.alone)

    @property
    def over(self) -> bool:
        """Whether everything was read, or will not be."""
        return not self.left and not any(helper.asked for helper in self.crew.of("read"))

    def unreachable(self) -> dict[str, str]:
        """Roots given up while their runs were read."""
        return {key.lstrip("\0"): "does not answer" for key, times in self.stuck.items() if times >= _STUCK}

    def hand_out(self) -> None:
        """Give every helper that is free something to do; begin others where they are needed."""
        left = self.left
        if not left:
            return
        helpers = self.crew.of("read")
        now = time.monotonic()
        doubtful = {helper.asked[0][1] for helper in helpers if self._is_doubtful(helper, now)}
        able = [helper for helper in helpers if not self._is_doubtful(helper, now)]
        wanted = readers_wanted() if left > 2 * _FIRST else 1
        others = any(items for key, items in self.waiting.items() if key not in doubtful)
        needed = (others and len(able) < wanted) or (self.alone and not any(helper.proven for helper in able))
        if needed and len(helpers) < readers_wanted() + _MORE:
            started = self.crew.start("read")
            if started is not None:
                able.append(started)
            elif not helpers:
                self._fail_all("no process can be started")
        for helper in able:
            single = next((item for item in self.alone if item[1] not in doubtful), None)
            if single is not None and not helper.asked and helper.proven:
                self.alone.remove(single)
                self._send(helper, single[1], [(single[0], None)])
                helper.alone = True
            elif len(helper.asked) <= _CHUNK // 2 and not helper.alone:
                self._give(helper, doubtful)

    def _is_doubtful(self, helper: Helper, now: float) -> bool:
        return bool(helper.asked) and now - helper.heard > SUSPICIOUS * (1 if helper.loaded else 3)

    def _give(self, helper: Helper, doubtful: set[str]) -> None:
        """Some runs of the root whose turn it is."""
        for key in list(self.waiting):
            items = self.waiting[key]
            if not items:
                del self.waiting[key]
                continue
            if key in doubtful:
                continue
            count = _CHUNK if self.given >= 4 * _FIRST else _FIRST
            some = [items.popleft() for _ in range(min(count, len(items)))]
            del self.waiting[key]
            self.waiting[key] = items  # to the end of the line
            self._send(helper, key, some)
            return

    def _send(self, helper: Helper, key: str, items: list[tuple[str, str | None]]) -> None:
        if not helper.asked:
            helper.heard = time.monotonic()
        helper.asked.extend((path, key) for path, _ in items)
        helper.send({"items": items})
        self.given += len(items)

    def answered(self, helper: Helper, path: str) -> None:
        """A run was answered for."""
        helper.alone, helper.proven = False, True
        while helper.asked:
            asked, key = helper.asked.popleft()
            if asked == path:
                self.stuck.pop(key, None)
                return

    def look_after(self) -> None:
        """Give up helpers that do not answer."""
        now = time.monotonic()
        for helper in self.crew.of("read"):
            if helper.asked and now - helper.heard > LIMIT:
                key = helper.asked[0][1]
                if helper.proven:  # else it may be the process that hangs, since an earlier scan
                    self.stuck[key] = self.stuck.get(key, 0) + 1
                self.crew.give_up(helper)
                self.lost(helper, f"it could not be read within {LIMIT:.0f} s")

    def lost(self, helper: Helper, why: str = "the process that read it ended") -> None:
        """A helper is gone with what it was reading: which run it was is found out one by one."""
        lost = list(helper.asked)
        helper.asked.clear()
        if helper.alone:
            self.failed.append((lost[0][0], why))
        else:
            self.alone.extend(lost)
        for key, times in self.stuck.items():
            if times >= _STUCK:
                self.waiting.pop(key, None)
                self.alone = deque(item for item in self.alone if item[1] != key)

    def _fail_all(self, why: str) -> None:
        for items in self.waiting.values():
            self.failed += [(path, why) for path, _ in items]
        self.failed += [(path, why) for path, _ in self.alone]
        self.waiting.clear()
        self.alone.clear()
