"""From events to what a screen shows; damage and resumes included."""

from __future__ import annotations

import math
import time
from pathlib import Path

from engine import status as states
from engine.events import EventWriter
from engine.rundir import write_json
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
