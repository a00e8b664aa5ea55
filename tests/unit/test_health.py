"""What is said of losses that are no numbers, and of a loss that climbs; figures of a step; requests."""

from __future__ import annotations

import math
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.rundir import RunDir
from engine.worker import sampling
from engine.worker.figures import StepFigures, samples_of_last_step, tokens_at
from engine.worker.health import REPEAT_STEPS, SCALER_PATIENCE, TOLD_STREAKS, Finding, Health
from engine.worker.recorder import Recorder
from engine.worker.requests import Requests
from tests.support import read_events

NAN, INF = math.nan, math.inf


def run_through(health: Health, figures: list[tuple[float | None, float | None]]) -> list[Finding]:
    return [finding for step, (loss, norm) in enumerate(figures, 1) for finding in health.look(step, loss, norm)]


def test_a_single_step_is_said_with_step_and_value_and_that_it_is_over() -> None:
    found = run_through(Health(), [(2.0, 1.0), (NAN, INF), (1.9, 1.0), (1.8, 1.0)])
    assert [(f.kind, f.level, f.step, f.count) for f in found] == [
        ("nonfinite", "error", 2, 1),
        ("nonfinite", "warning", 2, 1),
    ]
    assert found[0].text == "Step 2: the loss is NaN and the gradient norm is Infinity"
    assert "1 step from step 2" in found[1].text and "finite again at step 3" in found[1].text


def test_either_of_the_two_counts_alone_and_a_missing_one_does_not() -> None:
    assert "loss" not in run_through(Health(), [(2.0, NAN)])[0].text.split("gradient")[0]
    assert "gradient" not in run_through(Health(), [(-INF, 1.0)])[0].text
    assert run_through(Health(), [(None, None), (2.0, None), (None, 1.0)]) == []


def test_a_long_streak_is_said_at_its_beginning_every_hundred_steps_and_at_its_end() -> None:
    health = Health()
    found = run_through(health, [(NAN, NAN)] * 250 + [(1.0, 1.0)])
    assert [(f.step, f.count) for f in found] == [(1, 1), (100, 100), (200, 200), (250, 250)]
    assert health.end() == []


def test_a_streak_that_lasts_until_the_end_is_summed_up_there() -> None:
    health = Health()
    run_through(health, [(NAN, NAN)] * 5)
    (last,) = health.end()
    once = Health()
    assert len(run_through(once, [(NAN, NAN)])) == 1 and once.end() == []
    assert last.count == 5 and "until training ended" in last.text and health.end() == []


def test_thousands_of_single_steps_do_not_flood() -> None:
    found = run_through(Health(), [(NAN, 1.0), (2.0, 1.0)] * 5000)
    assert len(found) <= 2 * TOLD_STREAKS + 5000 // REPEAT_STEPS + 1
    assert "5000 steps were not finite" in found[-1].text


def test_a_scaler_may_skip_single_steps_but_not_twenty_in_a_row() -> None:
    overflow = (2.0, INF)
    assert run_through(Health(scaled=True), ([overflow] * (SCALER_PATIENCE - 1) + [(2.0, 1.0)]) * 5) == []
    found = run_through(Health(scaled=True), [overflow] * SCALER_PATIENCE)
    assert [(f.step, f.count, f.level) for f in found] == [(SCALER_PATIENCE, SCALER_PATIENCE, "error")]
    assert run_through(Health(scaled=True), [(NAN, NAN)])[0].step == 1  # a loss is never normal


def test_a_climbing_loss_is_said_once_and_again_after_it_has_come_back() -> None:
    low, high = [(1.0, 1.0)] * 40, [(2.5, 1.0)] * 60
    found = run_through(Health(), low + high + low + high)
    assert [f.kind for f in found] == ["divergence", "divergence"] and found[0].level == "warning"
    assert 40 + 10 < found[0].step <= 40 + 10 + 10 and 140 < found[1].step <= 160
    assert "2.5" in found[0].text and "1 at step 20" in found[0].text


def test_noise_spikes_and_falling_losses_are_no_divergence() -> None:
    dice = random.Random(1)
    noisy = [(3 * math.exp(-i / 300) + 0.3 + dice.gauss(0, 0.3), 1.0) for i in range(2000)]
    spiky = [(1000.0 if i % 25 < 8 and i > 100 else 1.0, 1.0) for i in range(1000)]
    negative = [(-2.0 + dice.gauss(0, 0.1), 1.0) for _ in range(500)]
    for figures in (noisy, spiky, negative):
        assert run_through(Health(), figures) == []


def arguments(**more: Any) -> Any:
    return SimpleNamespace(**{"train_batch_size": 2, "gradient_accumulation_steps": 4, "world_size": 1,
                              "dataloader_drop_last": False, **more})  # fmt: skip


