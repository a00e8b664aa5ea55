"""From events to what a screen shows; damage and resumes included."""

from __future__ import annotations

import json
import math
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from engine import status as states
from engine.events import EventWriter, encode
from engine.history import scan, summarise
from engine.history.describe import describe
from engine.history.scan import find_run
from engine.rundir import RunDir, write_json
from engine.snapshot import MetricTable, RunFollower, tail
from tests.support import append_step, make_run


def test_a_finished_run_is_read_whole(tmp_path: Path) -> None:
    view = RunFollower(make_run(tmp_path / "run", steps=50).path).read_all()
    assert view.state.state == states.COMPLETED and view.step == 50 == len(view.steps) == view.total_steps
    assert view.steps.last("loss") is not None and view.steps.best("loss") <= view.steps.last("loss")
    assert list(view.evals.steps) == [10, 20, 30, 40, 50] and view.epoch == 3.0
    assert view.base_model == "Qwen/Qwen2.5-0.5B" and view.remaining is None and view.elapsed == 10 + 50 * 0.5


def test_polling_sees_only_what_is_new(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=3, total=10, state="running")
    follower = RunFollower(run.path)
    assert follower.poll() and not follower.poll()
    append_step(run, 4, 0.5, total_steps=10, host_memory=5)
    assert follower.poll() and follower.view.step == 4 and follower.view.steps.last("host_memory") == 5
    assert follower.view.state.state == states.RUNNING and follower.view.remaining is not None


def test_a_resume_supersedes_steps_without_double_or_missing_ones(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=30, evals=3, state="running")
    writer = EventWriter(run.events, attempt=2)
    for step in range(21, 33):
        writer.write("step", step=step, total_steps=40, loss=float(step))
    writer.write("eval", step=30, eval_loss=9.0)
    view = RunFollower(run.path).read_all()
    assert list(view.steps.steps) == list(range(1, 33)) and view.steps.column("loss")[20] == 21.0
    assert list(view.evals.steps) == [10, 20, 30] and view.evals.last("eval_loss") == 9.0
    assert view.attempt == 2 and view.steps.rewrites == 1


def attempt_entry(number: int, step: int) -> dict[str, Any]:
    checkpoint = f"/runs/checkpoint-{step}" if step else None
    return {"attempt": number, "time": 1_790_000_000.0, "command": "x", "checkpoint": checkpoint, "step": step,
            "changes": {}, "notes": []}  # fmt: skip


class Oracle:
    """What a chart must show, said as simply as possible: a later attempt replaces everything from where it starts."""

    def __init__(self) -> None:
        self.steps: dict[int, float] = {}
        self.evals: dict[int, float] = {}
        self.checkpoints: dict[int, int] = {}

    def begin(self, step: int) -> None:
        for kept in (self.steps, self.evals, self.checkpoints):
            for later in [s for s in kept if s > step]:
                del kept[later]


