"""``RunCallback`` in scripts that know nothing of tunedeck: Transformers' Trainer and TRL's SFTTrainer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine import paths
from engine.history import scan, summarise
from engine.rundir import RunDir
from tests import preloaded
from tests.support import read_events, wait_for

pytestmark = pytest.mark.slow
MODEL = paths.sample_data_dir() / "tiny-qwen2"

SCRIPT = """
import gc, sys, time
gc.disable()  # loads faster
import torch
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments
from engine.worker.callback import RunCallback

if sys.argv[4] == "untapped":
    from engine.worker.tap import StepTap
    StepTap.fits = classmethod(lambda cls, trainer: False)
out, every_step, mode = sys.argv[2], sys.argv[3] == "True", sys.argv[4]
class Spy(TrainerCallback):
    seen = []
    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            Spy.seen.append(state.global_step)
class Slow(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if mode == "crash" and state.global_step == 3:
            raise RuntimeError("my own bug")
        if mode == "slow":
            time.sleep(0.2)
torch.manual_seed(0)
rows = [{"input_ids": torch.randint(3, 2000, (16,)), "labels": torch.randint(3, 2000, (16,))} for _ in range(40)]
steps = 500 if mode == "slow" else 10
trainer = Trainer(model=AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32),
    args=TrainingArguments(out, max_steps=steps, logging_steps=4, per_device_train_batch_size=2, save_steps=5,
                           eval_strategy="steps", eval_steps=5, report_to="none", use_cpu=True, disable_tqdm=True),
    train_dataset=rows, eval_dataset=rows[:4], callbacks=[RunCallback(every_step=every_step, name="mine"), Spy(), Slow()])
if mode == "compiles":
    [c for c in trainer.callback_handler.callbacks if isinstance(c, RunCallback)][0].compiles = True
mean = trainer.train().training_loss
print("SPY", Spy.seen, [r["step"] for r in trainer.state.log_history if "loss" in r])
print("LOSSES", [r["loss"] for r in trainer.state.log_history if "loss" in r], mean)
"""


def start(tmp_path: Path, every_step: bool = True, mode: str = "plain", loads: bool = False) -> subprocess.Popen[str]:
    """The script; ``loads``: in a Python that still has to load the libraries."""
    script = tmp_path / "mine.py"
    script.write_text(SCRIPT)
    python = sys.executable if loads else str(preloaded.interpreter(tmp_path / "python"))
    words = [python, str(script), str(MODEL), str(tmp_path / "out"), str(every_step), mode]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, "HF_HUB_OFFLINE": "1"})  # fmt: skip


@pytest.fixture(scope="module")
def tapped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run with every step recorded: its folder (with the user's state beside it), and what it printed."""
    return finished(tmp_path_factory.mktemp("tapped"), every_step=True)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The same, in the script's own rhythm."""
    return finished(tmp_path_factory.mktemp("untouched"), every_step=False)


