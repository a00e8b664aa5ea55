"""Which checkpoints of a run are worth keeping: the best and the last, each with the reason in words."""

from __future__ import annotations

import json
import math
import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from engine.checkpoints import newest_valid
from engine.events import number
from engine.history.readers import read_record
from engine.history.removal.layouts import CHECKPOINT
from engine.rundir import META, RunDir

BEST, LAST = "best", "last"
# Of a trainer's state larger than this only what the readers of all logs make of it is used.
_MOST_BYTES = 64 << 20


def steps_of(path: Path) -> dict[int, str]:
    """The checkpoints in a directory, by rising step; links are none."""
    found: dict[int, str] = {}
    with os.scandir(path) as entries:
        for entry in entries:
            match = CHECKPOINT.fullmatch(entry.name)
            if match and entry.is_dir(follow_symlinks=False):
                found[int(match[1])] = entry.name
    return dict(sorted(found.items()))


def choose(path: Path, keep: Iterable[str | int]) -> tuple[dict[str, list[str]], bool]:
    """The names of the checkpoints to keep with the reasons, and whether it is known which is the best."""
    steps = steps_of(path)
    kept: dict[str, list[str]] = {}

    def stays(step: int | None, why: str) -> None:
        if step in steps:
            kept.setdefault(steps[step], []).append(why)

    wanted = set(keep)
    for step in wanted:
        if isinstance(step, int):
            stays(step, "was asked to be kept")
    known = False
    if BEST in wanted:
        for step, why in _best(path, steps):
            known = known or step in steps
            stays(step, why)
    if LAST in wanted and steps:
        newest = newest_valid(path)
        stays(newest.step if newest is not None else None, "the one that a resume begins from")
        stays(max(steps), "the last one")
    return kept, known


def _best(path: Path, steps: dict[int, str]) -> Iterator[tuple[int, str]]:
    """Steps that somebody's figures call the best; they may differ, then all of them are named."""
    state = _newest_state(path, steps)
    losses = _eval_losses(state.get("log_history"))
    best = state.get("best_model_checkpoint")
    if isinstance(best, str) and (match := CHECKPOINT.fullmatch(re.split(r"[/\\]", best.rstrip("/\\"))[-1])):
        yield int(match[1]), "the best by the trainer's own record"
    losses = (_own_losses(path) if (path / META).is_dir() else {}) or losses or _logged(path)
    at: dict[int, tuple[float, int]] = {}
    known, before = sorted(losses), -1
    for step in steps:
        # Where evaluations come at other steps than saves, the last one before a save tells of it.
        place = bisect_right(known, step)
        if place and known[place - 1] > before:
            at[step] = losses[known[place - 1]], known[place - 1]
        before = step
    if at:
        step = min(at, key=lambda step: (at[step][0], step))
        loss, seen = at[step]
        yield step, f"the best by eval_loss, {loss:.6g}" + (f" at step {seen}" if seen != step else "")


def _newest_state(path: Path, steps: dict[int, str]) -> dict[str, Any]:
    """The trainer's state that went furthest: the directory's own may be of an earlier attempt. Empty if there is none."""
    own = _read(path / "trainer_state.json")
    saved = (_read(path / name / "trainer_state.json") for name in reversed(steps.values()))
    found = [state for state in (own, next((state for state in saved if state), None)) if state]
    return max(found, key=lambda state: _number(state.get("global_step")) or 0.0, default={})


def _read(path: Path) -> dict[str, Any] | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            if os.fstat(fd).st_size > _MOST_BYTES:
                return None
            value = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _eval_losses(rows: Any) -> dict[int, float]:
    found: dict[int, float] = {}
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict):
            continue
        step, loss = _number(row.get("step")), _number(row.get("eval_loss"))
        if step is not None and loss is not None:
            found[int(step)] = loss
    return found


def _own_losses(path: Path) -> dict[int, float]:
    from engine.snapshot import RunFollower

    evals = RunFollower(RunDir(path).path).read_all().evals
    losses = evals.column("eval_loss")
    return {step: loss for step, loss in zip(evals.steps, losses, strict=True) if math.isfinite(loss)}


def _logged(path: Path) -> dict[int, float]:
    """What any other log of the directory tells."""
    record = read_record(path)
    if record is None:
        return {}
    steps, losses = record.evals.pair("eval_loss")
    return {
        int(step): loss for step, loss in zip(steps, losses, strict=True) if math.isfinite(step) and math.isfinite(loss)
    }


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    found = number(value)
    return found if found is not None and math.isfinite(found) else None
