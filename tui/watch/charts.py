"""The charts of the live screen, four and further ones, and which curve of the feed goes where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tui import format as fmt
from tui.watch.curves import GPU_CURVES, HOST_CURVE, SMOOTH_LOSS, SMOOTH_RATE
from tui.watch.facts import Facts
from tui.watch.feed import WatchUpdate
from tui.watch.metrics import smooth_key
from tui.watch.query import Metric
from tui.widgets.chart import CLOUD, DASHED, LINE, POINTS, TREND, Chart, bytes_label, number_label
from tui.widgets.chart.frame import value_label
from tui.widgets.chart.model import ChartModel
from tui.widgets.chart.ticks import KINDS, STEPS

A_PAGE = 4
# Figures whose zero means something.
FROM_ZERO = ("grad_norm", "tokens_per_second", "step_seconds")
# Room beyond the estimated end of an axis whose end is not known exactly.
SPARE = 1.03
# A jump of the axis repaints every curve: of a fast run it lasts so long at least, but never leaves most of it empty.
AHEAD_SECONDS, MOST_AHEAD = 40.0, 8


def make() -> list[Chart]:
    """Loss, learning rate, samples per second, memory."""
    loss = Chart("loss", value_formatter=fmt.loss, empty="no steps yet", id="chart-loss")
    loss.add_series("loss", "train", CLOUD, "cloud")
    loss.add_series(SMOOTH_LOSS, "smooth", TREND, "s1", in_range=False)
    loss.add_series("eval_loss", "eval", POINTS, "point")
    rate = Chart("learning rate", zero=True, value_formatter=significant, empty="no steps yet", id="chart-rate")
    rate.add_series("learning_rate", "", LINE, "s1")
    speed = Chart("samples/s", zero=True, value_formatter=significant, empty="no steps yet", id="chart-speed")
    speed.add_series("samples_per_second", "each step", CLOUD, "cloud")
    speed.add_series(SMOOTH_RATE, "smooth", TREND, "s1", in_range=False)
    memory = Chart("memory", zero=True, binary=True, value_formatter=fmt.size, empty="no steps yet", id="chart-memory")
    memory.add_series(GPU_CURVES[1], "reserved", DASHED, "s4")
    memory.add_series(GPU_CURVES[0], "allocated", LINE, "s1")
    memory.add_series(HOST_CURVE, "host", LINE, "s1")
    return _numbered([loss, rate, speed, memory])


def make_further() -> list[Chart]:
    """Charts that show whatever else a run logs, a page at a time."""
    return _numbered([Chart("", id=f"chart-further-{number}") for number in range(1, A_PAGE + 1)])


def _numbered(found: list[Chart]) -> list[Chart]:
    for number, chart in enumerate(found, 1):
        chart.model.mark = str(number)
    return found


def pages(metrics: Sequence[Metric]) -> list[tuple[Metric, ...]]:
    """Further figures in pages of four."""
    return [tuple(metrics[start : start + A_PAGE]) for start in range(0, len(metrics), A_PAGE)]


def keys(page: Iterable[Metric]) -> tuple[str, ...]:
    """The curves of a page."""
    return tuple(key for metric in page for key in (metric.train, metric.evaluation) if key)


def model_of(metric: Metric, mark: str) -> ChartModel:
    """A chart of one further figure: each step, smoothed, and evaluations."""
    memory = "memory" in metric.train
    model = ChartModel(
        metric.title,
        zero=memory or metric.train in FROM_ZERO,
        binary=memory,
        formatter=bytes_label if memory else number_label,
        value_formatter=fmt.size if memory else significant,
        empty="reading",
    )
    model.mark = mark
    if metric.train:
        model.add_series(metric.train, "train" if metric.evaluation else "each step", CLOUD, "cloud")
        model.add_series(smooth_key(metric.train), "smooth", TREND, "s1", in_range=False)
    if metric.evaluation:
        model.add_series(metric.evaluation, "eval" if metric.train else "", POINTS, "point")
    return model


def show_smoothing(model: ChartModel, factor: float) -> None:
    """Raw values are a cloud behind their smoothed curve, or the curve itself where there is none."""
    for key in list(model.series):
        if smooth_key(key) in model.series:
            model.restyle(key, *((CLOUD, "cloud") if factor else (LINE, "s1")))


def significant(value: float | None) -> str:
    """Three significant digits."""
    return value_label(value, number_label, 3)


def feed(charts: Iterable[Chart], update: WatchUpdate) -> None:
    """Give each chart its new points."""
    for chart in charts:
        for key in chart.model.series:
            curve = update.curves.get(key)
            if curve is None:
                continue
            if curve.packed is not None:
                chart.adopt(key, curve.packed)
            else:
                chart.extend(key, curve.xs, curve.ys, curve.nonfinite)


def clear(chart: Chart, update: WatchUpdate) -> None:
    """Forget all points: those of this update's query follow."""
    query = update.query
    if chart.model.empty == "reading":
        chart.model.empty = "no points yet"
    chart.clear(query.window[0] if query.window is not None else 0)
    chart.model.set_kind(KINDS[query.axis])
    chart.model.set_window(query.window)
    show_smoothing(chart.model, query.smoothing)


def set_span(chart: Chart, facts: Facts, *, fit: bool, last_x: int | None = None) -> None:
    """Tell a chart how far its axis may grow; ``fit`` draws it anew for what is there."""
    live = facts.state.live
    total: int | None = None
    if chart.model.kind is STEPS:
        total = facts.total_steps if live else max(1, facts.expected_step)
    elif live and last_x and facts.total_steps and facts.step:
        total = round(SPARE * last_x * max(1.0, facts.total_steps / facts.step))
    ahead = AHEAD_SECONDS / facts.median_step if live and facts.median_step else 0.0
    if chart.model.kind is not STEPS:
        ahead *= (last_x or 0) / max(1, facts.step)
    chart.set_span(total, live, round(min(ahead, MOST_AHEAD * max(1, last_x or facts.step))))
    if fit:
        chart.model.invalidate()
