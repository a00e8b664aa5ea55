"""Line charts of braille dots whose axes grow in jumps: cheap to repaint, honest about gaps and spikes."""

from tui.widgets.chart.model import CLOUD, DASHED, LINE, POINTS, TREND, ChartModel
from tui.widgets.chart.ticks import bytes_label, number_label, step_label
from tui.widgets.chart.widget import Chart

__all__ = [
    "CLOUD",
    "DASHED",
    "LINE",
    "POINTS",
    "TREND",
    "Chart",
    "ChartModel",
    "bytes_label",
    "number_label",
    "step_label",
]
