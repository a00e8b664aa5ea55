"""Checkpoints on disk: which stand, how large they are, and whether one can be resumed from.

A checkpoint of tunedeck carries ``manifest.json``, written last: the size and SHA-256 of every file, the run that wrote
it, and whether its weights were all finite. What has none, of other tools and older runs, is judged by its files'
headers. No pickle is ever loaded.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from engine import tensorfiles
from engine.rundir import RunDir, read_json

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1
RENUMBERED = "is a copy that was given another number"
# Below .tunedeck: where checkpoints are written before they are renamed to where they stand.
PARTIAL = "partial"
_NAME = re.compile(r"checkpoint-([0-9]+)")
_LEFTOVER = re.compile(r"checkpoint-([0-9]+)(\..*)?")
_RNG = re.compile(r"rng_state(_[0-9]+)?\.pth")
# What a trainer would load from a checkpoint, if it were there.
_LOADED = (".pt", ".pth", ".bin", ".safetensors")
# A trainer's state is read whole up to this size: of a long one its beginning and its last byte tell enough.
STATE_WHOLE = 1024 * 1024
# Without these a resume fails or silently starts a fresh optimizer.
NEEDED = ("trainer_state.json", "optimizer.pt", "scheduler.pt")
ADAPTERS = ("adapter_model.safetensors", "model.safetensors")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One ``checkpoint-N`` directory; ``problem`` says why it is not valid.

    ``run``, ``attempt`` and ``finite`` (are all trained weights finite numbers) are its manifest's; ``None`` and 0
    where there is none.
    """

    step: int
    path: Path
    bytes: int
    problem: str = ""
    finite: bool | None = None
    run: str | None = None
    attempt: int = 0

    @property
    def valid(self) -> bool:
        """Whether a run can be resumed from it."""
        return not self.problem

    @property
    def age(self) -> tuple[int, int]:
        """Sorts by when it was written: a later attempt may begin again at an earlier step."""
        return self.attempt, self.step

    def as_dict(self) -> dict[str, Any]:
        """The shape of ``show --json``."""
        return {
            "step": self.step,
            "path": str(self.path),
            "bytes": self.bytes,
            "valid": self.valid,
            "finite": self.finite,
            "problem": self.problem or None,
        }


def checkpoints(output_dir: Path) -> list[Checkpoint]:
    """All checkpoints below an output directory, by rising step; links are left out. Reads sizes, not contents."""
    try:
        names = os.listdir(output_dir)
    except OSError:
        return []
    found = []
    for name in names:
        match = _NAME.fullmatch(name)
        path = Path(output_dir) / name
        if match and path.is_dir() and not path.is_symlink():
            found.append(_look(path, int(match[1])))
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def newest_valid(output_dir: Path) -> Checkpoint | None:
    """The checkpoint a resume starts from: the last one written, before any whose weights are known to be spoilt."""
    valid = sorted((c for c in checkpoints(output_dir) if c.valid), key=lambda c: c.age)
    finite = [c for c in valid if c.finite is not False]
    best = finite or valid
    return best[-1] if best else None


def verify(checkpoint: Checkpoint) -> str:
    """Read a checkpoint whole and compare it with its manifest; empty if good, else what is wrong.

    Without a manifest there are no hashes: then what :func:`checkpoints` finds is all that can be said.
    """
    now = _look(checkpoint.path, checkpoint.step)
    if now.problem:
        return now.problem
    manifest = read_json(checkpoint.path / MANIFEST)
    if manifest is None:
        return f"{MANIFEST} is damaged" if os.path.lexists(checkpoint.path / MANIFEST) else ""
    for name, entry in manifest["files"].items():
        try:
            if sha256(checkpoint.path / name) != entry["sha256"]:
                return f"{name} is damaged: its contents are not those that were written"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror or error}"
    extra = [n for n in os.listdir(checkpoint.path) if n.endswith(_LOADED) and n not in manifest["files"]]
    return f"{extra[0]} does not belong to it" if extra else ""


def recover(run: RunDir) -> Checkpoint | None:
    """Put a checkpoint in place that was complete when its run was killed, but not yet renamed; returns the newest.

    Only for who holds the run's lock.
    """
    recovered = []
    for path, step in leftovers(run.meta / PARTIAL):
        target = run.path / path.name
        found = _look(path, step)
        own = found.run is not None and found.run == (run.read_run() or {}).get("id")
        if own and found.valid and path.name == f"checkpoint-{step}" and not os.path.lexists(target):
            os.rename(path, target)
            recovered.append(_look(target, step))
    return max(recovered, key=lambda c: c.age, default=None)


def leftovers(partial: Path) -> Iterator[tuple[Path, int]]:
    """What broken saves left below ``partial``, with its step."""
    try:
        names = sorted(os.listdir(partial)) if not partial.is_symlink() else []
    except OSError:
        return
    for name in names:
        match = _LEFTOVER.fullmatch(name)
        path = partial / name
        if match and path.is_dir() and not path.is_symlink():
            yield path, int(match[1])


