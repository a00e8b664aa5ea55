"""One training log in one form, wherever it was written: rows, where it stood, and what of it is missing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from engine.history.readers.numbers import number, seconds, step_of
from engine.history.record import AXES, Curves

# What a row says of its place and of time, by all the names that tools give it.
STEP_KEYS = ("step", "current_steps", "global_step", "global_step/max_steps", "iteration")
EPOCH_KEYS = ("epoch",)
TOKEN_KEYS = ("num_tokens", "num_input_tokens_seen", "total_tokens", "tokens/total", "tokens_seen")
TIME_KEYS = ("time", "elapsed_time", "wall_time")
_NO_METRIC = frozenset(
    (*STEP_KEYS, "epoch", "time", "elapsed_time", "remaining_time", "percentage", "total_steps", "wall_time",
     "total_flos", "step_num")
)  # fmt: skip
# What only a row that sums up the whole training has.
ENDING = ("train_runtime", "train_samples_per_second", "train_steps_per_second")
SPARKS = 32
# Metrics beyond so many names are left out: a log that invents names must not take the memory.
MAX_METRICS = 512

Rows = list[dict[str, Any]]


@dataclass(slots=True)
class Figures:
    """What a list shows of a log."""

    points: int | None = 0
    last_loss: float | None = None
    best_loss: float | None = None
    last_eval_loss: float | None = None
    best_eval_loss: float | None = None
    last_step: int | None = None
    epoch: float | None = None
    peak_rate: float | None = None
    sparkline: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Log:
    """Rows of one source; ``rows`` as they were written. ``step`` and ``total`` are what the source itself says of the run.

    ``whole`` is false where only both ends were read: then nothing can be said of counts and bests. ``damaged``: the
    rows are what could still be read. ``sampled``: not every training row is there. ``merges``: the same step once more supersedes.
    """

    source: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    step: int | None = None
    total: int | None = None
    epoch: float | None = None
    epochs: float | None = None
    started: float | None = None
    ended: float | None = None
    seconds: float | None = None
    whole: bool = True
    damaged: bool = False
    sampled: bool = False
    merges: bool = True
    settings: dict[str, Any] = field(default_factory=dict)
    _parts: tuple[int, bool, Rows, Rows] | None = field(default=None, repr=False, compare=False)

    @property
    def parts(self) -> tuple[Rows, Rows]:
        """What :func:`training_rows` tells, worked out once."""
        known = self._parts
        if known is None or known[:2] != (len(self.rows), self.merges):
            known = self._parts = (len(self.rows), self.merges, *training_rows(self))
        return known[2:]

    @property
    def ending(self) -> dict[str, Any]:
        """The row that sums up the training, empty if it has not ended (or went on after it)."""
        for row in reversed(self.rows):
            if any(key in row for key in ENDING):
                return row
            if row.get("loss") is not None:
                break
        return {}


def row_step(row: dict[str, Any]) -> int | None:
    """The optimizer step of a row, if it says one."""
    step = row.get("step")
    if type(step) is int:
        return step if 0 <= step < 1 << 53 else None
    for key in STEP_KEYS:
        value = row.get(key)
        if value is not None:
            found = step_of(value)[0]
            if found is not None:
                return found
    return None


def training_rows(log: Log) -> tuple[Rows, Rows]:
    """The rows with a training loss, and those of evaluations, in order.

    A log that is appended to and goes back to an earlier step was resumed there: what it had said from that step on did
    not count, and the same step once more is the same row, written again. A trainer's state is one list, kept as it is.
    """
    train: list[dict[str, Any]] = []
    evals: list[dict[str, Any]] = []
    steps: list[int] = []
    last = -1
    for row in log.rows:
        loss = row.get("loss")
        counted = loss is not None and number(loss) is not None
        if counted:
            step = row_step(row)
            if step is None:
                step = last
            elif step <= last and log.merges:
                _cut(train, steps, step)
                if step < last:
                    evals[:] = [e for e in evals if (row_step(e) or 0) < step]
            train.append(row)
            steps.append(step)
            last = step
        if row.get("eval_loss") is not None if counted else _evaluates(row):
            evals.append(row)
    return train, _once(evals) if log.merges else evals


def _is_eval(key: str) -> bool:
    return key[:5] in ("eval_", "test_")


def _evaluates(row: dict[str, Any]) -> bool:
    """Whether a row tells of an evaluation; old LLaMA-Factory names ``eval_loss`` in every row, without a value."""
    return any(_is_eval(key) and value is not None for key, value in row.items())


def _cut(train: list[dict[str, Any]], steps: list[int], step: int) -> None:
    while steps and steps[-1] >= step:
        steps.pop()
        train.pop()


def _once(evals: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without evaluations that were written twice."""
    kept: list[dict[str, Any]] = []
    for row in evals:
        if kept and row_step(row) is not None and row_step(kept[-1]) == row_step(row):
            same = {key for key in kept[-1] if _is_eval(key)} == {key for key in row if _is_eval(key)}
            if same:
                kept[-1] = row
                continue
        kept.append(row)
    return kept


