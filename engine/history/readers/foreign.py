"""A directory that another tool left, as one row of the list."""

from __future__ import annotations

import math
import os
import re
import time
import zlib
from pathlib import Path

from engine import status as states
from engine.history.readers.numbers import count, seconds, text
from engine.history.readers.place import GATHERED, total_bytes
from engine.history.readers.sources import Reading, reading
from engine.history.readers.tool import guess
from engine.history.summary import RunSummary
from engine.history.walk import is_run

# LLaMA-Factory's train_2025-04-29-14-28-08, ms-swift's v0-20240607-101038.
_NAMED = re.compile(r"(?:train_|v\d+-)(\d{4}-?\d\d-?\d\d-\d\d-?\d\d-?\d\d)")


def summary(path: Path) -> RunSummary | None:
    """One row for the list."""
    found = reading(path, whole=False)
    return row(found) if found.logs or is_run(path) else None


def row(found: Reading) -> RunSummary:
    """What was read, as one row."""
    log, got, ours = found.log, found.figures, found.settings
    path = found.place.path
    step, total = _steps(found)
    made = RunSummary(
        id=_identity(path),
        path=str(path),
        name=_name(path),
        tool=guess(found.signs),
        state=states.COMPLETED if _completed(found, step, total) else states.UNKNOWN,
        base_model=text(ours.get("base_model")),
        step=step,
        total_steps=total,
        problems=found.problems,
    )
    if log is not None:
        made.points = got.points
        made.last_loss, made.best_loss = got.last_loss, got.best_loss
        made.last_eval_loss, made.best_eval_loss = got.last_eval_loss, got.best_eval_loss
        made.sparkline = got.sparkline
    if made.last_eval_loss is None and "eval_loss" in found.results and (got.points is not None):
        made.last_eval_loss = found.results["eval_loss"]
        made.best_eval_loss = made.last_eval_loss if math.isfinite(made.last_eval_loss) else None
    made.epoch = (log.epoch if log else None) or got.epoch
    ended = found.results.get("epoch")
    if made.epoch is None or (log is not None and log.sampled and ended is not None and ended > made.epoch):
        made.epoch = ended  # a card's table ends with the last evaluation
    made.learning_rate = ours.get("learning_rate") or got.peak_rate
    made.lora_r, made.lora_alpha = ours.get("lora_r"), ours.get("lora_alpha")
    made.num_train_epochs = ours.get("num_train_epochs") or (log.epochs if log else None)
    made.batch_size, made.max_seq_length = ours.get("batch_size"), ours.get("max_seq_length")
    made.dataset = found.data
    made.seconds = seconds(found.results.get("train_runtime")) or found.seconds
    made.started = made.created = found.started or _named_time(path)
    if made.state == states.COMPLETED:
        runtime = seconds(found.results.get("train_runtime"))
        made.ended = found.finished or (found.restarted + runtime if found.restarted and runtime else None)
    made.checkpoints = len(found.place.checkpoints)
    made.modified = found.modified or None
    made.bytes = total_bytes(path)
    return made


def _name(path: Path) -> str:
    """The directory's name; of a folder ``checkpoints`` with the name of the one around it."""
    if path.name in GATHERED and path.parent.name:
        return f"{path.parent.name}/{path.name}"
    return path.name or str(path)


def _named_time(path: Path) -> float | None:
    """When a run was begun, where its tool names the directory by it; the clock of the machine there is taken for ours."""
    match = _NAMED.fullmatch(path.name)
    if not match:
        return None
    try:
        return time.mktime(time.strptime("".join(filter(str.isdigit, match[1])), "%Y%m%d%H%M%S"))
    except (ValueError, OverflowError):
        return None


def _identity(path: Path) -> str:
    """An id that no other directory has: many are called ``output``."""
    return f"{path.name}-{zlib.crc32(os.fsencode(path)):08x}"


def _steps(found: Reading) -> tuple[int | None, int | None]:
    log = found.log
    if log is None:
        return count(found.results.get("global_step")), None
    step = log.step if log.step is not None else found.figures.last_step
    others = [other.step for other in found.logs if not other.damaged and not other.sampled and not other.merges]
    return max([value for value in (step, *others) if value is not None], default=None), log.total


def _completed(found: Reading, step: int | None, total: int | None) -> bool:
    return found.ended or (step is not None and bool(total) and step >= (total or 0))
