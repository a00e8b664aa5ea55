"""What the slow tests begin together: half a minute in which a run makes no steps passes beside them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from engine import status as states
from engine.history import summarise
from engine.history.summary import RunSummary
from engine.snapshot import RunFollower
from tests.support import ended, launch_fake, wait_for


@dataclass
class Stall:
    """When a run's last event was, when its record called it stalled, what the list said then, and its recorded end."""

    last: float
    shown: float
    row: RunSummary | None
    end: dict[str, Any]


@pytest.fixture(scope="session", autouse=True)
def stalling(slots: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Stall]]:
    """A run that makes no steps any more, which is asked to end once that was seen."""
    folder = tmp_path_factory.mktemp("stall")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("STATE", "CACHE", "CONFIG"):
            patch.setenv(f"XDG_{name}_HOME", str(folder / name.lower()))
        run = launch_fake(folder / "run", "for n in range(1, 4):\n    step(n)\ntime.sleep(600)\n", queue=False)
    wait_for(lambda: (run.read_status() or {}).get("state") == "running")
    last = wait_for(lambda: RunFollower(run.path).read_all().last_event)

    def stalled() -> float | None:
        status = run.read_status() or {}
        return time.time() if status.get("stalled") or status.get("state") in states.ENDED else None

    def see() -> Stall:
        shown = wait_for(stalled, 60, every=0.2)
        row = summarise(run.path)
        run.request("stop-now")
        return Stall(last, shown, row, ended(run))

    with ThreadPoolExecutor(1) as beside:
        seen = beside.submit(see)
        yield seen.result
        if not seen.done():  # nobody asked
            run.request("stop-now")
