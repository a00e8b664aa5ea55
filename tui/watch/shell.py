"""A shell in a run's directory, and back."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from textual.app import App, SuspendNotSupported

from engine.text import clean, clean_path

_FALLBACK = "/bin/sh"


def open_shell(app: App[Any], path: Path) -> str:
    """Run ``$SHELL`` in ``path`` until it ends; returns words for the message line.

    The app stands still meanwhile; runs go on. Nothing is raised: why there is no shell is said in the words.
    """
    if not path.is_dir():
        return "the output directory is not there any more"
    try:
        with app.suspend():
            return _run(path)
    except SuspendNotSupported:
        return "there is no shell here: this terminal cannot be lent to another program"


def shell() -> str:
    """The person's shell, ``/bin/sh`` where none is named or it is not there."""
    named = os.environ.get("SHELL") or ""
    return named if os.path.isabs(named) and shutil.which(named) else _FALLBACK


def _run(path: Path) -> str:
    program = shell()
    print(f"tunedeck: a shell in {clean_path(path)}\ntunedeck: type exit, or press Ctrl-D, to come back\n", flush=True)
    try:
        with _signals_for_the_shell():
            subprocess.run([program], cwd=path, check=False)
    except OSError as error:
        return f"no shell: {clean(Path(program).name, 40)} cannot be started ({clean(error.strerror or 'unknown', 80)})"
    finally:
        _take_terminal_back()
    return "back from the shell"


@contextlib.contextmanager
def _signals_for_the_shell() -> Iterator[None]:
    """Keys that send signals are meant for what runs in the shell.

    They are caught, not ignored: what a process ignores is ignored by all that it starts.
    """
    caught = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)
    before = [signal.signal(number, lambda _number, _frame: None) for number in caught]
    try:
        yield
    finally:
        for number, handler in zip(caught, before, strict=True):
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _take_terminal_back() -> None:
    """A shell that was killed leaves the terminal to its own process group; half a line that was typed is dropped."""
    fd = sys.__stdin__.fileno() if sys.__stdin__ is not None else 0
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        os.tcsetpgrp(fd, os.getpgrp())
        termios.tcflush(fd, termios.TCIFLUSH)
    except (OSError, termios.error):
        pass
    finally:
        signal.signal(signal.SIGTTOU, before if before is not None else signal.SIG_DFL)
