"""Counts the tokens of data files with the inspector: a sample first, then all rows, once for everybody who asks."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import orjson

from engine.config import RunConfig
from engine.data import DataReport, Reading, Source
from engine.errors import Problem
from engine.inspecting import InspectError, model_fields
from engine.models.cache import model_folder
from engine.preflight.rowcounts import Rows, recall, remember

SAMPLE = 1000
"""Rows of a file that a sample holds."""
_SAMPLE_SECONDS = 1.5
# Rows and seconds of one portion: other questions to the inspector wait for no more than one of them.
_PORTION, _PORTION_SECONDS, _WAIT_SECONDS = 10_000, 0.4, 900.0
_KEPT = 12
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "chat_template.json", "tokenizer.model",
                    "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json", "config.json")  # fmt: skip


class Asks(Protocol):
    """What answers: an :class:`engine.inspecting.Inspector`, or a stand-in."""

    def ask(
        self, what: str, timeout: float = 60.0, cancelled: threading.Event | None = None, **fields: Any
    ) -> dict[str, Any]:
        """The answer to one question."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """One data file. ``rows``, ``size`` (bytes) and ``sha256`` are what its check found, empty where it was not checked yet."""

    path: Path
    source: Source | None = None
    rows: int | None = None
    size: int = 0
    sha256: str = ""

    @classmethod
    def of(cls, report: DataReport) -> Part:
        """A checked file; rows that are skipped are not counted."""
        return cls(report.path, report.source, report.rows - sum(report.skipped.values()), report.bytes, report.sha256)


def parts_of(report: DataReport) -> list[Part]:
    """The files of checked data."""
    return [Part.of(one) for one in report.files or [report]]


@dataclass(slots=True)
class Count:
    """What is counted of one file so far: ``rows`` from its beginning on, all of them where it is ``complete``.

    ``sample`` are rows from everywhere in it. ``total`` is how many rows it has, if that is known. Several threads may go on
    with it: each portion is counted by one of them, and what was counted stays when one gives up. ``key`` and ``size`` (bytes)
    are those of the file as it was checked.
    """

    path: Path
    fields: dict[str, Any]
    key: str | None = None
    size: int = -1
    rows: Rows = field(default_factory=Rows)
    sample: Rows | None = None
    total: int | None = None
    complete: bool = False
    _state: tuple[int, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take_sample(self, inspector: Asks, cancelled: threading.Event | None) -> None:
        """Count some rows from everywhere, in about a second and a half and the time of reading the file once."""
        with self._turn(cancelled):
            if self.sample is None and not self.complete:
                answer = self._ask(inspector, cancelled, sample=SAMPLE, seconds=_SAMPLE_SECONDS)
                found = Rows()
                found.add(answer)
                self.sample, self.total = found, answer["total"]

    def go_on(self, inspector: Asks, cancelled: threading.Event | None) -> None:
        """Count the next portion. Raises :class:`InspectError`."""
        with self._turn(cancelled):
            if self.complete:
                return
            answer = self._ask(inspector, cancelled, row=len(self.rows), count=_PORTION, seconds=_PORTION_SECONDS)
            self.rows.add(answer)
            if answer["next"] is None:
                self.complete, self.total = True, len(self.rows)
                self._remember()

    def recall(self) -> bool:
        """Whether all rows are known, at once or from an earlier time."""
        with self._lock:
            known = None if self.complete else recall(self.key)
            if known is not None:
                self.rows, self.complete, self.total = known, True, len(known)
            return self.complete

    def checked(self, key: str | None, size: int) -> None:
        """The file was checked, or checked again."""
        with self._lock:
            if key is not None and key != self.key:
                self.key, self.size = key, size
                if self.complete:
                    self._remember()

    def _remember(self) -> None:
        if self._state and self.size == self._state[2]:  # what was checked is what was counted
            remember(self.key, self.rows)

    @contextmanager
    def _turn(self, cancelled: threading.Event | None) -> Iterator[None]:
        while not self._lock.acquire(timeout=0.05):
            if cancelled is not None and cancelled.is_set():
                raise InspectError(Problem("cancelled", "was taken back"))
        try:
            yield
        finally:
            self._lock.release()

    def _ask(self, inspector: Asks, cancelled: threading.Event | None, **more: Any) -> dict[str, Any]:
        """One answer, of a file that is the same as for the answers before."""
        before = _state(self.path)
        self._state = self._state or before
        answer = inspector.ask("lengths", _WAIT_SECONDS, cancelled, **self.fields, **more)
        if not before == self._state == _state(self.path):
            self.rows, self.sample, self._state = Rows(), None, ()
            raise InspectError(Problem("changed-file", "was changed while its rows were counted", "Look again when it is written",
                                       file=str(self.path)))  # fmt: skip
        return answer


_counts: OrderedDict[str, Count] = OrderedDict()
_counts_lock = threading.Lock()


def count_of(config: RunConfig, part: Part) -> Count:
    """The count of one file under these settings, the same for everybody who asks for it while nothing changes.

    Raises :class:`engine.errors.InputError` where the settings name no chat template.
    """
    reading = Reading.of(config.model_dump())
    asked = {"format": reading.format, "fields": dict(reading.fields), "skip": reading.skip}
    chosen = model_fields(config)
    fields = {"model": chosen, "assistant_only_loss": config.assistant_only_loss, "file": str(part.path),
              "reading": asked}  # fmt: skip
    tokenizer = tokenizer_print(config.base_model, config.revision)
    if tokenizer is None:
        return Count(part.path, fields)  # what cannot be told apart is not shared
    model = {**chosen, "base_model": "", "revision": ""}  # the same files under another name count alike
    told = [tokenizer, model, asked, config.assistant_only_loss is not False, config.worker_python, *_versions()]
    digest = hashlib.sha256(orjson.dumps(told)).hexdigest()
    key = hashlib.sha256(f"{part.sha256}{digest}".encode()).hexdigest() if part.sha256 else None
    name = f"{digest}{_state(part.path)}{os.path.abspath(part.path)}"
    with _counts_lock:
        found = _counts.setdefault(name, Count(part.path, fields))
        _counts.move_to_end(name)
        if len(_counts) > _KEPT:
            _counts.popitem(last=False)
    found.checked(key, part.size)
    return found


def finish(
    inspector: Asks, counts: list[Count], cancelled: threading.Event | None, tell: Callable[[int], None] | None = None
) -> None:
    """Count all rows of these files; ``tell`` hears how many are counted. Raises :class:`InspectError`."""
    for count in counts:
        count.recall()
        while not count.complete:
            count.go_on(inspector, cancelled)
            if tell is not None:
                tell(sum(len(one.rows) for one in counts))


def tokenizer_print(model: str, revision: str | None = None) -> str | None:
    """A digest of the files of a model's tokenizer and template; ``None`` where they cannot be found."""
    folder = model_folder(model, revision)
    if folder is None:
        return None
    digest = hashlib.sha256()
    for name in _TOKENIZER_FILES:
        try:
            digest.update(name.encode() + _print_of(folder / name))
        except OSError:
            continue
    return digest.hexdigest()


_prints: dict[tuple[str, int, int, int], bytes] = {}


def _print_of(path: Path) -> bytes:
    """A digest of a file; those of large ones are not made again while nothing changes."""
    info = path.stat()
    key = (str(path), info.st_ino, info.st_size, info.st_mtime_ns)
    fresh = time.time_ns() - info.st_mtime_ns < 2_000_000_000  # could be written again within one tick of its clock
    if key not in _prints or fresh:
        if len(_prints) > 200:
            _prints.clear()
        _prints[key] = hashlib.sha256(path.read_bytes()).digest()
    return _prints[key]


def _state(path: Path) -> tuple[int, ...]:
    """What changes when a file does; empty where there is none."""
    try:
        info = os.stat(path)
    except OSError:
        return ()
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


def _versions() -> list[str]:
    """Of what renders and marks."""
    found = []
    for name in ("tunedeck", "transformers", "trl", "tokenizers"):
        try:
            found.append(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            found.append("")
    return found
