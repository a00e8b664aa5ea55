"""The app, or the command in front of a run, is lost at some point of the run's life: the run must not notice."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from engine.rundir import RunDir
from tests.faults import fronts, home, realrun
from tests.faults.trial import Trial

WAYS = ("SIGKILL", "SIGHUP", "terminal closed", "tmux server killed", "sshd session dropped")
# The five take turns, so that 200 trials are 40 each.
FRONTS = ("app: form", "train", "app: watch")
# Seconds after the launch, then steps, then the final save.
MOMENTS: tuple[float | int | str, ...] = (0.0, 0.3, 1.0, 2.0, 3.0, 4.5, 1, 2, 3, 4, 6, 7, 9, 10, 11, 12, "saving")


def trial(trial: Trial, folder: Path) -> None:
    """The app or `tunedeck train` is lost; the run completes with the undisturbed control's adapter."""
    way = WAYS[trial.number % 5]
    front = FRONTS[trial.number // 5 % 3]
    moment = MOMENTS[(trial.number * 7 + trial.number // 5) % len(MOMENTS)]
    trial.where = f"{way}"
    run = RunDir(folder / "out")
    terminal = fronts.open_front(way, folder)
    try:
        _begin(terminal, front, folder, run)
        _wait_for(run, moment)
        alive = realrun.worker_pid(run)
        state = (run.read_status() or {}).get("state")
        lost = time.monotonic()
        terminal.lose(trial.number)
        gone = terminal.gone(5.0)
        assert gone is not None, "the front still lives 5 s after it was lost"
        trial.count(**{"lost during the run": state in ("starting", "running", "stopping")})
        trial.outcome = f"{front} at {moment}{' s' if isinstance(moment, float) else ''}, {state}, worker {alive}, front gone after {gone - lost:.2f} s"
        trial.saw(gone - lost)
        # The 2 s hold for a machine that has time; more runs than cores delay everybody.
        limit = 2.0 if os.getloadavg()[0] < 2 * (os.cpu_count() or 1) else 5.0
        assert gone - lost < limit, f"the front was gone only {gone - lost:.2f} s after it was lost"
        view = realrun.ended(run)
        realrun.assert_like_control(run, view)
        assert (run.read_status() or {}).get("attempts") == 1, "the run was started again"
    finally:
        terminal.close()


def _begin(terminal: fronts.Front, front: str, folder: Path, run: RunDir) -> None:
    """Launch the run through the front, or beside it and watch it."""
    if front == "train":
        terminal.start([home.COMMAND, "train", *realrun.flags(folder)])
    elif front == "app: watch":
        realrun.launch(folder)
        terminal.start([home.COMMAND, "watch", str(run.path)])
        terminal.wait_for_text("train.log")
    else:
        values = realrun.settings(folder)
        text = "".join(
            f"{name}: {str(value).lower() if isinstance(value, bool) else value}\n" for name, value in values.items()
        )
        (folder / "r.yaml").write_text(text)
        terminal.start([home.COMMAND])
        terminal.wait_for_text("new run")
        terminal.type(b"n")
        terminal.wait_for_text("train_path")
        terminal.type(b"\x1bOR")  # F3
        terminal.wait_for_text("Load settings from a YAML file")
        terminal.type(os.fsencode(folder / "r.yaml"))
        terminal.type(b"\r")
        terminal.wait_for_text("settings,")
        terminal.type(b"\x1b[15~")  # F5
    asked: list[bool] = []

    def launched() -> Any:
        if not asked and "start all the same" in terminal.text():
            asked.append(True)
            terminal.type(b"\x1b[15~")  # what is said before it starts
        return (run.read_status() or {}).get("state")

    home.Until(90)(launched, f"a run launched by {front}: {terminal.text()[-1500:]}")


def _wait_for(run: RunDir, moment: float | int | str) -> None:
    from engine.snapshot import RunFollower

    if isinstance(moment, float):
        time.sleep(moment)
        return
    follower = RunFollower(run.path)

    def there() -> bool:
        follower.poll()
        view = follower.view
        return not view.state.live or (view.phase.name == "saving" if moment == "saving" else view.step >= int(moment))

    home.Until(60, 0.005)(there, f"the run at {moment}")
