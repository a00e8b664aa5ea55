"""The length sheet: how long the rows are in tokens as the trainer will see them, and what ``max_seq_length`` makes of them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine.config import RunConfig
from engine.data import DataReport, Source
from engine.preflight.counting import (
    SAMPLE,
    Asks,
    Count,
    Part,
    count_of,
    finish,
    model_folder,
    parts_of,
    tokenizer_print,
)
from engine.preflight.distribution import Distribution, Suggestion, packed, padding
from engine.preflight.rowcounts import Rows

__all__ = ["Lengths", "Tell", "count_of", "measure", "measure_counts", "model_folder", "parts_of", "summarise",
           "tokenizer_print"]  # fmt: skip
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
# (rows done, rows in all)
Tell = Callable[[int, int], None]


@dataclass(slots=True)
class Lengths:
    """The length sheet. ``estimated`` where only a sample was counted: numbers of rows and tokens are then scaled up.

    ``lengths`` are those of the rows that can be trained on or could be if rows were longer, in full; ``limit`` cuts them.
    ``usable`` rows keep something to learn; ``empty`` ones are cut off before it or hold nothing that can be told apart.
    ``tokens`` are all of these rows before they are cut, ``kept`` those of usable rows after it, ``trained`` those learned.
    ``refused`` rows cannot be rendered: file, line and why. ``padding`` is the share of padded batches that is padding.
    ``unanswered`` ones have no assistant's answer and are none of the others; ``counted`` is how many rows were really looked at.
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
    suggestion: Suggestion | None = None
    lengths: Distribution = field(default_factory=Distribution)
    refused: list[tuple[str, int | None, str]] = field(default_factory=list)
    unanswered: int = 0
    counted: int = 0

    @property
    def suggested(self) -> int | None:
        """The ``max_seq_length`` that suits these rows."""
        return None if self.suggestion is None else self.suggestion.length

    @property
    def longest(self) -> int:
        """Of all rows, before they are cut."""
        return self.lengths.longest

    def quantiles(self) -> dict[float, int]:
        """Length at each share of the rows, shortest to longest."""
        return {share: self.lengths.quantile(share) or 0 for share in _QUANTILES} if self.lengths else {}

    def histogram(self, most: int = 12) -> list[tuple[int, int, int]]:
        """Rows by length: from, up to and without, how many."""
        return [(bar.low, bar.high, bar.rows) for bar in self.lengths.histogram(most)]


@dataclass(frozen=True, slots=True)
class _Taken:
    """Rows of a file as a run takes them, each standing for ``weight`` rows: all of them, or a sample."""

    rows: Rows
    places: Sequence[int]
    weight: float = 1.0


def measure(
    inspector: Asks, config: RunConfig, report: DataReport, *, sample: bool = False, tell: Tell | None = None,
    cancelled: threading.Event | None = None, packing: bool = False, padding_free: bool = False,
) -> Lengths:  # fmt: skip
    """Count the tokens of checked data; ``sample`` counts some rows of each file only, in about two seconds.

    Rows that were counted before are not counted again, whoever did it and at whatever ``max_seq_length``; then they are all
    rows, also where a sample is asked for. Raises :class:`engine.inspecting.InspectError`.
    """
    parts = parts_of(report)
    counts = [count_of(config, part) for part in parts]
    return measure_counts(inspector, config, parts, counts, sample=sample, tell=tell, cancelled=cancelled, packing=packing,
                          padding_free=padding_free)  # fmt: skip


