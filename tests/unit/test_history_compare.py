"""Comparing runs: only what is known differs, data by digest, and no NaN ever wins."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from engine.errors import InputError
from engine.events import finite
from engine.history.compare import Comparison, compare, higher_is_better, metrics, smooth
from engine.history.record import RunRecord
from engine.history.summary import RunSummary

NAN = math.nan


def record(name: str = "a", tool: str = "trl", evals: list[float] | None = None, losses: list[float] | None = None,
           data: dict[str, Any] | None = None, auto: dict[str, Any] | None = None, versions: dict[str, str] | None = None,
           dataset: str | None = None, other: dict[str, Any] | None = None, **settings: Any) -> RunRecord:  # fmt: skip
    made = RunRecord(RunSummary(name, f"/runs/{name}", name, tool, "completed", dataset=dataset), settings=settings, data=data or {},
                     auto=auto or {}, versions=versions or {}, other=other or {})  # fmt: skip
    for step, loss in enumerate(losses or [], 1):
        made.steps.add({"step": step}, [("loss", loss)])
    for step, loss in enumerate(evals or [], 1):
        made.evals.add({"step": 10 * step}, [("eval_loss", loss)])
    return made


def names(found: list[Any]) -> list[str]:
    return [difference.name for difference in found]


def ranked(result: Comparison) -> list[tuple[int | None, str, float | None]]:
    return [(one.place, result.runs[one.run].name, one.value) for one in result.ranking]


# Differences.


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (8, 8.0),
        (8, "8"),
        ("2e-4", 0.0002),
        (True, "true"),
        (["q_proj", "v_proj"], ["v_proj", "q_proj"]),
        ("m/", "m"),
        ("TRUE", True),
    ],
)
def test_one_value_written_in_two_ways_is_no_difference(a: Any, b: Any) -> None:
    result = compare([record(target_modules=a), record(target_modules=b)])
    assert not result.differences and names(result.same) == ["target_modules"]


def test_only_what_two_runs_tell_can_differ() -> None:
    result = compare([record(lora_r=8, seed=1, optim="sgd"), record(lora_r=16, seed=1), record(lora_r=8)])
    assert [(d.group, d.name, d.values) for d in result.differences] == [("settings", "lora_r", (8, 16, 8))]
    assert {d.name: d.values for d in result.partial} == {"seed": (1, 1, None), "optim": ("sgd", None, None)}
    assert not result.same


def test_what_auto_chose_is_compared() -> None:
    chose = [{"dtype": {"value": value, "why": "x"}} for value in ("bfloat16", "float16")]
    result = compare([record(dtype="auto", auto=auto) for auto in chose])
    assert [d.values for d in result.differences] == [("bfloat16", "float16")]
    assert not compare([record(dtype="auto", auto=chose[0]), record(dtype="bfloat16")]).differences


def test_an_empty_setting_of_ours_is_told_and_one_of_others_is_not() -> None:
    result = compare([record(tool="tunedeck", max_steps=None), record(max_steps=100)])
    assert [d.values for d in result.differences] == [("none", 100)]
    assert not compare([record(max_steps=None), record(max_steps=100)]).differences


def test_names_of_places_are_no_differences() -> None:
    assert not compare([record(output_dir="a", run_name="x"), record(output_dir="b", run_name="y")]).differences


def test_data_are_the_same_by_their_digest() -> None:
    def at(path: str, digest: str | None, rows: int = 5) -> dict[str, Any]:
        return {"train": {"path": path, "rows": rows, "sha256": digest}}

    same = compare([record(data=at("/x/a.jsonl", "ab" * 32)), record(data=at("/y/b.jsonl", "AB" * 32))])
    assert not same.differences and names(same.same) == ["train"]
    other = compare([record(data=at("/x/a.jsonl", "ab" * 32)), record(data=at("/x/a.jsonl", "cd" * 32))])
    assert [(d.group, d.values) for d in other.differences] == [
        ("data", ("a.jsonl (5 rows, sha256 abababababab)", "a.jsonl (5 rows, sha256 cdcdcdcdcdcd)"))
    ]
    half_known = compare([record(data=at("/x/a.jsonl", "ab" * 32)), record(dataset="/z/a.jsonl")])
    assert not half_known.differences
    assert names(compare([record(dataset="alpaca"), record(dataset="dolly")]).differences) == ["train"]


def test_versions_are_a_group_of_their_own() -> None:
    result = compare(
        [record(versions={"trl": "1.10", "torch": "2.8"}), record(versions={"trl": "1.9", "torch": "2.8"})]
    )
    assert [(d.group, d.name, d.values) for d in result.differences] == [("versions", "trl", ("1.10", "1.9"))]


def test_versions_are_no_numbers() -> None:
    assert names(compare([record(versions={"trl": "1.1"}), record(versions={"trl": "1.10"})]).differences) == ["trl"]


def test_odd_values_do_not_stop_a_comparison() -> None:
    odd = [NAN, math.inf, 10**400, {"a": [1, {"b": NAN}]}, [], "", "\x1b[0m", object(), b"x", [None, True]]
    for a in odd:
        for b in odd:
            json.dumps(finite(compare([record(x=a), record(x=b)]).as_dict()), allow_nan=False, default=str)
    assert not compare([record(x=NAN), record(x=NAN)]).differences


# Ranking.


def test_best_last_and_smoothed_rank_differently() -> None:
    runs = [
        record("dips", evals=[1.0, 0.1, 0.9]),
        record("falls", evals=[1.0, 0.5, 0.4]),
        record("low", evals=[0.6, 0.6, 0.6]),
    ]
    assert ranked(compare(runs)) == [(1, "dips", 0.1), (2, "falls", 0.4), (3, "low", 0.6)]
    assert [row[1] for row in ranked(compare(runs, by="last"))] == ["falls", "low", "dips"]
    smoothed = compare(runs, by="smoothed", weight=0.5)
    assert [row[1] for row in ranked(smoothed)] == ["falls", "low", "dips"]
    assert smoothed.ranking[1].value == pytest.approx(0.6)
    assert [one.step for one in compare(runs).ranking] == [20, 30, 10]


def test_nan_ranks_last_and_is_said_and_none_has_no_place() -> None:
    runs = [record("none"), record("nan", evals=[NAN, NAN]), record("inf", evals=[math.inf]), record("minus", evals=[-math.inf]),
            record("some", evals=[NAN, 2.0]), record("fine", evals=[3.0])]  # fmt: skip
    result = compare(runs)
    assert [(one.place, runs[one.run].summary.name) for one in result.ranking] == [
        (1, "some"), (2, "fine"), (3, "inf"), (3, "minus"), (5, "nan"), (None, "none")
    ]  # fmt: skip
    notes = {runs[one.run].summary.name: one.note for one in result.ranking}
    assert notes["some"] == "1 of 2 values are no numbers" and notes["nan"] == "2 of 2 values are no numbers"
    assert notes["none"] == "has no eval_loss" and notes["fine"] == ""
    last = compare([record("ends", evals=[0.1, NAN]), record("fine", evals=[3.0])], by="last")
    assert [row[1] for row in ranked(last)] == ["fine", "ends"] and math.isnan(last.ranking[1].value)
    smoothed = compare([record("ends", evals=[0.1, NAN]), record("fine", evals=[3.0])], by="smoothed")
    assert [row[1] for row in ranked(smoothed)] == ["fine", "ends"]
    nothing = compare([record("none"), record("nan", evals=[NAN]), record("inf", evals=[math.inf])])
    assert [row[:2] for row in ranked(nothing)] == [(None, "inf"), (None, "nan"), (None, "none")]


def test_equal_runs_share_a_place() -> None:
    places = [
        row[0] for row in ranked(compare([record(n, evals=[v]) for n, v in zip("abcd", (1, 1, 2, 0.5), strict=True)]))
    ]
    assert places == [1, 2, 2, 4]


def test_a_value_without_its_curve_counts() -> None:
    made = record("bare")
    made.summary.best_eval_loss, made.summary.last_eval_loss = 0.3, 0.4
    made.results["eval_accuracy"] = 0.8
    assert ranked(compare([made, record("b", evals=[0.35])])) == [(1, "bare", 0.3), (2, "b", 0.35)]
    assert compare([made, record("b")], "eval_accuracy").ranking[0].value == 0.8
    assert compare([made, record("b")], by="smoothed").ranking[0].note == "its curve is not known"


@pytest.mark.parametrize(
    ("metric", "higher"),
    [("eval_loss", False), ("eval_accuracy", True), ("mean_token_accuracy", True), ("rewards/margins", True),
     ("eval_rouge1", True), ("grad_norm", False), ("eval_reward_loss", False), ("perplexity", False)],
)  # fmt: skip
def test_more_is_better_of_some_metrics(metric: str, higher: bool) -> None:
    assert higher_is_better(metric) is higher
    runs = [record("a"), record("b")]
    for made, value in zip(runs, (0.1, 0.9), strict=True):
        made.evals.add({"step": 1}, [(metric, value)])
    assert ranked(compare(runs, metric))[0][1] == ("b" if higher else "a")


def test_metrics_are_those_that_some_run_has() -> None:
    assert metrics([record(losses=[1.0]), record(evals=[1.0])]) == ["eval_loss", "loss"]
    assert metrics([record()]) == []


def test_an_unknown_ranking_is_refused() -> None:
    with pytest.raises(InputError, match="best, last, smoothed"):
        compare([record(), record()], by="worst")


# Smoothing.


def test_smoothing_has_no_bias_at_the_start_and_skips_what_is_no_number() -> None:
    assert list(smooth([5.0] * 4, 0.9)) == pytest.approx([5.0] * 4)
    assert list(smooth([1.0, 3.0, 2.0], 0.0)) == [1.0, 3.0, 2.0]
    ys = [1.0, NAN, 3.0, math.inf, 3.0]
    smoothed = smooth(ys, 0.5)
    assert [math.isnan(y) for y in smoothed] == [False, True, False, True, False]
    assert smoothed[2] == pytest.approx((0.25 * 1 + 0.5 * 3) / 0.75)
    assert len(smooth([], 0.9)) == 0
    for weight in (1.0, -0.1, NAN):
        with pytest.raises(ValueError, match="weight"):
            smooth([1.0], weight)
