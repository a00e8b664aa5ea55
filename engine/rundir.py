"""The run directory (format 1): its files, atomic replacement, the lock, and who owns it.

``OUTPUT_DIR/.tunedeck/`` is how all processes of tunedeck meet; every file in it has one writer.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import tempfile
import time
from pathlib import Path
from typing import Any

from engine import runlock
from engine.errors import Problem, RunInUseError

FORMAT = 1
META = ".tunedeck"
MAX_RECORD_BYTES = 8 * 1024 * 1024
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_run_id(now: float | None = None) -> str:
    """A unique id that sorts by time: UTC date, time and five random characters, e.g. ``20261124-083000-k3f9a``."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return f"{stamp}-{''.join(secrets.choice(_ID_ALPHABET) for _ in range(5))}"


class RunDir:
    """Paths and small records of one run."""

    def __init__(self, output_dir: str | os.PathLike[str]) -> None:
        self.path = Path(output_dir).absolute()
        self.meta = self.path / META
        self.run_json = self.meta / "run.json"
        self.status_json = self.meta / "status.json"
        self.events = self.meta / "events.jsonl"
        self.supervisor_events = self.meta / "supervisor.jsonl"
        self.notes_json = self.meta / "notes.json"
        self.train_log = self.meta / "train.log"
        self.control = self.meta / "control"
        self.lock = self.meta / "lock"

    def __repr__(self) -> str:
        return f"RunDir({str(self.path)!r})"

    @property
    def exists(self) -> bool:
        """Whether a tunedeck run is recorded here."""
        return self.run_json.is_file()

    def read_run(self) -> dict[str, Any] | None:
        """``run.json``, or ``None`` if missing or damaged."""
        return read_json(self.run_json)

    def read_status(self) -> dict[str, Any] | None:
        """``status.json``, or ``None`` if missing or damaged."""
        return read_json(self.status_json)

    def read_notes(self) -> dict[str, Any]:
        """``notes.json``: name, notes, tags; empty if there is none."""
        return read_json(self.notes_json) or {}

    def file_mode(self, share: str = "private") -> int:
        """Permission bits of files: owner only, or readable by the group."""
        return 0o640 if share == "group" else 0o600

    def make(self, share: str = "private", *, exclusive: bool = False) -> None:
        """Create the directory and its ``.tunedeck`` with the right permissions.

        With ``exclusive`` a ``.tunedeck`` that exists raises :class:`RunInUseError`: of two launches one wins.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self.meta.mkdir(mode=0o700)
        except FileExistsError:
            if exclusive:
                raise RunInUseError(self._in_use()) from None
        self.control.mkdir(mode=0o700, exist_ok=True)
        self.meta.chmod(0o750 if share == "group" else 0o700)

    @property
    def unused(self) -> bool:
        """Whether a launch was cut off before it wrote anything: nothing is recorded but the lock."""
        try:
            names = set(os.listdir(self.meta))
        except OSError:
            return False
        owner = runlock.owner_file(self.lock).name
        made, torn = {self.lock.name, owner, self.control.name}, (f".{self.run_json.name}.", f".{owner}.")
        return all(name in made or name.startswith(torn) for name in names)

    def set_aside(self) -> Path | None:
        """Move an earlier run's record to ``.tunedeck.ID``; returns where, or ``None`` if there was none."""
        if not self.meta.exists():
            return None
        record = self.read_run() or {}
        name = f"{META}.{record.get('id') or int(self.meta.stat().st_mtime)}"
        target = self.path / name
        count = 1
        while target.exists():
            count += 1
            target = self.path / f"{name}-{count}"
        self.meta.rename(target)
        return target

    def request(self, verb: str) -> None:
        """Ask the run for ``stop``, ``stop-now``, ``checkpoint`` or ``evaluate``."""
        self.control.mkdir(mode=0o700, exist_ok=True)
        write_atomic(self.control / verb, json.dumps({"time": time.time(), "pid": os.getpid()}).encode() + b"\n")

    def requests(self) -> list[str]:
        """The verbs that wait to be taken."""
        try:
            return sorted(name for name in os.listdir(self.control) if not name.startswith("."))
        except OSError:
            return []

    def take(self, verb: str) -> bool:
        """Remove a request; ``True`` for the one who removed it."""
        try:
            (self.control / verb).unlink()
        except OSError:
            return False
        return True

    def acquire_lock(self) -> int:
        """Lock the run for this process and whoever inherits the returned descriptor.

        Raises :class:`RunInUseError` if a living process holds it, here or on another host; ``OSError`` if there can be
        no lock at all.
        """
        try:
            return runlock.acquire(self.lock, self.read_status())
        except runlock.Held:
            raise RunInUseError(self._in_use()) from None

    def release_lock(self, lock: int) -> None:
        """Give the lock back that :meth:`acquire_lock` returned; those who inherited it hold it still."""
        runlock.release(self.lock, lock)

    @property
    def lock_state(self) -> bool | None:
        """Whether a process holds the lock: ``None`` where that cannot be known (flock does not work there)."""
        return runlock.state(self.lock)

    @property
    def locked(self) -> bool:
        """Whether a living process is known to hold the lock."""
        return self.lock_state is True

    def _in_use(self) -> Problem:
        return Problem("run-in-use", "is in use by a run that is still alive",
                       "Watch it, stop it, or choose another output directory", file=str(self.path))  # fmt: skip


def refuse_foreign_work(path: Path, *, held: bool = False) -> None:
    """Raise :class:`RunInUseError` if starting a new run at ``path`` could harm what is already there.

    ``held`` says that the caller has the run's lock.
    """
    if not path.exists():
        return
    run = RunDir(path)
    if not held and run.locked:
        raise RunInUseError(run._in_use())
    if run.meta.exists() and not run.unused:
        record = run.read_run() or {}
        raise RunInUseError(Problem("output-not-empty", f"holds the run {record.get('id', '(record damaged)')}",
            "Choose another output directory, or resume that run", setting="output_dir", file=str(path)))  # fmt: skip
    try:
        names = os.listdir(path)
    except OSError:
        return
    work = [n for n in sorted(names) if n.startswith("checkpoint-") or n in ("adapter_model.safetensors", "adapter_model.bin",
            "trainer_state.json", "model.safetensors")]  # fmt: skip
    if work:
        raise RunInUseError(Problem("output-not-empty", f"already holds training results ({work[0]})",
            "Choose another output directory; these files are never overwritten", setting="output_dir", file=str(path)))  # fmt: skip


def read_json(path: Path) -> dict[str, Any] | None:
    """A small JSON object from a file, or ``None`` if it is missing, damaged, too large or no object."""
    try:
        # A pipe in place of a file must not hold the reader.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            data = file.read(MAX_RECORD_BYTES + 1)
        if len(data) > MAX_RECORD_BYTES:
            return None
        value = json.loads(data)
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def write_json(path: Path, value: dict[str, Any], mode: int = 0o600, *, durable: bool = True) -> None:
    """Replace a JSON file atomically; strict JSON, indented for people. ``durable`` waits for the disk."""
    from engine.events import finite

    data = json.dumps(finite(value), ensure_ascii=False, indent=1, allow_nan=False, default=str)
    write_atomic(path, data.encode("utf-8", "replace") + b"\n", mode, durable=durable)


def write_atomic(path: Path, data: bytes, mode: int = 0o600, *, durable: bool = True) -> None:
    """Write beside the target, flush to the disk, then rename over it; a reader sees the old or the new file whole."""
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        os.fchmod(fd, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise
