"""Guards one run: its turn in the queue, its worker processes, their events, its end."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from engine import process, ranks
from engine import status as states
from engine.checkpoints import newest_valid, recover
from engine.events import EventWriter
from engine.rundir import RunDir
from engine.snapshot import RunFollower
from engine.supervisor import environment, farewell, record, waiting
from engine.supervisor.crew import Crew, last_word
from engine.supervisor.ending import Ending, Other, classify, unjudged
from engine.supervisor.last_word import LastWord, reason_of, say
from engine.supervisor.memory_killer import MemoryKiller
from engine.supervisor.sampling import Sampler

STATUS_SECONDS = 1.0
# How long a worker may take to end by itself after stop-now, before it is killed.
STOP_NOW_GRACE = 3.0


class Guard:
    """One run from start to end; :meth:`watch` returns the supervisor's exit code."""

    def __init__(self, run: RunDir, lock: int) -> None:
        self.run = run
        self.lock = lock
        self.record: dict[str, Any] = run.read_run() or {}
        config = self.record.get("config")
        self.config: dict[str, Any] = config if isinstance(config, dict) else {}
        mode = run.file_mode(str(self.config.get("share") or "private"))
        self.status = record.first_status(self.record, run.read_status() or {})
        self.pen = LastWord(run, mode)
        self.events = EventWriter(run.supervisor_events, attempt=self.status["attempts"], mode=mode)
        self.follower = RunFollower(run.path, guards=True)
        self.turn = waiting.Turn()
        self.crew = Crew(run, ranks.wanted(self.config.get("gpus"), self.config.get("num_gpus")))
        self.recorded = False
        self.terminated = False
        self.stop_now_at: float | None = None
        self.killer: MemoryKiller | None = None
        self.sampler: Sampler | None = None
        self._troubles: set[str] = set()

    def watch(self) -> int:
        """Wait for the run's turn, start the worker, wait for its end, write it down."""
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "terminated", True))
        self.turn = waiting.wait_for_turn(self)
        if self.turn.left:  # the run keeps its place in the queue for whoever starts a supervisor again
            self.run.release_lock(self.lock)
            return 0
        ending = self.turn.ending or self._start()
        if ending is None:
            ending = self._ending(*self._wait())
        self._end(ending)
        return 0 if ending.state in (states.COMPLETED, states.STOPPED) else 1

    def _start(self) -> Ending | None:
        """Start the worker; the ending if that is not possible."""
        if not self.recorded:
            reason = "the run's record cannot be written"
            return Ending(states.FAILED, f"failed to start: {reason}: {self.pen.trouble}")
        python = self.config.get("worker_python") or sys.executable
        held = (self.lock, *self.turn.slots.values())
        try:
            env = environment.worker_environment(python, self.turn.devices)
            with self.run.train_log.open("ab") as log:
                self.crew.start(
                    [python, "-P", "-m", "engine.worker", str(self.run.path)],
                    log.fileno(),
                    self.working_directory(),
                    {
                        **env,
                        "TUNEDECK_ATTEMPT": str(self.status["attempts"]),
                        "TUNEDECK_LOCK_FDS": ",".join(map(str, held)),
                    },
                    held,
                )
        except (OSError, ValueError) as error:
            why = reason_of(error, self.run.path) if isinstance(error, OSError) else str(error)
            return Ending(states.FAILED, f"failed to start: {why}")
        pids = self.crew.pids
        self.killer = MemoryKiller(pids[0])
        self.sampler = Sampler(self.run.path, pids[0], env.get("CUDA_VISIBLE_DEVICES"))
        self.status.update(pid=pids[0], pid_started=process.started(pids[0]), started=time.time())
        self.status["ranks"] = [{"rank": rank, "pid": pid} for rank, pid in enumerate(pids)]
        self._write_status(force=True)
        return None

    def working_directory(self) -> str:
        """The folder in which the run was launched, if it still stands."""
        folder = str(self.record.get("working_directory") or "/")
        return folder if Path(folder).is_dir() else "/"

    def _wait(self) -> tuple[int, int]:
        """Follow the workers until they have ended; the rank that tells why, and its exit code, negative for a signal."""
        while not self.crew.is_over():
            try:
                self._look()
            except Exception:  # nothing that goes wrong in looking may leave the run without a guardian
                self._trouble()
            self.crew.sleep()
        return self.crew.wait(self.status["attempts"])

    def _look(self) -> None:
        if self.killer is not None:
            self.killer.sample()
        self.follower.poll()
        self._take_requests()
        reading = self.sampler.look(self.follower.view) if self.sampler is not None else None
        if reading is not None:
            self.events.write("hardware", **reading)
        self._write_status()

    def _take_requests(self) -> None:
        """Only ``stop-now`` is the supervisor's; the worker takes the others at its next step."""
        if self.terminated:
            self.terminated = False
            try:
                self.run.request("stop")
            except OSError as error:
                say(f"a stop was asked for by SIGTERM, but cannot be passed on as a request: {error}")
                self.crew.signal(signal.SIGTERM)
        requests = self.run.requests()
        if "stop" in requests and self.status["state"] in (states.STARTING, states.RUNNING):
            self._set_state(states.STOPPING, "a stop was asked for")
            view = self.follower.view
            if view.phase.name not in ("compiling", "training") and view.step_attempt != self.status["attempts"]:
                # Still loading: there is no step to wait for.
                self.crew.signal(signal.SIGTERM)
        if "stop-now" in requests and self.stop_now_at is None and self.run.take("stop-now"):
            self.stop_now_at = time.monotonic()
            self._set_state(states.STOPPING, "an immediate stop was asked for")
            self.crew.signal(signal.SIGINT)
        if self.stop_now_at is not None and time.monotonic() - self.stop_now_at > STOP_NOW_GRACE:
            self.crew.signal(signal.SIGKILL)

    def _ending(self, rank: int, code: int) -> Ending:
        self.pen.free_descriptors()
        try:
            killed = self.killer is not None and self.killer.has_killed()
            self.follower.read_all()
            if self.stop_now_at is not None:
                self.events.write("control", request="stop-now", outcome="done")
            return classify(
                code,
                self.follower,
                attempt=self.status["attempts"],
                stop_now=self.stop_now_at is not None,
                oom_killed=killed,
                train_log=self.run.train_log,
                other=Other(rank, last_word(self.run, rank, self.status["attempts"])) if rank else None,
            )
        except Exception:
            self._trouble()
            return unjudged(code)

    def _end(self, ending: Ending) -> None:
        self.pen.free_descriptors()
        self.status.update(ended=time.time(), exit_code=ending.exit_code, signal=ending.signal)
        self.status.update(queue_position=None, waits_for=None, stalled=False)
        try:
            recover(self.run)
            self.status["resumable"] = newest_valid(self.run.path) is not None
            for verb in self.run.requests():
                if self.run.take(verb):
                    done = verb == "stop" and ending.state == states.STOPPED
                    outcome = "done" if done else f"too late: the run has ended ({ending.state})"
                    self.events.write("control", request=verb, outcome=outcome)
            self._progress()
        except Exception:
            self._trouble()
        # A beat, so that nobody takes a run that is just ending for lost. Then, the worker being gone, the directory and
        # the slots are freed before the end can be read: whoever reads it can go on at once.
        self.status["heartbeat"] = time.time()
        if not self.events.write("state", state=ending.state, reason=ending.reason) and self.pen.free_disk():
            self.events.write("state", state=ending.state, reason=ending.reason)
        self.pen.write(self.status, matters=False)
        self.run.release_lock(self.lock)
        for slot in self.turn.slots.values():
            os.close(slot)
        self.status.update(state=ending.state, reason=ending.reason, heartbeat=time.time())
        self.pen.write_end(str(self.record.get("id") or ""), self.status)
        self.pen.close()
        for duty in (waiting.wake_waiting, lambda: farewell.say_goodbye(self)):
            try:
                duty()
            except Exception:
                self._trouble()
        self.events.close()

    def _set_state(self, state: str, reason: str = "") -> None:
        self.status.update(state=state, reason=reason)
        self.events.write("state", state=state, reason=reason)
        self._write_status(force=True)

    def _write_status(self, force: bool = False) -> None:
        now = time.time()
        if self.status["state"] == states.STARTING and self.follower.view.step_attempt == self.status["attempts"]:
            self.status["state"] = states.RUNNING
            self.events.write("state", state=states.RUNNING, reason="")
            force = True
        if not force and 0 <= now - (self.status.get("heartbeat") or 0) < STATUS_SECONDS:
            return
        self.status["heartbeat"] = now
        self._progress()
        self.recorded |= self.pen.write(self.status, matters=force)
        if not force:
            self.pen.keep()

    def _progress(self) -> None:
        record.update_progress(self.status, self.follower.view)

    def _trouble(self) -> None:
        """Each fault is told once; the run goes on."""
        text = traceback.format_exc()
        if text not in self._troubles and len(self._troubles) < 20:
            self._troubles.add(text)
            say(text)
