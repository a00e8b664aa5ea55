"""Follows the log of a run for its page: at once what is asked for, now and then what is new."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from tui.watch.logfile import LogAsk, LogFile, LogView

LIVE_SECONDS, REST_SECONDS = 0.5, 5.0


class LogReader:
    """One thread over one log."""

    def __init__(self, path: Path, live: bool, deliver: Callable[[LogView], object]) -> None:
        self._file, self._deliver = LogFile(path), deliver
        self._pause = LIVE_SECONDS if live else REST_SECONDS
        self._wake, self._stopped = threading.Event(), threading.Event()

    def start(self) -> None:
        """Begin, in a thread that never keeps the app from ending."""
        threading.Thread(target=self._run, name="tunedeck-log", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._wake.set()

    def ask(self, ask: LogAsk) -> None:
        """A part of the log, or a search; from any thread."""
        self._file.ask(ask)
        self._wake.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            view = self._file.poll()
            if view is not None:
                self._deliver(view)
            if self._file.busy:
                continue
            self._wake.wait(self._pause)
            self._wake.clear()
