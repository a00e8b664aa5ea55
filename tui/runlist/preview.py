"""Reads the loss curve of the selected run in a thread, once the cursor rests; follows it while the run lives."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui.watch.feed import WatchFeed, WatchUpdate

# Holding an arrow key must not read every run on the way.
SETTLE_SECONDS = 0.15
LIVE_SECONDS = 1.0
# Some 60,000 steps; longer records are for the Watch screen, which shows its progress.
MAX_BYTES = 24 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Preview:
    """New points of one run; ``fresh`` says that all points before were another run's."""

    path: str
    updates: tuple[WatchUpdate, ...]
    fresh: bool
    too_long: bool = False


class PreviewReader:
    """One thread, one run at a time."""

    def __init__(self, deliver: Callable[[Preview], None]) -> None:
        self._deliver = deliver
        self._target: tuple[str, bool, int] | None = None
        self._serial = 0
        self._wake = threading.Event()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin, in a thread that never keeps the app from ending."""
        threading.Thread(target=self._run, name="tunedeck-preview", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._wake.set()

    def aim(self, path: str | None, live: bool = False) -> None:
        """Read this run from now on; ``None`` rests."""
        target = (path, live, self._serial) if path is not None else None
        if target != self._target:
            self._target = target
            self._wake.set()

    def forget(self) -> None:
        """What was delivered is shown no more: whatever is aimed at next is read from its beginning."""
        self._serial += 1

    def _run(self) -> None:
        shown: tuple[str, int] | None = None
        feed: WatchFeed | None = None
        while not self._stopped.is_set():
            target = self._target
            live = target is not None and target[1]
            self._wake.wait(LIVE_SECONDS if live and shown == (target and target[::2]) else None)
            while self._wake.is_set() and not self._stopped.is_set():
                self._wake.clear()
                self._wake.wait(SETTLE_SECONDS)
            target = self._target
            if self._stopped.is_set() or target is None:
                continue
            if target[::2] != shown:
                shown, feed = (target[0], target[2]), self._open(target[0])
                fresh = True
            else:
                fresh = False
            if feed is not None:
                self._read(feed, target[0], fresh)

    def _open(self, path: str) -> WatchFeed | None:
        from engine.rundir import RunDir
        from tui.watch.feed import WatchFeed

        if not RunDir(path).meta.is_dir():
            self._deliver(_of_another_tool(path))
            return None
        try:
            if os.stat(RunDir(path).events).st_size > MAX_BYTES:
                self._deliver(Preview(path, (), True, too_long=True))
                return None
        except OSError:
            pass  # no events yet: the feed says so
        return WatchFeed(Path(path))

    def _read(self, feed: WatchFeed, path: str, fresh: bool) -> None:
        updates = []
        while not self._stopped.is_set() and self._target is not None and self._target[0] == path:
            update = feed.poll()
            if update is not None:
                updates.append(update)
            if update is None or update.caught_up:
                break
        if updates or fresh:
            self._deliver(Preview(path, tuple(updates), fresh))


def _of_another_tool(path: str) -> Preview:
    """What another tool logged; it does not change under our eyes."""
    from engine.history.readers import read_record
    from tui.history.load import charted

    try:
        record = read_record(Path(path))
        return Preview(path, (charted(record).update,) if record is not None else (), True)
    except Exception:  # of a shape that nobody foresaw: its page says so
        return Preview(path, (), True)
