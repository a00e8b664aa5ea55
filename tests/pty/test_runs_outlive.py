"""Real runs of the sample model: a new app finds what outlived a closed terminal; Ctrl-C twice ends a run at once."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from engine import paths, process
from engine.rundir import RunDir
from tests.pty.conftest import Start
from tests.pty.terminal import Terminal
from tests.support import read_events, wait_for

pytestmark = pytest.mark.slow
SAMPLE = paths.sample_data_dir()
STEP = re.compile(r"step (\d+) / (\d+)")


def fill(form: Terminal, name: str, value: str, shown: str) -> None:
    """Find a setting of the form, type its value, and see it taken over."""
    form.press("ctrl+f")
    form.wait_for_text("Go to a setting", "⏎ choose")
    form.press(name)
    form.wait_until(
        lambda: re.search(rf" {name}  .*\n[^\n]*\n[^\n]*⏎ choose", form.screen_text),
        5,
        f"{name} is the one found",
    )
    form.press("enter")
    form.wait_until(lambda: "Go to a setting" not in form.screen_text, 5, "the search is closed")
    form.press(value)
    form.press("enter")
    form.wait_until(lambda: re.search(rf"{name} +{re.escape(shown)}", form.screen_text), 5, f"{name} is {shown}")


def start_sample(start: Start, steps: int) -> Terminal:
    """``tunedeck demo``, shortened, F5, and on the Watch screen a first step."""
    terminal = start("demo")
    terminal.wait_for_text("Sample run", "400 rows", "press F5")
    fill(terminal, "max_steps", str(steps), f"{steps} steps")
    fill(terminal, "max_seq_length", "128", "128 tokens")
    terminal.wait_for_text(f"{steps:,} steps of")
    terminal.press("f5")
    terminal.wait_for_text("Before it starts", "cuts off", seconds=60)
    terminal.press("f5")
    terminal.wait_for_text("running", "train.log", seconds=60)
    terminal.wait_until(lambda: shown_step(terminal) > 0, 60, "a first step")
    return terminal


def shown_step(terminal: Terminal) -> int:
    found = STEP.search(terminal.screen_text)
    return int(found[1]) if found else 0


def only_run(folder: Path) -> RunDir:
    (path,) = (folder / "runs").iterdir()
    return RunDir(path)


def complete(run: RunDir, steps: int) -> None:
    """Wait until the run is recorded as completed; every step is there once and the adapter is saved."""
    wait_for(
        lambda: (run.read_status() or {}).get("state") not in ("queued", "starting", "running", "stopping"),
        120,
        every=0.1,
    )
    status = run.read_status() or {}
    assert status.get("state") == "completed", (status, run.train_log.read_text()[-2000:])
    assert [event["step"] for event in read_events(run) if event["type"] == "step"] == list(range(1, steps + 1))
    assert (run.path / "adapter_model.safetensors").is_file()


def test_a_closed_terminal_leaves_the_run_alone(start: Start, folder: Path) -> None:
    terminal = start_sample(start, 20)
    run = only_run(folder)
    closed = terminal.close_master()
    assert terminal.wait_for_end(5) == 128 + signal.SIGHUP
    assert time.monotonic() - closed < 2, f"the app was gone only after {time.monotonic() - closed:.2f} s"

    opened = time.monotonic()
    again = start()
    again.wait_for_text("1 run", "running", run.path.name)
    seconds = time.monotonic() - opened
    limit = 2.0 if os.getloadavg()[0] < 2 * (os.cpu_count() or 1) else 5.0  # a busy machine delays everybody
    assert seconds < limit, f"the live run was shown {seconds:.2f} s after the start"
    again.close_master()
    again.wait_for_end(5)
    complete(run, 20)


# The headless command.


def train(start: Start, folder: Path, steps: int) -> tuple[Terminal, RunDir]:
    values: dict[str, Any] = {"base_model": SAMPLE / "tiny-qwen2", "train_path": SAMPLE / "train.jsonl", "output_dir": folder / "out",
                              "max_steps": steps, "max_seq_length": 128, "batch_size": 2, "gradient_accumulation_steps": 1}  # fmt: skip
    terminal = start("train", *(word for name, value in values.items() for word in (f"--{name}", value)))
    terminal.wait_for_text("tunedeck watch", f"/{steps}", "loss", seconds=60)
    return terminal, RunDir(folder / "out")


def test_train_with_ctrl_c_twice_stops_at_once(start: Start, folder: Path) -> None:
    terminal, run = train(start, folder, 5000)
    terminal.press("ctrl+c")
    terminal.wait_for_text("press Ctrl-C again")
    terminal.press("ctrl+c")
    assert terminal.wait_for_end(20) == 130
    status = run.read_status() or {}
    assert status["state"] == "stopped" and not process.is_alive(status), status
