"""The terminal's cells: frames go in, and what comes out changes only the cells that differ.

A frame is text with cursor positions, colours and line breaks, nothing else: whatever else is in it is dropped, so
that no sequence hidden in a text can reach the terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len, get_character_cell_size

from tui.terminal.sgr import PLAIN, Look, change, read

_TOKEN = re.compile(
    r"\x1b\[(\d{1,5});(\d{1,5})H"  # 1, 2: move
    r"|\x1b\[([\d;]{0,80})m"  # 3: look
    r"|([^\x00-\x1f\x7f-\x9f]+)"  # 4: text
    r"|(\r?\n)"  # 5: next line
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x1f\x7f-\x9f]"  # never sent
)
FRAME = re.compile(r"\x1b\[\d{1,5};\d{1,5}H")
# So many unchanged cells are rather written again than jumped over: a jump takes four bytes or more.
BRIDGE = 4
# By urgency, how many later frames a frame goes out before: none; what is painted soon after a key; the first of that.
URGENT_FRAMES = (0, 8, 64)
# Of so few cells new texts do not come before new colours.
FEW_CELLS = 160
# A cell with a move and a colour of its own takes no more bytes than this.
MOST_BYTES = 30
# Of a large frame first rows with new letters are sent, then other new texts, then new colours.
WORDS, TEXTS, ANY = range(3)
UNKNOWN = ""
_CONTINUED = "\0"  # the second cell of a wide character


def _new_letter(want: str, shown: str) -> bool:
    return want != shown and want[:1].isalnum()


def _is_unsure(cell: str) -> bool:
    return len(cell) > 1 or cell > "\U0001efff"


def _size(text: str) -> int:
    """About how many bytes a text takes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


