"""Leaving the terminal as it was: on signals, when the line is lost, and after a bug."""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textual.app import App

# Gone within two seconds of losing the terminal; the app's own way out has this long.
GRACE_SECONDS = 1.5
# Main screen, cursor on, mouse, paste, focus and key reports off, plain colours.
_RESET = (
    "\x1b[<u\x1b[?2026l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1016l\x1b[?2004l\x1b[?2048l"
    "\x1b[?1004l\x1b[?7h\x1b[?1049l\x1b[?25h\x1b[0m"
)
_terminal: list[Any] | None = None
_last_words: list[str] = []


def prepare() -> None:
    """Remember how the terminal was set; called before the app takes it."""
    global _terminal
    try:
        _terminal = termios.tcgetattr(sys.__stdin__.fileno())  # type: ignore[union-attr]
    except (OSError, ValueError, AttributeError, termios.error):
        _terminal = None


def install(app: App[Any]) -> None:
    """On SIGTERM, SIGHUP, SIGINT and a lost line the app exits in order, and is ended if it cannot."""
    import asyncio

    loop = asyncio.get_running_loop()

    def leave(number: int, _frame: object) -> None:
        # Not through the loop alone: it may be waiting for a terminal that takes nothing more.
        insist(128 + number)
        loop.call_soon_threadsafe(app.exit, None, 128 + number)

    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, leave)
    threading.Thread(target=_watch_line, args=(app, loop), name="tunedeck-line", daemon=True).start()


def insist(code: int) -> None:
    """End the process after the grace time: Textual's threads can block or spin for ever when the terminal is gone."""

    def end() -> None:
        time.sleep(GRACE_SECONDS)
        restore_terminal(last_words="".join(f"{text}\r\n" for text in _last_words))
        os._exit(code)

    threading.Thread(target=end, name="tunedeck-leave", daemon=True).start()


def _watch_line(app: App[Any], loop: Any) -> None:
    """Wait, without any work, until the terminal's other side is closed; not every lost line sends SIGHUP."""
    import select

    poll = select.poll()
    try:
        poll.register(sys.__stdin__.fileno(), 0)  # type: ignore[union-attr]
        poll.poll()
    except (OSError, ValueError, AttributeError):
        return
    insist(128 + signal.SIGHUP)
    try:
        loop.call_soon_threadsafe(app.exit, None, 128 + signal.SIGHUP)
    except RuntimeError:
        pass  # the loop has ended


def restore_terminal(last_words: str = "") -> None:
    """Give the terminal back; silent if it is gone, and never blocking."""
    try:
        fd = sys.__stderr__.fileno()  # type: ignore[union-attr]
        if not os.isatty(fd):
            return
        if _terminal is not None:
            termios.tcsetattr(sys.__stdin__.fileno(), termios.TCSANOW, _terminal)  # type: ignore[union-attr]
        blocking = os.get_blocking(fd)
        os.set_blocking(fd, False)
        try:
            os.write(fd, (_RESET + last_words).encode())
        finally:
            os.set_blocking(fd, blocking)
    except (OSError, ValueError, AttributeError, termios.error):
        pass


def log_exception(error: BaseException) -> Path | None:
    """Append a traceback (no values of variables) to the app's log; ``None`` if it cannot be written."""
    import traceback

    return log_text("".join(traceback.format_exception(error)))


def log_text(text: str) -> Path | None:
    """Append to the app's log, readable only by its owner; returns its path."""
    from engine import paths

    path = paths.state_dir() / "app.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(fd, "a", encoding="utf-8", errors="replace") as file:
            file.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} pid {os.getpid()}\n{text}\n")
    except OSError:
        return None
    return path


def say_after(text: str) -> None:
    """Keep a line for standard output, for when the terminal is a normal one again."""
    _last_words.append(text)


def speak() -> None:
    """Print what was kept."""
    words, _last_words[:] = list(_last_words), []
    try:
        for text in words:
            print(text, flush=True)
    except OSError:
        pass
