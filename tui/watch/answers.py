"""Reads the model's answers (``sample`` events) out of a run's stream: only those lines, however long the stream is."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.events import MAX_LINE, decode, number
from engine.records import is_count, is_time
from engine.rundir import RunDir
from engine.text import clean

CHUNK = 1 << 20
# Characters of answers that are kept. Beyond, every other step is left out, the first and the newest never.
BUDGET = 8_000_000
MAX_PROMPTS = 200
MAX_TEXT = 20_000
# A quotation mark within a text is written with a backslash: this stands at the beginning of a line only.
_SAMPLE, _STEP = b'{"type":"sample"', b'{"type":"step"'


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, cleaned. ``ended`` is ``end`` (by itself), ``length``, ``time``, or empty if it is not known."""

    text: str
    tokens: int | None
    seconds: float | None
    ended: str


@dataclass(frozen=True, slots=True)
class Round:
    """All answers after one step; ``answers`` maps a prompt's number to its answer."""

    step: int
    time: float | None
    attempt: int
    answers: dict[int, Answer]


@dataclass(slots=True)
class Answers:
    """What is shown: prompts in the order in which they were first asked, rounds from the oldest to the newest.

    ``asks`` says whether the run was set up to ask anything (``None``: not known), ``every`` how many steps stand for one
    that is kept; ``trouble`` why the record cannot be read.
    """

    prompts: list[str] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    asks: bool | None = None
    live: bool = False
    every: int = 1
    trouble: str = ""


class AnswerReader:
    """Reads on from where it stopped; for one thread. Memory is bounded by :data:`BUDGET`."""

    def __init__(self, path: Path) -> None:
        self.run = RunDir(path)
        self.trouble, self._changed = "", False
        self._inode = -1
        self._start_anew()

    def _start_anew(self) -> None:
        self._offset = 0
        self._tail = b""
        self._attempt = 1
        self._prompts: dict[str, int] = {}
        self._rounds: list[Round] = []
        self._size = 0
        self._every = 1

    @property
    def at_end(self) -> bool:
        """Whether the last :meth:`poll` read up to the stream's end, or as far as it can be read."""
        if self.trouble:
            return True
        try:
            return self.run.events.stat().st_size <= self._offset
        except OSError:
            return True

    def poll(self, chunks: int = 16) -> bool:
        """Read at most so many MiB; ``True`` if there is something new to show, if only another :attr:`trouble`."""
        before, self.trouble, self._changed = self.trouble, "", False
        try:
            self._read_on(chunks)
        except FileNotFoundError:
            pass  # it has not begun
        except OSError as error:
            self.trouble = clean(f"the answers cannot be read: {error.strerror or error}", 300)
        return self._changed or self.trouble != before

    def _read_on(self, chunks: int) -> None:
        info = self.run.events.stat()
        if info.st_ino != self._inode or info.st_size < self._offset:
            self._changed = self._inode != -1
            self._inode = info.st_ino
            self._start_anew()
        if not stat.S_ISREG(info.st_mode):
            raise OSError(f"{self.run.events.name} is no file")
        if info.st_size == self._offset:
            return
        with self.run.events.open("rb") as file:
            file.seek(self._offset)
            for _ in range(chunks):
                data = file.read(CHUNK)
                self._offset += len(data)
                self._changed |= self._take(data)
                if len(data) < CHUNK:
                    break

    def answers(self, *, live: bool) -> Answers:
        """All of it, as a copy for another thread."""
        config = (self.run.read_run() or {}).get("config")
        asks = bool(config.get("sample_prompts")) if isinstance(config, dict) else None
        return Answers(list(self._prompts), list(self._rounds), asks, live, self._every, self.trouble)

    # -- lines ------------------------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> bool:
        whole, newline, rest = (self._tail + data).rpartition(b"\n")
        self._tail = rest if len(rest) < MAX_LINE else b""
        changed = False
        at = 0
        while newline and (found := self._later_attempt(whole, at)) is not None:
            # In the order of the stream: what an earlier attempt did from a resumed step on did not happen.
            place, event = found
            changed |= self._read(whole, at, place)
            self._supersede(event)
            at = place
        return self._read(whole, at, len(whole)) or changed if newline else False

    def _later_attempt(self, data: bytes, at: int) -> tuple[int, dict[str, Any]] | None:
        """The first step behind ``at`` of a later attempt than all before, and where its line begins."""
        for match in re.compile(rb'"attempt":(?!%d,)\d' % self._attempt).finditer(data, at):
            start, end = data.rfind(b"\n", 0, match.start()) + 1, data.find(b"\n", match.end())
            if data.startswith(_STEP, start):
                event = decode(data[start : end if end != -1 else len(data)])
                attempt = (event or {}).get("attempt")
                if event is not None and is_count(attempt) and attempt > self._attempt:
                    return start, event
        return None

    def _supersede(self, event: dict[str, Any]) -> None:
        step, self._attempt = event.get("step"), event["attempt"]
        if is_count(step):
            self._rounds = [r for r in self._rounds if r.attempt >= self._attempt or r.step < step]

    def _read(self, data: bytes, at: int, end: int) -> bool:
        changed = False
        while (at := data.find(_SAMPLE, at, end)) != -1:
            stop = data.find(b"\n", at, end)
            event = decode(data[at : stop if stop != -1 else end])
            if event is not None:
                changed |= self._add(event)
            at += len(_SAMPLE)
        return changed

    def _add(self, event: dict[str, Any]) -> bool:
        step, attempt = event.get("step"), event.get("attempt")
        if not is_count(step) or not isinstance(event.get("completion"), str):
            return False
        attempt = attempt if is_count(attempt) else self._attempt
        if attempt < self._attempt:
            return False
        prompt = clean(event.get("prompt") or "", MAX_TEXT, keep_newlines=True)
        if prompt not in self._prompts and len(self._prompts) >= MAX_PROMPTS:
            return False
        index = self._prompts.setdefault(prompt, len(self._prompts))
        text = clean(event["completion"], MAX_TEXT, keep_newlines=True)
        answer = Answer(
            text, _count(event.get("tokens")), number(event.get("seconds")), clean(event.get("ended") or "", 20)
        )
        last = self._rounds[-1] if self._rounds else None
        if last is not None and last.step == step:
            self._rounds[-1] = Round(step, last.time, attempt, {**last.answers, index: answer})
        else:
            self._thin()
            when = float(event["time"]) if is_time(event.get("time")) else None
            self._rounds.append(Round(step, when, attempt, {index: answer}))
        self._size += len(text)
        return True

    def _thin(self) -> None:
        while self._size > BUDGET and len(self._rounds) > 3:
            self._rounds = self._rounds[:-1:2] + self._rounds[-1:]
            self._size = sum(len(a.text) for r in self._rounds for a in r.answers.values())
            self._every *= 2


def _count(value: Any) -> int | None:
    return value if is_count(value) else None
