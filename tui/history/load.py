"""Reads one run for its pages, in a thread: record, notes and files; then looks whether the directory changes."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from engine.text import clean
from tui.history.files import Files

if TYPE_CHECKING:
    from engine.history.record import RunRecord
    from engine.notes import Notes
    from tui.history.feed import RecordFeed
    from tui.history.settingspage import Section
    from tui.watch.feed import WatchUpdate


@dataclass(slots=True)
class Loaded:
    """A record, the first thing that is read; ``best``: at which steps its losses were lowest, by metric."""

    record: RunRecord
    best: dict[str, int | None] = field(default_factory=dict)

    @property
    def own(self) -> bool:
        """Whether it is a run of ours."""
        return self.record.summary.tool == "tunedeck"


@dataclass(slots=True)
class Charted:
    """Its curves; ``counted`` and ``left_out``: see :class:`tui.history.tables.Tables`."""

    feed: RecordFeed
    update: WatchUpdate
    counted: bool
    left_out: int


@dataclass(slots=True)
class Settings:
    """Its settings in sections."""

    sections: tuple[Section, ...]


@dataclass(slots=True)
class Words:
    """People's words on a run, or why they cannot be read."""

    notes: Notes | None
    trouble: str = ""


@dataclass(slots=True)
class Changed:
    """What was read is no longer what stands in the directory."""


Part = Loaded | Charted | Settings | Words | Files | Changed | str
"""What the reader brings, in this order; a text says why there is no record."""

LOOK_SECONDS = 2.0


class Reader:
    """One thread that reads once, and says once that there is more; whoever leaves the page does not wait for it."""

    def __init__(self, path: Path, deliver: Callable[[Part], object]) -> None:
        self.path, self._deliver = path, deliver
        self._stopped = threading.Event()
        self._read: RunRecord | None = None

    def start(self) -> None:
        """Begin, in a thread that never keeps the app from ending."""
        threading.Thread(target=self._run, name="tunedeck-record", daemon=True).start()

    def stop(self) -> None:
        """What is still read is wanted no more."""
        self._stopped.set()

    def _run(self) -> None:
        before = self._print()
        for work in (self._record, self._curves, self._settings, self._words, self._files):
            if self._stopped.is_set():
                return
            try:
                part: Part = work()
            except Exception as error:  # a directory of a shape nobody foresaw must not end the page
                part = clean(f"it cannot be read: {_words(error)}", 300)
                if work is self._words:
                    part = Words(None, f"The notes cannot be read: {_words(error)}")
            if not self._stopped.is_set():
                self._deliver(part)
            if isinstance(part, str):
                return
        while not self._stopped.wait(LOOK_SECONDS):
            if self._print() != before:
                self._deliver(Changed())
                return

    def _print(self) -> object:
        """What the files look like from outside; where that cannot be told it never changes."""
        from engine.history.readers import prints

        try:
            return prints(self.path)
        except Exception:  # whatever stands there, reading it says why
            return None

    def _record(self) -> Part:
        with uncollected():
            record = read(self.path)
        if record is None:
            there = self.path.is_dir()
            return "nothing in this directory tells of a training run" if there else "the directory has gone"
        self._read = record
        from tui.history.summarypage import best_steps

        return Loaded(record, best_steps(record))

    def _curves(self) -> Charted:
        assert self._read is not None
        return charted(self._read)

    def _settings(self) -> Settings:
        from tui.history.settingspage import sections

        assert self._read is not None
        return Settings(sections(self._read))

    def _words(self) -> Words:
        return Words(notes_of(self.path))

    def _files(self) -> Files:
        from tui.history import files

        return files.read(self.path, self._stopped.is_set)


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the collector of garbage, which would look through tens of thousands of new rows again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def read(path: Path) -> RunRecord | None:
    """The record of a directory."""
    from engine.history.readers import read_record

    return read_record(path)


def charted(record: RunRecord) -> Charted:
    """The curves of a record, and the first chart's points."""
    from tui.history.feed import RecordFeed
    from tui.history.tables import layout, tables

    made = tables(Path(record.summary.path), record.steps, record.evals)
    feed = RecordFeed(made, layout(made.view))
    return Charted(feed, feed.first(), made.counted, made.left_out)


def notes_of(path: Path) -> Notes:
    """People's words on a run of any tool."""
    from tui.history.keepers import keeper

    return keeper(path).load()


def _words(error: Exception) -> str:
    return str(error.strerror if isinstance(error, OSError) and error.strerror else error) or type(error).__name__
