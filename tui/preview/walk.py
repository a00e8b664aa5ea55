"""Which row is shown and which is wanted, over several files whose ends are learned on the way."""

from __future__ import annotations

import re

from engine.text import shorten_path
from tui.preview.asked import Asked

Place = tuple[int, int]
_PLACE = re.compile(r"(?:(\d{1,6})\s*:\s*)?(\d[\d,_']{0,14})")


def place_of(text: str, file: int, files: int) -> Place | None:
    """The place that ``17`` or ``2:17`` means; ``None`` if it is none."""
    match = _PLACE.fullmatch(text.strip())
    if match is None:
        return None
    number = int(re.sub(r"\D", "", match.group(2)))
    file = file if match.group(1) is None else int(match.group(1)) - 1
    return (file, number - 1) if number >= 1 and 0 <= file < files else None


class Walk:
    """``place`` is the row that is shown, ``wanted`` the one that was asked for last."""

    def __init__(self, files: int) -> None:
        self.place: Place = (0, 0)
        self.wanted: Place = (0, 0)
        self._counts: list[int | None] = [None] * files
        self._stepping = False

    def want(self, place: Place) -> None:
        """This row was asked for."""
        self.wanted = place
        self._stepping = self._steps(place)

    def arrived(self) -> None:
        """It is there."""
        self.place = self.wanted

    def ends(self, file: int, count: int | None) -> None:
        """So many rows are in a file."""
        if count is not None:
            self._counts[file] = count

    def step(self, by: int) -> Place | None:
        """The row after the one that was asked for last, or before; ``None`` at both ends."""
        file, row = self.wanted
        row += by
        count = self._counts[file]
        if row < 0:
            before = self._counts[file - 1] if file else None
            return None if not file else (file - 1, max(0, (before or 1) - 1))
        if count is not None and row >= count:
            return (file + 1, 0) if file + 1 < len(self._counts) else None
        return file, row

    def missed(self) -> Place | None:
        """What was asked for is not there: the row to go to instead, if it is clear."""
        file, row = self.wanted
        if self._stepping and row > 0:
            self._counts[file] = row
        elif row == 0:
            self._counts[file] = 0
        stepped = self._stepping or row == 0
        if stepped and file + 1 < len(self._counts):
            return file + 1, 0
        self.missing = self.wanted
        self.wanted = self.place
        self._stepping = False
        return None

    def missed_words(self) -> str:
        """Why nothing happened."""
        file, row = self.missing
        count = self._counts[file]
        if count == row and count:
            return "This is the last row"
        known = f"it has {count:,}" if count is not None else "it ends before"
        return f"There is no row {row + 1:,} in this file: {known}"

    def _steps(self, place: Place) -> bool:
        return place[0] == self.place[0] and place[1] == self.place[1] + 1

    def title(self, place: Place, asked: Asked) -> str:
        """``Row 4 of 400``."""
        count = self._counts[place[0]]
        if count is None and len(self._counts) == 1:
            count = asked.rows
        of_all = f" of {count:,}" if count is not None and count > place[1] else ""
        return f"Row {place[1] + 1:,}{of_all}"

    def where(self, place: Place, asked: Asked, line: int | None) -> str:
        """The row's file and line."""
        several = f"  file {place[0] + 1} of {len(self._counts)}" if len(self._counts) > 1 else ""
        name = shorten_path(asked.sources[place[0]].path.name, 30)
        return f"{name}:{line}{several}" if line is not None else f"{name}{several}"
