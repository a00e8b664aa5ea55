"""The chart on the screen: keeps its lines as strips and repaints only those that changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.glyphs import glyphs
from tui.widgets.chart.buckets import Buckets
from tui.widgets.chart.glyphs import ASCII, UNICODE
from tui.widgets.chart.model import LINE, ChartModel
from tui.widgets.chart.ticks import STEPS, Formatter, ValueFormatter, XKind, bytes_label, number_label

COLOURS = ("s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "cloud", "point")
PARTS = ("title", "selected", "text", "muted", "value", "axis", "tick", "edge", "nonfinite", "cursor")


class Chart(Widget):
    """Curves over steps, in braille dots.

    Feed it with :meth:`append` or :meth:`extend`, then call :meth:`flush` on the UI thread, at whatever rate the screen
    should move: only lines that differ are sent. Colours are component classes (``chart--s1`` …).
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"chart--{name}" for name in (*COLOURS, *PARTS)}
    DEFAULT_CSS = """
    Chart {
        height: 1fr; width: 1fr; min-height: 5;
        & > .chart--s1 { color: $accent; }
        & > .chart--s2 { color: $warning; }
        & > .chart--s3 { color: $success; }
        & > .chart--s4 { color: $secondary; }
        & > .chart--s5 { color: $error; }
        & > .chart--s6 { color: $primary; }
        & > .chart--s7 { color: $foreground; }
        & > .chart--s8 { color: $text-muted; }
        & > .chart--cloud { color: $foreground 45%; }
        &:ansi > .chart--cloud, &:ansi > .chart--muted, &:ansi > .chart--tick { text-style: dim; }
        & > .chart--point { color: $warning; text-style: bold; }
        & > .chart--title { color: $foreground; text-style: bold; }
        & > .chart--selected { color: $accent; text-style: bold; }
        & > .chart--text { color: $foreground; }
        & > .chart--value { color: $foreground; }
        & > .chart--muted { color: $text-muted; }
        & > .chart--axis { color: $faint; }
        & > .chart--tick { color: $text-muted; }
        & > .chart--edge { color: $warning; text-style: bold; }
        & > .chart--cursor { color: $accent; text-style: bold; }
        & > .chart--nonfinite { color: $error; text-style: bold; }
    }
    """

    def __init__(
        self,
        title: str,
        *,
        formatter: Formatter | None = None,
        kind: XKind = STEPS,
        zero: bool = False,
        binary: bool = False,
        empty: str = "no points yet",
        value_formatter: ValueFormatter | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        formatter = formatter or (bytes_label if binary else number_label)
        self.model = ChartModel(
            title,
            formatter=formatter,
            kind=kind,
            zero=zero,
            binary=binary,
            empty=empty,
            glyphs=ASCII if glyphs().ascii else UNICODE,
            value_formatter=value_formatter,
        )
        self._strips: dict[int, Strip] = {}
        self._styles_by_name: dict[str, Style] = {}

    def add_series(self, key: str, label: str, style: str = LINE, colour: str = "s1", *, in_range: bool = True) -> None:
        """Declare a curve: see :meth:`ChartModel.add_series`."""
        self.model.add_series(key, label, style, colour, in_range=in_range)

    def append(self, key: str, x: int, y: float) -> None:
        """Add one point to a curve."""
        self.model.append(key, x, y)

    def extend(
        self, key: str, xs: Sequence[int], ys: Sequence[float], nonfinite: Collection[int] | None = None
    ) -> None:
        """Add points in rising order of x to a curve."""
        self.model.extend(key, xs, ys, nonfinite)

    def adopt(self, key: str, buckets: Buckets) -> None:
        """Take all points of a curve at once; the buckets are the chart's from now on."""
        self.model.adopt(key, buckets)

    def clear(self, origin: int | None = None) -> None:
        """Forget all points."""
        self.model.clear(origin)

    def set_span(self, total: int | None, live: bool, ahead: int = 0) -> None:
        """The last x that will come, if known, whether more will come, and how far an axis that grows looks ahead."""
        self.model.set_span(total, live, ahead)

    def select(self, selected: bool) -> None:
        """Show whether this chart is the chosen one."""
        if selected != self.model.selected:
            self.model.selected = selected
            self.flush()

    def set_log(self, log: bool) -> None:
        """Logarithmic or linear y axis; repaints."""
        self.model.set_log(log)
        self.flush()

    def show_model(self, model: ChartModel) -> None:
        """Show other curves, under another title."""
        model.selected, model.glyphs = self.model.selected, self.model.glyphs
        model.resize(self.model.width, self.model.height)
        model.lines = self.model.lines
        self.model = model

    def flush(self, *, legend: bool = True) -> None:
        """Repaint what changed since the last call."""
        if not self.size or not self.display:
            return
        changed = self.model.update(legend=legend)
        for line in changed:
            self._strips.pop(line, None)
        if len(changed) == len(self.model.lines):
            self.refresh()
        elif changed:
            self.refresh(*(Region(0, line, self.size.width, 1) for line in changed))

    def render_line(self, y: int) -> Strip:
        """One line of the picture."""
        strip = self._strips.get(y)
        if strip is None:
            lines = self.model.lines
            width = self.size.width
            if y < len(lines):
                segments = [Segment(text, self._style(colour)) for text, colour in lines[y] if text]
                strip = Strip(segments).adjust_cell_length(width, self._style("text"))
            else:
                strip = Strip.blank(width, self.rich_style)
            self._strips[y] = strip
        return strip

    def on_resize(self, event: events.Resize) -> None:
        """Lay out for the new size."""
        self.model.resize(event.size.width, event.size.height)
        self._strips.clear()
        self.model.update()
        self.refresh()

    def notify_style_update(self) -> None:
        """The theme changed: the strips hold its colours."""
        self._styles_by_name = {}
        self._strips = {}
        super().notify_style_update()

    def _style(self, name: str) -> Style:
        style = self._styles_by_name.get(name)
        if style is None:
            style = self._styles_by_name[name] = self.get_component_rich_style(f"chart--{name}")
        return style
