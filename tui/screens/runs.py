"""Home: all runs, of whatever tool; from here one opens, compares, starts, clones, stops and deletes them."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path

from textual.app import ComposeResult
from textual.events import Resize
from textual.message import Message
from textual.widgets import Static

from engine.text import clean
from tui import report
from tui.glyphs import glyphs
from tui.keys import bindings
from tui.runlist import choices, columns
from tui.runlist.actions import RunActions
from tui.runlist.arranging import Arranging
from tui.runlist.ends import Ends
from tui.runlist.feed import Batch, Progress, RunsFeed
from tui.runlist.filtering import Filtering
from tui.runlist.marking import Marking
from tui.runlist.model import RESUMABLE, RunList
from tui.runlist.panel import RunPanel
from tui.runlist.table import GUTTER, RunTable
from tui.runlist.topline import MISSING, top_line
from tui.runlist.welcome import welcome
from tui.widgets.chrome import KeyBar, TopBar
from tui.widgets.lines import Line, Lines

TICK_SECONDS = 1.0
TALL = 32
MANY = 1000
NEEDS_RUN = frozenset({"clone", "copy_path", "note"})
NEEDS_LIST = frozenset({"filter", "order", "reverse", "group", "columns", "mark_all", "saved_filters"})


class RunsScreen(RunActions, Marking, Arranging, Filtering, Ends):
    """The list of runs, fed by threads."""

    KEYS = "runs"
    BINDINGS = bindings("runs")
    AUTO_FOCUS = "RunTable"

    @dataclass
    class News(Message):
        """The feed has found something."""

        batch: Batch

    def __init__(self) -> None:
        super().__init__()
        self.choices = choices.load()
        self.list = RunList(self.choices)
        self.progress = Progress(searching=True)
        self.feed = RunsFeed(self._roots, self._deliver)
        self._able: tuple[object, ...] = ()
        self._spared = 0
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

    def on_runs_screen_news(self, message: News) -> None:
        """Take in what the feed found."""
        batch = message.batch
        if batch.failure is not None:
            self.tell_failure(batch.failure)
            return
        self.progress = batch.progress or self.progress
        self.tell_ends(batch.changed)
        if batch.changed or batch.gone:
            self.list.update(batch.changed, batch.gone)
            self._spare_the_collector()
        self.draw()
        self.call_after_refresh(self._fit_chart)  # the rows first

    def _spare_the_collector(self) -> None:
        """Rows of runs are no rubbish: looking through all of them for some takes longer than a key may."""
        if len(self.list.runs) >= self._spared + MANY:
            self._spared = len(self.list.runs)
            gc.freeze()

    @property
    def searching(self) -> bool:
        """Whether runs are being looked for."""
        return self.progress.searching

    def on_run_table_moved(self) -> None:
        """Another run, or news of this one."""
        self._draw_detail()

    def on_run_table_laid(self) -> None:
        """The columns changed."""
        self._draw_header()

    def on_run_table_opened(self) -> None:
        """A double click."""
        self.action_open()

    def _tick(self) -> None:
        if self.is_current and self.list.live:
            self.table.renew()
            self._draw_detail()

    def draw(self, words: str = "") -> None:
        """Show the list as it is now; the words stand above it until the next news."""
        empty = not self.list.runs
        self.set_class(empty and not self.searching, "-empty")
        if empty:
            missing = [path for path, why in self.progress.unreachable if why in MISSING]
            self.query_one("#runs-welcome", Static).update(welcome(missing))
        table = self.table
        table.marks = self.list.marks
        table.choose(self.choices.shown(len(self.list.tools), self.list.group), self.list.wide)
        table.show(self.list.rows)
        if self.focused is None and not empty:
            table.focus()  # it could not have the focus while it was hidden
        self._draw_header()
        self._draw_detail()
        self.query_one(TopBar).set_right(top_line(self.list, self.progress, words, self.size.width))

    def _draw_header(self) -> None:
        table = self.table
        parts = (
            [(" " * (GUTTER - 1), "muted"), *columns.header(table.columns, *self.list.sort)] if table.columns else []
        )
        self.query_one("#runs-header", Lines).show([parts])

    def _draw_detail(self) -> None:
        run, group = self.table.selected, self.table.selected_group
        note: Line = []
        if run is None and group is not None:
            words = "opens the group" if group.folded else "folds the group"
            note = [("⏎ " if not glyphs().ascii else "enter ", "key"), (f"{words}   ", "muted"), ("space ", "key"),
                    ("marks all its runs", "muted")]  # fmt: skip
        elif run is None and self.list.filtered:
            note = [("No run passes the filter. ", "muted"), ("esc", "key"), (" shows all runs", "muted")]
        self.panel.show(run, note)
        able = (
            run and (run.state, run.queue_position, run.tool),
            len(self.list.queued),
            bool(self.list.marks),
            run is None,
        )
        if able != self._able:
            self._able = able
            self.refresh_bindings()

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
        if action == "watch":
            return run is not None and run.tool == "tunedeck"
        if action == "move_queued":
            return self.list.can_move(run, parameters[0] if isinstance(parameters[0], int) else 1)
        if action in ("remove", "export"):
            return run is not None and not self.list.marks and (action == "export" or not run.live)
        if action == "prune":
            return run is not None or bool(self.list.marks)
        if action in ("compare", "unmark", "remove_marked", "export_marked"):
            return bool(self.list.marks)
        if action in ("fold", "fold_all"):
            return bool(self.list.group)
        if action in ("open", "mark"):
            return bool(self.list.rows)
        if action in NEEDS_RUN:
            return run is not None
        if action in NEEDS_LIST:
            return bool(self.list.runs) and not self.types_a_filter
        return True

    def action_rows(self, by: int) -> None:
        """Move in the list while the focus is elsewhere."""
        self.table.action_move(by)

    def action_pages(self, by: int) -> None:
        """Move by pages while the focus is elsewhere."""
        self.table.action_page(by)

    def action_rescan(self) -> None:
        """Search again now."""
        self.progress = Progress(searching=True, unreachable=self.progress.unreachable)
        self.draw()
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
