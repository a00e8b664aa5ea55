"""How the app tells people what went wrong: a short toast for one small thing, a dialog for more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from engine.errors import Problem
from engine.text import clean

if TYPE_CHECKING:
    from textual.app import App

SHORT = 160


def show_problems(app: App[Any], problems: Problem | Iterable[Problem], title: str = "") -> None:
    """Show problems: one short warning as a toast, everything else in a dialog that stays until it is closed."""
    items = [problems] if isinstance(problems, Problem) else list(problems)
    if not items:
        return
    if len(items) == 1 and items[0].severity != "error" and len(str(items[0])) <= SHORT:
        tell(app, str(items[0]), title=title, severity="warning")
        return
    from tui.screens.problems import ProblemsScreen

    app.push_screen(ProblemsScreen(items, title))


def tell(
    app: App[Any], text: str, *, title: str = "", severity: Literal["information", "warning", "error"] = "information"
) -> None:
    """A toast with cleaned text and no markup."""
    app.notify(clean(text, 500), title=clean(title, 100), severity=severity, timeout=5, markup=False)
