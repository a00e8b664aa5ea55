"""Turns what the trainer says of a step into the fields of a ``step`` event."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.events import READ_CHUNK, EventReader
from engine.rundir import RunDir

_CORE = frozenset({"loss", "learning_rate", "grad_norm", "epoch", "num_tokens", "num_input_tokens_seen", "step"})


class StepFigures:
    """Speed and token counts of one training, step by step."""

    def __init__(self, args: Any, state: Any, trainer: Any, dataloader: Any, run: RunDir) -> None:
        self._full = args.train_batch_size * args.gradient_accumulation_steps * max(1, args.world_size)
        self._last_of_epoch = samples_of_last_step(_rows(dataloader), args)
        self._step = state.global_step
        self._mark = time.perf_counter()
        self._counted_before = 0
        counted = getattr(trainer, "_total_train_tokens", None)
        if counted == 0 and state.global_step:
            # TRL counts anew after a resume.
            self._counted_before = tokens_at(state.global_step, _records(run), state.log_history)
        seen = counted if counted is not None else getattr(state, "num_input_tokens_seen", 0)
        self._tokens: float = self._counted_before + (seen or 0)

    def mark(self) -> None:
        """A step begins now."""
        self._mark = time.perf_counter()

    def of(self, state: Any, logs: dict[str, Any]) -> dict[str, Any]:
        """The fields of the step that has just ended; of several steps since the last call, their mean speed."""
        now = time.perf_counter()
        seconds, self._mark = now - self._mark, now
        count = max(1, state.global_step - self._step)
        self._step = state.global_step
        samples = self._full * count
        if state.epoch and float(state.epoch).is_integer():
            samples += self._last_of_epoch - self._full
        tokens = self._new_total(logs)
        new = None if tokens is None else tokens - self._tokens
        self._tokens = self._tokens if tokens is None else tokens
        extra = {k: v for k, v in logs.items() if k not in _CORE and isinstance(v, int | float)}
        return {
            "step": state.global_step,
            "total_steps": state.max_steps,
            "epoch": state.epoch,
            "loss": logs.get("loss"),
            "learning_rate": logs.get("learning_rate"),
            "grad_norm": logs.get("grad_norm"),
            "samples_per_second": samples / seconds if seconds > 0 else None,
            "tokens_per_second": new / seconds if new is not None and seconds > 0 else None,
            "num_tokens": tokens,
            "step_seconds": seconds / count,
            **extra,
        }

    def _new_total(self, logs: dict[str, Any]) -> float | None:
        if "num_tokens" in logs:
            return float(logs["num_tokens"]) + self._counted_before
        return logs.get("num_input_tokens_seen")


def samples_of_last_step(rows: int | None, args: Any) -> int:
    """How many samples the last optimizer step of an epoch has; a full step's where ``rows`` is not known."""
    batch = args.train_batch_size * max(1, args.world_size)
    full = batch * args.gradient_accumulation_steps
    if not rows:
        return full
    if args.dataloader_drop_last:
        rows = rows // batch * batch
    return rows % full or full


def tokens_at(step: int, records: Iterable[RunDir], history: list[dict[str, Any]]) -> int:
    """The tokens counted up to ``step``: from the first record that has it, else from the trainer's own log; else 0."""
    for run in records:
        best, tokens = -1, 0
        reader = EventReader(run.events)
        while events := reader.poll(8 * READ_CHUNK):
            for event in events:
                counted = event.get("num_tokens") if event["type"] == "step" else None
                if isinstance(counted, int | float) and best <= event.get("step", step + 1) <= step:
                    best, tokens = event["step"], int(counted)
        if best > 0:
            return tokens
    rows = [row for row in history if isinstance(row.get("num_tokens"), int | float) and row.get("step", 0) <= step]
    return int(rows[-1]["num_tokens"]) if rows else 0


def _records(run: RunDir) -> list[RunDir]:
    """Where the steps before a resume may be recorded: in this run, or in the one whose checkpoint it goes on from."""
    attempts = (run.read_run() or {}).get("attempts")
    attempt = int(os.environ.get("TUNEDECK_ATTEMPT") or 1)
    entries = [e for e in attempts if isinstance(e, dict)] if isinstance(attempts, list) else []
    sources = [e["checkpoint"] for e in entries if e.get("attempt") == attempt and isinstance(e.get("checkpoint"), str)]
    return [*(RunDir(Path(source).parent) for source in sources), run]


def _rows(dataloader: Any) -> int | None:
    try:
        return len(dataloader.dataset)
    except (AttributeError, TypeError):
        return None
