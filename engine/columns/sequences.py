"""What a table gives out: sequences that read their numbers where they are, in memory or in a file."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from engine.columns.table import MetricTable

# Rows that are read at a time when somebody goes through all of them.
_PIECE = 4096


class Numbers(Sequence[Any]):
    """One column of a table; slices are arrays."""

    __slots__ = ("_code", "_name", "_table")

    def __init__(self, table: MetricTable, name: str, code: str) -> None:
        self._table, self._name, self._code = table, name, code

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, where: int) -> Any: ...
    @overload
    def __getitem__(self, where: slice) -> array[Any]: ...

    def __getitem__(self, where: int | slice) -> Any:
        rows = len(self._table)
        if isinstance(where, slice):
            start, stop, by = where.indices(rows)
            if by == 1:
                return self._table.read(self._name, start, max(start, stop))
            places = range(start, stop, by)
            low, high = (min(places[0], places[-1]), max(places[0], places[-1]) + 1) if places else (0, 0)
            return self._table.read(self._name, low, high)[start - low :: by][: len(places)]
        where = where + rows if where < 0 else where
        if not 0 <= where < rows:
            raise IndexError(where)
        return self._table.read(self._name, where, where + 1)[0]

    def __iter__(self) -> Iterator[Any]:
        row = 0
        while row < len(self._table):
            piece = self._table.read(self._name, row, min(len(self._table), row + _PIECE))
            yield from piece
            row += len(piece)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence | array):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Numbers({list(self[:10])}{' …' if len(self) > 10 else ''})"


class Marks(Sequence[int]):
    """The steps at which a metric was not finite, ascending."""

    __slots__ = ("_name", "_table")

    def __init__(self, table: MetricTable, name: str) -> None:
        self._table, self._name = table, name

    def __len__(self) -> int:
        return self._table.count_marks(self._name)

    def __getitem__(self, where: Any) -> Any:
        count = len(self)
        if isinstance(where, slice):
            start, stop, by = where.indices(count)
            return self._table.marks(self._name, start, stop) if by == 1 else list(self)[where]
        where = where + count if where < 0 else where
        if not 0 <= where < count:
            raise IndexError(where)
        return self._table.marks(self._name, where, where + 1)[0]

    def __iter__(self) -> Iterator[int]:
        for start in range(0, len(self), _PIECE):
            yield from self[start : start + _PIECE]

    def __reversed__(self) -> Iterator[int]:
        stop, piece = len(self), 16  # most look at the newest few
        while stop > 0:
            yield from reversed(self[max(0, stop - piece) : stop])
            stop, piece = stop - piece, _PIECE

    def __contains__(self, step: object) -> bool:
        if not isinstance(step, int):
            return False
        place = bisect_left(self, step)
        return place < len(self) and bool(self[place] == step)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Marks({list(self)})"


class NonFinite(Mapping[str, Sequence[int]]):
    """By metric, the steps at which it was not finite; a metric stays once it was there."""

    __slots__ = ("_table",)

    def __init__(self, table: MetricTable) -> None:
        self._table = table

    def __getitem__(self, name: str) -> Sequence[int]:
        if not self._table.marked(name):
            raise KeyError(name)
        return Marks(self._table, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._table.marked_names())

    def __len__(self) -> int:
        return len(self._table.marked_names())
