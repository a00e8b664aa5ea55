"""Problems in full: what, where, what to do."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.errors import Problem
from engine.text import clean
from tui.glyphs import glyphs
from tui.keys import bindings
from tui.screens.dialog import Dialog


class ProblemsScreen(Dialog[None]):
    """A list of problems that stays until it is closed."""

    CSS_PATH = "dialog.tcss"
    BINDINGS = bindings("close")

    def __init__(self, problems: Sequence[Problem], title: str = "") -> None:
        super().__init__()
        self._problems = list(problems)
        count = len(self._problems)
        self._title = clean(title, 200) or ("That did not work" if count == 1 else f"{count} problems")

    def compose(self) -> ComposeResult:
        """One paragraph a problem."""
        with Vertical(classes="dialog -wide"):
            yield Static(self._title, classes="dialog--title", markup=False)
            with VerticalScroll(classes="dialog--body"):
                yield Static(Content("\n\n").join([problem_content(problem) for problem in self._problems]))
            yield Static("esc closes", classes="dialog--foot", markup=False)

    def action_close(self) -> None:
        """Close the dialog."""
        self.dismiss(None)


def problem_content(problem: Problem) -> Content:
    """A problem as styled, cleaned text: sign and message, then where and hint on lines of their own."""
    warning = problem.severity == "warning"
    sign, style = (glyphs().warning, "$warning") if warning else (glyphs().cross, "$error")
    lines = [Content.assemble((f"{sign} ", f"bold {style}"), clean(problem.message, 2000))]
    if problem.where:
        lines.append(Content.assemble(("  " + clean(problem.where, 1000), "$text-muted")))
    if problem.hint:
        lines.append(Content(f"  {clean(problem.hint, 1000)}"))
    return Content("\n").join(lines)
