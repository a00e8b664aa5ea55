"""SIGKILL of the worker at a point of its life: the reader says so, nothing torn is offered, resuming loses little."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from engine import checkpoints
from engine.rundir import RunDir
from engine.snapshot import RunFollower
from tests.faults import home, realrun
from tests.faults.trial import Trial
from tests.faults.watchdir import MODIFY, Watch

# Every file of a checkpoint as it is written; "manifest.json" is the last, "" the renamed checkpoint itself.
FILES = ("", "README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "optimizer.pt",
         "rng_state.pth", "scheduler.pt", "tokenizer.json", "tokenizer_config.json", "trainer_state.json",
         "training_args.bin", "manifest.json")  # fmt: skip
ROOT_FILES = ("README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "tokenizer.json",
              "tokenizer_config.json", "trainer_state.json", "training_args.bin")  # fmt: skip


class Point:
    """Where a trial kills: ``kind`` is load, step, file, evaluation or final save."""

    def __init__(self, number: int) -> None:
        self.number = number
        turn, kind = number // 10, number % 10
        self.step = (3, 6, 9, 12)[turn % 4]
        self.name, self.delay = "", 0.0
        if kind < 2:
            self.kind = "load"
            self.delay = ((turn * 2 + kind) % 20 + 0.5) * 0.3  # of about 6.5 s
        elif kind < 4:
            self.kind = "step"
            self.step = (turn * 2 + kind) % 11 + 1
            self.delay = 0.02 * (turn % 7)
        elif kind < 8:
            self.kind = "file"
            index = turn * 4 + (kind - 4)
            self.step = (3, 6, 9, 12)[index // len(FILES) % 4]
            self.name = FILES[index % len(FILES)]
            self.delay = 0.001 * (index // (4 * len(FILES)))
        elif kind == 8:
            self.kind = "evaluation"
            self.delay = 0.02 * (turn % 6)
        else:
            self.kind = "final save"
            self.name = ROOT_FILES[turn % len(ROOT_FILES)]

    def __str__(self) -> str:
        if self.kind == "file":
            return f"checkpoint-{self.step}/{self.name}"
        if self.kind == "final save":
            return f"final save: {self.name}"
        return (
            f"{self.kind} +{self.delay:.2f} s"
            if self.kind == "load"
            else f"{self.kind} after step {self.step} +{self.delay:.2f} s"
        )


def trial(trial: Trial, folder: Path) -> None:
    """SIGKILL of the worker; `tunedeck resume` then makes the undisturbed control's adapter."""
    point = Point(trial.number)
    trial.where = f"checkpoint file: {point.name or '(renamed)'}" if point.kind == "file" else point.kind
    watch = Watch()
    out = folder / "out"
    (out / ".tunedeck").parent.mkdir()
    watch.add(out)
    run = realrun.launch(folder)
    follower = RunFollower(run.path)
    pid = home.Until(20, 0.005)(lambda: realrun.worker_pid(run), "the worker's start")
    assert isinstance(pid, int)
    with _at_once():
        _wait_for(point, run, watch)
        killed = time.monotonic()
        _kill(pid)
    seen = _await_killed(follower, killed)
    watch.close()
    trial.saw(seen)
    view = follower.view
    last = view.step
    hit = _where(run, view.phase.name)
    trial.count(**{"hit as planned": _as_planned(point, hit)})
    trial.outcome = f"{point}: hit {hit}, last step {last}"
    state = view.state
    assert state.state == "killed" and "SIGKILL" in state.reason, (
        f"{trial.outcome}: reads {state.state}: {state.reason}"
    )
    assert seen < 3.0, f"{trial.outcome}: seen as killed only after {seen:.2f} s"
    offered = _offered(run)
    assert bool(offered) == state.resumable, (
        f"{trial.outcome}: resumable is {state.resumable}, valid checkpoints {offered}"
    )
    _resume(trial, run, last)


