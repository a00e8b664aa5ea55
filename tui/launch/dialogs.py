"""The form's dialogs: pick from a list, give a path, read the command line, consent to foreign code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from engine.text import clean
from tui.launch.complete import complete


def _input(value: str = "", placeholder: str = "") -> Input:
    field = Input(value, placeholder=placeholder, select_on_focus=False, classes="dialog--input", compact=True)
    field.cursor_blink = False
    return field


class PickScreen(ModalScreen[str | None]):
    """A list to choose from, narrowed by typing; dismissed with the chosen id or ``None``."""

    CSS_PATH = "../screens/dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "back")]

    def __init__(self, title: str, options: Sequence[tuple[str, str, str]]) -> None:
        super().__init__()
        self._title, self._options = clean(title, 200), list(options)

    def compose(self) -> ComposeResult:
        """Title, filter, list."""
        with Vertical(classes="dialog -wide"):
            yield Static(Content(self._title), classes="dialog--title")
            yield _input(placeholder="type to narrow down")
            yield OptionList(classes="dialog--body", compact=True)
            yield Static(Content("⏎ choose   esc back"), classes="dialog--foot")

    def on_mount(self) -> None:
        """Everything is offered at first."""
        self._fill("")
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow down."""
        self._fill(event.value)

    def on_key(self, event: events.Key) -> None:
        """Up and down move in the list while one types."""
        options = self.query_one(OptionList)
        if event.key in ("up", "down"):
            event.stop()
            event.prevent_default()
            (options.action_cursor_up if event.key == "up" else options.action_cursor_down)()

    def on_input_submitted(self) -> None:
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
        found = [o for o in self._options if all(w in f"{o[1]} {o[2]}".lower() for w in words)]
        found.sort(key=lambda o: not o[1].lower().startswith(text.lower().strip()))
        options = self.query_one(OptionList)
        options.clear_options()
        for key, label, about in found:
            options.add_option(
                Option(Content.assemble(clean(label, 60), Content.styled(f"  {clean(about, 200)}", "$text-muted")), key)
            )
        options.highlighted = 0 if found else None


class PathScreen(ModalScreen[str | None]):
    """Asks for a path; Tab completes it. Dismissed with the path or ``None``."""

    CSS_PATH = "../screens/dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "back"),
        Binding("tab", "complete", "complete", priority=True),
    ]

    def __init__(self, title: str, value: str = "", detail: str = "") -> None:
        super().__init__()
        self._title, self._value, self._detail = clean(title, 200), value, clean(detail, 500)

    def compose(self) -> ComposeResult:
        """Title, path, candidates."""
        with Vertical(classes="dialog -wide"):
            yield Static(Content(self._title), classes="dialog--title")
            if self._detail:
                yield Static(Content(self._detail), classes="dialog--detail")
            yield _input(self._value)
            yield Static("", classes="dialog--detail", id="candidates")
            yield Static(Content("⏎ ok   tab complete   esc back"), classes="dialog--foot")

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Input).focus()

    def action_complete(self) -> None:
        """As far as all candidates agree."""
        field = self.query_one(Input)
        done = complete(field.value)
        if done.moved(field.value):
            field.value = done.text
            field.cursor_position = len(done.text)
        names = clean("  ".join(done.candidates[:40]), 600)
        self.query_one("#candidates", Static).update(Content(names))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take it."""
        self.dismiss(event.value.strip() or None)

    def action_cancel(self) -> None:
        """Nothing."""
        self.dismiss(None)


class CommandScreen(ModalScreen[None]):
    """The exact command line of the form; ``y`` copies it."""

    CSS_PATH = "../screens/dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,f7", "close", "back"),
        Binding("y", "copy", "copy"),
    ]

    def __init__(self, command: str) -> None:
        super().__init__()
        self._command = command

    def compose(self) -> ComposeResult:
        """The command and the keys."""
        with Vertical(classes="dialog -wide"):
            yield Static(Content("The same run from the command line"), classes="dialog--title")
            with VerticalScroll(classes="dialog--body"):
                yield Static(Content(clean(self._command, None)), id="command")
            yield Static(Content("y copy   esc back"), classes="dialog--foot")

    def action_copy(self) -> None:
        """To the clipboard of the terminal (OSC 52), since a person asked for it."""
        self.app.copy_to_clipboard(self._command)
        self.app.notify("Copied", timeout=2, markup=False)

    def action_close(self) -> None:
        """Back."""
        self.dismiss()


class ConsentScreen(ModalScreen[bool]):
    """Asks to type a word before a model's own code may run."""

    CSS_PATH = "../screens/dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "back")]

    def __init__(self, word: str, model: str) -> None:
        super().__init__()
        self._word, self._model = word, clean(model, 200)

    def compose(self) -> ComposeResult:
        """What it means, and the word."""
        about = (f"{self._model or 'The model'} may come with Python code that will run here with your rights: it can read, "
                 f"change and send anything you can. If you trust its authors, type {self._word}.")  # fmt: skip
        with Vertical(classes="dialog"):
            yield Static(Content("Run the model's own code?"), classes="dialog--title")
            yield Static(Content(about), classes="dialog--detail")
            yield _input()
            yield Static(Content("⏎ ok   esc back"), classes="dialog--foot")

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Only the word itself counts."""
        self.dismiss(event.value.strip().lower() == self._word)

    def action_cancel(self) -> None:
        """No."""
        self.dismiss(False)
