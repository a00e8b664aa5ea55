"""How long the app must do nothing until a test takes it for idle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from textual import _wait


@pytest.fixture(autouse=True, scope="session")
def short_pauses() -> Iterator[None]:
    """After each key Textual's pilot waits until the process has rested for 20 ms, twice; what matters, it is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_wait, "SLEEP_GRANULARITY", 1 / 100)
        patch.setattr(_wait, "SLEEP_IDLE", 1 / 100 / 20)
        yield
