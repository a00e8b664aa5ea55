"""What all dialogs have in common."""

from __future__ import annotations

from typing import Any

from textual.app import ScreenStackError
from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, Screen, ScreenResultType


def in_front(screen: Screen[Any]) -> bool:
    """Whether nothing stands before a screen; Textual calls one that can be seen behind a dialog current, too."""
    try:
        return screen.app.screen is screen
    except ScreenStackError:
        return False


class Dialog(ModalScreen[ScreenResultType]):
    """A dialog in front of a screen that can be seen behind it; only the first dismissal counts.

    Of two quick keys the second is still on its way to it: in Textual it would close the screen below, or end the app.
    """

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Close with a result, if it is still in front."""
        return super().dismiss(result) if in_front(self) else AwaitComplete()
