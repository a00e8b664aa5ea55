"""Everything known of one run at one moment."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import status as states
from engine.events import number
from engine.records import is_count, is_time
from engine.remaining import Pace
from engine.status import RunState
from engine.tables import MetricTable

# Hardware events that are kept: the last five minutes, at one every five seconds.
READINGS = 60


@dataclass(slots=True)
class Notice:
    """A warning worth showing: ``level`` is info, warning or error; ``text`` and ``kind`` are untrusted.

    ``kind`` says what it is about (``nonfinite``, …), ``step`` where, if the writer said so.
    """

    time: float
    level: str
    text: str
    kind: str = ""
    step: int | None = None


@dataclass(slots=True)
class Phase:
    """What the worker is doing: loading, tokenising, compiling, training, evaluating or saving."""

    name: str = ""
    done: float | None = None
    total: float | None = None
    since: float | None = None


@dataclass(slots=True)
class RunView:
    """Everything known of one run at this moment. Texts in it are untrusted: clean them before drawing.

    ``notices`` and ``controls`` keep only the newest; ``notices_seen`` and ``controls_seen`` count all there ever were.
    """

    path: Path
    id: str = ""
    name: str = ""
    run: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    state: RunState = field(default_factory=lambda: RunState(states.UNKNOWN))
    steps: MetricTable = field(default_factory=MetricTable)
    evals: MetricTable = field(default_factory=MetricTable)
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    notices: deque[Notice] = field(default_factory=lambda: deque(maxlen=500))
    notices_seen: int = 0
    controls: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=50))
    controls_seen: int = 0
    samples: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=200))
    phase: Phase = field(default_factory=Phase)
    readings: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=READINGS))
    pace: Pace = field(default_factory=Pace)
    step: int = 0
    total_steps: int | None = None
    attempt: int = 1
    step_attempt: int = 0
    attempt_row: int = 0
    last_state: RunState | None = None
    last_state_attempt: int = 0
    last_event: float | None = None
    damaged: int = 0
    problems: list[str] = field(default_factory=list)
    # Much of the record has not been read yet: what stands here is of an earlier time.
    behind: bool = False

    @property
    def hardware(self) -> dict[str, Any]:
        """The newest hardware event; empty before the first. One that is set is added to :attr:`readings`."""
        return self.readings[-1] if self.readings else {}

    @hardware.setter
    def hardware(self, event: dict[str, Any]) -> None:
        self.readings.append(event)

    @property
    def base_model(self) -> str:
        """The base model's name or path, as configured."""
        return str(self.config.get("base_model") or "")

    @property
    def config(self) -> dict[str, Any]:
        """The recorded settings; empty if there are none that can be read."""
        config = self.run.get("config")
        return config if isinstance(config, dict) else {}

    @property
    def attempts(self) -> list[dict[str, Any]]:
        """The attempts that ``run.json`` lists, oldest first; empty for runs of older versions."""
        found = self.run.get("attempts")
        return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []

    @property
    def attempt_number(self) -> int:
        """The number of the newest attempt, begun or only prepared."""
        recorded = self.status.get("attempts")
        return max(self.attempt, len(self.attempts), recorded if is_count(recorded) else 0)

    @property
    def resumed_from(self) -> str | None:
        """The checkpoint that the newest attempt goes on from, ``None`` if it begins at the beginning."""
        checkpoint = self.attempts[-1].get("checkpoint") if self.attempts else None
        return checkpoint if isinstance(checkpoint, str) and checkpoint else None

    @property
    def resumed_step(self) -> int | None:
        """The last step that the newest attempt keeps of what was before it; ``None`` if it was not resumed."""
        if self.resumed_from is None:
            return None
        step = self.attempts[-1].get("step")
        return step if is_count(step) else None

    @property
    def queue_position(self) -> int | None:
        """The place in the queue, from 1 on, while queued."""
        position = self.status.get("queue_position")
        return position if is_count(position) and self.state.state == states.QUEUED else None

    @property
    def waits_for(self) -> str:
        """What a queued run waits for; empty otherwise."""
        text = self.status.get("waits_for")
        return text if isinstance(text, str) and self.state.state == states.QUEUED else ""

    def controls_since(self, seen: int) -> list[dict[str, Any]]:
        """The answers that came after ``controls_seen`` was ``seen``, as far as they are kept."""
        new = min(len(self.controls), max(0, self.controls_seen - seen))
        return list(self.controls)[len(self.controls) - new :]

    def notices_since(self, seen: int) -> list[Notice]:
        """The notices that came after ``notices_seen`` was ``seen``, as far as they are kept."""
        new = min(len(self.notices), max(0, self.notices_seen - seen))
        return list(self.notices)[len(self.notices) - new :]

    @property
    def started(self) -> float | None:
        """When the newest attempt's processes were started (Unix seconds)."""
        return _time(self.status.get("started")) or _time(self.run.get("created"))

    @property
    def seconds_before(self) -> float:
        """Seconds that earlier attempts worked."""
        before = number(self.status.get("seconds_before"))
        return before if before is not None and math.isfinite(before) and before > 0 else 0.0

    @property
    def ended(self) -> float | None:
        """When the run ended, ``None`` while it lives."""
        return _time(self.status.get("ended"))

    @property
    def elapsed(self) -> float | None:
        """Seconds that the run has worked: earlier attempts, and this one from its start to its end or to now."""
        before = self.seconds_before or None
        if self.started is None or (self.state.state == states.QUEUED and not _time(self.status.get("started"))):
            return before
        end = self.ended or (time.time() if self.state.live else self.last_event)
        return max(0.0, end - self.started) + (before or 0.0) if end is not None else before

    @property
    def epoch(self) -> float | None:
        """Epochs done."""
        return self.steps.last("epoch")

    @property
    def median_step_seconds(self) -> float | None:
        """Median seconds of the last 50 steps."""
        recent = [v for v in self.steps.column("step_seconds")[-50:] if math.isfinite(v)]
        return statistics.median(recent) if recent else None

    @property
    def remaining(self) -> float | None:
        """Seconds until the end at the pace of recent steps, evaluations and saves counted in; ``None`` if not known."""
        return None if self.behind else self.pace.remaining(self)


def _time(value: Any) -> float | None:
    return float(value) if is_time(value) else None
