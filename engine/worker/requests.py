"""What people ask of a running training by files in ``control/``: taken at a step, answered by ``control`` events."""

from __future__ import annotations

import os
import time

from engine.worker.ranks import CHECKPOINT, EVALUATE, STOP, STOP_NOW
from engine.worker.recorder import Recorder

# Two changes within one tick of a file system's clock have one time stamp: look again for this long.
FRESH_SECONDS = 2.0


class Requests:
    """The requests of one run. ``stops_now`` in own scripts, where no supervisor takes ``stop-now``."""

    def __init__(self, recorder: Recorder, *, stops_now: bool) -> None:
        self._recorder = recorder
        self._run = recorder.run
        self._path = str(recorder.run.control)
        self._alone = stops_now
        self._verbs = {STOP, CHECKPOINT, EVALUATE} | ({STOP_NOW} if stops_now else set())
        self._stamp = -1
        self._fresh_until = 0.0
        self._open: list[str] = []

    def take(self, step: int, *, last: bool, can_evaluate: bool) -> set[str]:
        """Take what waits at the end of ``step`` and return what is to be done; the rest is refused by an event."""
        accepted = set()
        for verb in self._waiting():
            if not self._run.take(verb):
                continue
            if last and verb in (STOP, STOP_NOW):
                self._say(verb, f"too late: step {step} is the last one")
            elif verb == EVALUATE and not can_evaluate:
                self._say(verb, "refused: there is no evaluation data")
            else:
                accepted.add(verb)
                self._accept(verb, step)
        return accepted

    def take_while_evaluating(self, step: int, outcome: str, *, last: bool) -> set[str]:
        """Acknowledge a stop in the middle of an evaluation; other requests wait for the next step."""
        taken = {verb for verb in self._waiting() if verb in (STOP, STOP_NOW) and self._run.take(verb)}
        for verb in sorted(taken):
            done = outcome if verb == STOP else f"{outcome}, without saving"
            self._say(verb, f"too late: step {step} is the last one" if last else done)
        return taken

    def answer(self, *verbs: str, outcome: str) -> None:
        """Say how these ended, if they were asked for."""
        for verb in verbs:
            if verb in self._open:
                self._open.remove(verb)
                self._say(verb, outcome)

    def answer_rest(self, outcome: str) -> None:
        """Training is over: nothing that was taken, or that nobody else would take, stays without an answer."""
        self.answer(CHECKPOINT, EVALUATE, outcome=outcome)
        for verb in self._run.requests() if self._alone else ():
            if verb in self._verbs and self._run.take(verb):
                self._say(verb, outcome)

    def _accept(self, verb: str, step: int) -> None:
        if verb == STOP:
            self._say(verb, f"stopping after step {step}")
        elif verb == STOP_NOW:
            self._say(verb, f"stopping after step {step}, without saving")
        elif verb not in self._open:
            self._open.append(verb)

    def _say(self, verb: str, outcome: str) -> None:
        self._recorder.write("control", request=verb, outcome=outcome)

    def _waiting(self) -> list[str]:
        """Known requests; lists the directory only while its time stamp is fresh, since this runs at every step."""
        now = time.monotonic()
        try:
            stamp = os.stat(self._path).st_mtime_ns
        except OSError:
            return []
        if stamp != self._stamp:
            self._stamp, self._fresh_until = stamp, now + FRESH_SECONDS
        return [verb for verb in self._run.requests() if verb in self._verbs] if now < self._fresh_until else []
