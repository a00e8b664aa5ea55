"""The form's cost sheet: follows the settings, keeps the newest sheet, applies its remedies and runs its dry run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from textual.message import Message

from engine.errors import Problem, TunedeckError
from engine.inspecting import InspectError
from engine.preflight import Preflight
from tui import report
from tui.sheet.others import Other
from tui.sheet.work import START_SECONDS, News, Wanted, Work, bug, make, python_of

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.preflight.sheet import Sheet
    from engine.rehearsal import Rehearsal
    from tui.screens.launch import LaunchScreen


@dataclass(slots=True)
class Trial:
    """A dry run: what it does now, or how it ended. ``began`` on the monotonic clock, in seconds."""

    wanted: Wanted
    checked: Preflight | None
    began: float
    phase: str = "starting"
    done: int = 0
    total: int = 0
    ended: float | None = None
    result: Rehearsal | None = None
    error: TunedeckError | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def problem(self) -> Problem | None:
        """What it came to nothing by."""
        return self.error.problems[0] if self.error is not None else None

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.ended is None

    @property
    def seconds(self) -> float:
        """Since it began."""
        return (time.monotonic() if self.ended is None else self.ended) - self.began


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the costs. ``current``: the sheet is of the settings as they stand; else it is the last one.

    ``asleep``: the settings are complete, but nothing was changed yet, so that nothing heavy was started.
    """

    sheet: Sheet | None = None
    others: tuple[Other, ...] = ()
    current: bool = False
    ready: bool = False
    asleep: bool = False
    loading: bool = False
    counted: tuple[int, int] | None = None
    problem: Problem | None = None


@dataclass
class CostsNews(Message):
    """A thread has something: of the sheet, or of the dry run."""

    news: News | Trial