@pytest.mark.parametrize("seed", range(40))
def test_any_history_of_attempts_is_one_line_of_steps(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    run, oracle = make_run(tmp_path / "run", steps=1, evals=0, state="running"), Oracle()
    data, entries, every, base = b"", [], choose.randrange(2, 6), 0
    record = run.read_run() or {}
    for attempt in range(1, choose.randrange(2, 6)):
        base = choose.choice([0, *oracle.checkpoints]) if attempt > 1 else 0
        entries.append(attempt_entry(attempt, base))
        length = choose.randrange(0, 25)
        if length:
            oracle.begin(base)
        for step in range(base + 1, base + length + 1):
            loss = choose.random()
            line = encode(
                {"type": "step", "time": 1.0 + step, "attempt": attempt, "step": step, "total_steps": 90, "loss": loss}
            )
            lost = choose.random() < 0.05
            if lost:  # damage: this record is lost, and counted
                line = line.replace(b'"loss"', b'"lass"')
            else:
                oracle.steps[step] = loss
            data += line
            if step % every == 0:
                data += encode({"type": "eval", "attempt": attempt, "step": step, "eval_loss": loss + 1})
                data += encode({"type": "checkpoint", "attempt": attempt, "step": step, "path": str(attempt)})
                oracle.evals[step], oracle.checkpoints[step] = loss + 1, attempt
        if choose.random() < 0.3:  # killed in the middle of a line
            data += b'{"type":"step","attempt":1,"st\n'
    write_json(run.run_json, {**record, "attempts": entries})
    run.events.write_bytes(b"")
    follower, position = RunFollower(run.path), 0
    while position < len(data):  # polled at any moment, also in the middle of a line
        position += choose.randrange(1, 4000)
        run.events.write_bytes(data[:position])
        follower.poll()
    for view in (follower.read_all(), RunFollower(run.path).read_all()):
        assert dict(zip(view.steps.steps, view.steps.column("loss"), strict=True)) == oracle.steps
        assert list(view.steps.steps) == sorted(set(view.steps.steps))
        assert dict(zip(view.evals.steps, view.evals.column("eval_loss"), strict=True)) == oracle.evals
        assert {c["step"]: int(c["path"]) for c in view.checkpoints} == oracle.checkpoints
        assert view.damaged == data.count(b'"lass"') + data.count(b'"st\n')


def test_an_older_attempt_that_still_writes_is_not_heard(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=30, evals=3, state="running")
    new, old = EventWriter(run.events, attempt=2), EventWriter(run.events, attempt=1)
    new.write("sample", step=20, prompt="a")
    new.write("step", step=21, loss=2.0)
    old.write("step", step=31, loss=1.0)
    old.write("eval", step=30, eval_loss=1.0)
    old.write("sample", step=31, prompt="b")
    new.write("step", step=22, loss=2.5)
    view = RunFollower(run.path).read_all()
    assert list(view.steps.steps) == list(range(1, 23)) and view.steps.last("loss") == 2.5
    assert list(view.evals.steps) == [10, 20] and [s["prompt"] for s in view.samples] == ["a"]


def test_times_of_several_attempts(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=30, total=60, state="running")
    now = time.time()
    write_json(run.run_json, {**(run.read_run() or {}), "attempts": [attempt_entry(1, 0), attempt_entry(2, 20)]})
    write_json(
        run.status_json, {**(run.read_status() or {}), "attempts": 2, "seconds_before": 100.0, "started": now - 50}
    )
    follower = RunFollower(run.path)
    follower.poll()
    view = follower.view
    assert view.remaining is not None and 150 < (view.elapsed or 0) < 152
    assert (view.attempt_number, view.resumed_step, view.resumed_from) == (2, 20, "/runs/checkpoint-20")
    writer = EventWriter(run.events, attempt=2)
    writer.write("step", step=21, total_steps=60, loss=1.0)
    follower.poll()
    assert view.remaining is None, "one step tells no pace, and the night between two attempts is none"
    with run.events.open("ab") as file:
        last = view.steps.column("time")[-1]
        file.write(encode({"type": "step", "time": last + 2, "attempt": 2, "step": 22, "total_steps": 60, "loss": 1.0}))
    follower.poll()
    assert view.remaining == pytest.approx(38 * 2, rel=0.01)


def test_a_waiter_finds_its_answer_among_many(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=1, state="running")
    writer = EventWriter(run.events)
    for number in range(80):
        writer.write("control", request="checkpoint", outcome=str(number))
    follower = RunFollower(run.path)
    seen = follower.read_all().controls_seen
    assert seen == 80 and follower.view.controls_since(seen) == []
    writer.write("control", request="stop", outcome="done")
    writer.write("notice", level="warning", text="NaN", kind="nonfinite", step=7, count=1)
    follower.poll()
    assert [c["outcome"] for c in follower.view.controls_since(seen)] == ["done"]
    (notice,) = follower.view.notices_since(0)
    assert (notice.kind, notice.step, notice.text) == ("nonfinite", 7, "NaN")


def test_the_word_of_an_earlier_attempt_does_not_explain_a_later_loss(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=5, state="running")
    EventWriter(run.events, attempt=1).write("state", state="stopped", reason="on request")
    gone = {**(run.read_status() or {}), "pid_started": 1, "heartbeat": 1_790_000_000.0}
    write_json(run.status_json, gone)
    assert RunFollower(run.path).read_all().state.state == states.STOPPED
    write_json(run.status_json, {**gone, "attempts": 2})
    assert RunFollower(run.path).read_all().state.state == states.LOST


def test_a_torn_end_is_damage_only_when_nobody_writes(tmp_path: Path) -> None:
    for state, damage in (("running", 0), ("completed", 1)):
        run = make_run(tmp_path / state, steps=5, state=state)
        with run.events.open("ab") as file:
            file.write(b'{"type":"step","st')
        assert RunFollower(run.path).read_all().damaged == damage
    with run.supervisor_events.open("wb") as file:
        file.write(b"garbage\n")
    assert RunFollower(run.path).read_all().damaged == 2 and "2 damaged lines" in str(describe(run.path)["problems"])


BOMB = "[" * 3000 + "]" * 3000
ODD = ["null", "true", '"text"', '"\\ud800"', "[]", '[{"a":[]}]', "{}", "-1", "1e999", "-1e999", "1e300", "9" * 400, "9" * 5000,
       "NaN", '"NaN"', "0", "0.5", BOMB, '"' + "x" * 5000 + '"']  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_odd_values_in_any_key_raise_nothing(tmp_path: Path, odd: str) -> None:
    good = make_run(tmp_path / "good", steps=3)
    names = {"run_json": [*(good.read_run() or {}), "auto", "data", "versions", "command", "attempts", "working_directory"],
             "status_json": [*(good.read_status() or {}), "supervisor_pid", "supervisor_started", "stalled", "seconds_before",
                             "queue_position", "waits_for", "slots", "ranks", "exit_code", "signal"]}  # fmt: skip
    lines = []
    for kind in ("step", "eval", "checkpoint", "phase", "notice", "control", "state", "sample", "hardware", odd):
        base = {"type": kind, "step": 1, "loss": 1.0, "time": 1.0, "attempt": 1, "total_steps": 9, "name": "x", "done": 1,
                "total": 2, "text": "t", "level": "info", "kind": "k", "state": "running", "reason": "", "eval_loss": 1.0,
                "request": "stop", "outcome": "o", "step_seconds": 1.0}  # fmt: skip
        for key in base:
            parts = (f"{json.dumps(k)}:{odd if k == key else json.dumps(v)}" for k, v in base.items())
            lines.append("{" + ",".join(parts) + "}\n")
    good.events.write_text("".join(lines), encoding="utf-8")
    good.supervisor_events.write_text("".join(lines), encoding="utf-8")
    use_everything(good)
    for state in ("running", "completed", "queued"):
        run = make_run(tmp_path / "odd", steps=2, state=state)
        for record, keys in names.items():
            path = getattr(run, record)
            text = path.read_text()
            for key in keys:
                whole = json.loads(text)
                whole.pop(key, None)
                path.write_text(json.dumps(whole)[:-1] + f",{json.dumps(key)}:{odd}}}", encoding="utf-8")
                os.utime(path, (1, 1))
                use_everything(run)
            path.write_text(text)
    rows = list(scan([tmp_path], registered=False))
    assert {Path(row.path).name for row in rows} == {"good", "odd"}


def use_everything(run: RunDir) -> None:
    from engine.cli.listing import _row
    from engine.cli.output import seconds_text
    from engine.cli.showing import history_lines

    view = RunFollower(run.path).read_all()
    for value in (view.elapsed, view.remaining, view.started, view.ended, view.median_step_seconds):
        assert value is None or math.isfinite(value)
        seconds_text(value)
    assert isinstance(view.queue_position, int | None) and isinstance(view.waits_for, str)
    summary = summarise(run.path)
    assert summary is not None and not any("cannot be read" in problem for problem in summary.problems), (
        summary.problems
    )
    _row(summary)
    history_lines(describe(run.path))


def test_a_value_of_a_wrong_kind_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=2)
    write_json(run.status_json, {**(run.read_status() or {}), "step": "many", "started": []})
    summary = summarise(run.path)
    assert summary is not None and summary.step is None and summary.state == states.COMPLETED
    assert summary.problems == ["status.json holds values of a wrong kind, which were left out: started, step"]


