"""A stand-in for the inspector: one token for every word of a row, the assistant's words and its end of turn trained."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path
from typing import Any

from engine.errors import Problem
from engine.inspecting import InspectError

END = {"token": "<|im_end|>", "id": 2}
FACTS = {"template": True, "way": "trl", "words": "TRL's training version of this chat template marks the assistant's turns",
         "every_turn": True, "stop_token_trained": True, "ends": [END], "problems": []}  # fmt: skip
_SPECIAL = {"<|im_start|>": 1, "<|im_end|>": 2}


def refusal(kind: str, message: str, hint: str = "") -> InspectError:
    return InspectError(Problem(kind, message, hint))


class FakeInspector:
    """Answers at once, or when ``go`` is set; ``failing`` maps what is asked to the error it raises, ``asked`` is all of it."""

    def __init__(self, facts: dict[str, Any] | None = None) -> None:
        self.facts = {**FACTS, **(facts or {})}
        self.go, self.lengths_go = threading.Event(), threading.Event()
        self.go.set()
        self.lengths_go.set()
        self.failing: dict[str, InspectError] = {}
        self.bad_rows: dict[int, InspectError] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.texts: dict[int, list[str]] = {}
        self.cancelled = 0
        self.closed = False
        self.pid: int | None = None

    def ask(
        self, what: str, timeout: float = 60.0, cancelled: threading.Event | None = None, **fields: Any
    ) -> dict[str, Any]:
        self.asked.append((what, fields))
        gate = self.lengths_go if what == "lengths" else self.go
        while not gate.wait(0.01):
            if cancelled is not None and cancelled.is_set():
                self.cancelled += 1
                raise refusal("cancelled", "was taken back")
        if what in self.failing:
            raise self.failing[what]
        if what == "open":
            return self.facts
        if what not in ("tokens", "lengths"):
            raise refusal("failed", f"{what} is not answered here")
        return self._tokens(fields) if what == "tokens" else self._lengths(fields)

    def close(self) -> None:
        self.closed = True

    def _rows(self, fields: dict[str, Any]) -> list[dict[str, Any]]:
        return [json.loads(line) for line in Path(fields["file"]).read_text(encoding="utf-8").splitlines()]

    def _marked(self, row: dict[str, Any], number: int) -> tuple[list[str], list[int]]:
        texts, trained = [], []
        for message in row["messages"]:
            words = self.texts.get(number) if message["role"] == "assistant" else None
            parts = words if words is not None else re.findall(r"\s*\S+", message["content"])
            bit = int(message["role"] == "assistant")
            texts += ["<|im_start|>", f"{message['role']}\n", *parts, "<|im_end|>", "\n"]
            trained += [0, 0, *[bit] * (len(parts) + 1), 0]
        return texts, trained

    def _tokens(self, fields: dict[str, Any]) -> dict[str, Any]:
        rows, number = self._rows(fields), fields["row"]
        if number >= len(rows):
            raise refusal("no-row", f"there is no row {number + 1}", "The file ends before it")
        if number in self.bad_rows:
            raise self.bad_rows[number]
        texts, trained = self._marked(rows[number], number)
        kept = min(len(texts), fields["max_seq_length"])
        return {
            "line": number + 1, "tokens": len(texts), "kept": kept, "learned": sum(trained[:kept]), "way": "trl",
            "words": self.facts["words"], "unproven": [], "unwritten": [], "first": 0,
            "ids": [_SPECIAL.get(text, 100 + at) for at, text in enumerate(texts)], "texts": texts, "trained": trained,
            "special": [int(text in _SPECIAL) for text in texts],
        }  # fmt: skip

    def _lengths(self, fields: dict[str, Any]) -> dict[str, Any]:
        rows, first = self._rows(fields), fields.get("row", 0)
        some = rows if "sample" in fields else rows[first : first + min(fields["count"], 20)]
        marked = [self._marked(row, first + at) for at, row in enumerate(some)]
        end = first + len(some)
        time.sleep(0.01)
        return {
            "row": first, "lines": list(range(first + 1, end + 1)), "lengths": [len(texts) for texts, _ in marked],
            "spans": [_spans(bits) for _, bits in marked], "answered": [1] * len(some),
            "refused": [], "next": end if end < len(rows) else None, "total": len(rows),
        }  # fmt: skip


def _spans(bits: list[int]) -> list[int]:
    """Begin and end of each stretch of 1."""
    padded = [0, *bits, 0]
    return [at for at in range(len(bits) + 1) if padded[at] != padded[at + 1]]
