"""One named curve of a chart and how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

from tui.widgets.chart.buckets import Buckets
from tui.widgets.chart.raster import Columns, Layer

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