def test_a_run_whose_supervisor_was_killed_shows_where_its_worker_is(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=5, total=100, state="running")
    old = time.time() - 60
    os.utime(run.status_json, (old, old))
    for step in range(6, 40):
        append_one(run, step)
    summary = summarise(run.path)
    assert summary is not None and (summary.state, summary.step, summary.points) == ("running", 39, 39)
    assert summary.last_loss == summary.best_loss == 1 / 39
    os.utime(run.status_json)
    summary = summarise(run.path)
    assert summary is not None and summary.step == 5


def append_one(run: RunDir, step: int) -> None:
    writer = EventWriter(run.events)
    writer.write("step", step=step, total_steps=100, loss=1 / step)
    writer.close()


def test_no_name_is_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.errors import RunNotFoundError

    make_run(tmp_path, steps=1)
    monkeypatch.chdir(tmp_path)
    for text in ("", "  ", "\0", "~nobody-at-all/x"):
        with pytest.raises(RunNotFoundError):
            find_run(text)
    assert find_run(".").path == tmp_path


def test_nan_is_nan_and_missing_is_unknown() -> None:
    table = MetricTable()
    table.append(1, 0.0, {"loss": 1.0, "grad_norm": 2.0})
    table.append(2, 1.0, {"loss": "NaN", "eval": "text", "flag": True})
    assert math.isnan(table.last("loss") or 0) and table.nonfinite == {"loss": [2]}
    assert (
        table.last("grad_norm") is None
        and table.best("loss") == 1.0
        and not table.has("eval")
        and not table.has("flag")
    )
    table.append(3, 2.0, {"late": 5})
    assert [math.isnan(v) for v in table.column("late")] == [True, True, False] and len(table.column("nothing")) == 3
    table.append(2, 3.0, {"loss": 0.5})
    assert table.nonfinite == {"loss": []} and list(table.steps) == [1, 2]


