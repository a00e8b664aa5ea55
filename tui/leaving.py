"""Leaving the terminal as it was: on signals, when the line is lost, and after a bug."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from textual.app import App

# Gone within two seconds of losing the terminal; the app's own way out has this long.
GRACE_SECONDS = 1.5
_last_words: list[tuple[str, TextIO]] = []


def install(app: App[None]) -> None:
    """On SIGTERM, SIGHUP and SIGINT the app exits in order, and is ended if it cannot."""
    import asyncio

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        try:
            loop.add_signal_handler(number, _leave, app, number)
        except (NotImplementedError, RuntimeError, ValueError):
            return  # not the main thread (tests)


def _leave(app: App[None], number: int) -> None:
    code = 128 + number

    def insist() -> None:
        # With the terminal gone, Textual's writer and input threads can block or spin for ever.
        time.sleep(GRACE_SECONDS)
        restore_terminal()
        os._exit(code)

    threading.Thread(target=insist, name="tunedeck-leave", daemon=True).start()
    app.exit(return_code=code)


def restore_terminal() -> None:
    """Main screen, cursor on, mouse and paste modes off; harmless if already so, silent if the terminal is gone."""
    sequence = "\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?2004l\x1b[?1004l\x1b[<u\x1b[0m"
    try:
        if sys.__stdout__ is not None and sys.__stdout__.isatty():
            os.set_blocking(sys.__stdout__.fileno(), False)
            os.write(sys.__stdout__.fileno(), sequence.encode())
    except (OSError, ValueError):
        pass


def log_exception(error: BaseException) -> Path | None:
    """Append a traceback to the app's log; returns its path, ``None`` if it cannot be written."""
    from engine import paths

    path = paths.state_dir() / "app.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
            traceback.print_exception(error, file=file)
    except OSError:
        return None
    return path


def say_after(text: str, stream: TextIO) -> None:
    """Say something once the terminal is a normal one again."""
    _last_words.append((text, stream))


def speak() -> None:
    """Print what was kept for after the app."""
    for text, stream in _last_words:
        try:
            print(text, file=stream)
        except OSError:
            pass
    _last_words.clear()
