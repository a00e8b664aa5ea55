"""The live screen: one run, as it is this moment, and what it came to."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal
from textual.events import Click, Resize
from textual.message import Message
from textual.screen import Screen
from textual.worker import get_current_worker

from engine import status as states
from engine.errors import TunedeckError
from engine.rundir import RunDir
from engine.text import clean, clean_path, shorten_path
from tui import report
from tui.keys import bindings
from tui.runlist import queueing
from tui.screens.confirm import ConfirmScreen
from tui.watch import charts, words
from tui.watch import values as column
from tui.watch.curves import SMOOTH_LOSS
from tui.watch.facts import Control, Facts
from tui.watch.feed import WatchFeed, WatchUpdate
from tui.widgets.chart import Chart
from tui.widgets.chrome import KeyBar, TopBar
from tui.widgets.lines import Lines
from tui.widgets.logtail import LogTail

if TYPE_CHECKING:
    from tui.app import TunedeckApp

POLL_SECONDS = 0.5
ENDED_POLL_SECONDS = 2.0
# While a long record is being read, the charts show its progress this often; each time costs a whole repaint.
CATCH_UP_SECONDS = 0.5
FLASH_SECONDS = 4.0
GRID_SIZE = (110, 34)


class WatchScreen(Screen[None]):
    """Watches the run at ``path``; reads it in a thread and repaints only what changed."""

    CSS_PATH = "watch.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("watch")]
    KEYS = "watch"

    @dataclass
    class Updated(Message):
        """The feed has something new."""

        update: WatchUpdate

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = Path(path).absolute()
        self.run = RunDir(self.path)
        self.feed = WatchFeed(self.path)
        self.facts = Facts(self.path, name=clean(self.path.name, 200))
        self.charts = charts.make()
        self.selected = 0
        self.full = False
        self.asked: Control | None = None
        self._answered: Control | None = None
        self._flash: tuple[float, str] = (0.0, "")
        self._smooth: float | None = None
        self._ready = False
        self._flushed = 0.0
        self._stop = False
        self._wake = threading.Event()

    def compose(self) -> ComposeResult:
        """Head, charts beside values, log."""
        yield TopBar("Watch")
        yield Lines(id="watch-head")
        with Horizontal(id="watch-body"):
            with Container(id="watch-charts"):
                yield from self.charts
            yield Lines(id="watch-values")
        yield LogTail("train.log", id="watch-log")
        yield KeyBar()

    def on_mount(self) -> None:
        """Start reading."""
        self._choose(0)
        self.run_worker(self._follow, name="watch", thread=True, exit_on_error=False)
        self.set_interval(1.0, self._tick)

    def on_unmount(self) -> None:
        """Let the reader's thread end."""
        self._stop = True
        self._wake.set()

    # -- the thread -------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        worker = get_current_worker()
        while not (worker.is_cancelled or self._stop):
            update = self.feed.poll()
            if update is not None:
                self.post_message(self.Updated(update))
                if not update.caught_up:
                    continue
            self._wake.wait(POLL_SECONDS if self.feed.live else ENDED_POLL_SECONDS)
            self._wake.clear()

    # -- what is new ------------------------------------------------------------------------------------------------

    def on_watch_screen_updated(self, message: Updated) -> None:
        """Feed the charts; numbers follow at the next tick."""
        update = message.update
        before, self.facts = self.facts, update.facts
        if update.reset:
            for chart in self.charts:
                chart.clear()
        charts.feed(self.charts, update)
        smooth = update.curves.get(SMOOTH_LOSS)
        if smooth is not None and smooth.ys[-1] == smooth.ys[-1]:
            self._smooth = smooth.ys[-1]
        if update.log is not None:
            self.query_one(LogTail).set_log(update.log)
        self._settle_request()
        self._sound_alarm(before, ready=self._ready)
        first = update.caught_up and not self._ready
        self._ready |= update.caught_up
        if first or before.state.live != self.facts.state.live:
            self.set_class(not self.facts.state.live, "-ended")
            self.call_after_refresh(self._tick)
        if first or before.state.state != self.facts.state.state:
            self.refresh_bindings()
        self._flush(fit=first or before.state.live != self.facts.state.live)
        if first or before.state != self.facts.state or before.problem != self.facts.problem:
            self._tick()

    def _sound_alarm(self, before: Facts, *, ready: bool) -> None:
        """Say a new alarm; those from before the screen was opened stand in the head only."""
        alarm = self.facts.alarm
        if ready and alarm is not None and alarm != before.alarm:
            report.tell(self.app, alarm[2], severity="error" if alarm[1] == "error" else "warning")

    def refresh_now(self) -> None:
        """The run has gone on: read it at once."""
        self._wake.set()

    def _flush(self, *, fit: bool = False) -> None:
        now = time.monotonic()
        if not self._ready and now - self._flushed < CATCH_UP_SECONDS:
            return
        self._flushed = now
        for chart in self.charts:
            charts.set_span(chart, self.facts, fit=fit)
            chart.flush(legend=fit)

    def _tick(self) -> None:
        """Once a second: whatever a clock or a new number changes."""
        now = time.time()
        head, values = self.query_one("#watch-head", Lines), self.query_one("#watch-values", Lines)
        lines = words.head(self.facts, now, head.size.width, self.asked)
        place = f"Watch  {self.facts.name}  {words.state_text(self.facts.state.state)}" if self.full else "Watch"
        self.query_one(TopBar).set_title(place)
        until, text = self._flash
        if time.monotonic() < until:
            lines[2] = [(text, "accent")]
        head.show(lines)
        values.show(
            column.values(
                self.facts,
                None if self.facts.before_first_step else self._smooth,
                values.size.width,
                values.size.height,
            )
        )
        for chart in self.charts:
            chart.flush()

    def _settle_request(self) -> None:
        control = self.facts.control
        if self.asked is None:
            return
        answered = control is not None and control != self._answered and control.verb == self.asked.verb
        if answered or not self.facts.state.live:
            self.asked = None

    def flash(self, text: str) -> None:
        """Say something for a few seconds, in the message line."""
        self._flash = (time.monotonic() + FLASH_SECONDS, text)
        self._tick()

    # -- layout -----------------------------------------------------------------------------------------------------

    def on_resize(self, event: Resize) -> None:
        """Four charts where there is room for them, one otherwise."""
        width, height = event.size
        self.set_class(width >= GRID_SIZE[0] and height >= GRID_SIZE[1], "-grid")
        self.set_class(height < GRID_SIZE[1], "-low")
        path = shorten_path(self.path, width - 30)
        self.query_one(TopBar).set_right(path)
        self.call_after_refresh(self._tick)

    def _choose(self, index: int) -> None:
        self.selected = index % len(self.charts)
        for position, chart in enumerate(self.charts):
            chart.set_class(position == self.selected, "-selected")
            chart.select(position == self.selected)
        self.call_after_refresh(self._tick)

    def on_click(self, event: Click) -> None:
        """A click chooses a chart; on the chosen one it fills the screen with it."""
        if isinstance(event.widget, Chart) and event.widget in self.charts:
            index = self.charts.index(event.widget)
            if index == self.selected:
                self.action_full()
            else:
                self._choose(index)

    # -- actions ----------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing can be asked of a run that has ended, and only such a one goes on."""
        if action == "resume":
            return self.facts.state.state in states.ENDED
        if action == "cancel":
            return self.facts.state.state == states.QUEUED
        if self.facts.state.state == states.QUEUED and action in ("stop", "stop_now", "checkpoint", "evaluate"):
            return False
        return self.facts.state.live or action not in ("stop", "stop_now", "checkpoint", "evaluate")

    def action_back(self) -> None:
        """Out of the full screen, or back to the runs."""
        if self.full:
            self.action_full()
        elif not self.query_one(LogTail).following:
            self.query_one(LogTail).follow()
        else:
            cast("TunedeckApp", self.app).open_runs()

    def action_chart(self, number: int) -> None:
        """Choose a chart by its number."""
        self._choose(number - 1)

    def action_next_chart(self, by: int = 1) -> None:
        """Choose the next chart."""
        self._choose(self.selected + by)

    def action_full(self) -> None:
        """One chart over the whole screen, and back."""
        self.full = not self.full
        self.set_class(self.full, "-full")
        self.call_after_refresh(self._tick)

    def action_log_scale(self) -> None:
        """Logarithmic or linear loss."""
        chart = self.charts[0]
        chart.set_log(not chart.model.y.log)

    def action_scroll_log(self, pages: float) -> None:
        """Scroll the log: positive towards its beginning."""
        self.query_one(LogTail).page(pages)

    def action_follow_log(self) -> None:
        """The newest lines of the log."""
        self.query_one(LogTail).follow()

    def action_copy_path(self) -> None:
        """Send the path to the terminal's clipboard (OSC 52)."""
        self.app.copy_to_clipboard(clean_path(self.path))
        self.flash("the path was sent to your terminal's clipboard")

    def action_clone(self) -> None:
        """A new run from these settings."""
        values = self.feed.values
        if not values:
            self.flash("the settings of this run are not known")
            return
        values.pop("output_dir", None)
        cast("TunedeckApp", self.app).open_launch(values, f"new run from {self.facts.name}")

    def action_resume(self) -> None:
        """Ask from where and with what, then go on."""
        if self.facts.state.state in states.ENDED:
            cast("TunedeckApp", self.app).open_resume(self.path, self.facts.name)

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
        self._tick()

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
            self._wake.set()

        self.run_worker(send, name=verb, thread=True, exit_on_error=False)

    def _refused(self, verb: str, why: str) -> None:
        self.asked = None
        self.flash(f"{words.VERBS[verb]} could not be asked for: {why}")