def measure_counts(
    inspector: Asks, config: RunConfig, parts: Sequence[Part], counts: Sequence[Count], *, sample: bool = False,
    tell: Tell | None = None, cancelled: threading.Event | None = None, packing: bool = False, padding_free: bool = False,
) -> Lengths:  # fmt: skip
    """The same of files whose counts are at hand; they need not have been checked."""
    if sample:
        for part, count in zip(parts, counts, strict=True):
            if count.recall():
                continue
            if part.rows is not None and part.rows <= SAMPLE:  # counted as quickly
                finish(inspector, [count], cancelled)
            else:
                count.take_sample(inspector, cancelled)
    else:
        total = sum(part.rows or 0 for part in parts)
        finish(inspector, list(counts), cancelled, None if tell is None else lambda done: tell(done, max(done, total)))
    return summarise(config, parts, counts, packing=packing, padding_free=padding_free)


def summarise(config: RunConfig, parts: Sequence[Part], counts: Sequence[Count], *, packing: bool = False,
              padding_free: bool = False) -> Lengths:  # fmt: skip
    """The sheet of what is counted: all rows of a file where that is complete, else its sample, else those so far."""
    out = Lengths(config.max_seq_length)
    seed = int(config.seed if config.data_seed is None else config.data_seed)
    only = config.assistant_only_loss is not False
    taken = []
    for part, count in zip(parts, counts, strict=True):
        rows = count.rows if count.complete or count.sample is None else count.sample
        out.refused += [(str(part.path), line, message) for _, line, message in rows.refused]
        out.counted += len(rows)
        places = rows.places(answered=only)
        if count.complete:
            taken.append(_Taken(rows, _picked(part.source, places, seed)))
            out.unanswered += len(rows) - len(places)
            continue
        out.estimated = True
        there = max(len(rows), part.rows if part.rows is not None else count.total or 0)
        share = there / len(rows) if len(rows) else 1.0
        samples = len(places) * share
        out.unanswered += round((len(rows) - len(places)) * share)
        if part.source is not None:
            samples = part.source.taken(round(samples))
        taken.append(_Taken(rows, places, samples / len(places) if places else 1.0))
    _fill(out, taken, config.batch_size, seed, packing=packing, padding_free=padding_free)
    return out


def _picked(source: Source | None, places: Sequence[int], seed: int) -> Sequence[int]:
    """The rows that a run draws of these."""
    return source.pick(places, seed) if source is not None and source.amount else places


def _fill(out: Lengths, taken: list[_Taken], batch: int, seed: int, *, packing: bool, padding_free: bool) -> None:
    """Add rows up: each of them stands for as many as it is worth."""
    limit, there, usable = out.limit, Counter[int](), Counter[int]()
    rows = trained = 0.0
    found = 0
    for one in taken:
        seen, kept, learned = _counted(one, limit)
        for into, counts in ((there, seen), (usable, kept)):
            for length, count in counts.items():
                into[length] += count * one.weight  # type: ignore[assignment]
        found += sum(kept.values())
        trained += learned * one.weight
        rows += len(one.places) * one.weight
    out.lengths = Distribution(there)
    all_usable = sum(usable.values())
    out.rows, out.usable, out.trained = round(rows), round(all_usable), round(trained)
    out.truncated, out.empty = round(out.lengths.above(limit)), round(out.lengths.rows - all_usable)
    out.tokens, out.kept = round(out.lengths.tokens), round(sum(length * count for length, count in usable.items()))
    out.suggestion = out.lengths.suggestion()
    if packing:  # of a sample: as many rows as were looked at are packed, then scaled
        share = found / all_usable if all_usable else 1.0
        few = {length: max(1, round(count * share)) for length, count in usable.items()}
        out.packed = round(packed(few, limit) * all_usable / max(1, sum(few.values())))
    elif not padding_free:
        out.padding = padding(usable, batch, seed)


def _counted(taken: _Taken, limit: int) -> tuple[Counter[int], Counter[int], int]:
    """Rows by length, those that keep something to learn by their length after the cut, and all learned tokens."""
    there, usable, trained = Counter[int](), Counter[int](), 0
    for length, learned in taken.rows.at(limit, taken.places):
        if length:  # it could be rendered
            there[length] += 1
            trained += learned
            if learned:
                usable[min(length, limit)] += 1
    return there, usable, trained
