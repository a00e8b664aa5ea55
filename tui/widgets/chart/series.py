"""One named curve of a chart and how it is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tui.widgets.chart.buckets import Buckets
from tui.widgets.chart.glyphs import ChartGlyphs
from tui.widgets.chart.raster import DOT_COLUMNS, Columns, Layer

LINE, DASHED, TREND, CLOUD, POINTS = "line", "dashed", "trend", "cloud", "points"


@dataclass(slots=True)
class Series:
    """One named curve.

    ``line`` joins its points, ``dashed`` does so in every other cell, ``trend`` is a thin line through the middle of
    each column (for what is smooth already), ``cloud`` shows each point's dot, ``points`` marks each one apart.
    """

    key: str
    label: str
    style: str
    colour: str
    buckets: Buckets
    in_range: bool = True
    columns: Columns = field(default_factory=Columns)
    layer: Layer = field(default_factory=lambda: Layer(0, 0))
    # Points whose marks would touch are drawn as a line; the usual distance of points tells joints from gaps. Both
    # hold for the whole picture: where they change, all of it is drawn anew.
    dense: bool = False
    spacing: float = 1.0

    @property
    def crowded(self) -> bool:
        """Whether marks of its points would touch."""
        cells = {c // DOT_COLUMNS for c, hi in enumerate(self.columns.hi) if hi != -math.inf}
        return len(cells) > 12 and len(cells) > (max(cells) - min(cells) + 1) / 2

    def sign(self, glyphs: ChartGlyphs) -> str:
        """How the legend shows it."""
        if self.style == POINTS and not self.dense:
            return glyphs.point
        if self.style == DASHED:
            return glyphs.dashed_key
        return glyphs.cloud_key if self.style == CLOUD else glyphs.line_key
