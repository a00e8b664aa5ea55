"""The waiting runs of one user: one small file each, changed under one lock."""

from __future__ import annotations

import fcntl
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.errors import InputError, Problem
from engine.events import number
from engine.queue import entry_names, entry_path, folder
from engine.queue.order import CPU, EVERY, ONE, SOME, between, key
from engine.rundir import META, read_json, write_atomic

# A revived run must start as it was launched, not as the shell looks in which somebody typed the next command. Only
# what shapes training is kept, and nothing that may be a secret.
_KEPT = ("CUDA_", "NVIDIA_", "NCCL_", "TORCH", "PYTORCH_", "HF_", "TRANSFORMERS_", "TOKENIZERS_", "OMP_", "MKL_", "CONDA_",
         "PYTHON", "WANDB_", "TUNEDECK_SLOT")  # fmt: skip
_KEPT_EXACTLY = (
    "PATH",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "VIRTUAL_ENV",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "TZ",
    "XDG_CACHE_HOME",
)
_SECRET = ("TOKEN", "SECRET", "PASS", "KEY", "CREDENTIAL", "AUTH")
_NOT_SECRET = ("TOKENIZERS_",)


@dataclass(frozen=True, slots=True)
class Entry:
    """One run's place in the queue. ``kind``: any CPU slot, one of ``slots``, ``count`` of them, or every one of them."""

    id: str
    path: str
    position: float
    created: float = 0.0
    kind: str = CPU
    slots: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    count: int = 1

    @property
    def reachable(self) -> bool:
        """Whether the run's directory is there now (a disk may not be mounted yet)."""
        return os.path.isdir(os.path.join(self.path, META)) if self.path else False

    @property
    def gpus(self) -> list[str]:
        """What the run waits for, in words: ``GPU 0``; empty on a machine without GPUs."""
        return list(self.labels)


class QueueBusyError(InputError):
    """The queue's lock was not to be had in time."""


@contextmanager
def locked(seconds: float = 10.0) -> Iterator[None]:
    """Hold the queue's lock.

    Raises :class:`QueueBusyError` after ``seconds``, :class:`OSError` if there is no place for the lock. Where the file
    system knows no flock it goes on without: the slots themselves still let nobody in twice.
    """
    folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(folder() / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise QueueBusyError(
                        Problem("queue-busy", "somebody else is changing the queue", "Try again")
                    ) from None
                time.sleep(0.01)
            except OSError:
                break
        yield
    finally:
        os.close(fd)


_cache: dict[str, tuple[tuple[int, int, int], Entry]] = {}


def read_all() -> list[Entry]:
    """All entries in their order. One that is damaged stands at the end, without a path, until it is made anew."""
    found = []
    for name in entry_names():
        path = entry_path(name)
        entry = read(name, path) if path is not None else None
        if entry is not None:
            found.append(entry)
    return sorted(found, key=key)


def read(run_id: str, path: Path | None = None) -> Entry | None:
    """One entry, ``None`` if the run has none. What has not changed on the disk is not read again."""
    path = path or entry_path(run_id)
    try:
        info = os.stat(path) if path is not None else None
    except OSError:
        info = None
    if info is None or path is None:
        _cache.pop(run_id, None)
        return None
    stamp = (info.st_ino, info.st_mtime_ns, info.st_size)
    known = _cache.get(str(path))
    if known is not None and known[0] == stamp:
        return known[1]
    entry = _parse(run_id, read_json(path) or {})
    _cache[str(path)] = (stamp, entry)
    return entry


def _parse(run_id: str, record: dict[str, Any]) -> Entry:
    position, created = number(record.get("position")), number(record.get("created"))
    path, kind = record.get("path"), record.get("kind")
    slots, labels, environment = _texts(record.get("slots")), _texts(record.get("labels")), record.get("environment")
    whole = (position is not None and math.isfinite(position) and isinstance(path, str) and record.get("id") == run_id
             and kind in (CPU, ONE, SOME, EVERY) and (kind == CPU or slots))  # fmt: skip
    if not whole or position is None:
        return Entry(run_id, path if isinstance(path, str) else "", math.inf, kind=EVERY)
    environment = environment if isinstance(environment, dict) else {}
    kept = {str(k): v for k, v in environment.items() if isinstance(v, str) and _keeps(str(k))}
    count = record.get("count")
    count = min(max(1, count), len(set(slots)) or 1) if isinstance(count, int) else 1
    return Entry(run_id, str(path), position, created or 0.0, str(kind), slots, labels, kept, count)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()


def write(entry: Entry) -> None:
    """Store an entry durably; raises :class:`OSError`."""
    path = entry_path(entry.id)
    if path is None:
        raise OSError(22, f"{entry.id!r} is no id of a run")
    # ASCII only: bytes of a path that are no text survive as escaped surrogates.
    write_atomic(path, json.dumps({"format": 1, **asdict(entry)}).encode("ascii") + b"\n")


def remove(run_id: str) -> None:
    """Forget an entry; one that is not there is no error."""
    path = entry_path(run_id)
    try:
        if path is not None:
            path.unlink()
    except OSError:
        pass


def next_position(entries: list[Entry]) -> float:
    """A position behind all others. Clocks play no part: they jump."""
    return max((entry.position for entry in entries if math.isfinite(entry.position)), default=0.0) + 1.0


def move(run_id: str, place: int) -> list[Entry]:
    """Make a run the ``place``-th (1-based) of the queue; returns the new order.

    Raises :class:`InputError` if it is not waiting (any more).
    """
    with locked():
        entries = [entry for entry in read_all() if math.isfinite(entry.position)]
        mine = next((entry for entry in entries if entry.id == run_id), None)
        if mine is None:
            raise InputError(Problem("not-queued", f"run {run_id} does not wait in the queue", "See: tunedeck queue"))
        others = [entry for entry in entries if entry is not mine]
        position = between([entry.position for entry in others], place)
        try:
            if position is not None:
                write(replace(mine, position=position))
            else:
                others.insert(min(max(place, 1) - 1, len(others)), mine)
                for index, entry in enumerate(others, 1):
                    write(replace(entry, position=float(index)))
        except OSError as error:
            raise InputError(Problem("queue-not-written", f"the queue cannot be written: {error.strerror}",
                                     "Free some space", file=str(folder()))) from None  # fmt: skip
        return read_all()


def environment_to_keep() -> dict[str, str]:
    """What of this environment a revived run needs again."""
    return {name: value for name, value in os.environ.items() if _keeps(name) and len(value) < 32_768}


def restore_environment(entry: Entry) -> None:
    """Give this process the environment in which the run was launched, as far as it was kept."""
    if not entry.environment:
        return
    for name in [name for name in os.environ if _keeps(name) and name not in entry.environment]:
        del os.environ[name]
    os.environ.update({k: v for k, v in entry.environment.items() if "\0" not in k + v and "=" not in k})


def _keeps(name: str) -> bool:
    kept = name in _KEPT_EXACTLY or name.startswith(_KEPT)
    return kept and (name.startswith(_NOT_SECRET) or not any(word in name for word in _SECRET))
