"""A real supervisor over small stand-in workers: every end is told truthfully, within three seconds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from engine import process
from engine.cli import main
from engine.errors import InputError
from engine.history import find_run, scan, summarise
from engine.preflight import checks
from engine.rundir import RunDir
from engine.snapshot import RunFollower
from engine.supervisor import record
from tests.support import ended, launch_fake, read_events, wait_for

STEPS = "for n in range(1, 4): step(n, 3)\n"
LIVE = "step(1, 10)\ntime.sleep(60)\n"


def test_completed(tmp_path: Path) -> None:
    run = launch_fake(tmp_path, STEPS + 'events.write("state", state="completed", reason="all done")')
    status = ended(run)
    assert (status["state"], status["reason"], status["exit_code"], status["signal"]) == (
        "completed",
        "all done",
        0,
        None,
    )
    assert (status["step"], status["total_steps"], status["points"], status["last_loss"]) == (3, 3, 3, 1 / 3)
    assert status["best_loss"] == 1 / 3 and status["ended"] >= status["started"] >= status["created"]
    assert not run.locked


def test_exit_code_zero_alone_is_not_completed(tmp_path: Path) -> None:
    status = ended(launch_fake(tmp_path, STEPS))
    assert status["state"] == "failed" and "exit code 0" in status["reason"]


def test_exit_code_zero_is_said_to_be_too_early(tmp_path: Path) -> None:
    status = ended(launch_fake(tmp_path, STEPS))
    assert status["reason"].startswith("ended by itself with exit code 0 before all steps were done")


def test_own_failure_after_a_step(tmp_path: Path) -> None:
    run = launch_fake(
        tmp_path, 'step(1)\nevents.write("state", state="failed", reason="out of GPU memory at step 2")\nsys.exit(1)'
    )
    status = ended(run)
    assert (status["state"], status["reason"], status["exit_code"]) == ("failed", "out of GPU memory at step 2", 1)


def test_failure_before_the_first_step_says_so_with_the_last_words(tmp_path: Path) -> None:
    body = 'print("not this")\nprint("Traceback ...")\nprint("  in train\\n\\n")\nprint("KeyError: 7\x1b[31m")\nsys.exit(3)'
    status = ended(launch_fake(tmp_path, body))
    assert status["state"] == "failed" and status["exit_code"] == 3
    assert status["reason"] == "failed to start: ended by itself with exit code 3; its log ends with: " \
                               "Traceback ... | in train | KeyError: 7"  # fmt: skip
    status = ended(launch_fake(tmp_path / "long", 'print("x" * 9000)\nprint("y" * 9000)\nsys.exit(3)'))
    assert len(status["reason"]) <= 500


def test_worker_that_cannot_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks refuse it: it broke after them."""
    run = launch_fake(tmp_path, "")
    ended(run)
    other = tmp_path / "other"
    other.mkdir()
    (other / "python").write_text("#!/no/such/interpreter\n")
    from engine.config import parse
    from engine.launchers import launch

    (other / "python").chmod(0o755)
    config = parse({"base_model": str(tmp_path / "model"), "train_path": str(tmp_path / "train.jsonl"),
                    "output_dir": str(other / "out"), "worker_python": str(other / "python")})  # fmt: skip
    with pytest.raises(InputError, match="cannot be started"):
        launch(config)
    monkeypatch.setattr(checks, "_no_python", lambda *_: "")
    status = ended(launch(config))
    assert status["state"] == "failed" and status["reason"].startswith("failed to start: ")


@pytest.mark.parametrize(("number", "state", "words"), [
    (signal.SIGKILL, "killed", "killed by SIGKILL"), (signal.SIGSEGV, "killed", "killed by SIGSEGV"),
    (signal.SIGTERM, "stopped", "SIGTERM"), (signal.SIGINT, "killed", "killed by SIGINT"), (signal.SIGABRT, "killed", "killed by SIGABRT")])  # fmt: skip
def test_signals(tmp_path: Path, number: signal.Signals, state: str, words: str) -> None:
    run = launch_fake(tmp_path, "signal.signal(signal.SIGINT, signal.SIG_DFL)\n" + LIVE)
    status = wait_for(lambda: (s := run.read_status()) and s["state"] == "running" and s)
    begun = time.monotonic()
    os.kill(status["pid"], number)
    status = ended(run)
    assert time.monotonic() - begun < 3
    assert status["state"] == state and words in status["reason"] and status["signal"] == number.name


