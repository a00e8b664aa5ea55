"""The real run that faults happen to: the sample model, 24 short chats, 12 steps in two epochs, a checkpoint every 3."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

from engine import paths, process
from engine.rundir import RunDir
from engine.snapshot import RunFollower, RunView
from tests.faults import home

STEPS, SAVE_STEPS, EPOCH_STEPS = 12, 3, 6
ADAPTER = "adapter_model.safetensors"
SAMPLE = paths.sample_data_dir()


def settings(folder: Path, **more: object) -> dict[str, object]:
    """Settings of the run in ``folder``; the data are written there once."""
    train, held = folder / "train.jsonl", folder / "eval.jsonl"
    if not train.exists():
        for path, source, count in ((train, SAMPLE / "train.jsonl", 24), (held, SAMPLE / "eval.jsonl", 12)):
            rows = sorted(source.read_text(encoding="utf-8").splitlines(), key=len)
            path.write_text("".join(row + "\n" for row in rows[:count]), encoding="utf-8")
    values: dict[str, object] = {
        "base_model": SAMPLE / "tiny-qwen2", "train_path": train, "eval_path": held, "output_dir": folder / "out",
        "lora_r": 4, "max_seq_length": 96, "batch_size": 2, "gradient_accumulation_steps": 2, "num_train_epochs": 2,
        "save_steps": SAVE_STEPS, "logging_steps": 3, "learning_rate": 1e-3, "per_device_eval_batch_size": 1,
        "queue": False,
    }  # fmt: skip
    return {k: v for k, v in {**values, **more}.items() if v is not None}


def flags(folder: Path, **more: object) -> list[str]:
    """The same as words of the command line."""
    return [word for name, value in settings(folder, **more).items() for word in (f"--{name}", str(value))]


def tunedeck(
    *words: object, env: dict[str, str] | None = None, timeout: float = 100
) -> subprocess.CompletedProcess[str]:
    """Run the installed command without a terminal."""
    return subprocess.run([home.COMMAND, *map(str, words)], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=timeout, check=False, env=env)  # fmt: skip


def launch(folder: Path, *, env: dict[str, str] | None = None, **more: object) -> RunDir:
    """Launch the run detached."""
    words = flags(folder, **more)
    answer = tunedeck("train", *words, "--detach", env=env)
    assert answer.returncode == 0, f"not launched: {answer.stdout}{answer.stderr}"
    return RunDir(words[words.index("--output_dir") + 1])


def digest(path: Path) -> str:
    """SHA-256 of a file; empty if there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _key() -> str:
    """What the control's bytes depend on: this recipe, the worker's code, the libraries, this machine's processor."""
    parts = []
    for file in (Path(__file__), *sorted((home.ROOT / "engine" / "worker").glob("*.py"))):
        parts.append(digest(file))
    parts += [f"{name} {metadata.version(name)}" for name in ("torch", "transformers", "trl", "peft", "accelerate")]
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    parts += sorted({line for line in cpu.splitlines() if line.startswith(("model name", "flags"))})
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


