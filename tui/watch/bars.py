"""Bars of memory and use whose parts are told apart by their characters, not by colour alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tui.glyphs import glyphs
from tui.widgets.lines import Line, length

GIB = 1024**3
# allocated, reserved, used by anything, free; the peak is a mark on the bar.
_UNICODE, _ASCII = "█▓▒·", "#=:."
_PEAK, _PEAK_ASCII = "┃", "|"
_SPARKS, _SPARKS_ASCII = "▁▂▃▄▅▆▇█", "_.-~=+*#"


@dataclass(frozen=True, slots=True)
class Marks:
    """Bytes of a card's memory, ``None`` where they are not known. ``own`` is what all of the run's processes hold."""

    allocated: float | None = None
    peak: float | None = None
    reserved: float | None = None
    own: float | None = None
    used: float | None = None

    @property
    def parts(self) -> list[tuple[str, float, int, str]]:
        """Name, bytes, which character, colour: the smaller ones first, as they cover the bar."""
        found = (
            ("allocated", self.allocated, 0, "accent"),
            ("reserved", self.reserved, 1, "value"),
            ("this run", self.own, 1, "accent"),
            ("used", self.used, 2, "muted"),
        )
        return [
            (name, size, sign, colour) for name, size, sign, colour in found if size is not None and math.isfinite(size)
        ]


def characters() -> str:
    """Allocated, reserved, used and free."""
    return _ASCII if glyphs().ascii else _UNICODE


def peak_mark() -> str:
    """The mark of the peak."""
    return _PEAK_ASCII if glyphs().ascii else _PEAK


def memory(marks: Marks, total: float, width: int) -> Line:
    """A bar of ``width`` cells, of ``total`` bytes."""
    if width <= 0 or not 0 < total < math.inf:
        return []
    chars = characters()
    cells: list[tuple[str, str]] = []
    for _, size, sign, colour in marks.parts:
        end = max(1 if size > 0 else 0, _cells(size / total, width))
        cells += [(chars[sign], colour)] * (end - len(cells))
    cells += [(chars[3], "rule")] * (width - len(cells))
    if marks.peak is not None and 0 < marks.peak < math.inf:
        cells[max(0, _cells(marks.peak / total, width) - 1)] = (peak_mark(), "warning")
    return _joined(cells)


def _cells(share: float, width: int) -> int:
    return round(min(1.0, max(0.0, share)) * width)


def key(marks: Marks, width: int) -> list[Line]:
    """What a bar's characters stand for, in GiB; in two lines where one has no room, shortened to no characters at last."""
    chars = characters()
    entries = [((chars[sign], colour), f" {name} {size / GIB:.1f}") for name, size, sign, colour in marks.parts]
    if marks.peak is not None and math.isfinite(marks.peak):
        entries.insert(1, ((peak_mark(), "warning"), f" peak {marks.peak / GIB:.1f}"))
    if len(entries) < 2:
        return []
    lines: list[Line] = [[]]
    for sign, text in entries:
        gap = 3 if lines[-1] else 0
        if lines[-1] and length(lines[-1]) + gap + 1 + len(text) > width:
            lines.append([])
            gap = 0
        lines[-1] += [(" " * gap, "text"), sign, (text, "muted")]
    return lines


def short_key(width: int) -> Line:
    """The characters with their names only, as many as there is room for."""
    chars = characters()
    line: Line = []
    for sign, name in ((chars[2], "used"), (chars[1], "this run"), (chars[3], "free")):
        text = f" {name}  "
        if length(line) + 1 + len(text) > width:
            break
        line += [(sign, "text"), (text, "muted")]
    return line


def share(whole: float, own: float | None, width: int) -> Line:
    """A share of one thing: this run's part, then what others use, then the rest."""
    chars = characters()
    end = _cells(whole, width)
    mine = min(end, _cells(own, width)) if own is not None else 0
    return _joined(
        [(chars[0], "accent")] * mine + [(chars[2], "muted")] * (end - mine) + [(chars[3], "rule")] * (width - end)
    )


def spark(values: Sequence[int | None], width: int) -> str:
    """Percents as a row of small bars, newest at the right; a missing one is a blank. Means of several where it is long."""
    chars = _SPARKS_ASCII if glyphs().ascii else _SPARKS
    kept = list(values)[-2 * width :]
    if len(kept) > width:
        if len(kept) % 2:
            kept = kept[1:]
        kept = [_mean(kept[i : i + 2]) for i in range(0, len(kept), 2)]
    return "".join(" " if v is None else chars[min(7, int(v * 8 / 100.001))] for v in kept)


def _mean(values: Sequence[int | None]) -> int | None:
    known = [v for v in values if v is not None]
    return round(sum(known) / len(known)) if known else None


def _joined(cells: list[tuple[str, str]]) -> Line:
    line: Line = []
    for char, colour in cells:
        if line and line[-1][1] == colour:
            line[-1] = (line[-1][0] + char, colour)
        else:
            line.append((char, colour))
    return line
