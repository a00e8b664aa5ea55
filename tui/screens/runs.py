"""Home: all runs, newest first; from here one watches, starts, clones and stops them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.events import Resize
from textual.message import Message
from textual.widgets import Input, Static

from engine.text import clean
from tui import format as fmt
from tui import report
from tui.glyphs import glyphs
from tui.keys import bindings
from tui.runlist import columns
from tui.runlist.actions import RunActions
from tui.runlist.feed import Batch, RunsFeed
from tui.runlist.filterline import FilterLine
from tui.runlist.model import BAD_ENDS, RESUMABLE, RunList
from tui.runlist.panel import RunPanel
from tui.runlist.table import RunTable
from tui.runlist.welcome import welcome
from tui.widgets.chrome import KeyBar, TopBar
from tui.widgets.lines import Line, Lines

if TYPE_CHECKING:
    from engine.history import RunSummary

TICK_SECONDS = 1.0
TALL = 32
NEEDS_RUN = frozenset({"watch", "clone", "copy_path"})


class RunsScreen(RunActions):
    """The list of runs, fed by a thread."""

    KEYS = "runs"
    BINDINGS = bindings("runs")
    AUTO_FOCUS = "RunTable"

    @dataclass
    class News(Message):
        """The feed has found something."""

        batch: Batch

    def __init__(self) -> None:
        super().__init__()
        self.list = RunList()
        self.searching = True
        self.feed = RunsFeed(self._roots, self._deliver)
        self._able: tuple[object, ...] = ()
        self._tall = False

    # Widgets.

    def compose(self) -> ComposeResult:
        """Top bar, header, rows, the selected run, keys."""
        yield TopBar("Runs", right="searching")
        yield Lines(id="runs-header")
        yield RunTable()
        yield Static(welcome(), id="runs-welcome")
        yield RunPanel(id="runs-panel")
        yield KeyBar()

    @property
    def table(self) -> RunTable:
        """The rows."""
        return self.query_one(RunTable)

    @property
    def panel(self) -> RunPanel:
        """The selected run."""
        return self.query_one(RunPanel)

    def on_mount(self) -> None:
        """Start looking once the first frame stands."""
        self.call_after_refresh(self.feed.start)
        self.set_interval(TICK_SECONDS, self._tick)

    def on_unmount(self) -> None:
        """End the thread."""
        self.feed.stop()

    def on_screen_suspend(self) -> None:
        """Nobody looks at the list now."""
        self.feed.pause()
        self.panel.rest(True)

    def on_screen_resume(self) -> None:
        """Look at once."""
        self.feed.resume()
        self.panel.rest(False)

    async def on_resize(self, event: Resize) -> None:
        """Tall terminals have room for a curve, once there are runs."""
        self._tall = event.size.height >= TALL
        await self._fit_chart()

    async def _fit_chart(self) -> None:
        if self.list.runs:
            await self.panel.set_chart(max(8, round(0.3 * self.size.height)) if self._tall else 0)

    # News.

    def _deliver(self, batch: Batch) -> None:
        self.post_message(self.News(batch))

    async def on_runs_screen_news(self, message: News) -> None:
        """Take in what the feed found."""
        batch = message.batch
        if batch.failure is not None:
            self._tell_failure(batch.failure)
            return
        self.searching = batch.searching
        for run in batch.changed:
            before = self.list.runs.get(run.path)
            if before is not None and before.live and not run.live:
                self._tell_end(run)
        self.list.update(batch.changed, batch.gone)
        self._draw()
        await self._fit_chart()

    def on_run_table_moved(self) -> None:
        """Another run, or news of this one."""
        self._draw_detail()

    def on_run_table_laid(self) -> None:
        """The columns changed."""
        self._draw_header()

    def on_run_table_opened(self) -> None:
        """A double click."""
        self.action_watch()

    def _tick(self) -> None:
        if self.is_current and self.list.live:
            self.table.renew()
            self._draw_detail()

    def _draw(self) -> None:
        empty = not self.list.runs
        self.set_class(empty and not self.searching, "-empty")
        self.table.show(self.list.visible)
        if self.focused is None and not empty:
            self.table.focus()  # it could not have the focus while it was hidden
        self._draw_detail()
        self.query_one(TopBar).set_right(self._count())

    def _draw_header(self) -> None:
        parts = columns.header(self.table.columns, self.list.order) if self.table.columns else []
        self.query_one("#runs-header", Lines).show([parts])

    def _draw_detail(self) -> None:
        run = self.table.selected
        note: Line = []
        if run is None and self.list.words:
            note = [("No run has all of these words. ", "muted"), ("esc", "key"), (" shows all runs", "muted")]
        self.panel.show(run, note)
        able = (run.state, run.queue_position, len(self.list.queued)) if run is not None else ()
        if able != self._able:
            self._able = able
            self.refresh_bindings()

    def _count(self) -> str:
        total, shown = len(self.list.runs), len(self.list.visible)
        queued = sum(run.state == "queued" for run in self.list.live)
        running = len(self.list.live) - queued
        parts = [f"{shown:,} of {total:,} runs" if self.list.words else f"{total:,} run{'' if total == 1 else 's'}"]
        if running:
            parts.append(f"{running} running")
        if queued:
            parts.append(f"{queued} queued")
        if self.searching:
            parts.append("searching")
        return f" {glyphs().dot} ".join(parts)

    def _tell_failure(self, error: Exception) -> None:
        from tui.leaving import log_exception

        path = log_exception(error)
        where = f" Details: {path}" if path else ""
        report.tell(self.app, f"Some runs could not be read.{where}", severity="warning")

    def _tell_end(self, run: RunSummary) -> None:
        """A run has ended while the app was open: said wherever one is, with the bell if the run asks for it."""
        bad = run.state in BAD_ENDS
        words = fmt.reason_after(run.state, run.reason)
        reason = f"{':' if words == run.reason else ''} {words}" if words else ""
        report.tell(
            self.app,
            f"{clean(run.name, 100)} {run.state}{clean(reason, 300)}",
            severity="error" if bad else "information",
        )
        self.run_worker(lambda: self._ring(run), thread=True, group="bell", exit_on_error=False)

    def _ring(self, run: RunSummary) -> None:
        from engine.rundir import RunDir

        config = (RunDir(run.path).read_run() or {}).get("config")
        wanted = config.get("notify") if isinstance(config, dict) else None
        if isinstance(wanted, list) and "bell" in wanted:
            self.app.call_from_thread(self.app.bell)

    # Actions.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys for a run need one; only a live one can be stopped."""
        run = self.table.selected if self.is_mounted else None
        if action == "stop":
            return run is not None and run.live and run.state != "queued"
        if action == "cancel":
            return run is not None and run.state == "queued"
        if action == "resume":
            return run is not None and run.state in RESUMABLE and run.tool == "tunedeck"
        if action == "move_queued":
            return self.list.can_move(run, parameters[0] if isinstance(parameters[0], int) else 1)
        if action in NEEDS_RUN:
            return run is not None
        if action in ("filter", "order"):
            return bool(self.list.runs) and not isinstance(self.focused, FilterLine)
        return True

    def _renumber(self, order: list[str]) -> None:
        self.table.keep_selected()
        self.list.renumber(order)
        self._draw()

    def action_order(self) -> None:
        """The next order."""
        order = self.list.next_order()
        self.table.keep_selected()
        self._draw()
        self._draw_header()
        words = {"started": "newest first", "name": "by name", "state": "by state, live ones first",
                 "loss": "by best evaluation loss, then by training loss"}  # fmt: skip
        self.query_one(TopBar).set_right(f"{words[order]} {glyphs().dot} {self._count()}")

    def action_rescan(self) -> None:
        """Search again now."""
        self.searching = True
        self.query_one(TopBar).set_right(self._count())
        self.feed.rescan()

    def action_add_root(self) -> None:
        """Ask for one more folder."""
        from tui.screens.folder import FolderScreen

        def answered(path: Path | None) -> None:
            if path is not None:
                report.tell(self.app, f"Searching {clean(path, 200)} from now on")
                self.action_rescan()

        self.app.push_screen(FolderScreen(self._roots()), answered)

    def _roots(self) -> list[Path]:
        here = Path.cwd() / "runs"
        return [*self.shell.roots, *([here] if here.is_dir() else [])]

    # Filter.

    async def action_filter(self) -> None:
        """Open the filter line."""
        if not self.query(FilterLine):
            await self.mount(FilterLine(), before="#runs-panel")
        self.query_one(FilterLine).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while typing."""
        self.list.set_filter(event.value)
        if self.list.words:
            self.table.select_first()
        else:
            self.table.keep_selected()
        self._draw()

    def on_input_submitted(self) -> None:
        """Keep the filter and go back to the rows."""
        if self.list.words:
            self.table.focus()
        else:
            self.key_escape()

    def key_escape(self) -> None:
        """Clear the filter."""
        for line in self.query(FilterLine):
            self.table.keep_selected()
            self.list.set_filter("")
            line.remove()
            self.table.focus()
            self._draw()
