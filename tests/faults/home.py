"""A trial's own world: folders, environment, mounts, and the end of everything that it started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from engine import process
from tests.faults.trial import Skip

ROOT = Path(__file__).parent.parent.parent
MARK = "TUNEDECK_FAULT_TRIAL"
CONTROL = "TUNEDECK_FAULT_CONTROL"
COMMAND = str(Path(sys.executable).with_name("tunedeck"))
# A person's settings that would change what a trial sees.
_LEFT_OUT = ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TMUX", "STY", "TERM_PROGRAM", "COLUMNS", "LINES", "SSH_TTY")


def environment(folder: Path, mark: str) -> dict[str, str]:
    """The environment of a trial: its own state, cache, settings, slots and queue, one thread, this checkout's code."""
    env = {k: v for k, v in os.environ.items() if k not in _LEFT_OUT and not k.startswith(("TUNEDECK_", "SSH_"))}
    env |= {CONTROL: os.environ[CONTROL]} if CONTROL in os.environ else {}
    for name in ("STATE", "CACHE", "CONFIG", "DATA", "RUNTIME"):
        place = folder / "xdg" / name.lower()
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        env[f"XDG_{name}_{'DIR' if name == 'RUNTIME' else 'HOME'}"] = str(place)
    slots = folder / "slots"
    slots.mkdir(exist_ok=True)
    env |= {
        MARK: mark,
        "TUNEDECK_SLOT_DIR": str(slots),
        "TMPDIR": str(folder),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "HF_HUB_OFFLINE": "1",
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
    }
    return env


def marked(mark: str) -> list[int]:
    """Processes whose environment bears a trial's mark: all that it has started, wherever they went."""
    want = f"{MARK}={mark}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                data = Path(f"/proc/{name}/environ").read_bytes()
            except OSError:
                continue
            if want in data.split(b"\0") and process.started(int(name)) is not None:
                found.append(int(name))
    return found


def end_all(mark: str, seconds: float = 10.0) -> list[int]:
    """End every process of a trial; returns those that would not go."""
    deadline = time.monotonic() + seconds
    while left := marked(mark):
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return left
        time.sleep(0.05)
    return []


def own_mounts() -> bool:
    """Enter a mount namespace of our own, so that no mount outlives this process; ``False`` where that is refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    clone_newns, ms_rec, ms_private = 0x00020000, 0x4000, 1 << 18
    if libc.unshare(clone_newns) != 0:
        return False
    return bool(libc.mount(b"none", b"/", None, ms_rec | ms_private, None) == 0)


def mount(*words: str | Path) -> None:
    """``mount WORDS``; raises :class:`Skip` with mount's own words where it is refused."""
    answer = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise Skip(f"this machine mounts nothing here: {answer.stderr.strip()[:200]}")


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "64m", inodes: int = 0) -> Iterator[Path]:
    """A tmpfs of this size; taken away in the end, whoever still uses it."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size},mode=0755" + (f",nr_inodes={inodes}" if inodes else "")
    mount("-t", "tmpfs", "-o", options, "tunedeck-fault", folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


def fill(folder: Path, leave: int = 0) -> Path:
    """Fill the disk of a folder to the last byte but ``leave``; returns the file to delete."""
    path = folder / "filler"
    free = shutil.disk_usage(folder).free - leave
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        if free > 0:
            os.posix_fallocate(fd, 0, free)
        if leave == 0:
            os.lseek(fd, 0, os.SEEK_END)
            while os.write(fd, b"x" * 4096):
                pass
    except OSError:
        pass
    finally:
        os.close(fd)
    return path


def fill_inodes(folder: Path, leave: int = 0) -> list[Path]:
    """Use up a disk's inodes but ``leave`` by empty files; returns them."""
    files: list[Path] = []
    place = folder / "inodes"
    place.mkdir()
    try:
        while True:
            path = place / str(len(files))
            path.touch()
            files.append(path)
    except OSError:
        pass
    for path in files[len(files) - leave :] if leave else []:
        path.unlink()
    return files


class Until:
    """Waits in trials: ``Until(10)(predicate, what)`` returns the predicate's value or fails with ``what``."""

    def __init__(self, seconds: float, every: float = 0.02) -> None:
        self.seconds, self.every = seconds, every

    def __call__(self, predicate: object, what: str) -> object:
        assert callable(predicate)
        deadline = time.monotonic() + self.seconds
        while not (value := predicate()):
            assert time.monotonic() < deadline, f"not within {self.seconds:g} s: {what}"
            time.sleep(self.every)
        return value
