"""The log that TensorBoard's event files hold, under the names that a trainer logs."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.history.readers.log import Log
from engine.history.readers.tfevents import events

MARK = ".tfevents."
# Limits on what foreign bytes can cost: of all files together, of points, of files.
MAX_BYTES = 8 * 1024 * 1024
_TEXTS = 512 * 1024
MAX_SCALARS = 1_000_000
MAX_FILES = 64
_PREFIXES = ("train/", "train_", "training/")
_NAMES = {"lr": "learning_rate", "global_step": "_step"}
_BEGUN = re.compile(r"\.tfevents\.(\d{9,10})\.")
_FOLDERS = frozenset({"runs", "logs", "tensorboard", "tb_logs", "tb", "logging"})
_EVALS = ("eval/", "val/", "validation/", "test/")


@dataclass(slots=True)
class Events:
    """The scalars of one directory's event files, and the texts (hyperparameters) among them."""

    log: Log
    texts: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def files(folder: Path) -> list[Path]:
    """The event files of a folder and of ``runs/`` below it, two levels deep, oldest first; links are not followed."""
    found: list[tuple[str, Path]] = []
    _collect(folder, 0, found, top=True)
    return [path for _, path in sorted(found)][-MAX_FILES:]


def _collect(folder: Path, depth: int, found: list[tuple[str, Path]], *, top: bool = False) -> None:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if MARK in entry.name and entry.is_file(follow_symlinks=False):
                    found.append((entry.name, Path(entry.path)))
                elif (not top or entry.name in _FOLDERS) and depth < 3 and entry.is_dir(follow_symlinks=False):
                    _collect(Path(entry.path), depth + 1, found)
                if len(found) >= 4 * MAX_FILES:
                    return
    except OSError:
        return


def begun(path: Path) -> float | None:
    """When an event file was begun, which its name says."""
    match = _BEGUN.search(path.name)
    return float(match[1]) if match else None


def texts(paths: list[Path]) -> dict[str, str]:
    """The texts (arguments, model) at the beginning of the newest files that have any; the numbers are not read."""
    for path in reversed(paths[-4:]):
        found: dict[str, str] = {}
        for event in events(path, _TEXTS, whole=False):
            told = {tag: value for tag, value in event.values if isinstance(value, str)}
            if event.values and not told:
                break
            found |= told
        if found:
            return found
    return {}


def read(paths: list[Path], most: int = MAX_BYTES) -> Events | None:
    """The log that event files hold; ``None`` if there is none in them. No more than ``most`` bytes are read."""
    points: dict[tuple[int, bool], dict[str, Any]] = {}
    texts: dict[str, str] = {}
    order: list[tuple[int, bool]] = []
    problems: list[str] = []
    first = last = 0.0
    left, scalars, whole = most, 0, True
    for path in paths:
        used, fresh = 0, True
        for wall, step, values, used, problem, left_out in events(path, left):  # noqa: B007
            if problem:
                problems.append(f"{path.name} {problem}")
                whole &= not left_out
                continue
            first, last = first or wall, max(last, wall)
            for tag, value in values:
                if isinstance(value, str):
                    texts[tag] = value
                    continue
                scalars += 1
                name, evals = _name(tag)
                if fresh and not evals and name == "loss":
                    order = _restart(points, order, step)
                    fresh = False
                key = (step, evals)
                row = points.get(key)
                if row is None:
                    row = points[key] = {"step": step, "time": wall}
                    order.append(key)
                row[name] = value
            if scalars > MAX_SCALARS:
                problems.append(f"{path.name} has too many points: only the first were read")
                whole = False
                break
        left -= used
        if left <= 0 or scalars > MAX_SCALARS:
            break
    if not points and not texts:
        return Events(Log("TensorBoard"), {}, problems[0]) if problems else None
    rows = [points[key] for key in sorted(order, key=lambda key: (key[0], key[1]))]
    log = Log("TensorBoard", rows, started=first or None, ended=last or None, whole=whole)
    log.step = max((row["step"] for row in rows), default=None)
    log.seconds = last - first if last > first > 0 else None
    return Events(log, texts, problems[0] if problems else "")


def _restart(
    points: dict[tuple[int, bool], dict[str, Any]], order: list[tuple[int, bool]], step: int
) -> list[tuple[int, bool]]:
    """A later file that begins at an earlier step is a resumed run: what was beyond did not count."""
    kept = [key for key in order if key[0] < step]
    for key in order:
        if key[0] >= step:
            points.pop(key, None)
    return kept


def _name(tag: str) -> tuple[str, bool]:
    """The name of a metric as a trainer logs it, and whether it is of an evaluation."""
    for prefix in _EVALS:
        if tag.startswith(prefix):
            return f"eval_{tag[len(prefix) :]}", True
    if tag.startswith(("eval_", "test_")):
        return tag, True
    if tag in ("val_loss", "valid_loss"):
        return "eval_loss", True
    for prefix in _PREFIXES:
        if tag.startswith(prefix):
            rest = tag[len(prefix) :]
            if prefix == "train/" and rest in ("train_loss", "train_runtime", "train_samples_per_second",
                                               "train_steps_per_second", "total_flos"):  # fmt: skip
                return rest, False
            if prefix == "train_" and rest not in ("loss",):
                return tag, False
            return _NAMES.get(rest, rest), False
    return _NAMES.get(tag.lower(), "loss" if tag.lower() in ("loss", "loss/train") else tag), tag.lower() in (
        "loss/eval",
        "loss/val",
    )
