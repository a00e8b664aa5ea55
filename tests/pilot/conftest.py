"""How long the app must do nothing until a test takes it for idle."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from textual import _wait

from engine.models import hub


@pytest.fixture(autouse=True, scope="session")
def short_pauses() -> Iterator[None]:
    """After each key Textual's pilot waits until the process has rested for 20 ms, twice; what matters, it is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_wait, "SLEEP_GRANULARITY", 1 / 100)
        patch.setattr(_wait, "SLEEP_IDLE", 1 / 100 / 20)
        yield


NOBODY = "http://127.0.0.1:9"  # what all tests have for the hub's address


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub does not answer, except where a test has one of its own on loopback."""
    real = hub.ask

    def ask(name: str, revision: str | None = None, **given: Any) -> hub.HubAnswer:
        if os.environ.get("HF_ENDPOINT", NOBODY) != NOBODY:
            return real(name, revision, **given)
        return hub.HubAnswer("unreachable", "the hub cannot be reached", "Check the network")

    monkeypatch.setattr(hub, "ask", ask)
    hub.forget()
