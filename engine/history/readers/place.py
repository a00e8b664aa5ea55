"""What stands in one directory: names, checkpoints, and a print of it that changes when any of it does."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from engine.history.readers.tensorboard import files
from engine.rundir import META

CHECKPOINT = re.compile(r"checkpoint-(\d{1,15})")
# Folders that are a checkpoint by their name, whatever number or word stands behind it.
LIKE_CHECKPOINT = re.compile(
    r"last-checkpoint|(?:tmp-)?checkpoint[-_](?:\d+|best|last|final|latest|epoch)[\w.\-]*|(?:step|epoch|global_step)[-_]?\d+",
    re.IGNORECASE,
)
# Where Transformers keeps the newest checkpoint for the hub.
LAST = "last-checkpoint"
# Folders in which some keep their checkpoints.
GATHERED = ("checkpoints",)
# Folders below a run that belong to it, by their names.
PRODUCTS = frozenset({"merged", "merged_model", "runs", "logs", "images", "val_dataset", "wandb", "samples", "predictions",
                      "final", "final_model", "final_adapter", "best", "best_model", "adapter", "adapters", "lora", "model",
                      "tensorboard", "eval", "results", "lora_adapter", "final_checkpoint", "adapter_model", "default"})  # fmt: skip
# Directories whose contents are many: more names than so many are left out.
MAX_NAMES = 20_000


@dataclass(slots=True)
class Place:
    """Names in a directory. ``files`` holds the stat of each; links are among neither files nor folders but ``links``."""

    path: Path
    files: dict[str, os.stat_result] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    problem: str = ""
    deeper: list[str] = field(default_factory=list)

    @property
    def checkpoints(self) -> list[tuple[int, str]]:
        """Step and name of every checkpoint, oldest first."""
        found = [
            (int(match[1]), name)
            for name in (*self.folders, *self.deeper)
            if (match := CHECKPOINT.search(name)) and _is_named(name)
        ]
        return sorted(found)

    def has(self, name: str) -> bool:
        """Whether there is a file of this name, or a link in its place."""
        return name in self.files or name in self.links


def look(path: Path) -> Place:
    """What stands in a directory; never raises."""
    place = Place(path)
    try:
        with os.scandir(path) as entries:
            for seen, entry in enumerate(entries):
                if seen >= MAX_NAMES:
                    place.problem = f"holds more than {MAX_NAMES} names: the others were left out"
                    break
                try:
                    if entry.is_symlink():
                        place.links.append(entry.name)
                    elif entry.is_dir(follow_symlinks=False):
                        place.folders.append(entry.name)
                    else:
                        place.files[entry.name] = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
    except (OSError, ValueError) as error:
        place.problem = f"cannot be read: {(getattr(error, 'strerror', None) or str(error)).lower()}"
    return place


def look_whole(path: Path) -> Place:
    """The same, with the checkpoints that stand in a folder ``checkpoints`` of their own."""
    place = look(path)
    for folder in GATHERED:
        if folder in place.folders:
            place.deeper += [f"{folder}/{name}" for name in look(path / folder).folders if CHECKPOINT.fullmatch(name)]
    return place


def _is_named(name: str) -> bool:
    return bool(CHECKPOINT.fullmatch(name.rpartition("/")[2]))


def fingerprint(path: Path) -> tuple[object, ...]:
    """Names, inodes, sizes and times of everything a summary is read from; empty if the directory is gone."""
    place = look_whole(path)
    marks: list[object] = [place.problem] if place.problem else []
    if not place.problem or place.files:
        marks += [_mark(name, info) for name, info in sorted(place.files.items()) if not name.startswith(".")]
    marks += sorted(place.links)
    marks += [name for _, name in place.checkpoints] + [name for name in place.folders if name == META]
    if META in place.folders:
        below = look(path / META)
        marks += [_mark(name, info) for name, info in sorted(below.files.items())]
    for _, name in place.checkpoints[-1:]:
        below = look(path / name)
        marks += [_mark(f"{name}/{file}", info) for file, info in sorted(below.files.items()) if file.endswith(".json")]
    for event in files(path):
        try:
            marks.append(_mark(str(event), os.lstat(event)))
        except OSError:
            continue
    return tuple(marks)


def _mark(name: str, info: os.stat_result) -> tuple[str, int, int, int]:
    return name, info.st_ino, info.st_size, info.st_mtime_ns


def total_bytes(path: Path, most: int = 50_000) -> int | None:
    """Bytes of the regular files below a directory, links not followed; ``None`` if there are too many to count."""
    total = seen = 0
    stack = [os.fspath(path)]
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    seen += 1
                    if seen > most:
                        return None
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            stack.append(entry.path)
                        else:
                            info = entry.stat(follow_symlinks=False)
                            if stat.S_ISREG(info.st_mode):
                                total += info.st_size
                    except OSError:
                        continue
        except OSError:
            continue
    return total
