"""The live screen: one run, as it is this moment, and what it came to."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.events import Resize
from textual.message import Message
from textual.worker import get_current_worker

from engine import status as states
from engine.rundir import RunDir
from engine.text import clean, shorten_path
from tui import report
from tui.keys import bindings
from tui.terminal.motion import CALM_SECONDS, reduced
from tui.watch import values as column
from tui.watch import words
from tui.watch.deck import ChartDeck
from tui.watch.facts import Facts
from tui.watch.feed import WatchFeed, WatchUpdate
from tui.watch.hardware import HardwarePanel
from tui.watch.strip import neighbour, strip
from tui.watch.viewing import CHART, HARDWARE, LOG, PLAIN_VIEW, View, Viewing
from tui.widgets.chrome import KeyBar, TopBar
from tui.widgets.lines import Lines, spread
from tui.widgets.logtail import LogTail

POLL_SECONDS = 0.5
ENDED_POLL_SECONDS = 2.0
FLASH_SECONDS = 4.0
GRID_SIZE = (110, 34)


class WatchScreen(Viewing):
    """Watches the run at ``path``; reads it in a thread and repaints only what changed."""

    CSS_PATH = "watch.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("watch")]
    KEYS = "watch"

    @dataclass
    class Updated(Message):
        """The feed has something new."""

        update: WatchUpdate

    def __init__(self, path: Path, like: View = PLAIN_VIEW) -> None:
        super().__init__()
        self.path = Path(path).absolute()
        self.run = RunDir(self.path)
        self.feed = WatchFeed(self.path)
        self.facts = Facts(self.path, name=clean(self.path.name, 200))
        self.deck = ChartDeck(id="watch-charts")
        # Kept by name: a callback may still come when the screen has been left and finds nothing by its id any more.
        self.top, self.strip_line, self.head = TopBar("Watch"), Lines(id="watch-strip"), Lines(id="watch-head")
        self.values_column, self.panel = Lines(id="watch-values"), HardwarePanel(id="watch-hardware")
        self.body = Horizontal(id="watch-body")
        self.log_tail = LogTail("train.log", id="watch-log")
        self.pane = like.pane
        self._like = like
        self._flash: tuple[float, str] = (0.0, "")
        self._ready = False
        self.known = asyncio.Event()
        self._stop = False
        self._wake = threading.Event()

    def compose(self) -> ComposeResult:
        """Other live runs, head, charts beside values, log."""
        yield self.top
        yield self.strip_line
        yield self.head
        with self.body:
            yield self.deck
            yield self.values_column
        yield self.panel
        yield self.log_tail
        yield KeyBar()

    def on_mount(self) -> None:
        """Start reading."""
        self.deck.choose(self._like.chart)
        self.lay_out()
        self.run_worker(self._follow, name="watch", thread=True, exit_on_error=False)
        self.set_interval(CALM_SECONDS if reduced() else 1.0, self.tick)

    def on_unmount(self) -> None:
        """Let the reader's thread end."""
        self._stop = True
        self.feed.taken()
        self._wake.set()

    # -- the thread -------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        worker = get_current_worker()

        def stopped() -> bool:
            return worker.is_cancelled or self._stop

        while not stopped():
            update = self.feed.poll()
            if update is not None:
                self.feed.hand_over(partial(self.post_message, self.Updated(update)), stopped)
                if not update.caught_up:
                    continue
            if self.feed.log_busy:
                continue
            self._wake.wait(self._pause)
            self._wake.clear()

    @property
    def _pause(self) -> float:
        """Seconds until the next look."""
        if self.feed.live and self.facts.state.live and reduced():
            return CALM_SECONDS
        return POLL_SECONDS if self.feed.live else ENDED_POLL_SECONDS

    # -- what is new ------------------------------------------------------------------------------------------------

    def on_watch_screen_updated(self, message: Updated) -> None:
        """Feed the charts; numbers follow at the next tick."""
        update = message.update
        self.feed.taken()
        before, self.facts = self.facts, update.facts
        self.deck.take(update)
        if update.log is not None:
            self.log_tail.set_log(update.log)
        self.settle_request()
        self._sound_alarm(before, ready=self._ready)
        first = update.caught_up and not self._ready
        self._ready |= update.caught_up
        self.known.set()
        if first or before.state.live != self.facts.state.live:
            self.call_after_refresh(self.tick)
        if first or before.state.state != self.facts.state.state:
            self.refresh_bindings()
        self.deck.paint(self.facts, ready=self._ready, fit=first or before.state.live != self.facts.state.live)
        if first or before.state != self.facts.state or before.problem != self.facts.problem:
            self.tick()

    def _sound_alarm(self, before: Facts, *, ready: bool) -> None:
        """Say a new alarm; those from before the screen was opened stand in the head only."""
        alarm = self.facts.alarm
        if ready and alarm is not None and alarm != before.alarm:
            report.tell(self.app, alarm[2], severity="error" if alarm[1] == "error" else "warning")

    def refresh_now(self) -> None:
        """The run has gone on: read it at once."""
        self._wake.set()

    def tick(self) -> None:
        """Once a second: whatever a clock or a new number changes."""
        if not self.is_attached:
            return
        now = time.time()
        self._show_strip()
        if self.pane == CHART:
            self.top.set_title(f"Watch  {self.facts.name}  {words.state_text(self.facts.state.state)}")
        else:
            self.top.set_title("Watch")
        self._show_head(now)
        if self.pane == HARDWARE:
            self.panel.show_facts(self.facts, now)
            return
        values = self.values_column
        smooth = None if self.facts.before_first_step else self.deck.smooth
        values.show(column.values(self.facts, smooth, values.size.width, values.size.height))
        self.deck.tick()

    def _show_head(self, now: float) -> None:
        width = self.head.size.width
        lines = words.head(self.facts, now, width, self.asked)
        until, text = self._flash
        reading, status = self.deck.reading(), self.deck.status()
        if time.monotonic() < until:
            lines[-1] = [(text, "accent")]
        elif reading or status:
            lines[-1] = spread(reading or lines[-1], [(status, "muted")] if status else [], width)
        self.head.show([lines[-1] or lines[2]] if self.pane == CHART else lines)

    def _show_strip(self) -> None:
        line = strip(self.shell_app.live_runs(), str(self.path), self.size.width - 2)
        self.strip_line.display = bool(line)
        self.strip_line.show([line])

    def flash(self, text: str) -> None:
        """Say something for a few seconds, in the message line."""
        self._flash = (time.monotonic() + FLASH_SECONDS, text) if text else (0.0, "")
        self.tick()

    def on_chart_deck_wanted(self, message: ChartDeck.Wanted) -> None:
        """The charts show another stretch, axis or smoothing: the reader brings its points."""
        self.feed.ask(message.query)
        self._wake.set()

    # -- layout -----------------------------------------------------------------------------------------------------

    def on_resize(self, event: Resize) -> None:
        """Four charts where there is room for them, one otherwise."""
        width, height = event.size
        self.set_class(width >= GRID_SIZE[0] and height >= GRID_SIZE[1], "-grid")
        self.set_class(height < GRID_SIZE[1], "-low")
        self.lay_out()
        path = shorten_path(self.path, width - 30)
        self.top.set_right(path)

    def lay_out(self) -> None:
        """Show the pane that was chosen."""
        # By hand and not by classes of the screen, which have the style sheet match everything anew: that takes 60 ms.
        chart, log, machine = (self.pane == pane for pane in (CHART, LOG, HARDWARE))
        self.body.display, self.panel.display = not (log or machine), machine
        self.values_column.display = self.log_tail.display = not chart
        self.log_tail.styles.height = "1fr" if log else None
        self.head.styles.height, self.head.styles.margin = (1, (0, 2)) if chart else (None, None)
        self.body.styles.margin = (1, 2) if chart else None
        self.deck.set_grid(self.has_class("-grid") and not chart)
        self.call_after_refresh(self.tick)

    def on_log_tail_wanted(self, message: LogTail.Wanted) -> None:
        """The log's reader is to bring another part, or to search."""
        self.feed.log_ask(message.ask)
        self._wake.set()

    def on_chart_deck_full_asked(self) -> None:
        """A click on the chosen chart."""
        self.action_full()

    # -- actions ----------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing can be asked of a run that has ended, and only such a one goes on."""
        if action == "match":
            return self.log_tail.searching
        if action == "other_run":
            return neighbour(self.shell_app.live_runs(), str(self.path), 1) is not None
        if action == "resume":
            return self.facts.state.state in states.ENDED
        if action == "cancel":
            return self.facts.state.state == states.QUEUED
        if self.facts.state.state == states.QUEUED and action in ("stop", "stop_now", "checkpoint", "evaluate"):
            return False
        return self.facts.state.live or action not in ("stop", "stop_now", "checkpoint", "evaluate")

    def action_clone(self) -> None:
        """A new run from these settings."""
        values = self.feed.values
        if not values:
            self.flash("the settings of this run are not known")
            return
        values.pop("output_dir", None)
        self.shell_app.open_launch(values, f"new run from {self.facts.name}")

    def action_resume(self) -> None:
        """Ask from where and with what, then go on."""
        if self.facts.state.state in states.ENDED:
            self.shell_app.open_resume(self.path, self.facts.name)
