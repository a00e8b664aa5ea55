"""Below the list: the selected run in words and, where there is room, its loss curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message

from engine.text import clean
from tui.glyphs import glyphs
from tui.runlist import detail
from tui.widgets.lines import Line, Lines

if TYPE_CHECKING:
    from engine.history import RunSummary
    from tui.runlist.preview import Preview, PreviewReader
    from tui.widgets.chart import Chart


class RunPanel(Vertical):
    """Three lines on a run; a chart of its loss below them once :meth:`set_chart` says that there is room."""

    DEFAULT_CSS = """
    RunPanel {
        height: auto; padding: 0 1;
        & > .run-panel--rule { height: 1; }
        & > .run-panel--facts { height: 3; }
        & > Chart { margin-top: 1; }
    }
    """

    @dataclass
    class Read(Message):
        """The reader has points."""

        preview: Preview

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._run: RunSummary | None = None
        self._note: Line = []
        self._height = 0
        self._chart: Chart | None = None
        self._reader: PreviewReader | None = None

    def compose(self) -> ComposeResult:
        """A rule and the facts."""
        yield Lines(classes="run-panel--rule")
        yield Lines(classes="run-panel--facts")

    def on_unmount(self) -> None:
        """End the thread."""
        if self._reader is not None:
            self._reader.stop()

    def on_resize(self) -> None:
        """Everything has the old width."""
        self.call_after_refresh(self._draw)

    def show(self, run: RunSummary | None, note: Line | None = None) -> None:
        """Show a run, or a note in its place."""
        if run is None and self._run is not None:
            self._no_curve()
        self._run, self._note = run, note or []
        self._draw()
        self._aim()

    def rest(self, resting: bool) -> None:
        """Read nothing while nobody looks."""
        if self._reader is not None:
            if resting:
                self._reader.aim(None)
            else:
                self._aim()

    def _draw(self) -> None:
        if not self.is_attached:  # left meanwhile
            return
        width = self.content_size.width
        if not width:
            return
        rule, facts = self.query(Lines)
        rule.show([[(glyphs().rule * width, "rule")]])
        facts.show(detail.lines(self._run, width) if self._run is not None else [self._note])

    # The chart.

    async def set_chart(self, height: int) -> None:
        """Room for a chart of so many lines; 0 for none. It is loaded when it is first shown."""
        if height == self._height:
            return
        self._height = height
        if height and self._chart is None:
            from tui.runlist.preview import PreviewReader

            self._chart = _make_chart()
            await self.mount(self._chart)
            self._reader = PreviewReader(self._deliver)
            self._reader.start()
        if self._chart is not None:
            self._chart.styles.height = max(1, height)
            self._chart.display = bool(height)
        self._aim()

    def _aim(self) -> None:
        if self._reader is not None:
            run = self._run if self._height else None
            self._reader.aim(run.path if run else None, bool(run and run.live))

    def _no_curve(self) -> None:
        """What was drawn is no longer what is selected."""
        if self._chart is not None:
            self._chart.clear()
            self._chart.model.title, self._chart.model.empty = "", ""
            self._chart.flush()
        if self._reader is not None:
            self._reader.forget()

    def _deliver(self, preview: Preview) -> None:
        self.post_message(self.Read(preview))

    def on_run_panel_read(self, message: Read) -> None:
        """Draw what the reader found; the title says whose curve it is, also while another run is being read."""
        from tui.watch import charts

        preview, chart, run = message.preview, self._chart, self._run
        if chart is None or run is None or preview.path != run.path:
            return
        if preview.fresh:
            chart.clear()
            chart.model.title = f"loss of {clean(run.name, 60)}"
            nothing = "no steps yet" if run.live else "no loss was logged"
            chart.model.empty = "a long record: open it to see its curves" if preview.too_long else nothing
        for update in preview.updates:
            if update.reset and not preview.fresh:
                chart.clear()
            charts.feed([chart], update)
        if preview.updates:
            charts.set_span(chart, preview.updates[-1].facts, fit=preview.fresh)
        chart.flush()


def _make_chart() -> Chart:
    from tui.watch import charts

    chart = charts.make()[0]
    chart.model.mark = ""
    return chart
