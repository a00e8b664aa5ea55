"""What is made ready once, most of it after the first picture, while nobody waits, so that keys are answered at once."""

from __future__ import annotations

import asyncio
import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.app import App

AFTER_SECONDS = 0.8
# A reader's thread gives way to the screen's after so long; Python's own 5 ms are noticed with each key.
SWITCH_SECONDS = 0.001
# Each screen has a reader that lives as long as it; asyncio's own pool has six threads on a machine of two cores.
THREADS = 32
# What most people open first from the list takes a tenth of a second to load: in pieces, so that no key waits for it.
PAGES = ("engine.snapshot", "tui.watch.query", "tui.watch.facts", "tui.watch.feed", "tui.watch.deck", "tui.widgets.logtail",
         "tui.history.load", "tui.history.pages", "tui.history.deck", "tui.screens.detail", "engine.history.readers")  # fmt: skip
BETWEEN_SECONDS = 0.05


def prepare(app: App[None]) -> None:
    """Have it done soon."""
    sys.setswitchinterval(SWITCH_SECONDS)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="tunedeck"))
    app.set_timer(AFTER_SECONDS, lambda: _load_dialogs(app))
    app.set_timer(2 * AFTER_SECONDS, lambda: _load_pages(app))
    app.set_timer(4 * AFTER_SECONDS, _freeze)


def _load_dialogs(app: App[None]) -> None:
    from tui.screens.help import HelpScreen

    for path in HelpScreen("app").css_path:
        if not app.stylesheet.has_source(str(path), ""):
            app.stylesheet.read(path)
            app.stylesheet.reparse()


def _load_pages(app: App[None], names: tuple[str, ...] = PAGES) -> None:
    import_module(names[0])
    if names[1:]:
        app.set_timer(BETWEEN_SECONDS, lambda: _load_pages(app, names[1:]))


def _freeze() -> None:
    # What stands by now stays to the end: looking through it again and again would stop the screen for 50 ms each time.
    gc.freeze()
