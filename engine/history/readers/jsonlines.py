"""Logs of one JSON object a line: ``trainer_log.jsonl`` of LLaMA-Factory, ``logging.jsonl`` of ms-swift."""

from __future__ import annotations

from typing import Any

from engine.history.readers import jsontext
from engine.history.readers.log import Log, row_step
from engine.history.readers.numbers import count, number, seconds, step_of
from engine.history.readers.textfiles import Found

LLAMA_FACTORY = "trainer_log.jsonl"
SWIFT = "logging.jsonl"
_OWN = frozenset(
    {"current_steps", "global_step", "global_step/max_steps", "loss", "eval_loss", "train_runtime", "step"}
)
_LOOK = 40


def is_log(found: Found) -> bool:
    """Whether such a file is a training's, by its first lines; one without any may become it."""
    rows, damaged = jsontext.lines(b"\n".join(found.data.split(b"\n", _LOOK)[:_LOOK]))
    if damaged and not rows:
        return read(found, SWIFT)[0] is not None
    return not rows or any(_OWN & row.keys() for row in rows[:20])


def read(found: Found, source: str) -> tuple[Log | None, str]:
    """The log of such a file, and what is wrong with it (empty if nothing)."""
    if not found.data:
        return None, found.problem
    rows, damaged = jsontext.lines(found.data)
    if found.partial:
        rows += jsontext.lines(found.tail.partition(b"\n")[2])[0]
    problem = found.problem
    if damaged and not found.partial:
        problem = "1 damaged line was skipped" if damaged == 1 else f"{damaged} damaged lines were skipped"
    if rows and not any(_OWN & row.keys() for row in rows[:20]):
        return None, "is no log of a training"
    if not rows and damaged:
        return None, problem
    log = Log(source, rows, whole=not found.partial)
    _places(log)
    return log, problem


def _places(log: Log) -> None:
    """Where the run stood, by its last rows; a summary row (ms-swift's last line) holds the whole log once more."""
    summaries = [row for row in log.rows if isinstance(row.get("log_history"), list)]
    if summaries:
        log.rows = [row for row in log.rows if not isinstance(row.get("log_history"), list)]
        log.settings = {key: value for key, value in summaries[-1].items() if key != "log_history"}
        if not log.rows:
            log.rows = [row for row in summaries[-1]["log_history"] if isinstance(row, dict)]
        log.step = count(summaries[-1].get("global_step"))
    for row in reversed(log.rows):
        if log.step is None:
            log.step = row_step(row)
        if log.total is None:
            log.total = _total(row)
        if log.epoch is None:
            log.epoch = number(row.get("epoch"))
        if log.seconds is None:
            log.seconds = seconds(row.get("train_runtime", row.get("elapsed_time")))
        if None not in (log.step, log.total, log.epoch, log.seconds):
            break


def _total(row: dict[str, Any]) -> int | None:
    found = step_of(row.get("global_step/max_steps"))[1]
    if found is None:
        found = count(row.get("total_steps", row.get("max_steps")))
    return found or None
