"""The installed command, end to end: a run that was started from the app's own form outlives the app."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from engine import paths
from engine.history import scan, summarise
from tests.pty.screen import CTRL_C, CTRL_F, ENTER, ESCAPE, F5, Screen
from tests.support import wait_for

pytestmark = pytest.mark.slow
SAMPLE = paths.sample_data_dir()


def fill(screen: Screen, name: str, value: str, shown: str) -> None:
    """Go to a setting of the form by its name, and type its value."""
    screen.press(CTRL_F)
    screen.wait_for("Go to a setting")
    screen.type(name)
    screen.wait_for(name, "⏎ choose")
    screen.press(ENTER)
    wait_for(lambda: (screen.read(), "Go to a setting" not in screen.text)[1])
    screen.type(value)
    screen.press(ENTER)
    screen.wait_for(shown)


def start_sample_run(folder: Path, steps: int, tokens: int = 0) -> tuple[Screen, Path]:
    """From ``tunedeck demo`` by keyboard to a run that makes steps; fewer ``tokens`` of each row make them short."""
    screen = Screen(folder, "demo")
    screen.wait_for("Sample run", "learning_rate", "F5", "400 rows")
    fill(screen, "max_steps", str(steps), f"{steps} steps")
    if tokens:
        fill(screen, "max_seq_length", str(tokens), f"{tokens} tokens")
    screen.press(F5)
    if tokens:
        screen.wait_for("Before it starts", "cuts off", seconds=60)
        screen.press(F5)
    screen.wait_for("running", "train.log", seconds=60)
    (run,) = list((folder / "runs").iterdir())
    return screen, run


def test_the_job_from_demo_to_history(tmp_path: Path) -> None:
    screen, run = start_sample_run(tmp_path, 10)
    screen.wait_for("completed", "10 / 10", seconds=90)
    assert screen.begun > time.monotonic() - 180, "from the command to the finished run in under three minutes"
    screen.press(ESCAPE)
    screen.wait_for("completed", "10/10", run.name[:12])
    screen.press("q")
    assert screen.exit_code() == 0
    assert b"\x1b[?1049l" in screen.raw and b"\x1b[?25h" in screen.raw

    again = Screen(tmp_path)
    again.wait_for("completed", "10/10")
    again.press("q")
    assert again.exit_code() == 0


def test_kill_9_of_the_app_does_not_touch_the_run(tmp_path: Path) -> None:
    screen, run = start_sample_run(tmp_path, 20, tokens=96)
    screen.kill()
    again = Screen(tmp_path)
    seconds = again.wait_for("running", seconds=10)
    # The two seconds hold for a machine that has time: more to do than its cores can delays everybody.
    limit = 2.0 if os.getloadavg()[0] < 2 * (os.cpu_count() or 1) else 5.0
    assert seconds < limit, f"shown live only after {seconds:.2f} s"
    before = summarise(run)
    assert before is not None and before.state == "running"
    again.press(ENTER)
    again.wait_for("running", "train.log")
    again.wait_for("completed", "20 / 20", seconds=120)
    again.press(ESCAPE, "q")
    assert again.exit_code() == 0


def test_kill_9_of_the_worker_reads_as_killed(tmp_path: Path) -> None:
    screen, run = start_sample_run(tmp_path, 500, tokens=96)
    from engine.rundir import RunDir

    status = RunDir(run).read_status() or {}
    os.kill(status["pid"], signal.SIGKILL)
    begun = time.monotonic()
    screen.wait_for("killed", "SIGKILL", seconds=5)
    assert time.monotonic() - begun < 3.0
    screen.press(ESCAPE, "q")
    assert screen.exit_code() == 0


def train_flags(output: Path, steps: int) -> list[str]:
    values = {"base_model": SAMPLE / "tiny-qwen2", "train_path": SAMPLE / "train.jsonl", "output_dir": output, "max_steps": steps,
              "max_seq_length": 128, "batch_size": 2, "gradient_accumulation_steps": 1}  # fmt: skip
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


def test_train_shows_progress_and_ctrl_c_stops_gracefully(tmp_path: Path) -> None:
    screen = Screen(tmp_path, "train", *train_flags(tmp_path / "out", 3000))
    screen.wait_for("tunedeck watch", "loss", "/3000", seconds=60)
    screen.press(CTRL_C)
    assert screen.exit_code(30) == 130
    summary = summarise(tmp_path / "out")
    assert summary is not None and summary.state == "stopped" and summary.resumable
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


def test_a_lost_terminal_only_detaches_train(tmp_path: Path) -> None:
    screen = Screen(tmp_path, "train", *train_flags(tmp_path / "out", 20))
    screen.wait_for("loss", "/20", seconds=60)
    screen.close_terminal()
    wait_for(lambda: (s := summarise(tmp_path / "out")) and s.state == "completed", 120, every=0.2)
    assert [run.points for run in scan([tmp_path])] == [20]
