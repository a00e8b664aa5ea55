"""The terminal's cells: frames go in, and what comes out changes only the cells that differ.

A frame is text with cursor positions, colours and line breaks, nothing else: whatever else is in it is dropped, so
that no sequence hidden in a text can reach the terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len

from tui.terminal.pen import Pen
from tui.terminal.sgr import PLAIN, Look, is_bold, is_coloured, is_erasable, read
from tui.terminal.widths import LONGEST, clusters, is_ambiguous, is_unsure

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
# A line that takes no more than this at a time is slow: headings of an answer go out before all else, cut to so many cells.
SLOW_BYTES, HEAD_CELLS, TITLE_CELLS = 256, 16, 12
# So many blanks are erased, where the terminal does that.
ERASED = 12
# Of a large frame first rows with new letters are sent, then other new texts, then new colours.
WORDS, TEXTS, ANY = range(3)
UNKNOWN = ""
_CONTINUED = "\0"  # the second cell of a wide character


def _new_letter(want: str, shown: str) -> bool:
    return want != shown and want[:1].isalnum()


def _size(text: str) -> int:
    """About how many bytes a text takes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


class CellScreen:
    """What the app wants on the screen, and what stands there."""

    def __init__(self, *, erases: bool = False) -> None:
        """``erases`` says that the terminal erases cells in the colour that it would write with."""
        self.erases = erases
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
        self._pen = Pen()
        self._marks = 0
        self._jumped = False
        self._wished: tuple[int, int] | None = None

    def forget(self) -> None:
        """Nothing is known of the terminal any more: the next changes are everything that is wanted."""
        for row in self._shown:
            row[:] = [UNKNOWN] * len(row)
        self._dirty = dict.fromkeys(range(self.height), (0, self.width))
        self._pen.forget()
        self._wished = None

    @property
    def has_holes(self) -> bool:
        """Whether there are cells of which no frame has said anything yet."""
        return any(UNKNOWN in row for row in self._want)

    def resize(self, width: int, height: int) -> None:
        """A terminal of this size, of which nothing is known."""
        self.width, self.height = width, height
        self._pen.width = width
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
        self._jumped = True
        for match in _TOKEN.finditer(frame):
            kind = match.lastindex
            if kind == 4:
                x = self._write(x, y, match[4], look)
            elif kind == 3:
                look = read(match[3], look)
            elif kind == 2:
                y, x, self._jumped = int(match[1]) - 1, int(match[2]) - 1, True
            elif kind == 5:
                y, x, self._jumped = y + 1, 0, True
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
            self._jumped = False
        else:
            x = self._write_wide(x, row, looks, text, look)
        self._mend(row, start, min(x, self.width))
        self._stamps[y] = max(self._stamp, self._stamps.get(y, self._stamp))
        low, high = self._dirty.get(y, (self.width, 0))
        self._dirty[y] = (min(low, max(0, start - 1)), max(high, min(x + 1, self.width)))
        return x

    def _write_wide(self, x: int, row: list[str], looks: list[Look], text: str, look: Look) -> int:
        for cluster, size in clusters(text):
            if size == 0:
                self._combine(row, x, cluster)
                continue
            self._jumped = False
            if x + size <= self.width:
                row[x], looks[x] = cluster[:LONGEST], look
                if size == 2:
                    row[x + 1], looks[x + 1] = _CONTINUED, look
            elif x < self.width:
                row[x], looks[x] = " ", look
            x += size
        return x

    def _combine(self, row: list[str], x: int, accents: str) -> None:
        """Put accents on what was written before them; behind a move there is nothing that they belong to."""
        if self._jumped or not 0 < x <= self.width:
            return
        before = x - 1 - (row[x - 1] == _CONTINUED)
        row[before] = (row[before] + accents)[:LONGEST]

    def _mend(self, row: list[str], start: int, end: int) -> None:
        """Half of a wide character that was written over is a blank."""
        if 0 < start < self.width and row[start] != _CONTINUED and self._is_wide(row[start - 1]):
            row[start - 1] = " "
        if end < self.width and row[end] == _CONTINUED and not (end and self._is_wide(row[end - 1])):
            row[end] = " "

    @staticmethod
    def _is_wide(cell: str) -> bool:
        return (len(cell) > 1 or cell > "\u10ff") and cell_len(cell) == 2

    # Changes out.

    def demote(self) -> None:
        """A key was pressed: what answered an earlier one is not urgent any more."""
        self._stamps = {y: min(stamp, self._frames) for y, stamp in self._stamps.items()}

    def changes(self, limit: int | None = None, *, answers: bool = False) -> str:
        """What leads from what stands there to what is wanted; with a limit only about so many bytes of it.

        Under a limit what was urgent comes first, then what is newest, and new texts come before new colours;
        :attr:`pending` says whether something is left. ``answers`` asks for nothing but what answers a key.
        """
        out: list[str] = []
        few = self._few_by_look()
        easily = few and (limit is None or sum(end - start for _, start, end in few) * MOST_BYTES <= limit)
        if answers and limit is not None:
            self._fill(limit, out, answers=True)
        elif easily or limit is None or not self._fill(limit, out):
            for y, start, end in few if easily else self._by_row():
                out.append(self._draw(y, start, end))
            self._dirty.clear()
            self._stamps.clear()
            if out or self._cursor != self._wished:
                # Input methods show what is being composed at the cursor.
                self._wished = self._cursor
                out.append(self._pen.go(*self._cursor))
        return self._pen.known() + "".join(out) if out else ""

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
        if any(any(map(is_unsure, self._want[y])) for y in self._dirty):
            return []
        order = {self._pen.look: -1}
        for y, start, _ in spans:
            order.setdefault(self._want_look[y][start], len(order))
        return sorted(spans, key=lambda span: (order[self._want_look[span[0]][span[1]]], span))

    @property
    def pending(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._dirty) or self._cursor != self._wished

    def _fill(self, limit: int, out: list[str], *, answers: bool = False) -> bool:
        """Take changes until the limit; whether some are left."""
        left = limit
        for stamp in sorted({self._stamps.get(y, 0) for y in self._dirty}, reverse=True):
            rows = sorted(y for y in self._dirty if self._stamps.get(y, 0) == stamp)
            urgent = stamp > self._frames
            if answers and not urgent:
                break
            urgent = urgent and limit <= SLOW_BYTES
            if urgent:
                left = self._fill_heads(rows, left, out)
                if left <= 0:
                    return True
            few = sum(end - start for y in rows for start, end in self._spans(y, *self._dirty[y])) <= FEW_CELLS
            for first in (WORDS, ANY) if few and urgent else (ANY,) if few else (WORDS, TEXTS, ANY):
                for y in rows:
                    if y in self._dirty:
                        left = self._fill_row(y, left, first, out)
                    if left <= 0:
                        return bool(self._dirty)
        return False

    def _fill_heads(self, rows: list[int], left: int, out: list[str]) -> int:
        """Take the beginnings of changed headings, by which one sees at once what a key did."""
        heads = [head for y in rows if not any(map(is_unsure, self._want[y])) for head in self._heads(y)]
        for _, y, start, end in sorted(heads):
            if left <= 0:
                return left
            out.append(self._draw(y, start, end, left))
            left -= _size(out[-1])
        return left

    def _heads(self, y: int) -> Iterator[tuple[bool, int, int, int]]:
        """A row's changed headings: titles in a colour (of what is chosen) before others; row, start, end."""
        want, look = self._want[y], self._want_look[y]
        shown, shown_look = self._shown[y], self._shown_look[y]
        x, high = self._dirty[y]
        while x < high:
            start, x = x, x + 1
            if not is_bold(look[start]) or not want[start].isalnum():
                continue
            if want[start] == shown[start] and look[start] == shown_look[start]:
                continue
            while x < high and look[x] == look[start]:
                x += 1
            end = min(x, start + HEAD_CELLS)
            end += end < self.width and want[end] == _CONTINUED
            yield not (is_coloured(look[start]) and x - start >= TITLE_CELLS), y, start, end

    def _fill_row(self, y: int, left: int, which: int, out: list[str]) -> int:
        """Take those of a row's changes while something is left of the limit; returns what is left."""
        low, high = self._dirty[y]
        want, shown = self._want[y], self._shown[y]
        if which != ANY and want[low:high] == shown[low:high]:
            return left
        if which == WORDS and not any(map(_new_letter, want[low:high], shown[low:high])):
            return left
        # A row with a character of unsure width is never left half done.
        whole = any(map(is_unsure, want[low:high]))
        for start, end in self._spans(y, low, high):
            if whole or which == ANY or want[start:end] != shown[start:end]:
                if left <= 0 and not whole:
                    return left
                if which == WORDS and not whole:
                    start = next((x for x in range(start, end) if _new_letter(want[x], shown[x])), end)
                    if start == end:
                        continue
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
        out = [self._pen.go(start, y)]
        unsure = lost = doubtful = False
        stays, erased = end, start
        for x in range(start, end):
            cell = want[x]
            if cell == _CONTINUED or x < erased:
                continue
            if limit is not None and limit <= 0:
                end = stays = x
                break
            move = f"\x1b[{x + 1}G" if lost else ""
            out.append(move + self._pen.wear(looks[x]))
            if cell == " " and (blanks := self._blanks(y, x, end)):
                # Erasing does not move the cursor.
                erased = x + blanks
                cell = "\x1b[K" if erased == self.width else f"\x1b[{blanks}X"
                if erased < end:
                    cell += f"\x1b[{blanks}C"
                else:
                    stays = x
                lost = False
            else:
                lost = is_unsure(cell)
                unsure |= lost
                doubtful |= is_ambiguous(cell)
            out.append(cell)
            if limit is not None:
                limit -= len(out[-2]) + _size(cell)
        self._shown[y][start:end] = want[start:end]
        self._shown_look[y][start:end] = looks[start:end]
        if unsure:
            # Terminals disagree about the width of what was written: what is right of its beginning is not known.
            self._shown[y][start:] = [UNKNOWN] * (self.width - start)
            self._pen.lose()
        else:
            self._pen.wrote(stays, y, sure=not doubtful)
        return "".join(out)

    def _blanks(self, y: int, x: int, end: int) -> int:
        """How many blanks of one look from here on are rather erased than written; 0: they are written."""
        if not self.erases or end - x < ERASED:
            return 0
        want, looks = self._want[y], self._want_look[y]
        last = next((place for place in range(x, end) if want[place] != " " or looks[place] != looks[x]), end)
        return last - x if last - x >= ERASED and is_erasable(looks[x]) else 0

    @property
    def at(self) -> tuple[int, int] | None:
        """Where the terminal's cursor is; ``None`` if that is not sure."""
        return self._pen.at

    def mark(self) -> tuple[str, tuple[int, int]]:
        """Put the terminal's cursor somewhere, each time somewhere else and never in the first row."""
        self._marks += 1
        width, height = (self.width, self.height) if self.width else (8, 3)
        place = (self._marks * 7 % width, 1 + self._marks % max(1, height - 1))
        self._pen.lose()
        self._wished = None
        move = self._pen.go(*place)
        return move, place

    def leave(self) -> str:
        """Make the look plain, before something else is written."""
        return self._pen.wear(PLAIN)