class Costs:
    """One for each form."""

    def __init__(self, screen: LaunchScreen) -> None:
        self._screen = screen
        self._work = Work(self._post, lambda python: screen.previewing.asks(python))
        self._begun: dict[str, str] | None = None
        self._wanted: Wanted | None = None
        self._asked = False
        self.known = Known()
        self.trial: Trial | None = None
        self.listener: Callable[[], None] | None = None

    # Following the form.

    def follow(self) -> None:
        """The form is about to be drawn and may have changed; cheap where it has not."""
        model = self._screen.model
        if self._begun is None:
            self._begun = dict(model.texts)
        self._asked = self._asked or model.texts != self._begun
        wanted = self._of_form()
        before = self._wanted
        if wanted is not None and wanted.same(before) and before is not None and wanted.may_load == before.may_load:
            return
        if wanted is None and before is None:
            return
        if self.trial is not None and not self.trial.running and (wanted is None or not wanted.same(self.trial.wanted)):
            self.trial = None  # it was of other settings
        current = wanted is not None and wanted.same(before) and self.known.current
        self._wanted = wanted
        self.known = self._changed(
            current=current, ready=wanted is not None, asleep=wanted is not None and not self._asked
        )
        self._work.want(wanted)
        if self.listener is not None:
            self.listener()

    def _of_form(self) -> Wanted | None:
        model = self._screen.model
        if model.config is None or model.train is None or model.wrong:
            return None
        if model.config.eval_path is not None and model.eval is None:
            return None
        editing = self._screen.list.entry is not None and self._screen.list.current
        if editing and editing.name in ("base_model", "revision"):
            return None  # a name that is still being typed is nothing to look for
        evaluation = model.eval if model.config.eval_path is not None else None
        return Wanted(model.config, model.train, evaluation, self._asked)

    def open(self) -> None:
        """Show the whole sheet."""
        from tui.screens.sheet import CostScreen

        screen = self._screen

        def answer(then: str | None) -> None:
            if then == "start":
                screen.action_start()
            elif then == "preview":
                screen.action_preview()

        screen.app.push_screen(CostScreen(self, screen.model.text("base_model")), answer)

    def wake(self) -> None:
        """Somebody asks for the sheet: the inspector may be started even if nothing was changed."""
        self._asked = True
        self._screen.busy_changed()

    def again(self) -> None:
        """Work the present settings out anew."""
        self._wanted = None
        self._screen.busy_changed()

    def close(self) -> None:
        """The form is left."""
        self.cancel_trial()
        self._work.stop()

    def _post(self, news: News | Trial) -> None:
        self._screen.post_message(CostsNews(news))

    def take(self, message: CostsNews) -> None:
        """News of a thread, on the app's own."""
        news = message.news
        if isinstance(news, Trial):
            self._take_trial(news)
        elif self._wanted is None or not self._takes(self._wanted, news):
            return
        self._tell()

    def _takes(self, wanted: Wanted, news: News) -> bool:
        """Show news if they are of the settings as they stand."""
        if news.counted is not None:
            if news.wanted.train is not wanted.train:
                return False
            self.known = self._changed(counted=news.counted)
        elif news.wanted is not wanted:
            return False
        elif news.loading:
            self.known = self._changed(loading=True)
        elif news.sheet is None:
            self.known = self._changed(loading=False, problem=news.problem, sheet=None, current=True, counted=None)
        else:
            lengths = news.sheet.lengths
            self._remember_failure(wanted, news.sheet)
            counted = self.known.counted if lengths is not None and lengths.estimated else None
            self.known = Known(news.sheet, tuple(news.others), True, True, counted=counted)
        return True

    def _remember_failure(self, wanted: Wanted, sheet: Sheet) -> None:
        """A dry run of these settings ran out of memory: it is said until one goes well, and no start is refused for it."""
        from engine.preflight.sheet import refused

        trial = self.trial
        if trial is None or not isinstance(trial.error, InspectError) or not wanted.same(trial.wanted):
            return
        if trial.error.kind == "out-of-memory" and sheet.rehearsal is None:
            refused(sheet, trial.error)
            late = [problem for problem in sheet.errors if problem.kind == "out-of-memory"]
            sheet.errors = [problem for problem in sheet.errors if problem.kind != "out-of-memory"]
            sheet.warnings += [replace(problem, severity="warning") for problem in late]

    def _changed(self, **changes: Any) -> Known:
        return replace(self.known, **changes)

    def _tell(self) -> None:
        if not self._screen.is_attached:
            return
        self._screen.busy_changed()
        if self.listener is not None:
            self.listener()

    # Before a start.

    def warm(self, config: RunConfig) -> None:
        """A start needs the inspector: it may load its libraries while the data are read."""
        from engine.preflight.lengths import model_folder

        inspector = self._screen.previewing.asks(python_of(config))
        if inspector.pid is None and model_folder(config.base_model, config.revision) is not None:
            inspector.warm(config)

    def for_start(self, wanted: Wanted, checked: Preflight, cancelled: threading.Event) -> Sheet:
        """The sheet that decides about a start: what was worked out before is used, the GPU is looked at anew. In a thread."""
        self._work.hold()
        inspector = self._screen.previewing.asks(wanted.python)
        news = make(wanted, inspector, self._work.memo, checked, cancelled.is_set, START_SECONDS)
        assert news.sheet is not None
        return news.sheet

    # Remedies.

    def apply(self, number: int) -> None:
        """Put the settings of one remedy into the form."""
        sheet, screen = self.known.sheet, self._screen
        if sheet is None or not self.known.current or not 0 < number <= len(sheet.fixes):
            return
        settings, model = sheet.fixes[number - 1]["settings"], screen.model
        before = {name: model.text(name) for name in settings}
        model.load(settings)
        said = ", ".join(f"{name} {before[name] or 'empty'} is {model.text(name)} now" for name in settings)
        screen.took_over(f"{said}. F9 undoes it")

    def undo(self) -> None:
        """Take the last remedy, preset or file back."""
        self._screen.action_undo()

    # The dry run.

    @property
    def trying(self) -> bool:
        """Whether a dry run goes on."""
        return self.trial is not None and self.trial.running

    def try_out(self) -> None:
        """Begin two real steps with the settings as they stand."""
        wanted, sheet = self._wanted, self.known.sheet
        if wanted is None or self.trying:
            return
        checked = sheet.checked if sheet is not None and self.known.current else None
        trial = self.trial = Trial(wanted, checked, time.monotonic())
        self._work.hold()
        threading.Thread(target=self._try, args=(trial,), name="tunedeck-dry-run", daemon=True).start()
        self._tell()

    def cancel_trial(self) -> None:
        """End the dry run."""
        if self.trial is not None:
            self.trial.cancelled.set()

    def _try(self, trial: Trial) -> None:
        from engine import rehearsal

        def tell(phase: str, done: int, total: int) -> None:
            trial.phase, trial.done, trial.total = phase, done, total
            self._post(trial)

        try:
            settings, given_up = trial.wanted.config, trial.cancelled
            trial.result = rehearsal.rehearse(settings, tell=tell, cancelled=given_up, checked=trial.checked)
        except TunedeckError as error:
            trial.error = error
        except Exception as error:  # a bug of ours must not take the form
            trial.error = TunedeckError(bug(error))
        trial.ended = time.monotonic()
        self._post(trial)

    def _take_trial(self, trial: Trial) -> None:
        if trial is not self.trial or trial.running:
            return
        if trial.problem is not None and trial.problem.kind == "cancelled":
            self.trial = None
            report.tell(self._screen.app, "The dry run was cancelled. Nothing is left of it")
        self.again()
