"""The cost sheet: everything that can be known of a run before a GPU is busy, and what makes it fit."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.timer import Timer

from engine.text import clean
from tui import format as fmt
from tui import report
from tui.glyphs import glyphs
from tui.history.sheet import Sheet, static
from tui.keys import bindings
from tui.screens.dialog import in_front
from tui.sheet import figures, page
from tui.sheet.costs import Costs
from tui.widgets.chrome import KeyBar, TopBar
from tui.widgets.lines import Line, Lines, spread

LOW = 30


class CostScreen(Screen[str | None]):
    """The sheet of a form; dismissed with ``start`` or ``preview`` where that is wanted next."""

    CSS_PATH = "sheet.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("sheet")
    KEYS = "sheet"
    AUTO_FOCUS = ""

    def __init__(self, costs: Costs, model: str) -> None:
        super().__init__()
        self._costs = costs
        self._top = TopBar(f"Costs  {clean(fmt.model_name(model), 80)}")
        self._clock: Timer | None = None

    def compose(self) -> ComposeResult:
        """The page, and where one is in it."""
        yield self._top
        yield Sheet(id="cost-sheet")
        yield Lines(id="cost-status")
        yield KeyBar()

    def on_mount(self) -> None:
        """Follow the form's costs; have them worked out if nobody did."""
        self._costs.listener = self.draw
        self._clock = self.set_interval(1.0, self._tick, pause=True)
        self._costs.wake()
        self.draw()

    def on_unmount(self) -> None:
        """The form goes on alone."""
        self._costs.listener = None

    def on_resize(self, event: events.Resize) -> None:
        """Another width."""
        self.set_class(event.size.height < LOW, "-low")
        self.call_after_refresh(self.draw)

    def draw(self) -> None:
        """What is known now, from where the page stands."""
        if not self.is_attached or not self.is_mounted:
            return
        sheet = self.query_one(Sheet)
        if sheet.size.width < 4:
            return
        known, trial = self._costs.known, self._costs.trial
        sheet.set_page(static(page.lines(known, trial, sheet.size.width)), keep=True)
        fits = figures.fits(known.sheet) if known.sheet is not None and known.current else None
        words = "" if fits is None else "fits" if fits else "does not fit"
        self._top.set_right(words if known.current else f"working it out{glyphs().ellipsis}")
        if self._clock is not None:
            (self._clock.resume if self._costs.trying else self._clock.pause)()
        self._draw_status()
        self.refresh_bindings()

    def _tick(self) -> None:
        if self._costs.trying:
            self.draw()

    def _draw_status(self) -> None:
        status, position = self.query_one("#cost-status", Lines), self.query_one(Sheet).position
        trial = self._costs.trial
        left: Line = [("Dry run: ", "text"), *page.under_way(trial)] if trial is not None and trial.running else []
        status.show([spread(left, [(f"lines {position}", "muted")] if position else [], status.size.width)])

    # Keys.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Which keys mean something now."""
        if not self.is_mounted:
            return True
        known = self._costs.known
        if self._costs.trying:
            return action in ("back", "scroll") or action.startswith("app.")
        if action == "fix":
            fixes = known.sheet.fixes if known.sheet is not None and known.current else []
            return parameters[0] in range(1, len(fixes) + 1)
        if action == "try_out":
            return known.ready and known.current and known.sheet is not None
        return True

    def action_back(self) -> None:
        """End a dry run, else go back to the form."""
        if self._costs.trying:
            self._costs.cancel_trial()
        elif in_front(self):
            self.dismiss(None)

    def action_start(self) -> None:
        """To the form, which starts the run."""
        if in_front(self):
            self.dismiss("start")

    def action_preview(self) -> None:
        """To the form, which opens the preview."""
        if in_front(self):
            self.dismiss("preview")

    def action_fix(self, number: int) -> None:
        """One of the changes that make it fit."""
        self._costs.apply(number)

    def action_undo(self) -> None:
        """Take the last change back."""
        self._costs.undo()

    def action_reread(self) -> None:
        """Look again."""
        self._costs.again()

    def action_try_out(self) -> None:
        """Ask, then begin the dry run."""
        from tui.screens.confirm import ConfirmScreen

        known = self._costs.known
        sheet = known.sheet
        if sheet is None or not known.current:
            return
        if sheet.errors:
            report.tell(self.app, "A start would be refused, and so would the dry run: see above", severity="warning")
            return
        gpu = sheet.gpu
        where = f"GPU {gpu.index}" if gpu is not None else "the processor"
        said = [f"It loads the model and takes two real steps on the longest rows on {where}, for about a minute. "
                "Nothing of it is kept but the figures."]  # fmt: skip
        found = figures.held(sheet)
        if found is not None and gpu is not None:
            said.append(f"It holds {figures.memory(sheet)} there.")
        if figures.fits(sheet) is False:
            said.append("By the estimate it does not fit: it will probably run out of memory, which harms nobody else.")
        if known.others:
            names = ", ".join(other.words for other in known.others[:5])
            said.append(f"In use there now: {names}. They may become slower, or run out of memory themselves.")

        def begin(yes: bool | None) -> None:
            if yes:
                self._costs.try_out()

        self.app.push_screen(ConfirmScreen(f"Dry run on {where}?", "\n\n".join(said), "Dry run", "Not now"), begin)

    def action_scroll(self, by: int, what: str = "line") -> None:
        """A line or a ``page`` on or back, or to one of the ends (``to``)."""
        sheet = self.query_one(Sheet)
        {"line": sheet.move, "page": sheet.scroll_pages, "to": sheet.jump}[what](by)
        self._draw_status()
