"""What is made ready after the first picture, while nobody waits, so that a key is answered at once later."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.app import App

AFTER_SECONDS = 0.8
# A reader's thread gives way to the screen's after so long; Python's own 5 ms are noticed with each key.
SWITCH_SECONDS = 0.001


def prepare(app: App[None]) -> None:
    """Have it done soon."""
    sys.setswitchinterval(SWITCH_SECONDS)
    app.set_timer(AFTER_SECONDS, lambda: _load_dialogs(app))
    app.set_timer(2 * AFTER_SECONDS, _freeze)


def _load_dialogs(app: App[None]) -> None:
    from tui.screens.help import HelpScreen

    for path in HelpScreen("app").css_path:
        if not app.stylesheet.has_source(str(path), ""):
            app.stylesheet.read(path)
            app.stylesheet.reparse()


def _freeze() -> None:
    # What stands by now stays to the end: looking through it again and again would stop the screen for 50 ms each time.
    gc.freeze()