def sha256(path: Path) -> str:
    """The hash of a regular file's contents, as hexadecimal digits; raises ``OSError``."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _look(path: Path, step: int) -> Checkpoint:
    if not os.path.lexists(path / MANIFEST):
        return Checkpoint(step, path, _bytes(path), _problem(path, step))
    manifest = read_json(path / MANIFEST) or {}
    finite, run, attempt = manifest.get("finite"), manifest.get("run"), manifest.get("attempt")
    return Checkpoint(
        step,
        path,
        _bytes(path),
        _manifest_problem(manifest, path, step),
        finite if isinstance(finite, bool) else None,
        run if isinstance(run, str) else None,
        attempt if isinstance(attempt, int) and not isinstance(attempt, bool) else 0,
    )


def _manifest_problem(manifest: dict[str, Any], path: Path, step: int) -> str:
    files = manifest.get("files")
    if manifest.get("format") != MANIFEST_FORMAT:
        newer = isinstance(manifest.get("format"), int)
        return f"{MANIFEST} is of another version" if newer else f"{MANIFEST} is damaged"
    if isinstance(manifest.get("step"), int) and manifest["step"] != step:
        return RENUMBERED
    if manifest.get("step") != step or not isinstance(files, dict) or not all(map(_sound, files, files.values())):
        return f"{MANIFEST} is damaged"
    missing = [name for name in NEEDED if name not in files]
    if missing:
        return f"{missing[0]} is missing"
    if not any(_RNG.fullmatch(name) for name in files):
        return "rng_state.pth is missing"
    if not any(name in files for name in ADAPTERS):
        return "the adapter's weights are missing"
    for name, entry in files.items():
        try:
            found = os.lstat(path / name)
        except OSError:
            return f"{name} is missing"
        if not stat.S_ISREG(found.st_mode) or found.st_size != entry["bytes"]:
            return f"{name} is torn"
    return ""


def _sound(name: object, entry: object) -> bool:
    """Whether an entry of a manifest names a file within the checkpoint, with its size and hash."""
    if not isinstance(name, str) or not name or "\0" in name or not isinstance(entry, dict):
        return False
    parts = PurePosixPath(name)
    size = entry.get("bytes")
    inside = not parts.is_absolute() and ".." not in parts.parts
    return inside and isinstance(size, int) and isinstance(entry.get("sha256"), str)


def _problem(path: Path, step: int) -> str:
    missing = [name for name in NEEDED if not (path / name).is_file()]
    if missing:
        return f"{missing[0]} is missing"
    adapter = next((path / name for name in ADAPTERS if (path / name).is_file()), None)
    if adapter is None:
        return "the adapter's weights are missing"
    if not safetensors_complete(adapter):
        return f"{adapter.name} is torn"
    with os.scandir(path) as entries:
        pickled = sorted(e.name for e in entries if e.name.endswith((".pt", ".pth")))
    torn = [name for name in pickled if not _pickle_complete(path / name)]
    if torn:
        return f"{torn[0]} is torn"
    if _recorded_step(path / "trainer_state.json") != step:
        return "trainer_state.json is damaged"
    return ""


def _pickle_complete(path: Path) -> bool:
    """Whether what ``torch.save`` wrote ends as it should, told without loading it: a zip's directory stands last."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
            if not head.strip(b"\0"):
                return False
            if head[:2] != b"PK":
                return True  # of an older format, which does not tell
            with zipfile.ZipFile(file) as archive:
                return bool(archive.namelist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile, struct.error):
        return False


def safetensors_complete(path: Path) -> bool:
    """Whether a safetensors file is what its header says, and as long."""
    return safetensors_header(path) is not None


def safetensors_header(path: Path) -> dict[str, Any] | None:
    """The header of a safetensors file: tensor names to dtype, shape and data_offsets; ``None`` if damaged."""
    return tensorfiles.tensors(path)[0]


def _recorded_step(path: Path) -> int | None:
    """``global_step`` of a trainer's state, ``None`` if it is damaged."""
    # Written by transformers with bare NaN and Infinity, which Python's reader accepts.
    try:
        size = path.stat().st_size
        if size <= STATE_WHOLE:
            step = (read_json(path) or {}).get("global_step")
            return step if isinstance(step, int) else None
        # A long log: its keys are sorted, so that the step stands before the log.
        with path.open("rb") as file:
            match = re.search(rb'"global_step": ([0-9]{1,18})', file.read(65536))
            file.seek(size - 1)
            return int(match[1]) if match and file.read(1) in b"}\n" else None
    except OSError:
        return None


def _bytes(path: Path) -> int:
    total = 0
    try:
        with os.scandir(path) as entries:
            total = sum(e.stat(follow_symlinks=False).st_size for e in entries if e.is_file(follow_symlinks=False))
    except OSError:
        pass
    return total
