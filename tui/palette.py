"""The command palette: the actions of this screen, and runs by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from textual.await_complete import AwaitComplete
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.fuzzy import Matcher
from textual.widgets import Input

from engine.text import clean
from tui.glyphs import state_text
from tui.keys import TABLES, display
from tui.screens.dialog import in_front

if TYPE_CHECKING:
    from engine.history import RunSummary
    from tui.app import TunedeckApp

RUNS_SHOWN = 8
# Of many runs only so many are offered, and so many compared letter by letter: a key must not wait for ten thousand.
RUNS_FOUND, RUNS_COMPARED = 40, 400


class Palette(CommandPalette):
    """Textual's palette without the blinking cursor, which costs bytes all the time."""

    def on_mount(self) -> None:
        """No blinking."""
        for field in self.query(Input):
            field.cursor_blink = False

    def dismiss(self, result: Any = None) -> AwaitComplete:
        """Close once: of two quick Enters the second would close the screen below, or end the app."""
        return super().dismiss(result) if in_front(self) else AwaitComplete()

    def _action_command_list(self, action: str) -> None:
        """Textual's list raises KeyError for a page key while its rows are being replaced."""
        with suppress(KeyError):
            super()._action_command_list(action)


class Commands(Provider):
    """Actions from the table of keys, then runs."""

    async def discover(self) -> Hits:
        """All actions and the newest runs."""
        for text, about, run in self._actions():
            yield DiscoveryHit(Content(text), run, text, _plain(about))
        for summary in self._runs()[:RUNS_SHOWN]:
            text = _run_text(summary)
            yield DiscoveryHit(Content(text), self._opener(summary), text, _plain(_run_help(summary)))

    async def search(self, query: str) -> Hits:
        """What matches, best first."""
        matcher = self.matcher(query)
        for text, about, run in self._actions():
            score = max(matcher.match(text), 0.9 * matcher.match(about))
            if score > 0:
                yield Hit(score, _highlight(matcher, text), run, text, _plain(about))
        for summary in candidates(self._runs(), query):
            text = _run_text(summary)
            score = matcher.match(text)
            if score > 0:
                yield Hit(score, _highlight(matcher, text), self._opener(summary), text, _plain(_run_help(summary)))

    @property
    def _shell(self) -> TunedeckApp:
        return cast("TunedeckApp", self.app)

    def _actions(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        enabled = {binding.binding.action for binding in self.screen.active_bindings.values() if binding.enabled}
        names = (getattr(self.screen, "KEYS", ""), "app")
        for row in (row for name in names for row in TABLES.get(name, ())):
            if row.palette and row.action in enabled:
                text = f"{row.label[:1].upper()}{row.label[1:]}  ({display(row)})"
                yield text, row.help, partial(self.screen.run_action, row.action)
        yield "Light or dark colours", "Change between the light and the dark theme", self._shell.action_toggle_theme

    def _runs(self) -> list[RunSummary]:
        return self._shell.known_runs()

    def _opener(self, summary: RunSummary) -> Callable[[], None]:
        return partial(self._shell.open_run, summary)


def candidates(runs: list[RunSummary], query: str) -> list[RunSummary]:
    """Runs that may match: those that have the words in their names, then the first of the others."""
    words = query.casefold().split()
    found: list[RunSummary] = []
    others: list[RunSummary] = []
    for run in runs:
        name = run.name.casefold()
        if all(word in name for word in words):
            found.append(run)
            if len(found) >= RUNS_FOUND:
                return found
        elif len(others) < RUNS_COMPARED:
            others.append(run)
    return found + others


def _plain(text: str) -> str:
    """Help without markup: Textual takes content as well as markup, though its types do not say so."""
    return cast(str, Content(text))


def _highlight(matcher: Matcher, text: str) -> Content:
    """What :meth:`Matcher.highlight` does, without taking the text for markup."""
    content = Content(text)
    score, offsets = matcher.fuzzy_search.match(matcher.query, text)
    for offset in offsets if score else ():
        if not text[offset].isspace():
            content = content.stylize(matcher.match_style, offset, offset + 1)
    return content


def _run_text(summary: RunSummary) -> str:
    return clean(summary.name, 200)


def _run_help(summary: RunSummary) -> str:
    model = f", {clean(summary.base_model, 100)}" if summary.base_model else ""
    return f"{state_text(summary.state, stalled=summary.stalled)}{model}"
