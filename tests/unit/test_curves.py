"""From tables to curves: any window, axis and smoothing, without losing a spike or inventing a value."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path

import pytest

from engine.snapshot import RunView
from engine.tables import MetricTable
from tui.watch import metrics, places
from tui.watch.curves import LONG_STRETCH, Curve, Curves
from tui.watch.metrics import smooth_key
from tui.watch.places import Places
from tui.watch.query import CurveQuery
from tui.watch.reading import read_at
from tui.watch.smooth import LONG, Smoothed
from tui.widgets.chart.buckets import Buckets

AXES = places.AXES


def fill(view: RunView, steps: range, *, seed: int = 0, gaps: bool = False) -> None:
    """Rows as a run writes them; with gaps some lack their loss, and some losses are NaN."""
    rng = random.Random(seed)
    when = 1e9
    for step in steps:
        when += rng.uniform(0.5, 2.0)
        loss: object = rng.gauss(2, 0.3)
        if gaps and rng.random() < 0.05:
            loss = rng.choice(("NaN", None))
        view.steps.append(step, when, {"loss": loss, "samples_per_second": 8.0, "grad_norm": rng.random(),
                                       "epoch": step / 400, "num_tokens": 700 * step, "step_seconds": 1.5})  # fmt: skip
        if step % 50 == 0:
            view.evals.append(step, when, {"eval_loss": 1.0 + step / 1e6, "eval_mean_token_accuracy": 0.5})


def view_of(count: int, **how: bool) -> RunView:
    view = RunView(Path("/x"))
    fill(view, range(1, count + 1), **how)  # type: ignore[arg-type]
    return view


def buckets(curve: Curve, origin: int = 0) -> Buckets:
    """What a chart makes of a curve."""
    if curve.packed is not None:
        return curve.packed
    found = Buckets(origin)
    found.extend(curve.xs, curve.ys, curve.nonfinite)
    return found


def content(found: Buckets) -> list[tuple[int, float, float, int]]:
    filled = zip(found.lo, found.hi, found.bad, strict=True)
    return [(i * found.width, lo, hi, bad) for i, (lo, hi, bad) in enumerate(filled) if hi >= lo or bad]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("count", [700, LONG_STRETCH + 1500])
def test_a_replay_equals_a_fresh_feed(axis: str, count: int) -> None:
    view = RunView(Path("/x"))
    piecewise = Curves(view, CurveQuery(1, axis))
    gathered: dict[str, Buckets] = {}
    for first in range(1, count, 613):
        fill(view, range(first, min(count, first + 613)), seed=first, gaps=True)
        for key, curve in piecewise.new().items():
            if curve.packed is not None:
                gathered[key] = curve.packed
            else:
                gathered.setdefault(key, Buckets(0)).extend(curve.xs, curve.ys, curve.nonfinite)
    piecewise.aim(CurveQuery(2, axis))
    replayed = {key: buckets(curve) for key, curve in piecewise.new().items()}
    fresh = {key: buckets(curve) for key, curve in Curves(view, CurveQuery(3, axis)).new().items()}
    assert replayed.keys() == fresh.keys() == gathered.keys()
    for key in fresh:
        assert content(replayed[key]) == content(fresh[key])
        width = max(fresh[key].width, gathered[key].width)
        assert _at(content(gathered[key]), width) == _at(content(fresh[key]), width)
        assert gathered[key].last_y == pytest.approx(fresh[key].last_y, nan_ok=True)


def _at(found: list[tuple[int, float, float, int]], width: int) -> dict[int, tuple[float, float, int]]:
    merged: dict[int, tuple[float, float, int]] = {}
    for x, lo, hi, bad in found:
        before = merged.get(x // width, (math.inf, -math.inf, 0))
        merged[x // width] = min(before[0], lo), max(before[1], hi), before[2] | bad
    return merged


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("seed", range(6))
def test_no_spike_is_lost_in_any_window(axis: str, seed: int) -> None:
    rng = random.Random(seed)
    view = view_of(LONG_STRETCH + 900 if seed < 2 else 900)
    every = Places(view, axis).xs(0, len(view.steps))
    curves = Curves(view)
    losses = view.steps.column("loss")
    for number in range(1, 4):
        low, high = sorted(rng.randrange(every[-1]) for _ in range(2))
        curves.aim(CurveQuery(number, axis, (low, high + 1)))
        curve = curves.new().get("loss")
        inside = [losses[row] for row, x in enumerate(every) if low <= x <= high]
        if not inside:
            assert curve is None
            continue
        assert curve is not None
        found = buckets(curve, low)
        assert found.count == len(inside)
        assert min(found.lo) == min(inside) and max(found.hi) == max(inside)


@pytest.mark.parametrize("axis", AXES)
def test_a_cursor_reads_what_is_stored(axis: str) -> None:
    view = view_of(1500, gaps=True)
    every = list(Places(view, axis).xs(0, 1500))
    curves = Curves(view, CurveQuery(1, axis))
    curves.new()
    rng = random.Random(1)
    for _ in range(60):
        cursor = rng.randrange(every[-1] + 100)
        reading = read_at(curves, CurveQuery(1, axis, cursor=cursor))
        assert reading is not None
        row = reading.step - 1
        assert reading.x == every[row] and abs(every[row] - cursor) == min(abs(x - cursor) for x in every)
        for key, (value, step) in reading.values.items():
            if key in ("loss", "samples_per_second"):
                stored = view.steps.column(key)[step - 1]
                assert value == stored or (math.isnan(value) and step in view.steps.nonfinite[key])
        evaluation, of = reading.values["eval_loss"]
        assert evaluation == 1.0 + of / 1e6 and abs(of - reading.step) <= 49


def test_a_figure_that_is_logged_now_and_then_is_found_nearby() -> None:
    view = RunView(Path("/x"))
    for step in range(1, 101):
        view.steps.append(step, float(step), {"loss": 1.0, **({"entropy": step / 10} if step % 10 == 0 else {})})
    curves = Curves(view, CurveQuery(1, keys=("entropy",)))
    reading = read_at(curves, CurveQuery(1, keys=("entropy",), cursor=44))
    assert reading is not None and reading.values["entropy"] == (4.0, 40)


def test_working_time_leaves_out_the_pause_between_attempts() -> None:
    view = RunView(Path("/x"))
    view.run = {"attempts": [{"attempt": 1, "step": 0}, {"attempt": 2, "step": 3}]}
    for step, when in enumerate((10.0, 12.0, 14.0, 9000.0, 9002.0), 1):
        view.steps.append(step, when, {"loss": 1.0, "step_seconds": 2.0})
    assert list(Places(view, places.TIME).xs(0, 5)) == [2000, 4000, 6000, 8000, 10_000]


@pytest.mark.parametrize("axis", [places.EPOCH, places.TOKENS, places.TIME])
def test_places_never_fall_and_can_be_found_again(axis: str) -> None:
    view = RunView(Path("/x"))
    rng = random.Random(2)
    for step in range(1, 1200):
        odd = rng.random() < 0.1
        view.steps.append(step, math.nan if odd else step * rng.uniform(0.9, 1.0),
                          {"epoch": None if odd else step * rng.uniform(0.9, 1.0), "num_tokens": "NaN" if odd else 10 * step})  # fmt: skip
    found = Places(view, axis)
    late = list(Places(view, axis).xs(700, 900))
    whole = list(found.xs(0, 1199))
    assert whole == sorted(whole) and whole[700:900] == late
    for x in (0, whole[3], whole[500] + 1, whole[-1], whole[-1] + 1):
        assert found.row(x) == next((row for row, other in enumerate(whole) if other >= x), 1199)


def test_a_run_without_epochs_has_no_such_axis() -> None:
    view = RunView(Path("/x"))
    view.steps.append(1, 5.0, {"loss": 1.0, "num_tokens": 3})
    assert places.available(view) == (places.STEP, places.TOKENS, places.TIME)


def test_smoothing_is_the_same_in_pieces_and_close_to_the_plain_average() -> None:
    rng = random.Random(3)
    values = [
        1 + math.exp(-i / 9000) + rng.gauss(0, 0.1) if rng.random() > 0.02 else math.nan for i in range(LONG + 9000)
    ]
    whole, pieces = Smoothed(1.0), Smoothed(1.0)
    whole.feed(values)
    start = 0
    while start < len(values):
        size = rng.choice((1, 3, 700, 5000))
        pieces.feed(values[start : start + size])
        start += size
    assert whole.rows == pieces.rows
    assert [v for v in whole.values if v == v] == [v for v in pieces.values if v == v]
    assert whole.at(len(values) - 1) == pytest.approx(1 + math.exp(-len(values) / 9000), abs=0.05)
    assert len(whole.rows) < LONG + 9000 / 8


def test_more_smoothing_is_smoother_and_none_has_no_curve() -> None:
    view = view_of(600)
    rough: list[float] = []
    for number, factor in enumerate((0.5, 1.0, 4.0), 1):
        ys = Curves(view, CurveQuery(number, smoothing=factor)).new()[smooth_key("loss")].ys
        rough.append(sum(abs(b - a) for a, b in itertools.pairwise(ys)))
    assert rough[0] > rough[1] > rough[2]
    off = Curves(view, CurveQuery(9, smoothing=0.0))
    assert smooth_key("loss") not in off.new() and off.smooth is not None


def test_a_window_beyond_which_the_run_goes_on_gets_no_more_points() -> None:
    view = view_of(100)
    curves = Curves(view, CurveQuery(1, window=(20, 60)))
    assert list(curves.new()["loss"].xs) == list(range(20, 60))
    fill(view, range(101, 120))
    assert curves.new() == {}
    curves.aim(CurveQuery(2, window=(90, 130)))
    assert list(curves.new()["loss"].xs) == list(range(90, 120))
    fill(view, range(120, 125))
    assert list(curves.new()["loss"].xs) == list(range(120, 125))


def test_an_interrupted_replay_begins_again_whole() -> None:
    view = view_of(LONG_STRETCH + 100)
    curves = Curves(view, CurveQuery(1))
    partly = curves.new(lambda: True)
    rest = curves.new()
    assert not partly.keys() & rest.keys()
    both = {**partly, **rest}
    fresh = Curves(view, CurveQuery(2)).new()
    assert both.keys() == fresh.keys()
    assert content(buckets(both["loss"])) == content(buckets(fresh["loss"]))


def test_what_a_run_logs_is_found_named_and_paired() -> None:
    steps, evals = MetricTable(), MetricTable()
    steps.append(1, 1.0, {"loss": 1, "epoch": 1, "my_\x1b[31mscore": 2, "mean_token_accuracy": 0.5, "grad_norm": 1,
                          "gpu_memory_allocated": 5, "gpu_memory_peak": 6})  # fmt: skip
    evals.append(1, 1.0, {"eval_loss": 1, "eval_mean_token_accuracy": 0.5, "eval_runtime": 2, "epoch": 1})
    found = metrics.further(steps, evals)
    assert [m.title for m in found] == [
        "gradient norm",
        "token accuracy",
        "my score",
        "eval runtime",
        "peak GPU memory",
    ]
    assert found[1].evaluation == "eval_mean_token_accuracy" and found[0].evaluation == ""
    view = RunView(Path("/x"), steps=steps, evals=evals)
    for metric in found:
        for key in filter(None, (metric.train, metric.evaluation)):
            assert key in Curves(view, CurveQuery(1, keys=(key,))).new()
