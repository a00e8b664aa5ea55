"""A question with two answers."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Static

from engine.text import clean
from tui.keys import bindings
from tui.screens.dialog import Dialog


class ConfirmScreen(Dialog[bool]):
    """Asks; dismisses with ``True`` for yes. ``y`` and ``n`` answer, Enter presses the focused button, Esc is no.

    The focus is on "no", so that Enter by accident does nothing.
    """

    CSS_PATH = "dialog.tcss"
    BINDINGS = bindings("confirm")
    AUTO_FOCUS = "#no"

    def __init__(self, question: str, detail: str = "", yes_label: str = "Yes", no_label: str = "No") -> None:
        super().__init__()
        self._question = clean(question, 500)
        self._detail = clean(detail, 5000, keep_newlines=True)
        self._labels = clean(yes_label, 40), clean(no_label, 40)

    def compose(self) -> ComposeResult:
        """Question, detail, two buttons."""
        with Vertical(classes="dialog"):
            yield Static(self._question, classes="dialog--title", markup=False)
            if self._detail:
                yield Static(self._detail, classes="dialog--detail", markup=False)
            with Horizontal(classes="dialog--buttons"):
                yield _button(self._labels[1], "n", "no")
                yield _button(self._labels[0], "y", "yes")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A click, or Enter on a button."""
        self.dismiss(event.button.id == "yes")

    def key_left(self) -> None:
        """Move between the buttons."""
        self.focus_previous()

    def key_right(self) -> None:
        """Move between the buttons."""
        self.focus_next()

    def action_yes(self) -> None:
        """Answer yes."""
        self.dismiss(True)

    def action_no(self) -> None:
        """Answer no."""
        self.dismiss(False)


def _button(label: str, key: str, id: str) -> Button:
    return Button(Content(f"{label}  {key}"), id=id, compact=True)
