"""How long the rows are in tokens, counted by the inspector as the trainer will see them, and remembered by content."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import random
import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from engine import paths
from engine.config import RunConfig
from engine.data import DataReport, Reading
from engine.inspecting import Inspector
from engine.rundir import write_atomic

_BLOCKS, _BLOCK = 20, 25
_ASKED, _WAIT_SECONDS, _PACE_SECONDS = 2000, 300.0, 1.0
_KEPT_FILES, _LARGEST_FILE = 40, 256 * 2**20
_STEP = 64
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "chat_template.json", "tokenizer.model",
                    "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json", "config.json")  # fmt: skip
# (rows done, rows in all)
Tell = Callable[[int, int], None]


@dataclass(slots=True)
class Rows:
    """Lengths of a file's rows: all tokens, those that are learned, whether there is an answer; rows that cannot be rendered."""

    lengths: list[int] = field(default_factory=list)
    learned: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    refused: list[list[Any]] = field(default_factory=list)

    def add(self, answer: dict[str, Any]) -> None:
        """Those of one answer of the inspector."""
        for name in ("lengths", "learned", "answered"):
            getattr(self, name).extend(answer[name])
        self.refused.extend([said["line"], said["message"]] for said in answer["refused"])


@dataclass(slots=True)
class Lengths:
    """The length sheet. ``estimated`` where only a sample was counted: numbers of rows and tokens are then scaled up.

    ``lengths`` are those of the counted rows that can be trained on or could be if rows were longer, in full; ``limit`` cuts them.
    ``usable`` rows keep something to learn; ``empty`` ones are cut off before it or hold nothing that can be told apart.
    ``tokens`` are all of these rows before they are cut, ``kept`` those of usable rows after it, ``trained`` those learned.
    ``refused`` rows cannot be rendered: file, line and why. ``padding`` is the share of padded batches that is padding.
    """

    limit: int
    estimated: bool = False
    rows: int = 0
    usable: int = 0
    truncated: int = 0
    empty: int = 0
    tokens: int = 0
    kept: int = 0
    trained: int = 0
    padding: float = 0.0
    packed: int | None = None
    suggested: int | None = None
    lengths: list[int] = field(default_factory=list)
    refused: list[tuple[str, int | None, str]] = field(default_factory=list)

    @property
    def longest(self) -> int:
        """Of all rows, before they are cut."""
        return self.lengths[-1] if self.lengths else 0

    def quantiles(self) -> dict[float, int]:
        """Length at each share of the rows, shortest to longest."""
        last = len(self.lengths) - 1
        return {share: self.lengths[round(share * last)] for share in _QUANTILES} if self.lengths else {}

    def histogram(self, most: int = 12) -> list[tuple[int, int, int]]:
        """Counted rows by length: from, up to and without, how many."""
        if not self.lengths:
            return []
        width = next(w for w in (size << n for n in range(40) for size in (8, 12)) if self.longest < w * most)
        edges = range(0, self.longest + 1, width)
        return [
            (low, low + width, bisect_left(self.lengths, low + width) - bisect_left(self.lengths, low)) for low in edges
        ]


def measure(
    inspector: Inspector, config: RunConfig, report: DataReport, *, sample: bool = False, tell: Tell | None = None,
    cancelled: threading.Event | None = None, packing: bool = False, padding_free: bool = False,
) -> Lengths:  # fmt: skip
    """Count the tokens of checked data; ``sample`` counts a few hundred rows of each file only.

    Lengths that were counted before come from the cache, where they are always those of all rows. Raises
    :class:`engine.inspecting.InspectError`.
    """
    reports = report.files or [report]
    seed = int(config.seed if config.data_seed is None else config.data_seed)
    total = sum(one.rows for one in reports)
    picked: list[tuple[int, int]] = []
    out, done, scale, estimated = Lengths(config.max_seq_length), 0, 1.0, False
    for one in reports:
        rows, whole = _counted(inspector, config, one, sample, _offset(tell, done, total), cancelled)
        done += one.rows
        only = config.assistant_only_loss is not False
        found = [pair for pair, answered in zip(zip(rows.lengths, rows.learned, strict=True), rows.answered, strict=True)
                 if answered or not only]  # fmt: skip
        out.refused += [(str(one.path), line, message) for line, message in rows.refused]
        if whole:
            picked += one.source.pick(found, seed) if one.source is not None else found
        else:
            estimated = True
            picked += found
    if estimated and picked:
        scale = max(1.0, report.samples(config.assistant_only_loss is not False) / len(picked))
    return summarise(picked, out, scale, estimated, config, packing, padding_free, seed)


