"""Works sheets out in threads of its own: the newest settings only, from a sample of the rows first, then exactly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from engine import hardware, preflight
from engine.config import RunConfig
from engine.data import DataReport
from engine.errors import Problem, TunedeckError
from engine.inspecting import InspectError, Inspector
from engine.paths import expand
from engine.preflight import Preflight
from tui.sheet.asking import Asking, Memo, Outdated
from tui.sheet.others import Other, others

if TYPE_CHECKING:
    from engine.preflight.sheet import Sheet

# Typing goes on for a moment after the last key; before the inspector's libraries are loaded, somebody must have paused.
SETTLE_SECONDS, PATIENCE_SECONDS = 0.4, 1.5
# How often it is looked whether others have taken or left the GPU's memory, and what is news.
LOOK_SECONDS, NEWS_BYTES = 15.0, 256 * 2**20
# What the inspector takes while it loads, and some room for everybody else.
LEAST_MEMORY = 3 * 2**29
# Of a start: all that the inspector is asked for, together.
START_SECONDS = 30.0
_TELL_SECONDS = 1.0


@dataclass(frozen=True, eq=False)
class Wanted:
    """A form's settings and what its data files hold. ``may_load``: the inspector may be started for it."""

    config: RunConfig
    train: DataReport
    eval: DataReport | None = None
    may_load: bool = True

    def same(self, other: Wanted | None) -> bool:
        """Whether a sheet of the one is a sheet of the other."""
        return (
            other is not None and self.train is other.train and self.eval is other.eval and self.config == other.config
        )

    @property
    def python(self) -> str | None:
        """The interpreter that answers, if it is not this one."""
        return python_of(self.config)

    @property
    def stamp(self) -> tuple[object, ...]:
        """What the files hold that answers depend on, beside the settings."""
        from engine.preflight.lengths import tokenizer_print

        evaluation = self.eval.sha256 if self.eval is not None else ""
        return self.train.sha256, evaluation, tokenizer_print(self.config.base_model, self.config.revision), self.python

    @property
    def counted(self) -> tuple[object, ...]:
        """What the lengths of all rows depend on."""
        config = self.config.model_dump()
        names = (
            "data_format",
            "data_fields",
            "on_bad_rows",
            "assistant_only_loss",
            "trust_remote_code",
        )
        more = tuple(str(config.get(name)) for name in (*names, "base_model", "revision", "chat_template_path"))
        return (*self.stamp, *more)


@dataclass(slots=True)
class News:
    """A sheet of what was wanted, or why there is none; or how far the exact counting has come."""

    wanted: Wanted
    sheet: Sheet | None = None
    others: list[Other] = field(default_factory=list)
    problem: Problem | None = None
    loading: bool = False
    counted: tuple[int, int] | None = None