def test_a_signal_wins_over_words_but_not_over_what_was_saved(tmp_path: Path) -> None:
    """The reason of a worker that crashed after it had failed is kept; one that had saved everything has completed."""
    dies = 'events.write("state", state="{}", reason="{}")\nos.kill(os.getpid(), signal.SIGSEGV)'
    failed = ended(launch_fake(tmp_path / "a", "step(1)\n" + dies.format("failed", "out of GPU memory at step 2")))
    assert (failed["state"], failed["signal"]) == ("killed", "SIGSEGV")
    assert failed["reason"] == "killed by SIGSEGV after it had failed: out of GPU memory at step 2"
    done = ended(launch_fake(tmp_path / "b", STEPS + dies.format("completed", "all done")))
    assert (done["state"], done["signal"]) == ("completed", "SIGSEGV") and "SIGSEGV" in done["reason"]


def test_stop_now_is_a_stop_only_if_it_was_asked_for(tmp_path: Path) -> None:
    run = launch_fake(tmp_path, "signal.signal(signal.SIGINT, signal.SIG_DFL)\n" + LIVE)
    wait_for(lambda: (run.read_status() or {}).get("state") == "running")
    begun = time.monotonic()
    run.request("stop-now")
    status = ended(run)
    assert time.monotonic() - begun < 2.5  # by SIGINT, not by the kill that follows it
    assert (status["state"], status["signal"], status["reason"]) == ("stopped", "SIGINT", "stopped at once on request")


def test_graceful_stop(tmp_path: Path) -> None:
    run = launch_fake(
        tmp_path,
        'step(1)\nwait_for_stop()\nevents.write("state", state="stopped", reason="stopped on request")\nsys.exit(130)',
    )
    wait_for(lambda: (run.read_status() or {}).get("state") == "running")
    run.request("stop")
    status = ended(run)
    assert (status["state"], status["reason"]) == ("stopped", "stopped on request")


