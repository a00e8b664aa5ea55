"""A stand-in for the inspector that also tells costs: those of a model of seven billion parameters, or of what a test says."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from engine.hardware import Gpu
from engine.inspecting import InspectError
from tests.inspected import FACTS, FakeInspector

SEVEN_BILLION = {
    "trainable": 40_370_176, "parameters": 7_615_616_512, "linear": 6_525_288_448, "largest_linear": 67_895_296, "layers": 28,
    "hidden": 3584, "heads": 28, "vocabulary": 152_064, "positions": 32_768,
    "layer": {"outputs": 49_664, "widest": 18_944, "norms": 2, "experts": 0, "adapter_inputs": 40_448, "adapters": 7},
}  # fmt: skip


def card(free: float, *, total: float = 79.6, pids: tuple[int, ...] = ()) -> Gpu:
    """A card with so many GiB free."""
    used = int((total - free) * 2**30)
    return Gpu(0, "NVIDIA H100 80GB HBM3", used, int(total * 2**30), 0, 30, 70.0, len(pids), 0, (9, 0), "GPU-1", pids)


def with_card(patch: pytest.MonkeyPatch, *cards: Gpu) -> None:
    """The machine has these cards."""
    patch.setattr("engine.hardware.gpus", lambda: list(cards))


class CostingInspector(FakeInspector):
    """``held`` makes a kind of question wait for an event; a row has a token for every word and some for each message."""

    def __init__(self, facts: dict[str, Any] | None = None) -> None:
        super().__init__({**FACTS, **(facts or {})})
        self.held: dict[str, threading.Event] = {}
        self.pid: int | None = None
        self.costs: dict[str, Any] = SEVEN_BILLION

    def ask(
        self, what: str, timeout: float = 60.0, cancelled: threading.Event | None = None, **fields: Any
    ) -> dict[str, Any]:
        self.pid = self.pid or 1
        gate = self.held.get(what)
        if gate is not None:
            while not gate.wait(0.01):
                if cancelled is not None and cancelled.is_set():
                    self.asked.append((what, fields))
                    raise InspectError(self._cancelled())
        if what == "costs" and what not in self.failing:
            self.asked.append((what, fields))
            return self._costs(fields["settings"], fields["machine"])
        return super().ask(what, timeout, cancelled, **fields)

    def warm(self, config: Any) -> None:
        """There is nothing to load."""

    def times(self, what: str) -> int:
        """How often something was asked."""
        return sum(one == what for one, _ in self.asked)

    @staticmethod
    def _cancelled() -> Any:
        from engine.errors import Problem

        return Problem("cancelled", "was taken back")

    def _costs(self, settings: dict[str, Any], machine: dict[str, Any]) -> dict[str, Any]:
        again = settings["gradient_checkpointing"] is True
        chosen = {
            "dtype": "bfloat16" if machine["cuda"] else "float32", "attn_implementation": "sdpa", "optim": "adamw_torch",
            "gradient_checkpointing": again, "use_liger_kernel": False, "packing": settings["packing"] is True,
            "padding_free": False,
        }  # fmt: skip
        trainable = self.costs["trainable"] * settings["lora_r"] // 16
        return {**self.costs, "trainable": trainable, "cuda": machine["cuda"], "chosen": chosen}

    def _lengths(self, fields: dict[str, Any]) -> dict[str, Any]:
        rows, first = self._rows(fields), int(fields.get("row") or 0)
        sample = fields.get("sample")
        count = min(sample or fields["count"], 400)
        some = rows[:: max(1, len(rows) // count)][:count] if sample else rows[first : first + count]
        lengths, spans = [], []
        for row in some:
            at, stretches = 0, []
            for message in row.get("messages") or [{"role": "assistant", "content": row.get("text", "")}]:
                size = 3 + len(re.findall(r"\S+", message["content"]))
                if message["role"] == "assistant":
                    stretches += [at + 2, at + size]
                at += size
            lengths.append(at)
            spans.append(stretches)
        end = first + len(some)
        return {
            "row": first, "rows": list(range(first, end)), "lines": list(range(first + 1, end + 1)), "lengths": lengths,
            "learned": [sum(one[1::2]) - sum(one[::2]) for one in spans], "spans": spans, "answered": [1] * len(some),
            "refused": [], "next": None if sample or end >= len(rows) else end, "total": len(rows),
        }  # fmt: skip


def install(patch: pytest.MonkeyPatch) -> CostingInspector:
    """Every form asks this one."""
    from tui.launch import previewing

    fake = CostingInspector()
    patch.setattr(previewing, "Inspector", lambda python: fake)
    return fake