@contextlib.contextmanager
def _at_once() -> Iterator[None]:
    """Run before everybody else where that is allowed: a checkpoint's file takes about a millisecond."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    except OSError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        raise AssertionError("the worker had ended before it could be killed") from None


def _await_killed(follower: RunFollower, killed: float) -> float:
    """Seconds until the reader says that the run is over."""
    while time.monotonic() - killed < 10:
        follower.poll()
        if not follower.view.state.live:
            break
        time.sleep(0.01)
    seen = time.monotonic() - killed
    while not follower.caught_up and follower.poll(1.0):
        pass
    return seen


def _offered(run: RunDir) -> list[int]:
    """The checkpoints that are offered; each of them must be whole."""
    found = [c for c in checkpoints.checkpoints(run.path) if c.valid]
    for one in found:
        why = checkpoints.verify(one)
        assert not why, f"checkpoint-{one.step} is offered, but {why}"
    return [c.step for c in found]


def _resume(trial: Trial, run: RunDir, last: int) -> None:
    answer = realrun.tunedeck("resume", run.path, "--detach")
    said = trial.outcome
    assert answer.returncode == 0, f"{said}: resume was refused: {answer.stdout}{answer.stderr}"
    attempts = (run.read_run() or {}).get("attempts") or []
    assert len(attempts) == 2, f"{said}: {len(attempts)} attempts are recorded"
    kept = int(attempts[-1].get("step") or 0)
    trial.count(**{"steps lost": max(0, last - kept)})
    assert last - kept <= realrun.SAVE_STEPS, f"{said}: resumed after step {kept}, {last - kept} steps are lost"
    view = realrun.ended(run)
    realrun.assert_like_control(run, view)
    _offered(run)
    trial.count(**{"compared to control": 1, "of them from epoch 1": kept >= realrun.EPOCH_STEPS})
    trial.outcome = f"{said}, resumed after step {kept}, adapter equal"


def _wait_for(point: Point, run: RunDir, watch: Watch) -> None:
    """Return at the point, as exactly as the machine allows."""
    if point.kind == "load":
        time.sleep(point.delay)
        return
    deadline = time.monotonic() + 60
    follower = RunFollower(run.path)
    while time.monotonic() < deadline:
        for path, mask in watch.wait(0.05):
            if point.kind == "file" and _is_file(point, path, run.path):
                time.sleep(point.delay)
                return
            if point.kind == "final save" and path.parent == run.path and path.name == point.name and _saving(run):
                return
            if path == run.events and mask & MODIFY:
                follower.poll()
        if point.kind in ("step", "evaluation"):
            follower.poll()
            if follower.view.step >= point.step:
                time.sleep(point.delay)
                return
        time.sleep(0.002)  # nobody else runs on this core meanwhile
        if realrun.worker_pid(run) is None and follower.poll() and not follower.view.state.live:
            break
    raise AssertionError(
        f"the run never came to {point}: {follower.view.state}, step {follower.view.step}; {realrun.last_words(run)}"
    )


def _is_file(point: Point, path: Path, output: Path) -> bool:
    if point.name == "":  # whole in its place
        return path == output / f"checkpoint-{point.step}"
    return path.parent.name == f"checkpoint-{point.step}" and path.name.removeprefix(".").startswith(point.name)


def _saving(run: RunDir) -> bool:
    follower = RunFollower(run.path)
    follower.poll(1.0)
    return follower.view.phase.name == "saving"


def _where(run: RunDir, phase: str) -> str:
    """What the kill hit, from what lies on the disk and the last phase."""
    partial = run.meta / "partial"
    torn = sorted(partial.glob("checkpoint-*")) if partial.is_dir() else []
    if torn:
        files = sorted(torn[-1].iterdir(), key=lambda f: f.stat().st_mtime_ns)
        last = files[-1].name if files else "nothing yet"
        return f"{torn[-1].name} with {len(files)} files, the last {last}"
    return phase or "the start"


def _as_planned(point: Point, hit: str) -> bool:
    if point.kind == "load":
        return hit in ("the start", "loading", "tokenising")
    if point.kind == "file":
        return point.name == "" or hit.startswith(f"checkpoint-{point.step} ")
    if point.kind == "evaluation":
        return hit in ("evaluating", "training")
    return hit == ("saving" if point.kind == "final save" else "training") or point.kind == "step"
