"""Asks the inspector for rows and lengths, and searches rows, in threads of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engine.data import Bad, Cancelled
from engine.errors import Problem, TunedeckError
from engine.inspecting import InspectError
from engine.preflight.counting import Asks as Asks
from engine.preflight.counting import Count, count_of, finish
from engine.preflight.lengths import Lengths, measure_counts, summarise
from engine.text import clean
from tui.preview import searching
from tui.preview.asked import Asked

OPEN_SECONDS, ROW_SECONDS = 180.0, 900.0
Place = tuple[int, int]
"""A file and a row of it, both from 0."""


@dataclass(frozen=True)
class Opened:
    """The tokenizer is loaded."""

    facts: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One row, or why it cannot be shown."""

    place: Place
    answer: dict[str, Any] = field(default_factory=dict)
    problem: Problem | None = None


@dataclass(frozen=True)
class Measured:
    """More rows were counted; ``lengths`` is what is known of all rows now, where that is new. ``over``: nothing more follows."""

    lengths: Lengths | None = None
    over: bool = False
    problem: Problem | None = None


@dataclass(frozen=True)
class Searched:
    """A search is over; ``looked`` counts rows meanwhile."""

    place: Place | None = None
    looked: int = 0
    over: bool = True
    problem: str = ""


News = Opened | Row | Measured | Searched


class Feed:
    """Delivers news until it is stopped; the newest row that was asked for counts."""

    def __init__(self, asked: Asked, inspector: Asks, deliver: Callable[[News], None]) -> None:
        self.asked, self._inspector, self._given = asked, inspector, deliver
        self._stop, self._wake = threading.Event(), threading.Event()
        self._wanted: tuple[Place, threading.Event] | None = None
        self._searching: threading.Event | None = None
        self._measuring = False
        self.counts: list[Count] = []
        """Of each file, once rows are measured."""

    def start(self) -> None:
        """Load the tokenizer, then show what is asked for."""
        threading.Thread(target=self._run, name="tunedeck-preview", daemon=True).start()

    def stop(self) -> None:
        """Take everything back that was asked."""
        self._stop.set()
        self._wake.set()
        self.end_search()
        if self._wanted is not None:
            self._wanted[1].set()

    def show(self, place: Place) -> None:
        """Ask for a row; an earlier question is taken back."""
        before, self._wanted = self._wanted, (place, threading.Event())
        if before is not None:
            before[1].set()
        self._wake.set()

    def measure(self) -> None:
        """Begin to measure all rows, once."""
        if not self._measuring:
            self._measuring = True
            threading.Thread(target=self._measure, name="tunedeck-lengths", daemon=True).start()

    def search(self, needle: str, place: Place, *, back: bool = False) -> None:
        """Look for a row with this text after (or before) a place, round and round."""
        self.end_search()
        stop = self._searching = threading.Event()
        given = (needle, place, back, stop)
        threading.Thread(target=self._search, args=given, name="tunedeck-search", daemon=True).start()

    def end_search(self) -> None:
        """Give a search up."""
        if self._searching is not None:
            self._searching.set()
            self._searching = None

    def _deliver(self, news: News) -> None:
        if not self._stop.is_set():
            self._given(news)

    def _run(self) -> None:
        try:
            facts = self._open()
        except InspectError as error:
            self._deliver(Row((0, 0), problem=error.problems[0]))
            return
        self._deliver(Opened(facts))
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            wanted = self._wanted
            if wanted is None or wanted[1].is_set() or self._stop.is_set():
                continue
            place, taken_back = wanted
            try:
                fields = self.asked.of_file(place[0])
                answer = self._inspector.ask("tokens", ROW_SECONDS, taken_back, row=place[1], **fields)
                self._deliver(Row(place, answer))
            except InspectError as error:
                if not taken_back.is_set():
                    self._deliver(Row(place, problem=error.problems[0]))

    def _open(self) -> dict[str, Any]:
        for again in (True, False):
            try:
                return self._inspector.ask("open", OPEN_SECONDS, self._stop, **self.asked.fields)
            except InspectError as error:
                # A question of an earlier screen that was taken back may have ended the process.
                if error.kind != "inspector-ended" or not again or self._stop.is_set():
                    raise
        raise AssertionError

    def _measure(self) -> None:
        """A sample first where there are many rows, then all of them; what somebody has counted already is not counted again."""
        asked = self.asked
        try:
            self.counts = counts = [count_of(asked.config, part) for part in asked.parts]
            about = measure_counts(self._inspector, asked.config, asked.parts, counts, sample=True, cancelled=self._stop,
                                   padding_free=True)  # fmt: skip
            self._deliver(Measured(about))
            finish(self._inspector, counts, self._stop, lambda done: self._deliver(Measured()))
            self._deliver(Measured(summarise(asked.config, asked.parts, counts, padding_free=True), over=True))
        except TunedeckError as error:
            self._deliver(Measured(over=True, problem=error.problems[0]))

    def _search(self, needle: str, place: Place, back: bool, stop: threading.Event) -> None:
        def looked(count: int) -> None:
            if stop.is_set() or self._stop.is_set():
                raise Cancelled
            self._deliver(Searched(looked=count, over=False))

        try:
            found = searching.find(self.asked, needle, place, back=back, looked=looked)
            news = Searched(found)
        except Cancelled:
            return
        except TunedeckError as error:
            problem = error.problems[0]
            news = Searched(
                problem=clean(f"{problem.where}: {problem.message}" if problem.where else problem.message, 300)
            )
        except (Bad, OSError, ValueError) as error:
            news = Searched(problem=clean(str(error), 300))
        if not stop.is_set():
            self._deliver(news)
