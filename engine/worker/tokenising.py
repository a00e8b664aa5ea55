"""The rows of a run as the trainer takes them: file by file, from the cache or tokenised into it, and never all in memory."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import engine
from engine.data import Chat, Reading, Source, numbered_chats
from engine.data.sources import parse
from engine.text import clean_path
from engine.worker import crew, dataset, tokencache
from engine.worker.dataset import KEPT, REFUSED, TELL_SECONDS, Tokenised
from engine.worker.failure import CannotTrain
from engine.worker.many import marked
from engine.worker.marking import CannotRender, Marker
from engine.worker.rendering import can_render
from engine.worker.tokencache import Entry, Note, Writer

_FORMAT = 1
# Of rows that cannot be rendered, so many are remembered with what is wrong.
_MOST_REFUSED = 1000
# Bytes of tokens that a byte of data may become: two numbers of four bytes a token, of half a byte where it is packed.
_GROWTH, _PACKED_GROWTH = 4, 20
_CODE = ("tokenising", "tokencache", "crew", "dataset", "many", "marking", "prefixes", "probing", "rendering", "ways")
# A template may ask for today's date; what it asks for beyond that changes while a run tokenises.
_CLOCK, _DATE = re.compile(r"strftime_now\s*\(([^)]*)\)"), re.compile(r"""\s*["'](?:%[dbmBAaYyjeU%-]|[^%"'])*["']\s*""")
Tell = Callable[[int, "int | None"], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows to train on and to evaluate with, and how many rows of the former data have no answer and are left out."""

    train: Tokenised
    evaluation: Tokenised | None
    unanswered: int


