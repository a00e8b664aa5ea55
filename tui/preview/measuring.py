"""What is known of the lengths of all rows while they are measured, for the page of lengths and for going to rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.preflight.counting import Count
from engine.preflight.distribution import Suggestion
from engine.preflight.lengths import Lengths

Place = tuple[int, int]


@dataclass(slots=True)
class Measuring:
    """``lengths`` are of a sample until all rows are counted (``complete``); ``counts`` are the rows of each file so far."""

    limit: int
    lengths: Lengths | None = None
    counts: Sequence[Count] = field(default_factory=list)
    complete: bool = False

    @property
    def done(self) -> int:
        """How many rows are counted one after another; a sample is not among them."""
        return sum(len(count.rows) for count in self.counts)

    @property
    def suggestion(self) -> Suggestion | None:
        """The ``max_seq_length`` that suits the rows."""
        return None if self.lengths is None else self.lengths.suggestion

    def total(self, file: int) -> int | None:
        """How many rows a file has, as far as that is known."""
        return self.counts[file].total if file < len(self.counts) else None

    def next_row(self, kind: str, place: Place) -> Place | None:
        """The next row after ``place`` that is ``cut``, or has ``nothing`` to train; refused ones count as that, too.

        ``None`` where there is none among the rows that are counted one after another.
        """
        file, row = place
        for at in range(file, len(self.counts)):
            count = self.counts[at]
            found = count.rows.next(kind, row + 1 if at == file else 0, self.limit)
            if found is not None:
                return at, found
            if not count.complete:
                return None
        return None
