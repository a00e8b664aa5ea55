"""The app shell: screens and how one gets from one to another; nothing here knows what a run is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App
from textual.css.query import NoMatches
from textual.events import Event, Key

from tui import leaving, readiness, theme
from tui.keys import bindings
from tui.screens.runs import RunsScreen

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.command import Provider
    from textual.driver import Driver
    from textual.screen import Screen

    from engine.history import RunSummary
    from tui.screens.watch import View


REVIVE_SECONDS = 30.0


def _goes_on(live: list[RunSummary]) -> str:
    """How many of these runs train on without the app, and how many wait."""
    queued = sum(run.state == "queued" for run in live)
    running = len(live) - queued
    which = live[0].id if len(live) == 1 else "ID"
    if not running:
        words = (
            "runs wait in the queue and start by themselves"
            if queued > 1
            else "run waits in the queue and starts by itself"
        )
        return f"{queued} {words}: tunedeck watch {which}"
    waits = f", {queued} wait{'' if queued > 1 else 's'} in the queue" if queued else ""
    return f"{running} run{'s go' if running > 1 else ' goes'} on{waits}: tunedeck watch {which}"


def _commands() -> type[Provider]:
    from tui.palette import Commands

    return Commands


class TunedeckApp(App[None]):
    """tunedeck. Home is the Runs screen; Launch and Watch are pushed on top, Esc goes back.

    ``roots`` are searched for runs besides the remembered ones; ``initial`` (runs, watch, launch) with ``watch`` or
    ``values`` says what is opened first; ``theme_name`` is auto, dark, light or ansi.
    """

    TITLE = "tunedeck"
    # The first screen's style is here: Textual loads a screen's own only when it is pushed.
    CSS_PATH = ["app.tcss", "screens/runs.tcss"]
    BINDINGS = bindings("app")
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_commands}

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

    def get_driver_class(self) -> type[Driver]:
        """A terminal gets only what differs from what it shows; see :mod:`tui.terminal`."""
        from tui.terminal.driver import for_terminal

        return for_terminal(super().get_driver_class())

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Own variables, for Textual's themes."""
        return theme.OWN_VARIABLES

    # Navigation: the contract that all screens use.

    def get_default_screen(self) -> Screen[None]:
        """Home."""
        self._home = RunsScreen()
        return self._home

    def on_mount(self) -> None:
        """Open what was asked for; from here on a signal or a lost line ends the app in order."""
        if not self.is_headless:
            leaving.install(self)
            self.app_resume_signal.subscribe(self, lambda _app: self.action_redraw())
            readiness.prepare(self)
        self._revive()
        self.set_interval(REVIVE_SECONDS, self._revive)
        if self._initial == "watch" and self._watch is not None:
            self.open_watch(self._watch)
        elif self._initial == "launch":
            self.open_launch(self._values, self._launch_title)

    def _revive(self) -> None:
        """Have queued runs go on whose supervisors are gone; quiet, and away from the screen."""

        def work() -> None:
            from engine import queue

            queue.revive()

        self.run_worker(work, name="revive", thread=True, group="revive", exit_on_error=False)

    async def on_event(self, event: Event) -> None:
        """Esc with q right behind it arrives as alt+q: it is taken for the Esc, and never leaves the app."""
        if isinstance(event, Key) and event.key == "alt+q" and not event.is_forwarded:
            event = Key("escape", None)
        await super().on_event(event)

    def open_runs(self) -> None:
        """Back home, closing whatever is on top."""
        while len(self.screen_stack) > 1:
            self.pop_screen()

    def open_watch(self, path: Path) -> None:
        """Watch the run in a directory."""
        from tui.screens.watch import WatchScreen

        self.push_screen(WatchScreen(path))

    def watch_instead(self, path: Path, like: View) -> None:
        """Watch another run in place of the one on the screen, looked at in the same way."""
        from tui.screens.watch import WatchScreen

        self.switch_screen(WatchScreen(path, like))

    def open_run(self, run: RunSummary) -> None:
        """A live run is watched; of another one all is shown that is recorded of it."""
        if run.live:
            self.open_watch(Path(run.path))
        else:
            self.open_detail(Path(run.path))

    def open_detail(self, path: Path) -> None:
        """Everything that the directory of a run tells, whatever tool left it."""
        from tui.screens.detail import DetailScreen

        self.push_screen(DetailScreen(path))

    def open_compare(self, paths: Sequence[Path]) -> None:
        """Two to eight runs beside each other."""
        from tui.screens.compare import CompareScreen

        self.push_screen(CompareScreen(paths))

    def ask_removal(
        self, paths: Sequence[Path], prune: bool = False, then: Callable[[list[Path]], None] | None = None
    ) -> None:
        """Show what would be deleted (or pruned), ask for the name, do it; ``then`` is told the runs that changed."""
        from tui.screens.removal import RemovalScreen

        def done(changed: list[Path] | None) -> None:
            if changed and then is not None:
                then(changed)

        self.push_screen(RemovalScreen(paths, prune=prune), done)

    def open_launch(
        self,
        values: dict[str, Any] | None = None,
        title: str = "",
        unknown: Iterable[str] = (),
        remarks: Iterable[str] = (),
    ) -> None:
        """Open the form, filled in with raw setting values; ``unknown`` ones, which nobody told, are marked."""
        from tui.screens.launch import LaunchScreen

        self.push_screen(LaunchScreen(values, title, unknown, remarks))

    def open_resume(self, path: Path, name: str = "") -> None:
        """Ask how the run in a directory shall go on; then watch it."""
        from tui.screens.resume import ResumeScreen

        def answered(started: Path | None) -> None:
            if started is not None:
                self._watch_again(started)

        self.push_screen(ResumeScreen(path, name), answered)

    def _watch_again(self, path: Path) -> None:
        """Watch a run that was just started, on the screen that watches it already if there is one."""
        if getattr(self.screen, "KEYS", "") == "watch" and getattr(self.screen, "path", None) == path.absolute():
            self.screen.refresh_now()  # type: ignore[attr-defined]
        else:
            self.open_runs()
            self.open_watch(path)

    def action_back(self) -> None:  # type: ignore[override]
        """Close the screen on top; at home there is nothing to go back to."""
        if len(self.screen_stack) > 1:
            self.pop_screen()

    def known_runs(self) -> list[RunSummary]:
        """All runs that the list knows, as it orders them."""
        return self._home.list.visible

    def live_runs(self) -> list[RunSummary]:
        """All runs that have not ended, whatever the list's filter shows."""
        return self._home.list.live

    # Actions.

    def action_help(self) -> None:
        """The keys of this screen."""
        from tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(getattr(self.screen, "KEYS", "app")))

    def action_command_palette(self) -> None:
        """Actions and runs by name."""
        from tui.palette import Palette

        if self.use_command_palette and not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def action_redraw(self) -> None:
        """Draw everything anew, for a screen that other programs have written on."""
        self.screen.refresh(layout=True)
        repaint = getattr(self._driver, "repaint", None)
        if repaint is not None:
            self.call_after_refresh(repaint)

    def action_toggle_theme(self) -> None:
        """Dark to light and back."""
        self.theme = theme.LIGHT if self.theme != theme.LIGHT else theme.DARK

    async def action_quit(self) -> None:
        """Leave at once; runs are none of the app's processes and go on."""
        live = [run for run in self._home.list.live if run.here]
        if live:
            leaving.say_after(_goes_on(live))
        if not self.is_headless:
            leaving.insist(0)
        self.exit()

    # Bugs: a traceback belongs into a log, not on the screen; under test it is raised as usual.

    def _handle_exception(self, error: Exception) -> None:
        # Once the app leaves, a screen that is just being opened gets no parts: that it misses them is no bug.
        if self._exit and isinstance(error, NoMatches):
            leaving.log_exception(error)
            return
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        error = self._exception
        path = leaving.log_exception(error) if error is not None else None
        name = type(error).__name__ if error is not None else "an error"
        self._say_broken(f"tunedeck ended on a bug of its own ({name}); runs go on.", path)
        self._close_messages_no_wait()

    def panic(self, *renderables: RenderableType) -> None:
        """What Textual would print on the terminal goes to the log."""
        import io

        from rich.console import Console

        text = io.StringIO()
        console = Console(width=120, color_system=None, file=text)
        for renderable in renderables:
            console.print(renderable)
        path = leaving.log_text(text.getvalue())
        self._return_code = 1
        self._say_broken("tunedeck ended on a bug of its own; runs go on.", path)
        self._close_messages_no_wait()

    def _say_broken(self, text: str, path: Path | None) -> None:
        if not self._exit_renderables:
            from rich.text import Text

            self._exit_renderables.append(Text(f"{text} Details: {path}" if path else text))