class Work:
    """Delivers news of the newest settings until it is stopped. ``inspector`` gives the form's process for an interpreter."""

    def __init__(self, deliver: Callable[[News], None], inspector: Callable[[str | None], Inspector]) -> None:
        self._deliver, self._inspector = deliver, inspector
        self.memo = Memo()
        self._wanted: Wanted | None = None
        self._wake, self._stopped = threading.Event(), False
        self._thread: threading.Thread | None = None
        self._given: News | None = None
        self._counting: tuple[tuple[object, ...], threading.Event] | None = None
        self._counted: set[tuple[object, ...]] = set()

    def want(self, wanted: Wanted | None) -> None:
        """Other settings; what was asked for before is given up."""
        self._wanted = wanted
        if wanted is not None and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tunedeck-sheet", daemon=True)
            self._thread.start()
        self._wake.set()

    def stop(self) -> None:
        """End the threads."""
        self._stopped = True
        self.hold()
        self._wake.set()

    def hold(self) -> None:
        """Give the counting up, so that the inspector is free for something more urgent."""
        if self._counting is not None:
            self._counting[1].set()

    def _run(self) -> None:
        while not self._stopped:
            if not self._wake.wait(LOOK_SECONDS):
                self._look()
                continue
            self._wake.clear()
            while self._wake.wait(self._patience()) and not self._stopped:
                self._wake.clear()  # another key was pressed
            wanted = self._wanted
            if wanted is None or self._stopped:
                continue
            try:
                news = self._work(wanted)
            except Outdated:
                continue
            if news is not None and wanted is self._wanted and not self._stopped:
                self._given = news
                self._deliver(news)
                self._count(news)

    def _patience(self) -> float:
        wanted = self._wanted
        if wanted is None or not wanted.may_load or getattr(self._inspector(wanted.python), "pid", None) is not None:
            return SETTLE_SECONDS
        return PATIENCE_SECONDS

    def _work(self, wanted: Wanted) -> News | None:
        """The sheet of what is wanted; ``None`` where the inspector may not be started for it."""
        inspector = self._inspector(wanted.python)
        if inspector.pid is None:
            if not wanted.may_load:
                return None
            if psutil.virtual_memory().available < LEAST_MEMORY:
                return News(
                    wanted, problem=Problem("no-memory", "little memory is free on this machine", severity="warning")
                )
            self._deliver(News(wanted, loading=True))
        try:
            checked = preflight.check(wanted.config, data=(wanted.train, wanted.eval))
            return make(wanted, inspector, self.memo, checked, lambda: self._stopped or wanted is not self._wanted)
        except TunedeckError as error:
            return News(wanted, problem=error.problems[0])
        except Outdated:
            raise
        except Exception as error:  # a bug of ours must not take the form
            return News(wanted, problem=bug(error))

    def _look(self) -> None:
        """Whether the GPU is as it was; if not, the sheet is made anew."""
        given = self._given
        if given is None or given.sheet is None or given.sheet.gpu is None or given.wanted is not self._wanted:
            return
        before = given.sheet.gpu
        now = next((card for card in hardware.gpus() if card.index == before.index), None)
        if now is None or set(now.pids) != set(before.pids) or abs(now.memory_used - before.memory_used) > NEWS_BYTES:
            self._wake.set()

    # Exact lengths.

    def _count(self, news: News) -> None:
        """Count all rows if only a sample was; what is being counted already goes on."""
        wanted, sheet = news.wanted, news.sheet
        key = wanted.counted
        if self._counting is not None and self._counting[0] != key:
            self._counting[1].set()
            self._counting = None
        estimated = sheet is not None and sheet.lengths is not None and sheet.lengths.estimated
        running = self._counting is not None and not self._counting[1].is_set()
        if not estimated or running or key in self._counted:
            return
        cancelled = threading.Event()
        self._counting = key, cancelled
        given = (wanted, key, cancelled)
        threading.Thread(target=self._count_all, args=given, name="tunedeck-lengths", daemon=True).start()

    def _count_all(self, wanted: Wanted, key: tuple[object, ...], cancelled: threading.Event) -> None:
        from engine.preflight.lengths import measure

        told = [0.0]

        def tell(done: int, total: int) -> None:
            if time.monotonic() - told[0] > _TELL_SECONDS and not cancelled.is_set():
                told[0] = time.monotonic()
                self._deliver(News(wanted, counted=(done, total)))

        inspector = self._inspector(wanted.python)
        try:
            measure(inspector, wanted.config, wanted.train, tell=tell, cancelled=cancelled)
            if wanted.eval is not None:
                measure(inspector, wanted.config, wanted.eval, cancelled=cancelled)
        except InspectError:
            if not cancelled.is_set():
                self._counted.add(key)  # what was sampled stays
        else:
            self._counted.add(key)
            self._wake.set()  # the same settings again: lengths are in the cache now
        finally:
            if self._counting is not None and self._counting[1] is cancelled:
                self._counting = None


def python_of(config: RunConfig) -> str | None:
    """The interpreter that answers, if it is not this one."""
    return str(expand(config.worker_python)) if config.worker_python else None


def make(wanted: Wanted, inspector: Inspector, memo: Memo, checked: Preflight, outdated: Callable[[], bool],
         seconds: float | None = None) -> News:  # fmt: skip
    """The sheet of some settings, from a sample of the rows unless all were counted. Raises :class:`Outdated`."""
    from engine.preflight.lengths import model_folder
    from engine.preflight.sheet import sheet

    memo.renew(wanted.stamp)
    here = model_folder(wanted.config.base_model, wanted.config.revision) is not None
    asking = Asking(inspector, memo, here=here, seconds=seconds, outdated=outdated)
    made = sheet(wanted.config, asking, sample=True, checked=checked)
    return News(wanted, made, others(made.gpu) if made.gpu is not None else [])


def bug(error: Exception) -> Problem:
    """A failure of our own, as a problem that names the file with its details."""
    from tui.leaving import log_exception

    path = log_exception(error)
    hint = f"Details: {path}" if path else ""
    return Problem("bug", f"tunedeck failed on a bug of its own ({type(error).__name__})", hint)
