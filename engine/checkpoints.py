"""Checkpoints on disk: which stand, how large they are, and whether one can be resumed from."""

from __future__ import annotations

import json
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.rundir import read_json

_NAME = re.compile(r"checkpoint-(\d+)")
# Without these a resume fails or silently starts a fresh optimizer.
NEEDED = ("trainer_state.json", "optimizer.pt", "scheduler.pt")
ADAPTERS = ("adapter_model.safetensors", "model.safetensors")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One ``checkpoint-N`` directory; ``problem`` says why it is not valid."""

    step: int
    path: Path
    bytes: int
    problem: str = ""

    @property
    def valid(self) -> bool:
        """Whether a run can be resumed from it."""
        return not self.problem

    def as_dict(self) -> dict[str, Any]:
        """The shape of ``show --json``."""
        return {"step": self.step, "path": str(self.path), "bytes": self.bytes, "valid": self.valid}


def checkpoints(output_dir: Path) -> list[Checkpoint]:
    """All checkpoints below an output directory, by rising step."""
    try:
        names = os.listdir(output_dir)
    except OSError:
        return []
    found = []
    for name in names:
        match = _NAME.fullmatch(name)
        path = output_dir / name
        if match and path.is_dir() and not path.is_symlink():
            step = int(match[1])
            found.append(Checkpoint(step, path, _bytes(path), _problem(path, step)))
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def newest_valid(output_dir: Path) -> Checkpoint | None:
    """The checkpoint a resume starts from."""
    return next((c for c in reversed(checkpoints(output_dir)) if c.valid), None)


def _problem(path: Path, step: int) -> str:
    missing = [name for name in NEEDED if not (path / name).is_file()]
    if missing:
        return f"{missing[0]} is missing"
    adapter = next((path / name for name in ADAPTERS if (path / name).is_file()), None)
    if adapter is None:
        return "the adapter's weights are missing"
    if not safetensors_complete(adapter):
        return f"{adapter.name} is torn"
    state = _trainer_state(path / "trainer_state.json")
    if state is None or state.get("global_step") != step:
        return "trainer_state.json is damaged"
    return ""


def safetensors_complete(path: Path) -> bool:
    """Whether a safetensors file is as long as its header says (format: 8 bytes length, JSON header, data)."""
    header = safetensors_header(path)
    if header is None:
        return False
    ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
        return path.stat().st_size == 8 + length + max(ends, default=0)
    except (OSError, struct.error):
        return False


def safetensors_header(path: Path) -> dict[str, Any] | None:
    """The header of a safetensors file: tensor names to dtype, shape and data_offsets; ``None`` if damaged."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if not 2 <= length <= 100_000_000:
                return None
            header = json.loads(file.read(length))
    except (OSError, ValueError, struct.error, RecursionError):
        return None
    ok = isinstance(header, dict) and all(
        isinstance(v, dict) and isinstance(v.get("data_offsets"), list) and len(v["data_offsets"]) == 2
        for k, v in header.items()
        if k != "__metadata__"
    )
    return header if ok else None


def _trainer_state(path: Path) -> dict[str, Any] | None:
    # Written by transformers with bare NaN and Infinity, which Python's reader accepts.
    return read_json(path)


def _bytes(path: Path) -> int:
    total = 0
    try:
        with os.scandir(path) as entries:
            total = sum(e.stat(follow_symlinks=False).st_size for e in entries if e.is_file(follow_symlinks=False))
    except OSError:
        pass
    return total
