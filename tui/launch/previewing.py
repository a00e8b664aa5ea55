"""Opens the preview of the form's data, and keeps the process that answers it for as long as the form is there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from engine.inspecting import Inspector
from tui import report
from tui.preview.asked import NotYet, of_form

if TYPE_CHECKING:
    from tui.screens.launch import LaunchScreen


class Previewing:
    """The form's preview, and the inspector that the cost sheet shares with it."""

    def __init__(self, screen: LaunchScreen) -> None:
        self._screen = screen
        self._inspector: Inspector | None = None
        self._python: str | None = None
        self._lock = threading.Lock()
        self._closed = False

    def open(self) -> None:
        """Show the first row, or go to the setting that is needed for it."""
        try:
            asked = of_form(self._screen.model)
        except NotYet as error:
            self._screen.list.go(error.setting)
            report.tell(self._screen.app, str(error), severity="warning")
            return
        from tui.screens.preview import PreviewScreen

        self._screen.app.push_screen(PreviewScreen(asked, self.asks(asked.python), self._take))

    def close(self) -> None:
        """End the process, for good."""
        with self._lock:
            self._closed = True
            if self._inspector is not None:
                self._inspector.close()

    def asks(self, python: str | None) -> Inspector:
        """The inspector of an interpreter; nothing is started before the first question. From any thread."""
        with self._lock:
            if self._inspector is not None and python != self._python:
                self._inspector.close()
                self._inspector = None
            if self._inspector is None:
                self._inspector, self._python = Inspector(python), python
                if self._closed:
                    self._inspector.close()
            return self._inspector

    def _take(self, length: int) -> None:
        self._screen.model.set("max_seq_length", str(length))
        self._screen.list.renew()
        self._screen.show_again()