def control() -> dict[str, Any]:
    """What an undisturbed run comes to: ``adapter`` (SHA-256), ``losses``; made twice, and the two must agree."""
    name = f"control-{_key()}.json"
    known = Path(os.environ.get(home.CONTROL, ""))
    folder = known.parent if known.name == name and known.exists() else paths.cache_dir() / "faults"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with (folder / "control.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            with ThreadPoolExecutor(2) as pool:
                one, other = pool.map(_undisturbed, range(2))
            assert one == other, "two undisturbed runs differ: nothing can be compared on this machine"
            path.write_text(json.dumps(one), encoding="utf-8")
    os.environ[home.CONTROL] = str(path)
    return control_in_trial()


def _undisturbed(number: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="tdf-control-") as name:
        folder = Path(name)
        answer = tunedeck("train", *flags(folder), env=home.environment(folder, folder.name))
        assert answer.returncode == 0, f"the control run failed: {answer.stdout}{answer.stderr}"
        view = RunFollower(folder / "out").read_all()
        assert len(view.steps) == STEPS, f"the control has {len(view.steps)} steps"
        return {"adapter": digest(folder / "out" / ADAPTER), "losses": list(view.steps.column("loss"))}


def control_in_trial() -> dict[str, Any]:
    """The control, made before by the process that runs the portions."""
    found: dict[str, Any] = json.loads(Path(os.environ[home.CONTROL]).read_text(encoding="utf-8"))
    return found


def ended(run: RunDir, seconds: float = 90.0) -> RunView:
    """Wait until the reader says that the run has ended."""
    follower = RunFollower(run.path)

    def look() -> RunView | None:
        follower.poll()
        return None if follower.view.state.live or follower.view.state.state == "unknown" else follower.view

    try:
        view = home.Until(seconds, 0.05)(look, "the run's end")
    except AssertionError:
        raise AssertionError(
            f"the run did not end within {seconds:g} s: {follower.view.state}; {last_words(run)}"
        ) from None
    assert isinstance(view, RunView)
    while not follower.caught_up and follower.poll(1.0):
        pass
    return follower.view


def assert_like_control(run: RunDir, view: RunView) -> None:
    """Completed, every step once with the control's loss, and the adapter's bytes are the control's."""
    expected = control_in_trial()
    assert view.state.state == "completed", f"{view.state.state}: {view.state.reason}; {last_words(run)}"
    assert list(view.steps.steps) == list(range(1, STEPS + 1)), f"steps {list(view.steps.steps)}"
    assert list(view.steps.column("loss")) == expected["losses"], "a loss differs from the control's"
    assert view.damaged == 0, f"{view.damaged} damaged events"
    assert digest(run.path / ADAPTER) == expected["adapter"], "the adapter differs from the control's"


def worker_pid(run: RunDir) -> int | None:
    """The worker of the newest attempt, if it lives."""
    status = run.read_status() or {}
    pid = status.get("pid")
    return pid if isinstance(pid, int) and pid != status.get("supervisor_pid") and process.is_alive(status) else None


def last_words(run: RunDir) -> str:
    """The end of a run's log."""
    try:
        return run.train_log.read_text(encoding="utf-8", errors="replace")[-500:]
    except OSError:
        return "(no log)"


BARRIER = """#!{python}
# The real worker, with a place where it waits until the trial has broken something.
import os, runpy, sys, time
if sys.argv[1] == "-c":  # the checks ask whether it is a Python
    exec(sys.argv[2])
    sys.exit()
sys.path.insert(0, {root!r})
CTL, AT = {ctl!r}, {at!r}
def barrier(at):
    os.mkdir(os.path.join(CTL, "reached-" + at))  # takes no file descriptor
    while not os.path.exists(os.path.join(CTL, "go-" + at)):
        time.sleep(0.005)
{extra}
if AT == "final":
    import engine.worker.train as train
    before = train.Training.save
    def save(self, *words, **names):
        barrier(AT)
        return before(self, *words, **names)
    train.Training.save = save
else:
    import transformers
    before = transformers.Trainer.training_step
    places = AT.split()
    def training_step(self, *words, **names):
        while places and self.state.global_step >= int(places[0]):
            barrier(places.pop(0))
        return before(self, *words, **names)
    transformers.Trainer.training_step = training_step
sys.argv = ["engine.worker", sys.argv[-1]]
runpy.run_module("engine.worker", run_name="__main__", alter_sys=True)
"""


def barrier_python(folder: Path, at: int | str, extra: str = "") -> str:
    """An interpreter for ``worker_python``: waits before step ``at + 1`` (``"0 2"``: twice), or before the final save
    (``"final"``).

    ``extra`` is code that may redefine ``barrier``. See :func:`reached` and :func:`go`.
    """
    ctl = folder / "ctl"
    ctl.mkdir(exist_ok=True)
    path = folder / "python"
    path.write_text(BARRIER.format(python=sys.executable, root=str(home.ROOT), ctl=str(ctl), at=str(at), extra=extra))
    path.chmod(0o755)
    return str(path)


def reached(folder: Path, run: RunDir, at: int | str, seconds: float = 60) -> None:
    """Wait until the worker stands at its barrier."""
    try:
        home.Until(seconds)(lambda: (folder / "ctl" / f"reached-{at}").exists(), f"the worker at its barrier {at}")
    except AssertionError as error:
        raise AssertionError(f"{error}; {run.read_status()}; {last_words(run)}") from None


def go(folder: Path, at: int | str) -> None:
    """Let it go on."""
    (folder / "ctl" / f"go-{at}").touch()
