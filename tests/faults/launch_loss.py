"""The command that launches a run is killed while it launches: the run goes on or reads as over, and can be resumed."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from engine.rundir import RunDir
from engine.snapshot import RunFollower
from tests.faults import home, realrun
from tests.faults.trial import Trial
from tests.faults.watchdir import Watch
from tests.support import fake_model, fake_python, write_rows

BODY = (
    "for n in range(1, 4): step(n, 3)\ntime.sleep(0.3)\nevents.write('state', state='completed', reason='all done')\n"
)


def trial(trial: Trial, folder: Path) -> None:
    """SIGKILL of `tunedeck train` between the run's first file and the answer of its supervisor; no state that lies."""
    delay = trial.number % 20 * 0.006
    trial.where = "between the first file and the launch's end"
    run = RunDir(folder / "out")
    run.path.mkdir()
    fake_model(folder / "model")
    words = ["train", "--base_model", folder / "model", "--train_path", write_rows(folder / "train.jsonl"), "--output_dir", run.path,
             "--worker_python", fake_python(folder / "python", BODY), "--queue", "false"]  # fmt: skip
    watch = Watch()
    watch.add(run.path)
    child = subprocess.Popen(
        [home.COMMAND, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    home.Until(30, 0.0)(lambda: any(run.meta in (p, p.parent) for p, _ in watch.wait(0.5)), "the run's first file")
    time.sleep(delay)
    child.send_signal(signal.SIGKILL)
    child.wait()
    watch.close()
    killed = time.monotonic()
    stood = sorted(path.name for path in run.meta.iterdir())
    follower = RunFollower(run.path)

    def over() -> bool:
        follower.poll()
        return not follower.view.state.live

    home.Until(15, 0.02)(
        over, f"an end or a run that completes; {stood} stood at the kill, it reads {follower.view.state}"
    )
    trial.saw(time.monotonic() - killed)
    state = follower.view.state
    trial.outcome = f"+{delay:.3f} s, {stood}: {state.state}: {state.reason}"
    trial.count(completed=state.state == "completed", **{"launch lost": state.state != "completed"})
    if state.state == "completed":
        return
    assert state.state in ("lost", "failed", "unknown"), f"{trial.outcome}: nothing has run, yet it reads {state.state}"
    if run.exists:
        answer = realrun.tunedeck("resume", run.path, "--detach")
        assert answer.returncode == 0, f"{trial.outcome}: cannot be resumed: {answer.stdout}{answer.stderr}"
    else:  # not even its settings were written: the same command again must do, or say what to do
        answer = realrun.tunedeck(*words, "--detach")
        assert answer.returncode == 0, f"{trial.outcome}: cannot be launched again: {answer.stdout}{answer.stderr}"
    view = realrun.ended(run)
    assert view.state.state == "completed", f"{trial.outcome}; after that {view.state.state}: {view.state.reason}"