def test_wrong_types_in_records_are_never_an_exception(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=2)
    write_json(run.run_json, {"id": 7, "name": ["x"], "config": "none", "created": "yesterday"})
    write_json(run.status_json, {"state": ["running"], "step": "many", "started": {}, "heartbeat": "now", "pid": "1"})
    write_json(run.notes_json, {"name": {"a": 1}})
    with run.events.open("a") as file:
        for line in ('{"type":"step","step":"x"}', '{"type":"step","step":-1}', '{"type":"step"}', '{"type":"eval","step":true}',
                     '{"type":"phase","name":[1],"done":"x"}', '{"type":"notice","text":{"a":1}}', '{"type":"checkpoint"}',
                     '{"type":"step","step":9999999999999999999999}', '{"type":"unknown"}', '{"type":"step","step":3,"loss":[1]}',
                     '{"type":"state","state":5}', '{"type":"step","step":4,"time":"late","attempt":"two","total_steps":"x"}'):  # fmt: skip
            file.write(line + "\n")
    view = RunFollower(run.path).read_all()
    assert list(view.steps.steps) == [1, 2, 3, 4] and view.state.state == states.UNKNOWN
    assert view.base_model == "" and view.started is None and view.elapsed is None


def test_an_empty_directory_is_unknown_and_a_missing_one_too(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        view = RunFollower(path).read_all()
        assert view.state.state == states.UNKNOWN and len(view.steps) == 0


def test_silence_is_a_stall_only_while_running(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=10, total=20, state="running", created=time.time() - 3600)
    follower = RunFollower(run.path)
    follower.poll()
    assert follower.view.state.stalled
    append_step(run, 11, 0.4)
    follower.poll()
    assert not follower.view.state.stalled
    done = RunFollower(make_run(tmp_path / "done", steps=10, created=time.time() - 3600).path)
    done.poll()
    assert not done.view.state.stalled


def test_stall_limits() -> None:
    assert not states.is_stalled(100, 71, 1.0, "training") and states.is_stalled(102, 71, 1.0, "training")
    assert not states.is_stalled(300, 100, 30.0, "training") and states.is_stalled(401, 100, 30.0, "training")
    assert not states.is_stalled(100, None, 1.0, "training") and states.is_stalled(132, 101, 30.0, "loading")


def test_states_are_inferred_from_evidence(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", state="running")
    status = run.read_status() or {}

    def infer(**changes: object) -> states.RunState:
        return states.infer({**status, "heartbeat": time.time() - 60, **changes})

    assert infer().state == "running"
    assert infer(pid_started=1).state == "lost"
    assert infer(boot_id="other").state == "lost" and "restarted" in infer(boot_id="other").reason
    elsewhere = infer(machine_id="other", host="gpu7", pid=999999)
    assert (elsewhere.state, elsewhere.here, elsewhere.host) == ("running", False, "gpu7")
    container = infer(pid_namespace="pid:[1]")
    assert (container.state, container.here) == ("running", False)
    assert infer(state="completed", pid_started=1).state == "completed"
    assert infer(pid=999999, heartbeat=time.time()).state == "running"  # its end may be written this moment


def test_tail_reads_only_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"line {n}\n" for n in range(100_000)))
    assert tail(path, 3) == ["line 99997", "line 99998", "line 99999", ""]
    assert tail(tmp_path / "missing") == []


