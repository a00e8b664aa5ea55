"""The four charts of the live screen, and which curve of the feed goes where."""

from __future__ import annotations

from tui import format as fmt
from tui.watch.curves import GPU_CURVES, HOST_CURVE, SMOOTH_LOSS, SMOOTH_RATE
from tui.watch.facts import Facts
from tui.watch.feed import WatchUpdate
from tui.widgets.chart import CLOUD, LINE, POINTS, TREND, Chart, number_label
from tui.widgets.chart.frame import value_label


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
    memory.add_series(GPU_CURVES[1], "reserved", LINE, "s4")
    memory.add_series(GPU_CURVES[0], "allocated", LINE, "s1")
    memory.add_series(HOST_CURVE, "host", LINE, "s1")
    found = [loss, rate, speed, memory]
    for number, chart in enumerate(found, 1):
        chart.model.mark = str(number)
    return found


def significant(value: float | None) -> str:
    """Three significant digits."""
    return value_label(value, number_label, 3)


def feed(charts: list[Chart], update: WatchUpdate) -> None:
    """Give each chart its new points."""
    for chart in charts:
        for key in chart.model.series:
            curve = update.curves.get(key)
            if curve is not None:
                chart.extend(key, curve.xs, curve.ys, curve.nonfinite)


def set_span(chart: Chart, facts: Facts, *, fit: bool) -> None:
    """Tell a chart how far its axis may grow; ``fit`` draws it anew for what is there."""
    live = facts.state.live
    chart.set_span(facts.total_steps if live else max(1, facts.expected_step), live)
    if fit:
        chart.model.invalidate()