def _offset(tell: Tell | None, begun: int, total: int) -> Callable[[int], None]:
    """Tells of rows of one file as rows of all files."""

    def told(done: int) -> None:
        if tell is not None:
            tell(begun + done, total)

    return told


def summarise(
    rows: Sequence[tuple[int, int]], out: Lengths, scale: float, estimated: bool, config: RunConfig, packing: bool,
    padding_free: bool, seed: int,
) -> Lengths:  # fmt: skip
    """Fill in the sheet from pairs of length and learned tokens; rows of length 0 could not be rendered."""
    limit = out.limit
    there = [pair for pair in rows if pair[0]]
    usable = [min(length, limit) for length, learned in there if learned]
    out.estimated = estimated
    out.lengths = sorted(length for length, _ in there)
    out.rows, out.usable = round(len(rows) * scale), round(len(usable) * scale)
    out.truncated = round((len(there) - bisect_right(out.lengths, limit)) * scale)
    out.empty = round((len(there) - len(usable)) * scale)
    out.tokens = round(sum(out.lengths) * scale)
    out.kept, out.trained = round(sum(usable) * scale), round(sum(learned for _, learned in there) * scale)
    if packing:
        out.packed = round(packed(usable, limit) * scale)
    elif not padding_free:
        out.padding = padding(usable, config.batch_size, seed)
    out.suggested = suggest(out.lengths)
    return out


def padding(lengths: Sequence[int], batch: int, seed: int = 0) -> float:
    """The share of a pass over shuffled rows that is padding, when each batch is padded to its longest row."""
    if batch < 2 or not lengths:
        return 0.0
    order = list(lengths)
    random.Random(seed).shuffle(order)
    room = sum(max(part) * len(part) for part in (order[i : i + batch] for i in range(0, len(order), batch)))
    return 1 - sum(order) / room


def packed(lengths: Sequence[int], limit: int) -> int:
    """How many rows come of packing, as TRL's best fit decreasing does it: the longest first, each where it fits best."""
    rooms: list[int] = []
    count = 0
    for length in sorted(lengths, reverse=True):
        place = bisect_left(rooms, length)
        left = limit - length
        if place < len(rooms):
            left = rooms.pop(place) - length
        else:
            count += 1
        if left > 0:
            insort(rooms, left)
    return count


