"""Whether a model's own code may run: look at it, fetch it if it is not here, and ask for the typed word."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.errors import Problem
from engine.text import clean
from tui import report
from tui.launch.model import TRUST, TRUST_WORD
from tui.models.codefiles import Brought, read

if TYPE_CHECKING:
    from textual.screen import Screen

FETCH_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Permission:
    """``granted``: the code may run; ``sha256`` is that of the code, empty where there is none. ``asked``: just now."""

    granted: bool
    sha256: str = ""
    asked: bool = False


async def permission(screen: Screen[Any], name: str, revision: str | None) -> Permission:
    """Find out, in a worker of this screen; what cannot be is said in a dialog. Nobody agrees to code that is not seen."""
    brought = await asyncio.to_thread(read, name, revision)
    if _can_be_fetched(brought):
        if not await _fetch(screen, name, revision):
            return Permission(False)
        brought = await asyncio.to_thread(read, name, revision)
    code = brought.code
    if brought.here and code is None:
        return Permission(True)
    if code is None or code.missing:
        from tui.models.consenting import missing_words

        report.show_problems(screen.app, Problem("needs-consent", *missing_words(brought), setting=TRUST))
        return Permission(False)
    if brought.agreed:
        return Permission(True, code.sha256)
    from tui.models.consenting import ConsentScreen

    agreed = await screen.app.push_screen_wait(ConsentScreen(TRUST_WORD, brought))
    return Permission(bool(agreed), code.sha256, asked=True)


def _can_be_fetched(brought: Brought) -> bool:
    from engine.models import cache

    if cache.offline() or not cache.is_name(brought.name):
        return False
    code = brought.code
    return not brought.here or (code is not None and bool(code.missing) and code.commit is not None)


async def _fetch(screen: Screen[Any], name: str, revision: str | None) -> bool:
    """Ask, then download the small files; whether they came."""
    from engine.models import hub
    from tui.screens.confirm import ConfirmScreen

    which = clean(name, 200) + (f" at {clean(revision, 60)}" if revision else "")
    detail = "Its code and settings are downloaded, not its weights, and nothing of it runs: then you see what would."
    question = ConfirmScreen(f"Fetch the code of {which} to look at it?", detail, "Fetch", "Not now")
    if not await screen.app.push_screen_wait(question):
        return False
    report.tell(screen.app, f"Fetching the code of {which}")
    cancelled = threading.Event()
    try:
        answer = await asyncio.to_thread(hub.fetch_code, name, revision, timeout=FETCH_SECONDS, cancelled=cancelled)
    finally:
        cancelled.set()
    if answer.kind != "ok":
        report.show_problems(screen.app, Problem("needs-consent", answer.message, answer.hint, setting=TRUST))
    return answer.kind == "ok"
