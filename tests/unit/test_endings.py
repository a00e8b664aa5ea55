"""A real supervisor over small stand-in workers: every end is told truthfully, within three seconds."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from engine import process
from engine.errors import InputError
from engine.history import find_run, scan
from engine.rundir import RunDir
from engine.snapshot import RunFollower
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


def test_own_failure_after_a_step(tmp_path: Path) -> None:
    run = launch_fake(
        tmp_path, 'step(1)\nevents.write("state", state="failed", reason="out of GPU memory at step 2")\nsys.exit(1)'
    )
    status = ended(run)
    assert (status["state"], status["reason"], status["exit_code"]) == ("failed", "out of GPU memory at step 2", 1)


def test_failure_before_the_first_step_says_so_with_the_last_words(tmp_path: Path) -> None:
    status = ended(launch_fake(tmp_path, 'print("Traceback ...")\nprint("KeyError: 7\x1b[31m")\nsys.exit(3)'))
    assert status["state"] == "failed" and status["reason"].startswith("failed to start: ")
    assert status["reason"].endswith("KeyError: 7") and status["exit_code"] == 3


def test_worker_that_cannot_be_run(tmp_path: Path) -> None:
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
    status = ended(launch(config))
    assert status["state"] == "failed" and status["reason"].startswith("failed to start: ")


@pytest.mark.parametrize(("number", "state", "words"), [
    (signal.SIGKILL, "killed", "killed by SIGKILL"), (signal.SIGSEGV, "killed", "killed by SIGSEGV"),
    (signal.SIGTERM, "stopped", "SIGTERM"), (signal.SIGABRT, "killed", "killed by SIGABRT")])  # fmt: skip
def test_signals(tmp_path: Path, number: signal.Signals, state: str, words: str) -> None:
    run = launch_fake(tmp_path, LIVE)
    status = wait_for(lambda: (s := run.read_status()) and s["state"] == "running" and s)
    begun = time.monotonic()
    os.kill(status["pid"], number)
    status = ended(run)
    assert time.monotonic() - begun < 3
    assert status["state"] == state and words in status["reason"] and status["signal"] == number.name


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
    with pytest.raises(InputError, match="in use"):
        launch_fake(tmp_path, LIVE)
    run.request("stop-now")
    ended(run)
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


def test_allocator_and_threads_are_set_before_the_worker_starts(tmp_path: Path) -> None:
    body = "print({k: os.environ.get(k) for k in ('PYTORCH_ALLOC_CONF', 'OMP_WAIT_POLICY')}, sys.argv[1:4], flush=True)"
    run = launch_fake(tmp_path, body)
    ended(run)
    log = run.train_log.read_text()
    assert "expandable_segments:True" in log and "PASSIVE" in log and "['-P', '-m', 'engine.worker']" in log


def test_supervisor_and_launcher_stay_light() -> None:
    import subprocess

    code = "import sys, engine.supervisor.guard, engine.supervisor.__main__; print([m for m in ('torch', 'transformers', 'pydantic', 'numpy', 'textual') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