class Data:
    """The data files of a run's settings. ``recorded`` is what ``run.json`` says of them: it was written when they were checked."""

    def __init__(self, config: dict[str, Any], recorded: dict[str, Any] | None = None) -> None:
        self.config = config
        self.reading = Reading.of(config)
        self.train = parse(config["train_path"], "train_path")
        self.eval = parse(config["eval_path"], "eval_path") if config["eval_path"] else []
        self._recorded = {str(one.get("sha256")): one for one in _files(recorded) if one.get("sha256")}
        self._hashes: dict[Path, str] = {}
        self._done = 0
        self._alone = False

    def chats(self) -> bool:
        """Whether the rows are chats, which need a template; a file holds either chats or plain text."""
        for source in self.train:
            rows = numbered_chats(source.path, self.reading)
            try:
                first = next(rows, None)
            finally:
                rows.close()  # type: ignore[attr-defined]
            if first is not None:
                return first[1].text is None
        return False

    def as_checked(self) -> bool:
        """Whether the files are, byte for byte, those whose rows were checked before the run began."""
        return bool(self._recorded) and all(
            self._hash(source.path) in self._recorded for source in [*self.train, *self.eval]
        )

    def tokenise(self, marker: Marker, tell: Tell) -> Prepared:
        """Tokens and labels of all rows, from the cache where they are there.

        ``tell`` hears how many rows are done of how many (``None`` where that is not known), about every second. Raises
        :class:`engine.errors.InputError` for a bad row, and :class:`CannotTrain` for a file that changes meanwhile and for
        data to evaluate with that hold nothing to measure.
        """
        import datasets

        # What the trainer makes of mapped rows (packing) would be put beside them, into the cache.
        datasets.disable_caching()
        self._done, total = 0, self._rows_recorded()
        train = _Rows([(source, self._tokens(source, marker, tell, total)) for source in self.train])
        evaluation = _Rows([(source, self._tokens(source, marker, tell, total)) for source in self.eval])
        if self.eval and not len(evaluation):
            raise CannotTrain(dataset.nothing_to_measure(self.config))
        places = np.arange(len(train))
        measured = evaluation.part(np.arange(len(evaluation))) if self.eval else None
        if self.config["eval_fraction"]:
            places, held = dataset.held_out_places(len(train), self.config)
            measured = train.part(held)
        return Prepared(train.part(places), measured, train.unanswered)

    def _tokens(self, source: Source, marker: Marker, tell: Tell, total: int | None) -> Entry:
        begun = self._done

        def told(rows: int) -> None:
            self._done = begun + rows
            tell(self._done, total)

        def make(writer: Writer, said: tokencache.Tell) -> Note:
            before = _state(source.path)
            note = self._write(source, marker, writer, said)
            if not before == state == _state(source.path):
                raise CannotTrain(
                    f"{clean_path(source.path, 300)} was changed while it was read: start again when it is written"
                )
            return note

        state = _state(source.path)
        key = self._key(source, marker)
        packed = source.path.suffix in (".gz", ".parquet", ".pq")
        size = (_PACKED_GROWTH if packed else _GROWTH) * source.path.stat().st_size
        try:
            found = tokencache.fetch(key, make, expected=size, tell=told)
        except crew.Lost as error:
            print(f"{error}: the rows are tokenised in one process", flush=True)
            self._alone = True
            found = tokencache.fetch(key, make, expected=size, tell=told)
        told(found.table.num_rows)
        return found

    def _write(self, source: Source, marker: Marker, writer: Writer, told: tokencache.Tell) -> Note:
        """The samples of a file, one by one as they are read; where some are drawn, the file is read once before."""
        wanted: set[int] | None = None
        if _draws(source):
            count = sum(1 for _ in self._usable(source.path, []))
            picked = source.pick(range(count), dataset.drawing_seed(self.config))
            wanted = None if len(picked) == count else set(picked)
        left_out: list[int] = []
        lines: deque[int] = deque()

        def chats() -> Iterator[Chat]:
            for place, (line, chat) in enumerate(self._usable(source.path, left_out)):
                if wanted is None or place in wanted:
                    lines.append(line)
                    yield chat

        refused: list[Any] = []
        last = time.monotonic()

        def tell() -> None:
            nonlocal last
            if time.monotonic() - last > TELL_SECONDS:
                last = time.monotonic()
                told(writer.rows)

        def refuse(row: int, line: int, why: str) -> None:
            if len(refused) < _MOST_REFUSED:
                refused.append([row, line, why])

        alone = self._alone or not can_render(marker.tokenizer)
        processes = 1 if alone else crew.size(source.path.stat().st_size)
        if processes > 1:
            for batch, wrong in crew.portions(marker, chats(), processes):
                for row in range(batch.num_rows):
                    line = lines.popleft()
                    if row in wrong:
                        refuse(writer.rows + row, line, wrong[row])
                writer.write(batch)
                tell()
        else:
            for one in marked(marker, chats()):
                line, flags = lines.popleft(), dataset.judged(one)
                if isinstance(one, CannotRender):
                    refuse(writer.rows, line, str(one))
                    writer.add(None, flags)
                else:
                    writer.add(one if flags & KEPT else None, flags)
                tell()
        return {"unanswered": len(left_out), "refused": refused}

    def _usable(self, path: Path, left_out: list[int]) -> Iterator[tuple[int, Chat]]:
        """Rows that hold something to learn, each with its line; lines of the others go to ``left_out``."""
        answered = self.config["assistant_only_loss"] is not False
        for line, chat in numbered_chats(path, self.reading):
            if answered and not chat.answered:
                left_out.append(line)
            else:
                yield line, chat

    def _rows_recorded(self) -> int | None:
        found = [self._recorded.get(self._hash(source.path)) for source in [*self.train, *self.eval]]
        sources = [*self.train, *self.eval]
        if not all(one is not None and isinstance(one.get("rows"), int) for one in found):
            return None
        usable = [one["rows"] - sum((one.get("skipped") or {}).values()) for one in found if one is not None]
        return sum(source.taken(rows) if _draws(source) else rows for source, rows in zip(sources, usable, strict=True))

    def _hash(self, path: Path) -> str:
        if path not in self._hashes:
            with path.open("rb") as file:
                self._hashes[path] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._hashes[path]

    def _key(self, source: Source, marker: Marker) -> str | None:
        """A digest of all that decides the tokens of a file; ``None`` where that is not all known."""
        how = _print_of(marker)
        if how is None:
            return None
        draw = [source.amount, dataset.drawing_seed(self.config)] if _draws(source) else None
        told = [_FORMAT, self._hash(source.path), draw, self.config["assistant_only_loss"] is not False, marker.limit,
                self.reading.format, sorted(self.reading.fields.items()), self.reading.skip, how, _code()]  # fmt: skip
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


