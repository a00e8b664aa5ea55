"""Columns of numbers by optimizer step, as long as a run may be: the newest rows in memory, the others in a file."""

from __future__ import annotations

import math
import struct
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.columns.sequences import NonFinite, Numbers
from engine.columns.store import Store
from engine.events import number

NAN = math.nan
NOT_METRICS = frozenset({"type", "time", "attempt", "crc", "step", "total_steps"})
STEPS = ""  # the steps' own column
# Rows of a block in the file. Memory holds one to two blocks.
BLOCK = 4096
# Names beyond so many are left out: a trainer that logs ever new ones must not take the memory.
MAX_COLUMNS = 256


@dataclass(slots=True)
class Block:
    """Where rows are in the store. ``parts``: by name the place in the block (in columns) and the number of marks."""

    file: int
    offset: int
    size: int
    crc: int
    rows: int
    first: int
    last: int
    columns: dict[str, int] = field(default_factory=dict)
    marks: dict[str, tuple[int, int]] = field(default_factory=dict)


class MetricTable:
    """Columns of numbers, one row an optimizer step (or evaluation); missing values are NaN, real NaN too.

    Which of the two a NaN is, is told by :attr:`nonfinite`, the steps whose event said so. ``version`` rises with every
    change, ``rewrites`` only when earlier rows changed (a resume superseded them), so that charts can append. Reading
    raises ``OSError`` if the file of the old rows was damaged while it was open. ``only`` are the metrics that are kept,
    ``None`` for all.
    """

    def __init__(self, store: Store | None = None, only: frozenset[str] | None = None) -> None:
        self.store = store or Store()
        self.only = only
        self.version = 0
        self.rewrites = 0
        self._blocks: list[Block] = []
        self._first = 0  # rows in the store
        self._steps: array[int] = array("q")
        self._tail: dict[str, array[float]] = {"time": array("d")}
        self._marks: dict[str, array[int]] = {}  # rows in memory whose value is not finite, by every name that had one
        self._ends: dict[str, tuple[int, list[int]]] = {}
        self._best: dict[str, tuple[int, float]] = {}  # rows looked at, and the lowest among them

    def __len__(self) -> int:
        return self._first + len(self._steps)

    @property
    def steps(self) -> Sequence[int]:
        """The step of each row, ascending; a slice is an ``array('q')``."""
        return Numbers(self, STEPS, "q")

    def column(self, name: str) -> Sequence[float]:
        """Values of one metric, as long as the table; a slice is an ``array('d')``; an unknown metric is all NaN."""
        return Numbers(self, name or "\0", "d")

    @property
    def nonfinite(self) -> Mapping[str, Sequence[int]]:
        """By metric, the steps at which it was not finite, ascending; newest first by ``reversed``, read as needed."""
        return NonFinite(self)

    def names(self) -> list[str]:
        """All metrics that a row has named with a number, and ``time``."""
        return list(self._tail)

    def has(self, name: str) -> bool:
        """Whether any row has ever named this metric with a number."""
        return name in self._tail

    def append(self, step: int, when: float, values: dict[str, Any]) -> None:
        """Add a row; a step that is not beyond the last one supersedes the rows from it on."""
        self.cut(step)
        row = len(self._steps)
        self._steps.append(step)
        self._tail["time"].append(when)
        for name, raw in values.items():
            if name in NOT_METRICS or (self.only is not None and name not in self.only):
                continue
            value = number(raw)
            column = self._named(name, row) if value is not None else None
            if value is None or column is None:
                continue
            column.append(value)
            if not math.isfinite(value):
                self._mark(name, self._first + row)
        self._complete()
        self.version += 1

    def extend(self, steps: Sequence[int], columns: Mapping[str, Sequence[Any]]) -> None:
        """Add rows of ascending steps beyond the last one, as :meth:`append` does; ``columns`` has the times, too."""
        row = len(self._steps)
        for name in _in_order(columns, self._tail):
            if name != "time" and (name in NOT_METRICS or (self.only is not None and name not in self.only)):
                continue
            values, marks = _values(columns[name])
            column = self._named(name, row) if values is not None else None
            if values is None or column is None:
                continue
            column.extend(values)
            for place in marks:
                self._mark(name, self._first + row + place)
        self._steps.extend(array("q", steps))
        self._complete()
        self.version += len(steps)

    def last(self, name: str) -> float | None:
        """The newest value of a metric, ``None`` if the newest row has none."""
        column = self._tail.get(name)
        if not column:
            return None
        marks = self._marks.get(name)
        if math.isnan(column[-1]) and not (marks and marks[-1] == len(self) - 1):
            return None
        return column[-1]

    def best(self, name: str) -> float | None:
        """The lowest finite value of a metric."""
        if name not in self._tail:
            return None
        row, lowest = self._best.get(name, (0, math.inf))
        for start in range(row, len(self), BLOCK):
            values = self.read(name, start, min(len(self), start + BLOCK))
            if not math.isfinite(sum(values)):
                values = array("d", filter(math.isfinite, values))
            lowest = min(lowest, min(values, default=math.inf))
        self._best[name] = (len(self), lowest)
        return lowest if lowest < math.inf else None

    def cut(self, step: int) -> None:
        """Take away the rows from ``step`` on."""
        if not self._steps or self._steps[-1] < step:
            return
        if self._blocks and self._steps[0] >= step:
            while len(self._blocks) > 1 and self._blocks[-1].first >= step:
                self._first -= self._blocks.pop().rows
            self._take_back()
        keep = bisect_left(self._steps, step)
        del self._steps[keep:]
        for column in self._tail.values():
            del column[keep:]
        for marks in self._marks.values():
            del marks[bisect_left(marks, self._first + keep) :]
        self._best.clear()
        self.rewrites += 1
        self.version += 1

    def read(self, name: str, start: int, stop: int) -> array[Any]:
        """The values of these rows. Raises ``OSError`` if they cannot be read any more."""
        code = "d" if name else "q"
        found: array[Any] = array(code)
        row = start
        while row < min(stop, self._first):
            block, low = self._blocks[row // BLOCK], row % BLOCK
            high = min(BLOCK, stop - row + low)
            place = block.columns.get(name)
            if place is None:
                found.extend(array("d", [NAN]) * (high - low))
            else:
                found.extend(self.store.read(block.file, code, block.offset + 8 * (place * BLOCK + low), high - low))
            row += high - low
        if stop > self._first:
            tail = self._tail.get(name) if name else self._steps
            low, high = max(start, self._first) - self._first, stop - self._first
            found.extend(tail[low:high] if tail is not None else array("d", [NAN]) * max(0, high - low))
        return found

    def marked(self, name: str) -> bool:
        """Whether any row ever had a value of this metric that is not finite."""
        return name in self._marks

    def marked_names(self) -> list[str]:
        """The metrics that ever had such a value."""
        return list(self._marks)

    def count_marks(self, name: str) -> int:
        """How many rows have a value of this metric that is not finite."""
        ends = self._mark_ends(name)
        return (ends[-1] if ends else 0) + len(self._marks.get(name, ()))

    def marks(self, name: str, start: int, stop: int) -> list[int]:
        """The steps of some of them, counted from the oldest."""
        ends, found, place = self._mark_ends(name), [], start
        old = ends[-1] if ends else 0
        while place < min(stop, old):
            number_ = bisect_right(ends, place)
            block, first = self._blocks[number_], ends[number_ - 1] if number_ else 0
            low, high = place - first, min(ends[number_], stop) - first
            rows = self._block_marks(block, name, low, high)
            base, span = rows[0], rows[-1] + 1
            steps = self.read(STEPS, number_ * BLOCK + base, number_ * BLOCK + span)
            found += [steps[row - base] for row in rows]
            place = first + high
        newest = self._marks.get(name, array("q"))[max(0, place - old) : max(0, stop - old)]
        return found + [self._steps[row - self._first] for row in newest]

    def _mark_ends(self, name: str) -> list[int]:
        """How many marks there are up to the end of each block."""
        rewrites, ends = self._ends.get(name, (self.rewrites, []))
        if rewrites != self.rewrites:
            ends = []
        for block in self._blocks[len(ends) :]:
            ends.append((ends[-1] if ends else 0) + block.marks.get(name, (0, 0))[1])
        self._ends[name] = (self.rewrites, ends)
        return ends

    # -- the file -----------------------------------------------------------------------------------------------------

    def _named(self, name: str, rows: int) -> array[float] | None:
        column = self._tail.get(name)
        if column is None and len(self._tail) < MAX_COLUMNS and name:
            column = self._tail[name] = array("d", [NAN]) * rows
        return column

    def _mark(self, name: str, row: int) -> None:
        self._marks.setdefault(name, array("q")).append(row)

    def _complete(self) -> None:
        rows = len(self._steps)
        for column in self._tail.values():
            if len(column) < rows:
                column.extend(array("d", [NAN]) * (rows - len(column)))
        while len(self._steps) >= 2 * BLOCK and self._spill():
            pass

    def _spill(self) -> bool:
        """The oldest rows in memory go to the store; ``False`` where it takes nothing."""
        block = self.write(BLOCK)
        if block is None:
            return False
        self._blocks.append(block)
        self._first += BLOCK
        del self._steps[:BLOCK]
        for column in self._tail.values():
            del column[:BLOCK]
        for marks in self._marks.values():
            del marks[: bisect_left(marks, self._first)]
        return True

    def write(self, rows: int) -> Block | None:
        """Copy the oldest ``rows`` in memory to the store."""
        block = Block(0, 0, 0, 0, rows, self._steps[0] if rows else 0, self._steps[rows - 1] if rows else 0, {STEPS: 0})
        parts: list[array[Any]] = [self._steps[:rows]]
        for name, column in self._tail.items():
            values = column[:rows]
            marks = self._marks.get(name)
            if marks or not all(map(math.isnan, values)):
                block.columns[name] = len(parts)
                parts.append(values)
        place = len(parts) * rows * 8
        for name, marks in self._marks.items():
            odd = array("I", [row - self._first for row in marks[: bisect_left(marks, self._first + rows)]])
            if odd:
                block.marks[name] = (place, len(odd))
                place += 4 * len(odd)
                parts.append(odd)
        kept = self.store.append(parts)
        if kept is None:
            return None
        block.file, block.offset = kept
        for part in parts:
            block.crc, block.size = zlib.crc32(part, block.crc), block.size + len(part) * part.itemsize
        return block

    @property
    def stored(self) -> int:
        """How many rows are in the store."""
        return self._first

    @property
    def blocks(self) -> list[Block]:
        """Where they are."""
        return self._blocks

    def take_over(self, blocks: list[Block], names: list[str], marked: list[str]) -> None:
        """Become the table of these blocks, of which the last one goes into memory. Raises ``OSError``."""
        self._tail = {name: array("d") for name in names}
        self._marks = {name: array("q") for name in marked}
        self._blocks = blocks[:-1]
        self._first = sum(block.rows for block in self._blocks)
        self.load(blocks[-1])

    def load(self, block: Block) -> None:
        """The rows of a block become those in memory. Raises ``OSError``."""
        rows = block.rows

        def column(name: str, code: str) -> array[Any]:
            place = block.columns.get(name)
            if place is None:
                return array("d", [NAN]) * rows
            return self.store.read(block.file, code, block.offset + 8 * place * rows, rows)

        self._steps = column(STEPS, "q")
        self._tail = {name: column(name, "d") for name in self._tail}
        self._marks = {
            name: array("q", [self._first + row for row in self._block_marks(block, name)]) for name in self._marks
        }

    def _take_back(self) -> None:
        block = self._blocks.pop()
        self._first -= block.rows
        self.load(block)

    def _block_marks(self, block: Block, name: str, low: int = 0, high: int = BLOCK) -> array[int]:
        place, count = block.marks.get(name, (0, 0))
        count = min(count, high) - low
        return self.store.read(block.file, "I", block.offset + place + 4 * low, count) if count > 0 else array("I")


def _values(raw: Sequence[Any]) -> tuple[array[float] | None, list[int]]:
    """Numbers of one column, ``None`` if none is one; and the places of those that are not finite."""
    kinds, values = list(map(type, raw)), array("d")
    if kinds.count(float) == len(raw) or set(kinds) <= {float, int}:
        try:
            if math.isfinite(sum(raw)):
                values.frombytes(struct.pack(f"{len(raw)}d", *raw))  # several times as fast as array("d", raw)
                return values, []
        except (OverflowError, struct.error):
            pass
    elif kinds.count(type(None)) == len(raw):
        return None, []
    marks, some = [], False
    for place, item in enumerate(raw):
        value = number(item)
        values.append(NAN if value is None else value)
        if value is not None:
            some = True
            if not math.isfinite(value):
                marks.append(place)
    return (values if some else None), marks


def _in_order(columns: Mapping[str, Sequence[Any]], known: Mapping[str, Any]) -> list[str]:
    """The names, new ones in the order in which their first numbers come."""

    def first(name: str) -> int:
        return next((row for row, raw in enumerate(columns[name]) if number(raw) is not None), 0)

    new = [name for name in columns if name not in known and name not in NOT_METRICS]
    return [name for name in columns if name not in new] + sorted(new, key=first)
