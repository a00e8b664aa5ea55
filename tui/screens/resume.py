"""Goes on with a run: from which checkpoint, with which changes, into the same run or as a new one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.message import Message
from textual.widgets import Input, Label, Static
from textual.widgets.input import Selection

from engine.errors import Problem, TunedeckError
from engine.text import clean, shorten_path
from tui.glyphs import glyphs
from tui.keys import bindings
from tui.resume import inputs, words
from tui.screens.dialog import Dialog
from tui.widgets.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.checkpoints import Checkpoint
    from engine.resume import ResumePlan

# Typing is over when nothing was pressed for so long: a plan reads the data and the checkpoint.
PAUSE_SECONDS = 0.3
LIST_LINES = 4
CHECKING, STARTING = "Checking the checkpoint, the data and the settings", "Starting the run"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: a step (``None``: the engine's choice), settings, a directory of its own."""

    step: int | None = None
    values: dict[str, Any] = field(default_factory=dict)
    output_dir: str | None = None
    problems: tuple[Problem, ...] = ()


class ResumeScreen(Dialog[Path | None]):
    """Dismisses with the directory of the run that goes on, or with ``None``.

    Plans in a thread after each change; Enter starts what was planned, once it is planned.
    """

    CSS_PATH = ["dialog.tcss", "resume.tcss"]
    BINDINGS = bindings("resume")
    KEYS = "resume"
    AUTO_FOCUS = "#num_train_epochs"

    @dataclass
    class Planned(Message):
        """A thread has worked out how it would go on."""

        wish: Wish
        plan: ResumePlan | None
        times: dict[int, float]
        problems: list[Problem]

    @dataclass
    class Done(Message):
        """A thread has started it, or could not."""

        path: Path | None
        problems: list[Problem]

    @dataclass
    class Known(Message):
        """The run's own settings, and a directory that is free for a new one."""

        texts: dict[str, str]
        proposed: str

    def __init__(self, path: Path, name: str = "") -> None:
        super().__init__()
        self.path = path.absolute()
        self._name = clean(name or path.name, 100)
        self.plan: ResumePlan | None = None
        self._wish = Wish()
        self._planning: Wish | None = None
        self._times: dict[int, float] = {}
        self._recorded: dict[str, str] = {}
        self._chosen: int | None = None
        self._picked: int | None = None
        self._candidates: list[Checkpoint] = []
        self._ready = False
        self._proposed = ""
        self._wanted: Wish | None = None
        self.as_new = False
        self.busy = CHECKING

    def compose(self) -> ComposeResult:
        """Checkpoints, settings, where to, what it means."""
        with Vertical(classes="dialog -wide", id="resume"):
            yield Static(Content(f"Go on with {self._name}"), classes="dialog--title")
            yield Lines(id="resume-checkpoints")
            with Horizontal(classes="resume--row"):
                for name, label in inputs.FIELDS.items():
                    yield Label(label)
                    yield _line(name)
            with Horizontal(classes="resume--row"):
                yield Label("other settings")
                yield _line("others", "name=value …")
            with Horizontal(classes="resume--row"):
                yield Label("into")
                yield Static("the same run", id="resume-same", markup=False)
                yield _line("output_dir")
            with VerticalScroll(classes="dialog--body", id="resume-body"):
                yield Static(id="resume-outcome", markup=False)
            yield Static(id="resume-foot", classes="dialog--foot", markup=False)

    def on_mount(self) -> None:
        """Plan what would happen with nothing changed."""
        self._show()
        self._work(self._know)

    def on_resize(self, event: Resize) -> None:
        """Small terminals show fewer checkpoints."""
        self.set_class(event.size.height < 30, "-low")
        self.call_after_refresh(self._show)

    # -- threads ----------------------------------------------------------------------------------------------------

    def _work(self, work: Callable[[], Message]) -> None:
        def run() -> None:
            self.post_message(work())

        self.run_worker(run, thread=True, group="resume", exit_on_error=False)

    def _know(self) -> Message:
        from engine.preflight import propose_output_dir
        from engine.rundir import RunDir

        config = (RunDir(self.path).read_run() or {}).get("config")
        config = config if isinstance(config, dict) else {}
        proposed = propose_output_dir(str(config.get("base_model") or "model"), self.path.parent)
        try:
            texts = inputs.recorded_texts(config)
        except (TypeError, ValueError, OverflowError):
            texts = {}
        return self.Known(texts, str(proposed))

    def _plan(self, wish: Wish) -> Message:
        from engine import resume
        from engine.rundir import RunDir

        try:
            plan = resume.plan(
                RunDir(self.path), checkpoint=wish.step, overrides=wish.values, output_dir=wish.output_dir
            )
        except TunedeckError as error:
            return self.Planned(wish, None, {}, error.problems)
        except Exception as error:  # a bug of ours must not take the dialog and what was typed with it
            return self.Planned(wish, None, {}, [_bug(error)])
        times = {c.step: when for c in plan.candidates if (when := _made(c.path)) is not None}
        return self.Planned(wish, plan, times, [])

    def _start(self, plan: ResumePlan) -> Message:
        from engine import resume

        try:
            return self.Done(resume.start(plan).path, [])
        except TunedeckError as error:
            return self.Done(None, error.problems)
        except Exception as error:
            return self.Done(None, [_bug(error)])

    # -- news -------------------------------------------------------------------------------------------------------

    def on_resume_screen_known(self, message: Known) -> None:
        """Fill the fields in with the run's own values."""
        self._recorded = {name: clean(text, 60) for name, text in message.texts.items()}
        for name in inputs.FIELDS:
            box = self.query_one(f"#{name}", Input)
            if not box.value:
                box.value = self._recorded.get(name, "")
                # What is typed next replaces it, as it does in a field that one comes to by tab.
                box.selection = Selection(0, len(box.value)) if box.has_focus else Selection.cursor(len(box.value))
        self._ready = True
        self._proposed = clean(message.proposed, None)
        folder = self.query_one("#output_dir", Input)
        if self.as_new and not folder.value:
            folder.value = self._proposed
        self._replan()

    def on_resume_screen_planned(self, message: Planned) -> None:
        """Show it, unless something else is asked for by now."""
        self._planning = None
        if message.wish != self._wish:
            self._replan()
            return
        self.busy = ""
        self.plan = message.plan
        if message.plan is not None:
            self._candidates, self._times = message.plan.candidates, message.times
            self._picked = message.plan.checkpoint.step if message.plan.checkpoint is not None else None
        problems = [*message.wish.problems, *message.problems]
        outcome = self.query_one("#resume-outcome", Static)
        if message.plan is None:
            outcome.update(words.outcome_of_problems(problems))
        else:
            outcome.update(words.outcome(message.plan, problems))
        if problems:
            self.plan = None
        wanted, self._wanted = self._wanted, None
        self._show()
        if wanted == message.wish:
            self.action_start()

    def on_resume_screen_done(self, message: Done) -> None:
        """Away, or say why not."""
        if message.path is not None:
            self.dismiss(message.path)
            return
        self.busy, self.plan = "", None
        self.query_one("#resume-outcome", Static).update(words.outcome_of_problems(message.problems))
        self._show()

    def on_input_changed(self) -> None:
        """Plan anew when the typing pauses."""
        if self._ready:
            self._replan(PAUSE_SECONDS)

    def on_input_submitted(self) -> None:
        """Enter in a field."""
        self.action_start()

    def _replan(self, wait: float = 0.0) -> None:
        if self.busy == STARTING:
            return
        wish = self._read()
        if wish == self._wish and (self.plan is not None or self._planning is not None):
            return
        self._wish, self.plan, self.busy = wish, None, CHECKING
        if self._wanted != wish:
            self._wanted = None  # something else was asked for after Enter
        self._show()
        if wait:
            self.set_timer(wait, lambda: self._begin(wish))
        else:
            self._begin(wish)

    def _begin(self, wish: Wish) -> None:
        # One at a time: each reads the data. What was typed meanwhile is planned after it.
        if wish == self._wish and self._planning is None:
            self._planning = wish
            self._work(lambda: self._plan(wish))

    def _read(self) -> Wish:
        typed = {name: self.query_one(f"#{name}", Input).value for name in inputs.FIELDS}
        values, problems = inputs.overrides(typed, self._recorded, self.query_one("#others", Input).value)
        folder = self.query_one("#output_dir", Input).value.strip() if self.as_new else None
        if self.as_new and not folder:
            problems.append(
                Problem("no-output", "the new run needs a directory", "Type one, or press F6 for the same run")
            )
        return Wish(self._chosen, values, folder or None, tuple(problems))

    # -- what is shown ----------------------------------------------------------------------------------------------

    def _show(self) -> None:
        if not self.is_attached:  # left meanwhile
            return
        box = self.query_one("#resume-checkpoints", Lines)
        candidates = self._candidates
        height = LIST_LINES if not self.has_class("-low") else LIST_LINES - 1
        lines = words.checkpoint_lines(candidates, self._times, self._place(), height, time.time())
        if not candidates and self.plan is None:
            lines = [[("…", "muted")]]
        box.styles.height = max(1, len(lines))
        box.show(lines)
        self.set_class(self.as_new, "-new")
        if self.busy:
            self.query_one("#resume-outcome", Static).update(Content.styled(self.busy, "$text-muted"))
        self.query_one("#resume-foot", Static).update(self._foot())

    def _foot(self) -> Content:
        if self.busy == STARTING:
            return Content.styled(f"starting{glyphs().ellipsis}", "bold $accent")
        if self._wanted is not None:
            words = f"still checking{glyphs().ellipsis} then it starts"
            return Content.assemble((words, "bold $accent"), "   ", ("esc", "bold $accent"), " back")
        switch = "the same run" if self.as_new else "as a new run"
        keys = (("⏎", "resume"), ("tab", "next"), ("F6", switch), ("↑↓", "checkpoint"), ("esc", "back"))
        parts: list[Any] = []
        for key, label in keys:
            parts += [(key, "bold $accent"), f" {label}   "]
        return Content.assemble(*parts).rstrip()

    def _place(self) -> int:
        """Where the chosen checkpoint stands among the candidates."""
        step = self._chosen if self._chosen is not None else self._picked
        return next((place for place, c in enumerate(self._candidates) if c.step == step), 0)

    # -- keys -------------------------------------------------------------------------------------------------------

    def action_choose(self, by: int) -> None:
        """The next checkpoint up or down."""
        if not self._candidates or self.busy == STARTING:
            return
        place = min(max(self._place() + by, 0), len(self._candidates) - 1)
        self._chosen = self._candidates[place].step
        self._replan(PAUSE_SECONDS)

    def action_switch(self) -> None:
        """Into the same run, or as a new one."""
        if self.busy == STARTING:
            return
        self.as_new = not self.as_new
        box = self.query_one("#output_dir", Input)
        if not box.value:
            box.value = self._proposed
        self.query_one("#output_dir" if self.as_new else "#num_train_epochs", Input).focus()
        self._replan()
        self._show()

    def action_start(self) -> None:
        """Start what was planned; if it is being planned still, as soon as it is."""
        if self.busy == STARTING:
            return
        wish = self._read()
        if self.busy or wish != self._wish:
            self._wanted = wish
            if self._ready:
                self._replan()
            self._show()
            return
        if self.plan is None or not self.plan.ok:
            return
        plan = self.plan
        self.busy = STARTING
        self._show()
        self._work(lambda: self._start(plan))

    def action_cancel(self) -> None:
        """Nothing; what is being started already cannot be called back here."""
        if self.busy != STARTING:
            self.dismiss(None)


def _line(name: str, hint: str = "") -> Input:
    box = Input(placeholder=hint, id=name, compact=True, classes="dialog--input")
    box.cursor_blink = False
    return box


def _made(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _bug(error: Exception) -> Problem:
    from tui.leaving import log_exception

    path = log_exception(error)
    hint = f"Details: {shorten_path(path, 200)}" if path else ""
    return Problem("bug", f"tunedeck failed on a bug of its own ({type(error).__name__})", hint)
