"""The app shell: screens and how one gets from one to another; nothing here knows what a run is made of."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import App

from tui import theme
from tui.keys import bindings
from tui.screens.runs import RunsScreen

if TYPE_CHECKING:
    from textual.screen import Screen


class TunedeckApp(App[None]):
    """tunedeck. Home is the Runs screen; Launch and Watch are pushed on top, Esc goes back.

    ``roots`` are searched for runs besides the remembered ones; ``initial`` (runs, watch, launch) with ``watch`` or
    ``values`` says what is opened first; ``theme_name`` is auto, dark, light or ansi.
    """

    TITLE = "tunedeck"
    CSS_PATH = "app.tcss"
    BINDINGS = bindings("app")

    def __init__(
        self,
        roots: Iterable[Path] = (),
        initial: str = "runs",
        watch: Path | None = None,
        values: dict[str, Any] | None = None,
        *,
        title: str = "",
        theme_name: str | None = None,
    ) -> None:
        super().__init__()
        self.roots: list[Path] = list(roots)
        self._initial, self._watch, self._values, self._launch_title = initial, watch, values, title
        for own in theme.THEMES:
            self.register_theme(own)
        self.theme = theme.choose(theme_name)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Own variables, for Textual's themes."""
        return theme.OWN_VARIABLES

    # Navigation: the contract that all screens use.

    def get_default_screen(self) -> Screen[None]:
        """Home."""
        return RunsScreen()

    def on_mount(self) -> None:
        """Open what was asked for."""
        if self._initial == "watch" and self._watch is not None:
            self.open_watch(self._watch)
        elif self._initial == "launch":
            self.open_launch(self._values, self._launch_title)

    def open_runs(self) -> None:
        """Back home, closing whatever is on top."""
        while len(self.screen_stack) > 1:
            self.pop_screen()

    def open_watch(self, path: Path) -> None:
        """Watch the run in a directory."""
        from tui.screens.watch import WatchScreen

        self.push_screen(WatchScreen(path))

    def open_launch(self, values: dict[str, Any] | None = None, title: str = "") -> None:
        """Open the form, filled in with raw setting values."""
        from tui.screens.launch import LaunchScreen

        self.push_screen(LaunchScreen(values, title))

    def action_back(self) -> None:
        """Close the screen on top; at home there is nothing to go back to."""
        if len(self.screen_stack) > 1:
            self.pop_screen()

    def action_help(self) -> None:
        """The keys of this screen."""
        from tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(getattr(self.screen, "KEYS", "app")))

    def action_redraw(self) -> None:
        """Draw everything anew, for a screen that other programs have written on."""
        self.refresh(layout=True)
        self.screen.refresh(layout=True)

    def action_toggle_theme(self) -> None:
        """Dark to light and back."""
        self.theme = theme.LIGHT if self.theme != theme.LIGHT else theme.DARK
