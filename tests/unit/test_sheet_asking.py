"""What stands between a sheet and its inspector: answers are kept, time is limited, and what is outdated is given up."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from engine.inspecting import InspectError
from tui.sheet.asking import Asking, Memo, Outdated


class Answering:
    """Counts questions; each takes ``seconds``."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.asked: list[tuple[str, float, bool]] = []
        self.seconds = seconds

    def ask(
        self, what: str, timeout: float = 60.0, cancelled: threading.Event | None = None, **fields: Any
    ) -> dict[str, Any]:
        self.asked.append((what, timeout, cancelled is not None))
        time.sleep(self.seconds)
        return {"number": len(self.asked)}


def costs(asking: Asking, machine: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    return asking.ask("costs", settings={"base_model": "m", **settings}, machine=machine or {}, chats=True)


def test_answers_are_kept_for_what_they_depend_on() -> None:
    inspector, memo = Answering(), Memo()
    asking = Asking(inspector, memo)
    assert costs(asking, lora_r=8)["number"] == costs(asking, lora_r=8, learning_rate=1, output_dir="x")["number"] == 1
    assert costs(asking, lora_r=16)["number"] == 2
    free = {"memory_free": 10 * 2**30}
    assert (
        costs(asking, free, lora_r=16)["number"]
        == costs(asking, {"memory_free": 10 * 2**30 + 1}, lora_r=16)["number"]
        == 3
    )
    assert costs(asking, {"memory_free": 9 * 2**30}, lora_r=16)["number"] == 4
    memo.renew("other files")
    assert costs(asking, lora_r=8)["number"] == 5
    memo.renew("other files")
    assert costs(asking, lora_r=8)["number"] == 5


def test_lengths_are_never_kept_here() -> None:
    inspector = Answering()
    asking = Asking(inspector, Memo())
    assert [asking.ask("lengths", row=0)["number"] for _ in range(2)] == [1, 2]


def test_only_what_ends_quickly_can_be_taken_back() -> None:
    inspector = Answering()
    asking = Asking(inspector, Memo())
    for what in ("open", "costs", "lengths"):
        asking.ask(what, 60.0, threading.Event(), settings={})
    assert [taken for _, _, taken in inspector.asked] == [False, False, True]


def test_all_answers_together_have_a_limit() -> None:
    inspector = Answering(0.15)
    asking = Asking(inspector, Memo(), seconds=0.2)
    asking.ask("open")
    with pytest.raises(InspectError) as error:
        asking.ask("lengths")
        asking.ask("lengths")
    assert error.value.kind == "timeout" and inspector.asked[1][1] < 0.2


def test_what_is_outdated_is_given_up_but_its_answer_kept() -> None:
    inspector, memo, wanted = Answering(), Memo(), [True, True, False]
    asking = Asking(inspector, memo, outdated=lambda: not wanted.pop(0))
    asking.ask("open")
    with pytest.raises(Outdated):
        asking.ask("costs")
    wanted[:] = [True, False]
    with pytest.raises(Outdated):
        costs(asking, lora_r=1)
    assert costs(Asking(inspector, memo), lora_r=1)["number"] == 2, "it was answered meanwhile"


def test_nobody_is_asked_about_a_model_that_is_not_here() -> None:
    inspector = Answering()
    with pytest.raises(InspectError) as error:
        Asking(inspector, Memo(), here=False).ask("open")
    assert error.value.kind == "not-downloaded" and inspector.asked == []
