"""Lays a row's tokens out in lines: as the text that they make up, with borders between them, or as a list with ids."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.cells import cell_len

from tui.glyphs import glyphs
from tui.history.sheet import Page
from tui.preview.searching import matcher
from tui.preview.tokens import Tokens, visible
from tui.terminal.widths import clusters
from tui.widgets.lines import Line, crop

TEXT, BORDERS, IDS = VIEWS = ("text", "borders", "ids")
VIEW_WORDS = {TEXT: "as text", BORDERS: "token by token", IDS: "tokens with ids"}
GUTTER = 2


@dataclass
class Laid:
    """A page, and the lines at which something stands: the cut, and what was searched."""

    page: Page
    cut_at: int | None = None
    hits: list[int] = field(default_factory=list)


def newline_sign() -> str:
    """What stands for a line's end."""
    return "\\n" if glyphs().ascii else "↵"


def cut_line(row: Tokens, limit: int, width: int) -> Line:
    """The rule at which ``max_seq_length`` cuts."""
    rule = glyphs().rule
    behind = "1 token" if row.cut == 1 else f"{row.cut:,} tokens"
    words = f" max_seq_length {limit:,} cuts here: {behind} left out "
    if cell_len(words) > width - 2:
        words = f" cut at {limit:,} "
    left = rule * 2
    return crop([(left, "warning"), (words, "warning"), (rule * max(0, width - 2 - cell_len(words)), "warning")], width)


class _Writer:
    """Fills lines of ``width`` cells; each begins with a sign where something in it is learned."""

    def __init__(self, width: int) -> None:
        self.width = max(4, width - GUTTER)
        self.lines: list[Line] = []
        self._cells: list[tuple[str, int, str]] = []
        self._used = 0

    def put(self, text: str, colour: str) -> None:
        """Some text of one colour, without newlines."""
        for cluster, size in clusters(text):
            if self._used + size > self.width:
                self._wrap()
            self._cells.append((cluster, size, colour))
            self._used += size

    def border(self) -> None:
        """The border between two tokens of one line."""
        if self._cells:
            self.put(glyphs().bar, "border")

    def rule(self, line: Line) -> int:
        """A line of its own; returns its number."""
        if self._cells:
            self.end()
        self.lines.append(line)
        return len(self.lines) - 1

    def end(self) -> None:
        """The line is over."""
        self._emit(len(self._cells))

    def _wrap(self) -> None:
        """Break at the last space of the second half, or just here."""
        place = len(self._cells)
        for at in range(place - 1, place // 2, -1):
            if self._cells[at][0] == " ":
                place = at + 1
                break
        self._emit(place)

    def _emit(self, place: int) -> None:
        taken, self._cells = self._cells[:place], self._cells[place:]
        self._used = sum(size for _, size, _ in self._cells)
        learned = any(colour.startswith("learned") for _, _, colour in taken)
        line: Line = [(f"{glyphs().bar} " if learned else "  ", "learned-mark")]
        run: list[str] = []
        before = ""
        for cluster, _, colour in taken:
            if colour != before and run:
                line.append(("".join(run), before))
                run = []
            run.append(cluster)
            before = colour
        if run:
            line.append(("".join(run), before))
        self.lines.append(line)


def as_text(row: Tokens, width: int, limit: int, *, borders: bool = False, needle: str = "") -> Laid:
    """The rendered text, in which every token has the colour of what becomes of it."""
    writer, sign, cut_at = _Writer(width), newline_sign(), None
    for place, text in enumerate(row.texts):
        if place == row.kept:
            cut_at = writer.rule(cut_line(row, limit, width))
        colour = row.colour(place)
        shade = colour if place % 2 else f"{colour}-odd"
        if borders and text:
            writer.border()
        parts = visible(text).split("\n")
        for number, part in enumerate(parts):
            if number:
                writer.put(sign, shade)
                writer.end()
            writer.put(part, shade)
    writer.rule([])
    lines = writer.lines[:-1]
    if row.count > len(row.texts):
        lines.append([(f"  {row.count - len(row.texts):,} more tokens are not shown", "warning")])
    hits = _hits(lines, needle)
    for at in hits:
        lines[at][0] = (f"{glyphs().closed} ", "accent")
    return Laid(Page(len(lines), lambda place, room: crop(lines[place], room)), cut_at, hits)


def _hits(lines: list[Line], needle: str) -> list[int]:
    """Lines that hold the first words of what was searched; it may go on in the next."""
    if not needle:
        return []
    holds, word = matcher(needle), matcher(needle.split()[0] if needle.split() else needle)
    texts = ["".join(text for text, _ in line) for line in lines]
    return [at for at, text in enumerate(texts) if holds(text)] or [at for at, text in enumerate(texts) if word(text)][
        :1
    ]


def as_list(row: Tokens, width: int, limit: int, needle: str = "") -> Laid:
    """One token a line: its number, its id, what becomes of it, its text."""
    cut_at = row.kept if row.kept < len(row.ids) else None
    size = len(f"{max(row.ids, default=0)}")
    wide = max(5, len(f"{row.count:,}"))
    head: Line = [(f"{'token':>{wide}}  {'id':>{max(2, size)}}  {'':<8}  text", "muted")]

    def line(at: int, room: int) -> Line:
        if at == cut_at:
            return cut_line(row, limit, room)
        place = at if cut_at is None or at < cut_at else at - 1
        colour = row.colour(place)
        word = "cut off" if colour == "gone" else "trained" if colour.startswith("learned") else ""
        text = visible(row.texts[place]).replace("\n", newline_sign())
        shown: Line = [(f'"{text}"', colour)] if text else [("goes on with the character above", "muted")]
        if row.special[place]:
            shown.append(("  special", "muted"))
        sign = glyphs().bar if colour.startswith("learned") else " "
        return crop([(f"{place + 1:>{wide},}  {row.ids[place]:>{max(2, size)}}  ", "muted"), (f"{sign} ", "learned-mark"),
                     (f"{word:<7} ", "success" if word == "trained" else "muted"), *shown], room)  # fmt: skip

    count = len(row.ids) + (cut_at is not None)
    holds = matcher(needle) if needle else None
    hits = [] if holds is None else [at for at in range(len(row.ids)) if holds(row.texts[at])]
    if cut_at is not None:
        hits = [at + (at >= cut_at) for at in hits]
    return Laid(Page(count, line, [head]), cut_at, hits)


def lay_out(row: Tokens, view: str, width: int, limit: int, needle: str = "") -> Laid:
    """The page of one view."""
    if view == IDS:
        return as_list(row, width, limit, needle)
    return as_text(row, width, limit, borders=view == BORDERS, needle=needle)