class _Rows:
    """The samples of one setting's files, in order."""

    def __init__(self, files: list[tuple[Source, Entry]]) -> None:
        self._files = files
        self._begins = np.cumsum([0, *(entry.table.num_rows for _, entry in files)])
        self._flags = np.concatenate([np.empty(0, np.uint8), *(_flags(entry) for _, entry in files)])
        places = [np.empty(0, np.int64)]
        for (source, entry), begin in zip(files, self._begins, strict=False):
            rows = entry.table.num_rows
            times = int(source.amount[1:]) if source.amount.startswith("x") else 1
            places.append(np.tile(np.arange(begin, begin + rows), times))
        self._places = np.concatenate(places)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def unanswered(self) -> int:
        return sum(entry.note["unanswered"] for _, entry in self._files)

    def part(self, which: Any) -> Tokenised:
        """Those samples, as the trainer takes them."""
        from datasets import concatenate_datasets

        places = self._places[which]
        flags = self._flags[places]
        kept = places[flags & KEPT > 0]
        whole = concatenate_datasets([_dataset(entry) for _, entry in self._files])
        if not np.array_equal(kept, np.arange(len(whole))):
            whole = whole.select(kept)
        refused = places[flags & REFUSED > 0]
        return Tokenised.of(whole, flags, self._why(int(refused[0])) if len(refused) else "")

    def _why(self, place: int) -> str:
        number = int(np.searchsorted(self._begins, place, side="right")) - 1
        source, entry = self._files[number]
        where = clean_path(source.path, 300)
        for row, line, text in entry.note["refused"]:
            if row == place - self._begins[number]:
                return f"{where}:{line}: {text}"
        return f"{where}: the chat template cannot render a row"


def _flags(entry: Entry) -> Any:
    return np.concatenate([np.empty(0, np.uint8), *(part.to_numpy() for part in entry.table.column("flags").chunks)])


def _dataset(entry: Entry) -> Any:
    from datasets import Dataset
    from datasets.table import InMemoryTable, MemoryMappedTable

    table = InMemoryTable(entry.table) if entry.path is None else MemoryMappedTable.from_file(str(entry.path))
    return Dataset(table).select_columns(dataset.COLUMNS)


def _files(recorded: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The files of ``data`` in ``run.json``."""
    found = [one for one in (recorded or {}).values() if isinstance(one, dict)]
    return [part for one in found for part in (one.get("files") or [one]) if isinstance(part, dict)]


def _draws(source: Source) -> bool:
    """Whether only some of a file's rows may be taken."""
    return bool(source.amount) and not source.amount.startswith("x")


def _state(path: Path) -> tuple[int, ...]:
    info = os.stat(path)
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


def _print_of(marker: Marker) -> list[Any] | None:
    """What renders and encodes, as it stands in memory; ``None`` for a tokenizer or template whose results may change."""
    made = marker.tokenizer
    if not can_render(made) or not type(made).__module__.startswith("transformers."):
        return None
    template = json.dumps(made.chat_template, sort_keys=True)
    today = ""
    if "strftime_now" in template:
        calls = _CLOCK.findall(json.loads(template) if isinstance(made.chat_template, str) else template)
        if (
            not calls
            or not all(_DATE.fullmatch(call) for call in calls)
            or len(calls) != template.count("strftime_now(")
        ):
            return None
        today = time.strftime("%Y-%m-%d")
    if "random" in template:
        return None
    encodes = hashlib.sha256(made.backend_tokenizer.to_str().encode()).hexdigest()
    return [
        type(made).__name__,
        encodes,
        template,
        today,
        {name: str(token) for name, token in made.special_tokens_map.items()},
    ]


@functools.lru_cache(maxsize=1)
def _code() -> list[str]:
    """Versions of what renders and marks, and a digest of this project's own part in it."""
    found = [engine.__version__]
    for name in ("transformers", "trl", "tokenizers", "jinja2"):
        try:
            found.append(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            found.append("")
    digest, home = hashlib.sha256(), Path(engine.__file__).parent
    for path in [*(home / "worker" / f"{name}.py" for name in _CODE), *sorted((home / "data").glob("*.py"))]:
        try:
            digest.update(path.name.encode() + path.read_bytes())
        except OSError:  # not installed as files: the version has to do
            continue
    return [*found, digest.hexdigest()]
