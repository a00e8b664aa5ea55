"""Opens the preview of the form's data, and keeps the process that answers it for as long as the form is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.inspecting import Inspector
from tui import report
from tui.preview.asked import NotYet, of_form

if TYPE_CHECKING:
    from tui.screens.launch import LaunchScreen


class Previewing:
    """The form's preview."""

    def __init__(self, screen: LaunchScreen) -> None:
        self._screen = screen
        self._inspector: Inspector | None = None
        self._python: str | None = None

    def open(self) -> None:
        """Show the first row, or go to the setting that is needed for it."""
        try:
            asked = of_form(self._screen.model)
        except NotYet as error:
            self._screen.list.go(error.setting)
            report.tell(self._screen.app, str(error), severity="warning")
            return
        from tui.screens.preview import PreviewScreen

        self._screen.app.push_screen(PreviewScreen(asked, self._asks(asked.python), self._take))

    def close(self) -> None:
        """End the process."""
        if self._inspector is not None:
            self._inspector.close()
            self._inspector = None

    def _asks(self, python: str | None) -> Inspector:
        if self._inspector is not None and python != self._python:
            self.close()
        if self._inspector is None:
            self._inspector, self._python = Inspector(python), python
        return self._inspector

    def _take(self, length: int) -> None:
        self._screen.model.set("max_seq_length", str(length))
        self._screen.list.renew()
        self._screen.show_again()
