"""From the filled-in form to a started run: check in a thread, ask about warnings, launch once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.message import Message

from engine.errors import Problem, TunedeckError

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.preflight import Preflight
    from tui.screens.launch import LaunchScreen

CHECKING, STARTING = "Checking everything", "Starting the run"


@dataclass
class Outcome(Message):
    """A thread is done: with a result or with problems. ``turn`` tells an outcome that is no longer wanted."""

    turn: int
    result: Any = None
    problems: list[Problem] | None = None


class Starter:
    """One attempt at a time; :attr:`busy` says what is going on, empty if nothing."""

    def __init__(self, screen: LaunchScreen) -> None:
        self._screen = screen
        self._turn = 0
        self._config: RunConfig | None = None
        self._cancelled = threading.Event()
        self.busy = ""
        self.started = False

    def check(self, config: RunConfig, gpus: int) -> None:
        """Begin: look at everything once more, in full."""
        if self.busy or self.started:
            return
        self._config = config
        cancelled = self._cancelled = threading.Event()
        self._work(CHECKING, lambda: self._check(config, gpus, cancelled))

    def _check(self, config: RunConfig, gpus: int, cancelled: threading.Event) -> Preflight:
        """The light checks, and if they find no error the cost sheet: rows, template, memory, disk. In a thread."""
        from engine import preflight
        from tui.sheet.asking import Outdated
        from tui.sheet.work import Wanted

        self._screen.costs.warm(config)
        checked = preflight.check(config, gpus=gpus)
        if not checked.ok or checked.train is None or cancelled.is_set():
            return checked
        try:
            sheet = self._screen.costs.for_start(Wanted(config, checked.train, checked.eval), checked, cancelled)
        except Outdated:
            return checked  # given up meanwhile: nobody waits for it
        checked.errors, checked.warnings = sheet.errors, sheet.warnings
        return checked

    def cancel(self) -> bool:
        """Give the check up; ``False`` if the run is being started already."""
        if self.busy == STARTING:
            return False
        self._cancelled.set()
        self._turn += 1
        self._say("")
        return True

    def take(self, outcome: Outcome) -> None:
        """Go on with what a thread has found."""
        if outcome.turn != self._turn:
            return
        if outcome.problems is not None:
            self._refuse(outcome.problems)
        elif self.busy == STARTING:
            self._open(outcome.result.path)
        elif not outcome.result.ok:
            self._refuse([*outcome.result.errors, *outcome.result.warnings])
        elif outcome.result.warnings:
            self._ask(outcome.result)
        else:
            self._launch(outcome.result)

    def _ask(self, checked: Preflight) -> None:
        from tui.launch.dialogs import WarningsScreen

        def answer(yes: bool | None) -> None:
            if yes:
                self._launch(checked)
            else:
                self.cancel()

        self._screen.app.push_screen(WarningsScreen(checked.warnings), answer)

    def _launch(self, checked: Preflight) -> None:
        from engine import launchers

        config = self._config
        assert config is not None
        self._work(STARTING, lambda: launchers.launch(config, checked=checked))

    def _open(self, path: Path) -> None:
        self.started = True
        self._screen.leave_for(path)

    def _refuse(self, problems: list[Problem]) -> None:
        from tui.screens.problems import ProblemsScreen

        self._turn += 1
        self._say("")
        names = [problem.setting for problem in problems if problem.setting and problem.severity == "error"]
        screen = self._screen

        def closed(_: None) -> None:
            if names:
                screen.list.go(names[0])

        screen.app.push_screen(ProblemsScreen(problems, "Nothing was started"), closed)

    def _work(self, words: str, work: Callable[[], Any]) -> None:
        self._turn += 1
        self._say(words)
        turn, screen = self._turn, self._screen

        def run() -> None:
            try:
                outcome = Outcome(turn, work())
            except TunedeckError as error:
                outcome = Outcome(turn, problems=error.problems)
            except Exception as error:  # a bug of ours must not take the form and what was typed with it
                from tui.sheet.work import bug

                outcome = Outcome(turn, problems=[bug(error)])
            screen.post_message(outcome)

        screen.run_worker(run, thread=True, group="launch")

    def _say(self, words: str) -> None:
        self.busy = words
        self._screen.busy_changed()
