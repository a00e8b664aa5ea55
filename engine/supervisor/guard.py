"""Guards one run: one worker process, its events, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from engine import hardware, process
from engine import status as states
from engine.checkpoints import newest_valid
from engine.events import EventWriter
from engine.rundir import RunDir, write_json
from engine.snapshot import RunFollower
from engine.supervisor import environment, waiting
from engine.supervisor.ending import Ending, classify

TICK_SECONDS = 0.2
STATUS_SECONDS = 1.0
HARDWARE_SECONDS = 5.0
# How long a worker may take to end by itself after stop-now, before it is killed.
STOP_NOW_GRACE = 3.0


class Guard:
    """One run from start to end; :meth:`watch` returns the supervisor's exit code."""

    def __init__(self, run: RunDir, lock: int) -> None:
        self.run = run
        self.lock = lock
        record = run.read_run() or {}
        self.config: dict[str, Any] = record.get("config") or {}
        self.share = str(self.config.get("share") or "private")
        earlier = run.read_status() or {}
        self.status: dict[str, Any] = {
            "format": 1,
            "state": states.STARTING,
            "reason": "",
            "resumable": False,
            "attempts": _attempt(record, earlier),
            "created": record.get("created"),
            "started": None,
            "ended": None,
            "exit_code": None,
            "signal": None,
            **process.identity(os.getpid()),
            "pid": None,
            "pid_started": None,
            "ranks": [],
            "supervisor_pid": os.getpid(),
            "supervisor_started": process.started(os.getpid()),
        }
        self.events = EventWriter(
            run.supervisor_events, attempt=self.status["attempts"], mode=run.file_mode(self.share)
        )
        self.follower = RunFollower(run.path)
        self.worker: subprocess.Popen[bytes] | None = None
        self.slots: list[int] = []
        self.terminated = False
        self.stop_now_at: float | None = None
        self.oom_kills = environment.oom_kills()

    def watch(self) -> int:
        """Wait for the run's turn, start the worker, wait for its end, write it down."""
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "terminated", True))
        turn = waiting.wait_for_turn(self)
        if turn.left:
            return 0
        self.slots = list(turn.slots.values())
        code = 0
        if turn.ending is not None:
            self._end(turn.ending)
        else:
            code = self._guard(turn.devices)
        waiting.wake_waiting()
        return code

    def _guard(self, devices: str | None) -> int:
        try:
            self._start(devices)
        except OSError as error:
            self._end(Ending(states.FAILED, f"failed to start: {error.strerror or error}"))
            return 1
        try:
            code = self._wait()
            self._end(self._ending(code))
        except Exception:  # a supervisor that dies would leave a ghost: write what is known, then say why in the log
            traceback.print_exc()
            self._write_status(force=True)
            raise
        return 0

    def _start(self, devices: str | None) -> None:
        python = self.config.get("worker_python") or sys.executable
        env = environment.worker_environment(python, devices)
        held = (self.lock, *self.slots)
        with self.run.train_log.open("ab") as log:
            self.worker = subprocess.Popen(
                [python, "-P", "-m", "engine.worker", str(self.run.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=held,
                cwd=self._working_directory(),
                env={
                    **env,
                    "TUNEDECK_ATTEMPT": str(self.status["attempts"]),
                    "TUNEDECK_LOCK_FDS": ",".join(map(str, held)),
                },
            )
        self.status.update(pid=self.worker.pid, pid_started=process.started(self.worker.pid), started=time.time())
        self.status["ranks"] = [{"rank": 0, "pid": self.worker.pid}]
        self._write_status(force=True)

    def _working_directory(self) -> str:
        record = self.run.read_run() or {}
        folder = str(record.get("working_directory") or "/")
        return folder if Path(folder).is_dir() else "/"

    def _wait(self) -> int:
        """Follow the worker until it has ended; returns its exit code, negative for a signal."""
        assert self.worker is not None
        next_hardware = 0.0
        while True:
            code = self.worker.poll()
            self.follower.poll()
            self._take_requests()
            if code is not None:
                while not self.follower.caught_up and self.follower.poll(1.0):
                    pass
                return code
            if time.monotonic() >= next_hardware:
                self.events.write("hardware", **hardware.sample())
                next_hardware = time.monotonic() + HARDWARE_SECONDS
            self._write_status()
            try:
                self.worker.wait(TICK_SECONDS)
            except subprocess.TimeoutExpired:
                pass

    def _take_requests(self) -> None:
        """Only ``stop-now`` is the supervisor's; the worker takes the others at its next step."""
        assert self.worker is not None
        if self.terminated:
            self.terminated = False
            try:
                self.run.request("stop")
            except OSError as error:
                print(f"a stop was asked for by SIGTERM, but cannot be passed on: {error}", file=sys.stderr)
        requests = self.run.requests()
        if "stop" in requests and self.status["state"] in (states.STARTING, states.RUNNING):
            self._set_state(states.STOPPING, "a stop was asked for")
            if self.follower.view.phase.name != "training" and not len(self.follower.view.steps):
                # Still loading: there is no step to wait for.
                self._signal_worker(signal.SIGTERM)
        if "stop-now" in requests and self.stop_now_at is None and self.run.take("stop-now"):
            self.stop_now_at = time.monotonic()
            self._set_state(states.STOPPING, "an immediate stop was asked for")
            self._signal_worker(signal.SIGINT)
        if self.stop_now_at is not None and time.monotonic() - self.stop_now_at > STOP_NOW_GRACE:
            self._signal_worker(signal.SIGKILL)

    def _signal_worker(self, number: int) -> None:
        assert self.worker is not None
        try:  # our own child, not yet waited for: its pid and process group cannot be anybody else's
            os.killpg(self.worker.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def _ending(self, code: int) -> Ending:
        if self.stop_now_at is not None:
            self.events.write("control", request="stop-now", outcome="done")
        return classify(
            code,
            self.follower,
            attempt=self.status["attempts"],
            stop_now=self.stop_now_at is not None,
            oom_killed=environment.oom_kills() > self.oom_kills,
            train_log=self.run.train_log,
        )

    def _end(self, ending: Ending) -> None:
        self._kill_leftovers()
        checkpoint = newest_valid(self.run.path)
        self.status.update(
            ended=time.time(), exit_code=ending.exit_code, signal=ending.signal, resumable=checkpoint is not None
        )
        for verb in self.run.requests():
            if self.run.take(verb):
                self.events.write("control", request=verb, outcome=f"too late: the run has ended ({ending.state})")
        # The worker is gone: free the directory before its end can be read, so that whoever reads it can go on at once.
        self.run.release_lock(self.lock)
        for slot in self.slots:
            os.close(slot)
        self._set_state(ending.state, ending.reason)
        self.events.close()

    def _kill_leftovers(self) -> None:
        """Processes the worker started (data loaders) must not outlive it with GPU memory in their hands."""
        if self.worker is None:
            return
        try:
            os.killpg(self.worker.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass

    def _set_state(self, state: str, reason: str = "") -> None:
        self.status.update(state=state, reason=reason)
        self.events.write("state", state=state, reason=reason)
        self._write_status(force=True)

    def _write_status(self, force: bool = False) -> None:
        now = time.time()
        view = self.follower.view
        if self.status["state"] == states.STARTING and view.step_attempt == self.status["attempts"]:
            self.status["state"] = states.RUNNING
            self.events.write("state", state=states.RUNNING, reason="")
            force = True
        if not force and now - (self.status.get("heartbeat") or 0) < STATUS_SECONDS:
            return
        self.status["heartbeat"] = now
        self.status.update(
            stalled=self.status["state"] == states.RUNNING
            and states.is_stalled(now, view.last_event, view.median_step_seconds, view.phase.name),
            step=view.step,
            total_steps=view.total_steps,
            epoch=view.epoch,
            points=len(view.steps),
            last_loss=view.steps.last("loss"),
            best_loss=view.steps.best("loss"),
            last_eval_loss=view.evals.last("eval_loss"),
            best_eval_loss=view.evals.best("eval_loss"),
        )
        mode = self.run.file_mode(self.share)
        try:
            write_json(self.run.status_json, self.status, mode, durable=force)
        except OSError as error:  # a full disk must not end the guardian: the next beat tries again
            print(f"status.json could not be written: {error}", file=sys.stderr)


def _attempt(record: dict[str, Any], earlier: dict[str, Any]) -> int:
    """The attempt's number: the launcher lists all attempts; records from before it did so are counted."""
    attempts = record.get("attempts")
    if isinstance(attempts, list) and attempts:
        return len(attempts)
    again = earlier.get("state") in states.ENDED
    return max(1, int(earlier.get("attempts") or 0) + again)
