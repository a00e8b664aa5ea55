"""What the checkpoints of a run take on the disk, against what is free there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from engine.paths import expand
from engine.preflight.checks import Plan
from engine.preflight.memory import optimizer_bytes

# The tokenizer, its template, the trainer's state and settings: all that is not the model's size.
_OTHER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "tokenizer_config.json",
)
_SMALL = 256 * 1024


def disk(config: dict[str, Any], costs: dict[str, Any], plan: Plan, model: Path | None) -> dict[str, int | None]:
    """Bytes of one checkpoint, how many stand at most, the total with the final adapter, and what is free.

    A checkpoint holds the adapter in float32 (bfloat16 over quantised weights), the optimizer's state and small files.
    Rotation removes the oldest only after a new one is complete, so one more than ``save_total_limit`` stands for a
    moment, and the best one besides.
    """
    small = _SMALL
    for name in _OTHER_FILES if model is not None else ():
        try:
            small += (model / name).stat().st_size  # type: ignore[operator]
        except OSError:
            pass
    each = 2 if config["load_in_4bit"] or config["load_in_8bit"] else 4
    adapter = costs["trainable"] * each + small
    one = adapter + int(costs["trainable"] * optimizer_bytes(costs["chosen"]["optim"]))
    count = plan.checkpoints
    if config["save_total_limit"] is not None:
        count = min(count, config["save_total_limit"] + 1 + bool(config["load_best_model_at_end"]))
    return {"checkpoint": one, "count": count, "total": one * count + adapter, "free": free(Path(config["output_dir"]))}


def free(path: Path) -> int | None:
    """Bytes that this user can still write where the directory will stand."""
    try:
        found = os.statvfs(_standing(path))
    except OSError:
        return None
    return found.f_bavail * found.f_frsize if found.f_blocks else None


def refusal(path: Path) -> str:
    """Why no directory can be made where the run's will stand; empty if one can. One is made there, and removed."""
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".tunedeck-", dir=_standing(path)))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _standing(path: Path) -> Path:
    """The directory itself, or the nearest one above that is there."""
    path = expand(path).absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