def test_only_the_worker_gives_signs_of_life(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=5, total=10, state="running")
    now = time.time()
    run.events.write_bytes(b"".join(
        encode({"type": "step", "time": now - 300 + step, "attempt": 1, "step": step, "step_seconds": 1.0})
        for step in range(1, 6)
    ) + encode({"type": "phase", "time": now - 290, "attempt": 1, "name": "training"}))  # fmt: skip
    supervisor = EventWriter(run.supervisor_events)
    supervisor.write("notice", level="warning", text="no message in tmux")
    supervisor.write("control", request="stop-now", outcome="done")
    follower = RunFollower(run.path)
    view = follower.read_all()
    assert view.last_event == pytest.approx(now - 290)
    assert view.state.stalled and view.notices[-1].time >= now - 1 and view.controls_seen >= 1


def test_of_a_record_that_is_still_being_read_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import snapshot
    from engine.supervisor.record import update_progress

    monkeypatch.setattr(snapshot, "PIECE", 2000)
    run = make_run(tmp_path / "run", steps=200, total=400, state="running")
    follower, status = RunFollower(run.path, guards=True), {"state": states.RUNNING, "step": 7}
    follower.poll(0.0)
    assert follower.view.behind and 0 < follower.view.step < 200 and follower.view.remaining is None
    update_progress(status, follower.view)
    assert status["step"] is status["last_loss"] is status["points"] is None and status["stalled"] is False
    follower.read_all()
    append_step(run, 201, 0.5, total_steps=400)  # a few lines that came this moment
    assert not follower.view.behind
    update_progress(status, follower.view)
    assert status["step"] == 200 == status["points"] and status["last_loss"] is not None


@pytest.mark.parametrize("odd", ["NaN", "Infinity", -3, "text", None, 1e300])
def test_progress_that_is_no_number_is_not_known(tmp_path: Path, odd: Any) -> None:
    run = make_run(tmp_path / "run", steps=5, total=10, state="running")
    EventWriter(run.events).write("phase", name="evaluating", done=odd, total=odd)
    append_step(run, 6, 0.5, total_steps=10, step_seconds=1e300)
    view = RunFollower(run.path).read_all()
    assert view.phase.name == "evaluating" and view.phase.done is None and view.phase.total is None
    assert view.remaining is None or view.remaining < 1e6