def finished(folder: Path, every_step: bool, mode: str = "plain") -> tuple[Path, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        process = start(folder, every_step, mode)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return folder, out


def test_a_plain_trainer_becomes_visible_and_its_own_rhythm_stays(
    tapped: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tapped
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    assert "SPY [4, 8] [4, 8]" in out, out
    run = RunDir(folder / "out")
    events = read_events(run)
    assert [e["step"] for e in events if e["type"] == "step"] == list(range(1, 11))
    assert [e["step"] for e in events if e["type"] == "eval"] == [5, 10]
    summary = summarise(run.path)
    assert summary is not None and (summary.state, summary.name, summary.step, summary.points) == (
        "completed",
        "mine",
        10,
        10,
    )
    assert summary.last_loss and summary.last_eval_loss and summary.base_model == str(MODEL)
    assert summary.path in [s.path for s in scan()]


def test_a_first_step_that_compiles_is_said_to(tmp_path: Path, tapped: tuple[Path, str]) -> None:
    def order(folder: Path) -> list[str]:
        events = [event for event in read_events(RunDir(folder / "out")) if event["type"] in ("phase", "step")]
        names = [event.get("name") or "step" for event in events]
        return names[: names.index("step") + 2]

    folder, _ = finished(tmp_path, every_step=True, mode="compiles")
    assert order(folder)[-4:] == ["compiling", "training", "step", "step"]
    assert "compiling" not in order(tapped[0])


def test_every_step_false_leaves_the_rhythm_alone(untouched: tuple[Path, str]) -> None:
    folder, out = untouched
    assert "SPY [4, 8] [4, 8]" in out, out
    assert [e["step"] for e in read_events(RunDir(folder / "out")) if e["type"] == "step"] == [4, 8]


def test_the_hosts_own_figures_are_the_same_with_and_without(
    tapped: tuple[Path, str], untouched: tuple[Path, str], tmp_path: Path
) -> None:
    def losses(out: str) -> list[float]:
        line = next(line for line in out.splitlines() if line.startswith("LOSSES"))
        return [float(word.strip("[],")) for word in line.split()[1:]]

    without = losses(untouched[1])
    assert losses(tapped[1]) == pytest.approx(without, rel=1e-6)
    steps = [e for e in read_events(RunDir(tapped[0] / "out")) if e["type"] == "step"]
    assert sum(e["loss"] for e in steps[:4]) / 4 == pytest.approx(without[0], rel=1e-6)

    untapped = losses(finished(tmp_path, every_step=True, mode="untapped")[1])
    assert untapped == pytest.approx(without, rel=1e-6)
    found = [e for e in read_events(RunDir(tmp_path / "out")) if e["type"] == "step"]
    assert [e["loss"] for e in found] == pytest.approx([e["loss"] for e in steps], rel=1e-6)


def test_a_second_run_sets_the_first_record_aside(tapped: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copytree(tapped[0] / "out", tmp_path / "out")
    first = json.loads((tmp_path / "out/.tunedeck/run.json").read_text())["id"]
    start(tmp_path).communicate(timeout=120)
    assert (tmp_path / f"out/.tunedeck.{first}/events.jsonl").is_file()
    assert json.loads((tmp_path / "out/.tunedeck/run.json").read_text())["id"] != first


def test_a_crash_of_the_script_reads_as_failed_with_its_reason(tmp_path: Path) -> None:
    process = start(tmp_path, mode="crash", loads=True)
    process.communicate(timeout=120)
    summary = summarise(tmp_path / "out")
    assert process.returncode == 1 and summary is not None
    assert summary.state == "failed" and "my own bug" in summary.reason


def test_requests_are_taken_and_a_sigkill_reads_as_lost(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "out")
    process = start(tmp_path, mode="slow", loads=True)
    wait_for(lambda: (s := summarise(run.path)) and s.state == "running" and s.step, 60)
    run.request("evaluate")
    wait_for(lambda: any(e["type"] == "control" and "eval loss" in e["outcome"] for e in read_events(run)), 10)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: (s := summarise(run.path)) and s.state == "lost", 6)

    process = start(tmp_path, mode="slow")
    wait_for(lambda: (s := summarise(run.path)) and s.state == "running" and s.step, 60)
    run.request("stop")
    process.communicate(timeout=30)
    summary = summarise(run.path)
    assert summary is not None and summary.state == "stopped" and "request" in summary.reason


def test_a_disk_that_refuses_events_does_not_end_training(tmp_path: Path) -> None:
    """The events file is replaced by a directory before training: every write fails."""
    script = SCRIPT.replace("mean = trainer.train()", """
class Break(TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 2:
            writer = [c for c in trainer.callback_handler.callbacks if isinstance(c, RunCallback)][0]._recorder._writer
            import os
            os.close(writer._fd)
            writer._fd = os.open("/dev/full", os.O_WRONLY)
trainer.add_callback(Break())
mean = trainer.train()""", 1)  # fmt: skip
    (tmp_path / "mine.py").write_text(script)
    python = preloaded.interpreter(tmp_path / "python")
    words = [python, str(tmp_path / "mine.py"), str(MODEL), str(tmp_path / "out"), "True", "plain"]
    result = subprocess.run(
        words, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    assert result.returncode == 0 and "SPY [4, 8]" in result.stdout, result.stderr
    assert [e["step"] for e in read_events(RunDir(tmp_path / "out")) if e["type"] == "step"] == [1, 2]
