"""What the charts show, in a line of words."""

from __future__ import annotations

import math

from tui.glyphs import glyphs
from tui.watch.metrics import smooth_key
from tui.watch.query import Reading
from tui.widgets.chart.model import ChartModel
from tui.widgets.chart.ticks import KINDS, STEPS
from tui.widgets.lines import Line

# Names of a chart's own figure; others are said.
RAW = ("", "train", "each step")


def factor(smoothing: float) -> str:
    """How much the curves are smoothed, compared with the usual: off, ½×, 4×."""
    if not smoothing:
        return "off"
    number = ("0.5" if glyphs().ascii else "½") if smoothing == 0.5 else f"{smoothing:g}"
    return f"{number}{glyphs().times}"


def reading(answer: Reading, chosen: ChartModel, others: list[ChartModel]) -> Line:
    """The x, then every curve's value there: the chosen chart's all, of others what they are named for."""
    kind = KINDS[answer.axis]
    line: Line = [(f"{kind.name} ", "muted"), (kind.exact(answer.x), "accent")]
    if kind is not STEPS:
        line.append((f" (step {answer.step:,})", "muted"))
    for model in (chosen, *others):
        smooth = {smooth_key(key) for key in model.series}
        for place, (key, series) in enumerate(model.series.items()):
            if key not in answer.values or (model is not chosen and key in smooth):
                continue
            value, step = answer.values[key]
            name = model.title if not place and series.label in RAW else series.label or model.title
            if model is not chosen and series.label == "eval":
                name = f"eval {model.title}"
            line += [
                (f"  {name} ", "muted"),
                (model.value_formatter(value), "value" if math.isfinite(value) else "error"),
            ]
            if step != answer.step:
                line.append((f" (step {step:,})", "muted"))
    return line