def test_the_last_step_of_an_epoch_counts_its_true_samples() -> None:
    assert samples_of_last_step(40, arguments()) == 8
    assert samples_of_last_step(41, arguments()) == 1
    assert samples_of_last_step(47, arguments()) == 7
    assert samples_of_last_step(47, arguments(dataloader_drop_last=True)) == 6
    assert samples_of_last_step(5, arguments()) == 5
    assert samples_of_last_step(None, arguments()) == 8
    assert samples_of_last_step(17, arguments(world_size=2)) == 1


def steps(run: RunDir, attempt: int, counts: dict[int, float | None]) -> None:
    recorder = Recorder(run, attempt=attempt)
    for step, tokens in counts.items():
        recorder.write("step", step=step, num_tokens=tokens)
    recorder.close()


def test_tokens_go_on_from_the_newest_record_of_the_step(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.make()
    steps(run, 1, {step: 100 * step for step in range(1, 31)})
    steps(run, 2, {step: 110 * step for step in range(11, 26)})
    assert tokens_at(20, [run], []) == 2200 and tokens_at(30, [run], []) == 3000 and tokens_at(99, [run], []) == 3000
    assert tokens_at(5, [RunDir(tmp_path / "none"), run], []) == 500
    history = [{"step": 5, "num_tokens": 7.0}, {"step": 10, "num_tokens": 9.0}, {"step": 10, "eval_loss": 1.0}]
    assert tokens_at(8, [RunDir(tmp_path / "none")], history) == 7 and tokens_at(3, [], history) == 0


def test_the_first_resumed_step_has_a_true_token_rate(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.make()
    steps(run, 1, {step: 1000 * step for step in range(1, 21)})
    state = SimpleNamespace(global_step=20, max_steps=40, epoch=0.5, log_history=[], num_input_tokens_seen=0)
    loader = SimpleNamespace(dataset=range(320))
    figures = StepFigures(arguments(), state, SimpleNamespace(_total_train_tokens=0), loader, run)
    state.global_step = 21
    found = figures.of(state, {"loss": 1.0, "num_tokens": 1000.0, "entropy": 0.5})
    assert found["num_tokens"] == 21000 and found["entropy"] == 0.5
    assert abs(found["tokens_per_second"] * found["step_seconds"] - 1000) < 1e-6
    assert abs(found["samples_per_second"] * found["step_seconds"] - 8) < 1e-9


def test_several_steps_between_two_logs_have_the_mean_speed(tmp_path: Path) -> None:
    state = SimpleNamespace(global_step=0, max_steps=40, epoch=None, log_history=[], num_input_tokens_seen=0)
    figures = StepFigures(arguments(), state, None, None, RunDir(tmp_path))
    state.global_step = 4
    found = figures.of(state, {"loss": 1.0})
    assert abs(found["samples_per_second"] * found["step_seconds"] - 8) < 1e-9 and found["tokens_per_second"] is None


def test_requests_are_refused_in_words_and_foreign_files_left_alone(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.make()
    recorder = Recorder(run)
    requests = Requests(recorder, stops_now=False)
    for verb in ("stop", "evaluate", "checkpoint", "stop-now", "dance"):
        run.request(verb)
    assert requests.take(9, last=True, can_evaluate=False) == {"checkpoint"}
    assert run.requests() == ["dance", "stop-now"]
    requests.answer_rest("too late: training has ended")
    recorder.close()
    outcomes = {e["request"]: e["outcome"] for e in read_events(run) if e["type"] == "control"}
    assert outcomes == {"stop": "too late: step 9 is the last one", "evaluate": "refused: there is no evaluation data",
                        "checkpoint": "too late: training has ended"}  # fmt: skip


def test_a_stop_during_the_last_evaluation_comes_too_late(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.make()
    recorder = Recorder(run)
    requests = Requests(recorder, stops_now=True)
    for step, last in ((4, False), (6, True)):
        run.request("stop")
        run.request("stop-now")
        assert requests.take_while_evaluating(step, f"stopping after step {step}", last=last) == {"stop", "stop-now"}
    run.request("stop")
    run.request("dance")
    requests.answer_rest("too late: training has ended")
    recorder.close()
    said = [(e["request"], e["outcome"]) for e in read_events(run) if e["type"] == "control"]
    assert said == [("stop", "stopping after step 4"), ("stop-now", "stopping after step 4, without saving"),
                    ("stop", "too late: step 6 is the last one"), ("stop-now", "too late: step 6 is the last one"),
                    ("stop", "too late: training has ended")]  # fmt: skip
    assert run.requests() == ["dance"]


def test_a_token_that_the_model_has_no_row_for_is_no_question() -> None:
    words = SimpleNamespace(convert_ids_to_tokens=lambda token: f"<{token}>\x1b[31m")
    sampling._check_ids([0, 5, 9], 10, words)
    for odd in (10, 12, -1):
        with pytest.raises(sampling._CannotRead) as caught:
            sampling._check_ids([0, odd], 10, words)
        assert str(caught.value) == f"its token <{odd}> ({odd}) is not among the 10 that the model knows"
