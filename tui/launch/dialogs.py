"""The form's dialogs: pick from a list, give a path, read the command line, go on in spite of warnings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.errors import Problem
from engine.paths import expand
from engine.text import clean
from tui.keys import bindings
from tui.launch.field import TextField
from tui.screens.dialog import Dialog
from tui.screens.problems import problem_content

Attempt = Callable[[Path], str]


def _foot(*keys: tuple[str, str]) -> Static:
    """The dialog's keys."""
    parts = [part for key, label in keys for part in ((key, "bold $accent"), f" {label}   ")]
    return Static(Content.assemble(*parts).rstrip(), classes="dialog--foot")


class PickScreen(Dialog[str | None]):
    """A list to choose from, narrowed by typing; dismissed with the chosen id or ``None``.

    ``options`` are (id, label, about).
    """

    CSS_PATH = "../screens/dialog.tcss"
    BINDINGS = bindings("ask")

    def __init__(self, title: str, options: Sequence[tuple[str, str, str]]) -> None:
        super().__init__()
        self._title, self._options = clean(title, 200), list(options)

    def compose(self) -> ComposeResult:
        """Title, filter, list."""
        with Vertical(classes="dialog -wide"):
            yield Static(Content(self._title), classes="dialog--title")
            yield TextField(hint="type to narrow down")
            options = OptionList(classes="dialog--body", compact=True)
            options.can_focus = False
            options.styles.text_wrap, options.styles.text_overflow = "nowrap", "ellipsis"
            yield options
            yield _foot(("⏎", "choose"), ("esc", "back"))

    def on_mount(self) -> None:
        """Everything is offered at first."""
        self._fill("")
        self.query_one(TextField).focus()

    def on_text_field_changed(self) -> None:
        """Narrow down."""
        self._fill(self.query_one(TextField).value)

    def on_key(self, event: events.Key) -> None:
        """Up and down move in the list while one types."""
        if event.key in ("up", "down"):
            event.stop()
            options = self.query_one(OptionList)
            (options.action_cursor_up if event.key == "up" else options.action_cursor_down)()

    def on_text_field_submitted(self) -> None:
        """Take the marked one."""
        options = self.query_one(OptionList)
        if options.highlighted is not None:
            self.dismiss(options.get_option_at_index(options.highlighted).id)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click."""
        self.dismiss(event.option.id)

    def action_cancel(self) -> None:
        """Nothing."""
        self.dismiss(None)

    def _fill(self, text: str) -> None:
        words = text.lower().split()
        found = [o for o in self._options if all(word in f"{o[1]} {o[2]}".lower() for word in words)]
        found.sort(key=lambda option: (not option[1].lower().startswith(text.lower().strip()),
                                       not all(word in option[1].lower() for word in words)))  # fmt: skip
        width = max((len(clean(label, 40)) for _, label, _ in self._options), default=0)
        options = self.query_one(OptionList)
        options.clear_options()
        for key, label, about in found:
            text_about = Content.styled(clean(about, 200), "$text-muted")
            options.add_option(Option(Content.assemble(f"{clean(label, 40):<{width}}  ", text_about), key))
        options.highlighted = 0 if found else None


class PathScreen(Dialog[Path | None]):
    """Asks for a path; Tab completes it.

    ``attempt`` does what is to be done and returns what went wrong, in words, or an empty text: then the dialog is
    dismissed with the path. ``None``: given up.
    """

    CSS_PATH = "../screens/dialog.tcss"
    BINDINGS = bindings("ask")
    NEW = False

    def __init__(self, title: str, attempt: Attempt, *, text: str = "", detail: str = "") -> None:
        super().__init__()
        self._title, self._attempt, self._text, self._detail = clean(title, 200), attempt, text, clean(detail, 500)

    def compose(self) -> ComposeResult:
        """Title, what it is for, path, error."""
        with Vertical(classes="dialog -wide"):
            yield Static(Content(self._title), classes="dialog--title")
            if self._detail:
                yield Static(Content(self._detail), classes="dialog--detail")
            yield TextField(self._text, kind="path", hint="a path; ~ is your home", new=self.NEW)
            yield Static("", classes="dialog--error")
            yield _foot(*self.keys())

    def keys(self) -> Sequence[tuple[str, str]]:
        """What the last line says."""
        return ("⏎", "ok"), ("tab", "complete"), ("esc", "back")

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(TextField).focus()

    def on_text_field_changed(self) -> None:
        """A new try."""
        self.say("")

    def on_text_field_submitted(self) -> None:
        """Try it."""
        text = self.query_one(TextField).value.strip()
        if not text:
            self.say("Type the path of a file")
            return
        try:
            path = expand(text)
            wrong = self._attempt(path)
        except (ValueError, RuntimeError, OSError) as error:
            wrong = f"That is no possible path: {error}"
        if wrong:
            self.say(wrong)
        else:
            self.dismiss(path)

    def say(self, text: str) -> None:
        """What is wrong."""
        box = self.query_one(".dialog--error", Static)
        if str(box.content) != text:
            box.update(Content(clean(text, 600)))

    def action_cancel(self) -> None:
        """Nothing."""
        self.dismiss(None)


class SaveScreen(PathScreen):
    """Asks where to save; F6 chooses between all settings and the changed ones (:attr:`only_changed`)."""

    BINDINGS = bindings("save")
    NEW = True

    def __init__(self, attempt: Attempt, *, text: str, total: int, changed: int) -> None:
        super().__init__("Save the settings as YAML", attempt, text=text, detail=" ")
        self.only_changed = False
        self._total, self._changed = total, changed

    def keys(self) -> Sequence[tuple[str, str]]:
        """With the switch."""
        return ("F6", "all or changed"), ("⏎", "save"), ("tab", "complete"), ("esc", "back")

    def on_mount(self) -> None:
        """Say what is saved."""
        super().on_mount()
        self._tell()

    def action_switch(self) -> None:
        """All, or only the changed ones."""
        self.only_changed = not self.only_changed
        self._tell()

    def _tell(self) -> None:
        all_text = f"All {self._total} settings: starts the same run again, whatever defaults a later version has."
        few = f"Only the {self._changed} that you changed: short, easy to read and to share."
        self.query_one(".dialog--detail", Static).update(Content(few if self.only_changed else all_text))


class CommandScreen(Dialog[None]):
    """The exact command line of the form; ``y`` copies it."""

    CSS_PATH = "../screens/dialog.tcss"
    BINDINGS = bindings("command")

    def __init__(self, command: str) -> None:
        super().__init__()
        self._command = clean(command, None)

    def compose(self) -> ComposeResult:
        """The command and the keys."""
        with Vertical(classes="dialog -wide"):
            yield Static(Content("The same run from the command line"), classes="dialog--title")
            with VerticalScroll(classes="dialog--body"):
                yield Static(Content(self._command), id="command")
            yield _foot(("y", "copy"), ("esc", "back"))

    def action_copy(self) -> None:
        """To the clipboard of the terminal (OSC 52), since a person asked for it."""
        self.app.copy_to_clipboard(self._command)
        self.app.notify("Copied, if the terminal lets programs copy", timeout=3, markup=False)

    def action_close(self) -> None:
        """Back."""
        self.dismiss()


class WarningsScreen(Dialog[bool]):
    """What should be known before the run starts; one more press starts it."""

    CSS_PATH = "../screens/dialog.tcss"
    BINDINGS = bindings("warnings")

    def __init__(self, warnings: Sequence[Problem]) -> None:
        super().__init__()
        self._warnings = list(warnings)

    def compose(self) -> ComposeResult:
        """One paragraph a warning."""
        with Vertical(classes="dialog -wide"):
            yield Static(Content("Before it starts"), classes="dialog--title")
            with VerticalScroll(classes="dialog--body"):
                yield Static(Content("\n\n").join([problem_content(warning) for warning in self._warnings]))
            yield _foot(("F5", "start all the same"), ("esc", "not yet"))

    def action_start(self) -> None:
        """Go on."""
        self.dismiss(True)

    def action_cancel(self) -> None:
        """Not yet."""
        self.dismiss(False)