def test_stop_now_ends_even_a_worker_that_does_not_listen(tmp_path: Path) -> None:
    run = launch_fake(tmp_path, "signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + LIVE)
    wait_for(lambda: (run.read_status() or {}).get("state") == "running")
    run.request("stop-now")
    wait_for(lambda: (run.read_status() or {}).get("state") == "stopping", 2)
    status = ended(run)
    assert status["state"] == "stopped" and "request" in status["reason"] and run.requests() == []


def test_the_run_is_a_detached_process_of_its_own_session(tmp_path: Path) -> None:
    run = launch_fake(tmp_path, LIVE)
    status = wait_for(lambda: (s := run.read_status()) and s.get("pid") and s)
    assert os.getsid(status["pid"]) != os.getsid(0) and os.getsid(status["supervisor_pid"]) != os.getsid(0)
    assert os.readlink(f"/proc/{status['pid']}/fd/0") == "/dev/null"
    assert os.readlink(f"/proc/{status['pid']}/fd/1") == str(run.train_log)
    assert Path(f"/proc/{status['supervisor_pid']}/stat").read_text().split()[3] != str(os.getpid())
    assert {key: status[key] for key in ("boot_id", "machine_id", "pid_namespace")} == {
        key: process.identity(os.getpid())[key] for key in ("boot_id", "machine_id", "pid_namespace")}  # fmt: skip
    run.request("stop-now")
    ended(run)


def test_a_directory_in_use_or_used_is_refused(tmp_path: Path) -> None:
    run = launch_fake(tmp_path, LIVE)
    # Before, its worker's script may not have been started yet, and is written anew here.
    wait_for(lambda: (run.read_status() or {}).get("state") == "running")
    with pytest.raises(InputError, match="in use"):
        launch_fake(tmp_path, LIVE)
    run.request("stop-now")
    ended(run)
    wait_for(lambda: not run.locked)  # its supervisor has things to do after it wrote the end
    with pytest.raises(InputError, match="holds the run"):
        launch_fake(tmp_path, LIVE)


def test_a_killed_supervisor_leaves_no_ghost(tmp_path: Path) -> None:
    run = launch_fake(tmp_path, LIVE)
    status = wait_for(lambda: (s := run.read_status()) and s["state"] == "running" and s)
    os.kill(status["supervisor_pid"], signal.SIGKILL)
    follower = RunFollower(run.path)
    follower.poll()
    assert follower.view.state.state == "running"  # the worker lives on, and still holds the lock
    assert run.locked
    os.kill(status["pid"], signal.SIGKILL)
    wait_for(lambda: (follower.poll(), follower.view.state.state == "lost")[1], 5)
    assert next(iter(scan([tmp_path]))).state == "lost"


def test_a_worker_without_a_supervisor_is_shown_as_it_is(tmp_path: Path) -> None:
    body = "for n in range(1, 500):\n    step(n, 500)\n    time.sleep(0.05)\n"
    run = launch_fake(tmp_path, body)
    status = wait_for(lambda: (s := run.read_status()) and s["state"] == "running" and s)
    os.kill(status["supervisor_pid"], signal.SIGKILL)
    row = wait_for(lambda: (r := next(iter(scan([tmp_path])))) and (r.step or 0) > status["step"] + 20 and r)
    assert row.state == "running"
    assert row.last_loss is not None and abs(row.last_loss - 1 / row.step) < 1e-9
    assert main(["stop", str(run.path), "--now"]) == 0
    wait_for(lambda: process.started(status["pid"]) is None, 1)
    row = next(iter(scan([tmp_path])))
    assert (row.state, row.reason) == ("stopped", "stopped at once on request")


def test_a_worker_without_a_supervisor_that_does_not_listen_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = launch_fake(tmp_path, "signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + LIVE)
    status = wait_for(lambda: (s := run.read_status()) and s["state"] == "running" and s)
    os.kill(status["supervisor_pid"], signal.SIGKILL)
    wait_for(lambda: process.started(status["supervisor_pid"]) is None)
    assert main(["stop", str(run.path), "--now"]) == 0
    said = capsys.readouterr()
    assert "SIGINT was sent" in said.err and "SIGKILL was sent" in said.err and "supervisor was gone" in said.out
    assert process.started(status["pid"]) is None


def test_a_stop_needs_no_supervisor(tmp_path: Path) -> None:
    body = (
        'step(1)\nwait_for_stop()\nevents.write("state", state="stopped", reason="stopped on request")\nsys.exit(130)'
    )
    run = launch_fake(tmp_path, body)
    status = wait_for(lambda: (s := run.read_status()) and s["state"] == "running" and s)
    os.kill(status["supervisor_pid"], signal.SIGKILL)
    assert main(["stop", str(run.path)]) == 0
    assert next(iter(scan([tmp_path]))).state == "stopped"


def test_an_answer_is_found_after_many_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = """
step(1)
for n in range(80):
    events.write("control", request="checkpoint", outcome=f"old {n}")
while True:
    for verb in set(run.requests()) - {"stop", "stop-now"}:
        run.take(verb)
        for n in range(60):
            events.write("control", request="other", outcome="x")
        events.write("control", request=verb, outcome="the answer")
    time.sleep(0.01)
"""
    run = launch_fake(tmp_path, body)
    wait_for(lambda: (run.read_status() or {}).get("state") == "running")
    for verb in ("checkpoint", "evaluate"):
        assert main([verb, str(run.path), "--timeout", "8"]) == 0 and "the answer" in capsys.readouterr().out
    run.control.rmdir()
    run.control.write_text("no directory")
    for verb in ("checkpoint", "stop"):
        assert main([verb, str(run.path)]) == 1 and "cannot take a request" in capsys.readouterr().err
    run.control.unlink()
    run.request("stop-now")
    ended(run)


def test_a_copy_of_a_living_run_is_not_running(tmp_path: Path) -> None:
    run = launch_fake(tmp_path / "a", LIVE)
    wait_for(lambda: (run.read_status() or {}).get("state") == "running")
    copy = shutil.copytree(run.path, tmp_path / "copy")
    rows = wait_for(lambda: (r := summarise(copy)) and r.state == "lost" and r, 6)
    assert "copy" in rows.reason
    original = summarise(run.path)
    assert original is not None and original.state == "running"
    run.request("stop-now")
    ended(run)


def test_the_last_word_of_a_worker_counts_when_its_supervisor_is_gone(tmp_path: Path) -> None:
    body = 'step(1, 1)\nwait_for_stop()\nevents.write("state", state="completed", reason="all done")'
    run = launch_fake(tmp_path, body)
    status = wait_for(lambda: (s := run.read_status()) and s["state"] == "running" and s)
    os.kill(status["supervisor_pid"], signal.SIGKILL)
    run.request("stop")
    follower = RunFollower(run.path)
    wait_for(lambda: (follower.poll(), follower.view.state.state == "completed")[1], 6)


def test_children_of_the_worker_do_not_outlive_it(tmp_path: Path) -> None:
    body = "import subprocess\nchild = subprocess.Popen(['sleep', '300'])\nprint(child.pid, flush=True)\nstep(1)\nsys.exit(1)"
    run = launch_fake(tmp_path, body)
    ended(run)
    pid = int(run.train_log.read_text().split()[0])
    wait_for(lambda: process.started(pid) is None, 3)


def test_events_of_the_supervisor_tell_the_story(tmp_path: Path) -> None:
    run = launch_fake(tmp_path, STEPS + 'time.sleep(0.5)\nevents.write("state", state="completed", reason="")')
    ended(run)
    story = RunDir(run.path)
    story.events = run.supervisor_events
    events = read_events(story)
    assert [e["state"] for e in events if e["type"] == "state"] == ["starting", "running", "completed"]
    hardware = next(e for e in events if e["type"] == "hardware")
    assert hardware["host"]["memory_total"] > 0


def test_runs_are_found_by_registry_prefix_and_after_a_move(tmp_path: Path) -> None:
    run = launch_fake(tmp_path / "a", STEPS + 'events.write("state", state="completed", reason="")')
    ended(run)
    run_id = (run.read_run() or {})["id"]
    assert find_run(run_id[:-1]).path == run.path
    moved = run.path.rename(run.path.parent / "renamed")
    assert [s.path for s in scan()] == [str(moved)] and find_run(run_id).path == moved


def test_worker_of_another_interpreter_finds_the_engine_and_nothing_else(tmp_path: Path) -> None:
    body = "print(os.environ['PYTHONPATH'], sorted(os.listdir(os.environ['PYTHONPATH'])), flush=True)"
    run = launch_fake(tmp_path, body)
    ended(run)
    assert "['engine']" in run.train_log.read_text()


def test_allocator_and_threads_are_set_before_the_worker_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    body = "print({k: os.environ.get(k) for k in ('PYTORCH_ALLOC_CONF', 'OMP_WAIT_POLICY')}, sys.argv[1:4], flush=True)"
    run = launch_fake(tmp_path, body)
    ended(run)
    log = run.train_log.read_text()
    assert "expandable_segments:True" in log and "PASSIVE" in log and "['-P', '-m', 'engine.worker']" in log


def test_attempts_are_counted_by_the_record_and_their_time_adds_up() -> None:
    ran = {"attempts": 2, "state": "killed", "started": 1_000.0, "ended": 1_060.0, "seconds_before": 40.0}
    assert record.attempt_number({"attempts": [{}, {}, {}]}, ran) == 3 and record.attempt_number({}, {}) == 1
    assert record.attempt_number({}, ran) == 3 and record.attempt_number({}, {**ran, "state": "queued"}) == 2
    assert record.seconds_before(ran, 3) == 100.0 and record.seconds_before(ran, 2) == 40.0
    unended = {**ran, "ended": None, "heartbeat": 1_030.0}  # its supervisor was killed: its last sign of life counts
    assert record.seconds_before(unended, 3) == 70.0 and record.seconds_before({}, 1) == 0
    for odd in ("x", None, -5, True, float("inf"), [], 1e300):
        assert record.seconds_before({**ran, "started": odd}, 3) == 40.0
        assert record.seconds_before({**ran, "seconds_before": odd}, 3) == 60.0


def test_supervisor_and_launcher_stay_light() -> None:
    import subprocess

    code = "import sys, engine.supervisor.guard, engine.supervisor.__main__; print([m for m in ('torch', 'transformers', 'pydantic', 'numpy', 'textual') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_stop_that_ended_a_loading_run_is_answered_as_done(tmp_path: Path) -> None:
    run = launch_fake(tmp_path, "time.sleep(60)")
    run.request("stop")
    assert ended(run)["state"] == "stopped"
    answers = [json.loads(line) for line in run.supervisor_events.read_text().splitlines() if '"control"' in line]
    assert [(a["request"], a["outcome"]) for a in answers] == [("stop", "done")]
