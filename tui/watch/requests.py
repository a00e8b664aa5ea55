"""What the live screen asks of a run: stop, stop now, checkpoint, evaluate; with a question where something is lost."""

from __future__ import annotations

import time
from pathlib import Path

from textual.screen import Screen

from engine import status as states
from engine.errors import TunedeckError
from engine.rundir import RunDir
from engine.text import clean
from tui.runlist import queueing
from tui.screens.confirm import ConfirmScreen
from tui.watch import words
from tui.watch.facts import Control, Facts


class Requests(Screen[None]):
    """Part of the live screen: its actions that reach into the run."""

    path: Path
    run: RunDir
    facts: Facts
    asked: Control | None = None
    _answered: Control | None = None

    def flash(self, text: str) -> None:
        """Say something for a few seconds, in the message line."""
        raise NotImplementedError

    def tick(self) -> None:
        """Show what a clock or a new number changes."""
        raise NotImplementedError

    def refresh_now(self) -> None:
        """The run has gone on: read it at once."""
        raise NotImplementedError

    def settle_request(self) -> None:
        """Forget what was asked once it is answered."""
        control = self.facts.control
        if self.asked is None:
            return
        answered = control is not None and control != self._answered and control.verb == self.asked.verb
        if answered or not self.facts.state.live:
            self.asked = None

    def action_cancel(self) -> None:
        """Take the run out of the queue."""
        self.action_stop()

    def action_stop(self) -> None:
        """Ask the run to finish this step, save and end."""
        if self.facts.state.state == states.QUEUED:
            self._confirm(
                "stop", "Cancel this run?", "It has not started yet. It leaves the queue.", "Cancel it", "Keep it"
            )
            return
        detail = "It finishes the step it is in, saves the adapter and a checkpoint, and ends."
        self._confirm("stop", f"Stop {self.facts.name}?", detail, "Stop", "Keep training")

    def action_stop_now(self) -> None:
        """End the run without saving."""
        self._confirm(
            "stop-now", f"Stop {self.facts.name} now?", words.loss_of_stopping(self.facts), "Stop now", "Keep training"
        )

    def action_checkpoint(self) -> None:
        """Ask for a checkpoint."""
        if self._can_ask():
            self._request("checkpoint")

    def action_evaluate(self) -> None:
        """Ask for an evaluation."""
        if self._can_ask():
            self._request("evaluate")

    def _can_ask(self) -> bool:
        if not self.facts.state.live:
            self.flash(f"this run has ended: {self.facts.state.state}")
        return self.facts.state.live

    def _confirm(self, verb: str, question: str, detail: str, yes: str, no: str) -> None:
        def answered(sure: bool | None) -> None:
            if sure and self._can_ask():
                self._request(verb)

        if self._can_ask():
            self.app.push_screen(ConfirmScreen(question, detail, yes, no), answered)

    def _request(self, verb: str) -> None:
        self._answered = self.facts.control
        self.asked = Control(verb, time.time())
        self.tick()
        queued = verb == "stop" and self.facts.state.state == states.QUEUED and self.facts.state.here

        def send() -> None:
            try:
                if queued:
                    queueing.cancel(self.path)
                else:
                    self.run.request(verb)
            except TunedeckError as error:
                self.app.call_from_thread(self._refused, verb, clean(error, 200))
            except OSError as error:
                self.app.call_from_thread(self._refused, verb, clean(error.strerror or error, 200))
            self.refresh_now()

        self.run_worker(send, name=verb, thread=True, exit_on_error=False)

    def _refused(self, verb: str, why: str) -> None:
        self.asked = None
        self.flash(f"{words.VERBS[verb]} could not be asked for: {why}")
