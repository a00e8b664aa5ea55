"""Rows that stand in a file more than once, found with sixteen bytes a row."""

from __future__ import annotations

from array import array

_PARTS = 64
MAX_ROWS = 16_000_000


class Duplicates:
    """Hashes of rows with their lines; :meth:`found` looks them through part by part."""

    def __init__(self) -> None:
        self._hashes = [array("q") for _ in range(_PARTS)]
        self._lines = [array("q") for _ in range(_PARTS)]
        self.rows = 0

    def add(self, digest: int, line: int) -> None:
        """One row."""
        if self.rows < MAX_ROWS:
            self.rows += 1
            part = digest % _PARTS
            self._hashes[part].append(digest)
            self._lines[part].append(line)

    def found(self, first: int) -> tuple[int, list[tuple[int, int]]]:
        """How many rows repeat an earlier one, and of the ``first`` of them their line and that of the earlier one."""
        count, pairs = 0, []
        for hashes, lines in zip(self._hashes, self._lines, strict=True):
            if len(set(hashes)) == len(hashes):
                continue
            seen: dict[int, int] = {}
            for digest, line in zip(hashes, lines, strict=True):
                earlier = seen.setdefault(digest, line)
                if earlier != line:
                    count += 1
                    pairs.append((line, earlier))
            pairs = sorted(pairs)[:first]
        return count, pairs
