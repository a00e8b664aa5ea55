"""A screen that stands still gets no heap of updates."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tests.support import make_run
from tui.watch.feed import WatchFeed


def wait_for(posted: list[int], count: int) -> None:
    until = time.monotonic() + 2
    while len(posted) < count and time.monotonic() < until:
        time.sleep(0.002)
    time.sleep(0.02)
    assert len(posted) == count


def test_the_next_update_waits_until_the_one_before_was_taken(tmp_path: Path) -> None:
    feed = WatchFeed(make_run(tmp_path / "run").path)
    posted: list[int] = []
    ended = threading.Event()

    def read() -> None:
        for number in range(3):
            feed.hand_over(lambda number=number: posted.append(number), ended.is_set)  # type: ignore[misc]

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    wait_for(posted, 1)
    feed.taken()
    wait_for(posted, 2)
    ended.set()
    reader.join(2)  # it looks every half second
    assert not reader.is_alive() and len(posted) == 2