def figures(log: Log) -> Figures:
    """The row's worth of a log."""
    train, evals = log.parts
    found = Figures(points=len(train))
    losses = [number(row["loss"]) for row in train]
    values = [value for value in losses if value is not None]
    if values:
        found.last_loss = values[-1]
        found.best_loss = min(filter(math.isfinite, values), default=None)
        found.sparkline = sparks(values)
    marks = [value for value in (number(row.get("eval_loss")) for row in evals) if value is not None]
    if marks:
        found.last_eval_loss = marks[-1]
        found.best_eval_loss = min(filter(math.isfinite, marks), default=None)
    rates = [number(row.get("learning_rate", row.get("lr"))) for row in train]
    found.peak_rate = max((rate for rate in rates if rate is not None and 0 < rate < math.inf), default=None)
    for row in reversed(log.rows):
        if found.last_step is None:
            found.last_step = row_step(row)
        if found.epoch is None:
            found.epoch = number(row.get("epoch"))
        if found.last_step is not None and found.epoch is not None:
            break
    if not log.whole:
        found.points, found.best_loss, found.best_eval_loss, found.sparkline = None, None, None, []
    if log.sampled:
        found.points, found.best_loss = None, None
    return found


def sparks(values: list[float]) -> list[float]:
    """At most so many numbers that draw a curve: means, NaN where any was not finite."""
    if len(values) <= SPARKS:
        return [float(value) for value in values]
    drawn = []
    for place in range(SPARKS):
        part = values[place * len(values) // SPARKS : (place + 1) * len(values) // SPARKS]
        mean = sum(part) / len(part)
        drawn.append(mean if math.isfinite(mean) else math.nan)
    return drawn


def curves(log: Log) -> tuple[Curves, Curves]:
    """The log as columns: training rows, and evaluations."""
    train, evals = log.parts
    if not train:  # trainers that log no loss under that name
        train = [row for row in log.rows if not any(map(_is_eval, row)) and not any(key in row for key in ENDING)]
    known: set[str] = set()
    return _columns(train, known, evals=False), _columns(evals, known, evals=True)


def _columns(rows: list[dict[str, Any]], known: set[str], *, evals: bool) -> Curves:
    axes: dict[str, list[float]] = {axis: [] for axis in AXES}
    places: dict[str, list[int]] = {}
    values: dict[str, list[float]] = {}
    for place, row in enumerate(rows):
        for axis, where in (("step", row_step(row)), ("epoch", number(row.get("epoch"))),
                            ("tokens", _first(row, TOKEN_KEYS)), ("time", _time(row))):  # fmt: skip
            axes[axis].append(math.nan if where is None else where)
        both = evals and "loss" in row
        for name, raw in row.items():
            value = raw if type(raw) is float else number(raw)
            if value is None or name in _NO_METRIC or (_is_eval(name) != evals and (both or not evals)):
                continue
            if name == "lr":
                name = "learning_rate"
            column = values.get(name)
            if column is None:
                if len(known) >= MAX_METRICS and name not in known:
                    continue
                known.add(name)
                column = values[name] = []
                places[name] = []
            column.append(value)
            places[name].append(place)
    return Curves.of_rows(axes, places, values)


def _first(row: dict[str, Any], names: tuple[str, ...]) -> float | None:
    for name in names:
        value = row.get(name)
        if value is not None:
            return number(value)
    return None


def _time(row: dict[str, Any]) -> float | None:
    for name in TIME_KEYS:
        value = row.get(name)
        if value is not None:
            return seconds(value)
    return None
