"""The characters a chart is drawn with, in Unicode or plain ASCII."""

from __future__ import annotations

from dataclasses import dataclass

BRAILLE = 0x2800


@dataclass(frozen=True, slots=True)
class ChartGlyphs:
    """One set of characters; every one is a single cell wide."""

    point: str
    above: str
    below: str
    nonfinite: str
    corner: str
    vertical: str
    tick_left: str
    horizontal: str
    tick_down: str
    line_key: str
    cloud_key: str
    dashed_key: str
    cursor: str
    cursor_foot: str
    dash: str
    ascii: bool

    def cell(self, mask: int, style: str) -> str:
        """The character of a braille mask."""
        if not self.ascii:
            return chr(BRAILLE + mask)
        if style == "line":
            return "*"
        if style == "dashed":
            return "="
        upper, lower = mask & 0x1B, mask & 0xE4
        return ":" if upper and lower else "'" if upper else "."


UNICODE = ChartGlyphs("◆", "▲", "▼", "×", "└", "│", "┤", "─", "┬", "━", "⣶", "╍", "┊", "┴", "–", False)
ASCII = ChartGlyphs("o", "^", "v", "x", "+", "|", "+", "-", "+", "*", ":", "=", "|", "|", "-", True)