def suggest(lengths: Sequence[int]) -> int | None:
    """A limit that cuts nothing off, or next to nothing where a few rows are far longer than the others."""
    if not lengths:
        return None
    longest, usual = lengths[-1], lengths[round(0.99 * (len(lengths) - 1))]
    return -(-(usual if longest > 2 * usual else longest) // _STEP) * _STEP


def _counted(inspector: Inspector, config: RunConfig, report: DataReport, sample: bool, tell: Callable[[int], Any],
             cancelled: threading.Event | None) -> tuple[Rows, bool]:  # fmt: skip
    """Lengths of one file, and whether they are those of all its rows."""
    key = _key(config, report)
    known = _recall(key)
    if known is not None:
        return known, True
    rows, number, left = Rows(), 0, report.rows - sum(report.skipped.values())
    reading = Reading.of(config.model_dump())
    fields: dict[str, Any] = {
        "model": {"base_model": config.base_model, "revision": config.revision, "trust_remote_code": config.trust_remote_code},
        "assistant_only_loss": config.assistant_only_loss, "max_seq_length": config.max_seq_length, "file": str(report.path),
        "reading": {"format": reading.format, "fields": dict(reading.fields), "skip": reading.skip},
    }  # fmt: skip
    if sample and left > 2 * _BLOCKS * _BLOCK:
        for block in range(_BLOCKS):
            row = block * (left - _BLOCK) // (_BLOCKS - 1)
            rows.add(inspector.ask("lengths", _WAIT_SECONDS, cancelled, row=row, count=_BLOCK, seconds=30.0, **fields))
        return rows, False
    following: int | None = 0
    while following is not None:
        number = following
        answer = inspector.ask(
            "lengths", _WAIT_SECONDS, cancelled, row=number, count=_ASKED, seconds=_PACE_SECONDS, **fields
        )
        rows.add(answer)
        following = answer["next"]
        tell(number if following is None else following)
    _remember(key, rows)
    return rows, True


def _key(config: RunConfig, report: DataReport) -> str | None:
    """What lengths depend on, as a digest; ``None`` where that cannot be told."""
    tokenizer = tokenizer_print(config.base_model, config.revision)
    if tokenizer is None or not report.sha256:
        return None
    told = [report.sha256, tokenizer, config.data_format, config.data_fields, config.on_bad_rows, config.max_seq_length,
            config.assistant_only_loss is not False, config.trust_remote_code, config.worker_python, *_versions()]  # fmt: skip
    return hashlib.sha256(orjson.dumps(told)).hexdigest()


def _versions() -> list[str]:
    """Of what renders and marks."""
    names = ("tunedeck", "transformers", "trl", "tokenizers")
    found = []
    for name in names:
        try:
            found.append(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            found.append("")
    return found


def tokenizer_print(model: str, revision: str | None = None) -> str | None:
    """A digest of the files of a model's tokenizer and template; ``None`` where they cannot be found."""
    folder = model_folder(model, revision)
    if folder is None:
        return None
    digest = hashlib.sha256()
    for name in _TOKENIZER_FILES:
        try:
            digest.update(name.encode() + hashlib.sha256((folder / name).read_bytes()).digest())
        except OSError:
            continue
    return digest.hexdigest()


def model_folder(model: str, revision: str | None = None) -> Path | None:
    """Where a model's files lie: its directory, or its snapshot in the local hub cache."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{model.replace('/', '--')}"
    try:
        commit = (cache / "refs" / (revision or "main")).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        commit = revision or ""
    found = cache / "snapshots" / commit
    return found if commit and found.is_dir() else None


def _recall(key: str | None) -> Rows | None:
    if key is None:
        return None
    path = paths.cache_dir() / "lengths" / f"{key}.json"
    try:
        record = orjson.loads(path.read_bytes()) if path.stat().st_size <= _LARGEST_FILE else None
    except (OSError, ValueError):
        return None
    names = ("lengths", "learned", "answered", "refused")
    if not isinstance(record, dict) or not all(isinstance(record.get(name), list) for name in names):
        return None
    lengths, learned, answered, refused = (record[name] for name in names)
    numbers = all(type(value) is int for column in (lengths, learned, answered) for value in column)
    pairs = all(type(said) is list and len(said) == 2 and isinstance(said[1], str) for said in refused)
    return (
        Rows(lengths, learned, answered, refused)
        if numbers and pairs and len(lengths) == len(learned) == len(answered)
        else None
    )


def _remember(key: str | None, rows: Rows) -> None:
    """Keep lengths for the next time; a cache that cannot be written costs only time."""
    if key is None:
        return
    folder = paths.cache_dir() / "lengths"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        body = {name: getattr(rows, name) for name in ("lengths", "learned", "answered", "refused")}
        write_atomic(folder / f"{key}.json", orjson.dumps(body), durable=False)
        files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in files[_KEPT_FILES:]:
            file.unlink(missing_ok=True)
    except OSError:
        pass