class CellScreen:
    """What the app wants on the screen, and what stands there."""

    def __init__(self) -> None:
        self.width = self.height = 0
        self._want: list[list[str]] = []
        self._want_look: list[list[Look]] = []
        self._shown: list[list[str]] = []
        self._shown_look: list[list[Look]] = []
        self._dirty: dict[int, tuple[int, int]] = {}
        # By row: from which frame its newest change is; an urgent one counts as some frames newer.
        self._stamps: dict[int, int] = {}
        self._frames = self._stamp = 0
        self._cursor = (0, 0)
        # Where the terminal's cursor is (None: not known) and the look it would write with.
        self._at: tuple[int, int] | None = None
        self._look = PLAIN
        self._look_unknown = True
        self._wished: tuple[int, int] | None = None

    def forget(self) -> None:
        """Nothing is known of the terminal any more: the next changes are everything that is wanted."""
        for row in self._shown:
            row[:] = [UNKNOWN] * len(row)
        self._dirty = dict.fromkeys(range(self.height), (0, self.width))
        self._at, self._look, self._wished = None, PLAIN, None
        self._look_unknown = True

    @property
    def has_holes(self) -> bool:
        """Whether there are cells of which no frame has said anything yet."""
        return any(UNKNOWN in row for row in self._want)

    def resize(self, width: int, height: int) -> None:
        """A terminal of this size, of which nothing is known."""
        self.width, self.height = width, height
        self._want, self._shown = self._grid(UNKNOWN), self._grid(UNKNOWN)
        self._want_look = [[PLAIN] * width for _ in range(height)]
        self._shown_look = [[PLAIN] * width for _ in range(height)]
        self.forget()

    def _grid(self, fill: str) -> list[list[str]]:
        return [[fill] * self.width for _ in range(self.height)]

    # Frames in.

    def apply(self, frame: str, urgency: int = 0) -> None:
        """Take in a frame; the first after a key answers it (2), those soon after it belong to the answer (1)."""
        self._frames += 1
        self._stamp = self._frames + URGENT_FRAMES[urgency]
        look = PLAIN
        x = y = 0
        for match in _TOKEN.finditer(frame):
            kind = match.lastindex
            if kind == 4:
                x = self._write(x, y, match[4], look)
            elif kind == 3:
                look = read(match[3], look)
            elif kind == 2:
                y, x = int(match[1]) - 1, int(match[2]) - 1
            elif kind == 5:
                y, x = y + 1, 0
        self._cursor = (x, y)

    def _write(self, x: int, y: int, text: str, look: Look) -> int:
        if not 0 <= y < self.height:
            return x + cell_len(text)
        row, looks = self._want[y], self._want_look[y]
        start = x
        if text.isascii():
            end = min(self.width, x + len(text))
            if end > x:
                row[x:end] = text[: end - x]
                looks[x:end] = [look] * (end - x)
            x += len(text)
        else:
            x = self._write_wide(x, row, looks, text, look)
        self._mend(row, start, min(x, self.width))
        self._stamps[y] = max(self._stamp, self._stamps.get(y, self._stamp))
        low, high = self._dirty.get(y, (self.width, 0))
        self._dirty[y] = (min(low, max(0, start - 1)), max(high, min(x + 1, self.width)))
        return x

    def _write_wide(self, x: int, row: list[str], looks: list[Look], text: str, look: Look) -> int:
        for character in text:
            size = get_character_cell_size(character)
            if size == 0:
                before = x - 1
                if 0 < x <= self.width:
                    before -= row[before] == _CONTINUED
                    row[before] += character
                continue
            if x + size <= self.width:
                row[x], looks[x] = character, look
                if size == 2:
                    row[x + 1], looks[x + 1] = _CONTINUED, look
            elif x < self.width:
                row[x], looks[x] = " ", look
            x += size
        return x

    def _mend(self, row: list[str], start: int, end: int) -> None:
        """Half of a wide character that was written over is a blank."""
        if 0 < start < self.width and row[start] != _CONTINUED and self._is_wide(row[start - 1]):
            row[start - 1] = " "
        if end < self.width and row[end] == _CONTINUED and not (end and self._is_wide(row[end - 1])):
            row[end] = " "

    @staticmethod
    def _is_wide(cell: str) -> bool:
        return cell > "\u10ff" and cell_len(cell[0]) == 2

    # Changes out.

    def changes(self, limit: int | None = None) -> str:
        """What leads from what stands there to what is wanted; with a limit only about so many bytes of it.

        Under a limit what was urgent comes first, then what is newest, and new texts come before new colours;
        :attr:`pending` says whether something is left.
        """
        out: list[str] = []
        few = self._few_by_look()
        easily = few and (limit is None or sum(end - start for _, start, end in few) * MOST_BYTES <= limit)
        if easily or limit is None or not self._fill(limit, out):
            for y, start, end in few if easily else self._by_row():
                out.append(self._draw(y, start, end))
            self._dirty.clear()
            self._stamps.clear()
            if out or self._cursor != self._wished:
                # Input methods show what is being composed at the cursor.
                self._wished = self._cursor
                out.append(self._go(*self._cursor))
        if out and self._look_unknown:
            self._look_unknown = False
            out.insert(0, "\x1b[m")
        return "".join(out)

    def _by_row(self) -> Iterator[tuple[int, int, int]]:
        """All changed spans from above to below."""
        for y in sorted(self._dirty):
            for start, end in self._spans(y, *self._dirty[y]):
                yield y, start, end

    def _few_by_look(self) -> list[tuple[int, int, int]]:
        """The changed spans, those of one colour after each other, since a colour takes more bytes than a move.

        Empty where there are too many, or where what is right of a character must be drawn after it.
        """
        spans = []
        cells = 0
        for y, start, end in self._by_row():
            cells += end - start
            if cells > FEW_CELLS:
                return []
            spans.append((y, start, end))
        if any(any(map(_is_unsure, self._want[y])) for y in self._dirty):
            return []
        order = {self._look: -1}
        for y, start, _ in spans:
            order.setdefault(self._want_look[y][start], len(order))
        return sorted(spans, key=lambda span: (order[self._want_look[span[0]][span[1]]], span))

    @property
    def pending(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._dirty) or self._cursor != self._wished

    def _fill(self, limit: int, out: list[str]) -> bool:
        """Take changes until the limit; whether some are left."""
        left = limit
        for stamp in sorted({self._stamps.get(y, 0) for y in self._dirty}, reverse=True):
            rows = sorted(y for y in self._dirty if self._stamps.get(y, 0) == stamp)
            few = sum(end - start for y in rows for start, end in self._spans(y, *self._dirty[y])) <= FEW_CELLS
            for first in (ANY,) if few else (WORDS, TEXTS, ANY):
                for y in rows:
                    if y in self._dirty:
                        left = self._fill_row(y, left, first, out)
                    if left <= 0:
                        return bool(self._dirty)
        return False

    def _fill_row(self, y: int, left: int, which: int, out: list[str]) -> int:
        """Take those of a row's changes while something is left of the limit; returns what is left."""
        low, high = self._dirty[y]
        want, shown = self._want[y], self._shown[y]
        if which != ANY and want[low:high] == shown[low:high]:
            return left
        if which == WORDS and not any(map(_new_letter, want[low:high], shown[low:high])):
            return left
        # A row with a character of unsure width is never left half done.
        whole = any(map(_is_unsure, want[low:high]))
        for start, end in self._spans(y, low, high):
            if whole or which == ANY or want[start:end] != shown[start:end]:
                if left <= 0 and not whole:
                    return left
                out.append(self._draw(y, start, end, None if whole else left))
                left -= _size(out[-1])
        if whole or (which == ANY and left > 0):
            del self._dirty[y]
            self._stamps.pop(y, None)
        return left

    def _spans(self, y: int, low: int, high: int) -> Iterator[tuple[int, int]]:
        want, look = self._want[y], self._want_look[y]
        shown, shown_look = self._shown[y], self._shown_look[y]
        start = end = -1
        for x in range(low, high):
            if want[x] != UNKNOWN and (want[x] != shown[x] or look[x] != shown_look[x]):
                if start < 0:
                    start = x
                elif x - end > BRIDGE or any(cell in (UNKNOWN, _CONTINUED) for cell in want[end:x]):
                    yield self._whole(want, start, end)
                    start = x
                end = x + 1
        if start >= 0:
            yield self._whole(want, start, end)

    def _whole(self, want: list[str], start: int, end: int) -> tuple[int, int]:
        """A span that begins and ends with whole characters."""
        if want[start] == _CONTINUED and start:
            start -= 1
        if end < self.width and want[end] == _CONTINUED:
            end += 1
        return start, end

    def _draw(self, y: int, start: int, end: int, limit: int | None = None) -> str:
        want, looks = self._want[y], self._want_look[y]
        out = [self._go(start, y)]
        unsure = False
        for x in range(start, end):
            cell = want[x]
            if cell == _CONTINUED:
                continue
            if limit is not None and limit <= 0:
                end = x
                break
            out.append(change(self._look, looks[x]))
            self._look = looks[x]
            out.append(cell)
            if limit is not None:
                limit -= len(out[-2]) + _size(cell)
            unsure |= _is_unsure(cell)
        self._shown[y][start:end] = want[start:end]
        self._shown_look[y][start:end] = looks[start:end]
        if unsure:
            # Terminals disagree about the width of what was written: what is right of its beginning is not known.
            self._shown[y][start:] = [UNKNOWN] * (self.width - start)
            self._at = None
        else:
            # Behind the last column terminals differ in where the cursor is.
            self._at = (end, y) if end < self.width else None
        return "".join(out)

    def _go(self, x: int, y: int) -> str:
        x = min(x, self.width - 1)
        at, self._at = self._at, (x, y)
        if at == (x, y):
            return ""
        if at is not None and at[1] == y:
            if x == 0:
                return "\r"
            if 0 < x - at[0] < 100:
                return f"\x1b[{x - at[0]}C" if x - at[0] > 1 else "\x1b[C"
            if 0 < at[0] - x < 4:
                return "\b" * (at[0] - x)
            return f"\x1b[{x + 1}G"
        if x == 0:
            return f"\x1b[{y + 1}H" if y else "\x1b[H"
        if at is not None and 0 <= at[0] - x < 4 and abs(y - at[1]) == 1:
            return ("\x1b[B" if y > at[1] else "\x1b[A") + "\b" * (at[0] - x)
        return f"\x1b[{y + 1};{x + 1}H"

    def leave(self) -> str:
        """Make the look plain, before something else is written."""
        out, self._look = change(self._look, PLAIN), PLAIN
        return out
