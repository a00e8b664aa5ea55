"""Slots, machine-wide and for all users: a GPU each, or a few numbered ones on a machine without.

A slot is a file that its holder has locked (flock). The run's processes inherit the descriptor, so the kernel frees the
slot when the last of them is gone, and not before. What stands in the file only says who holds it, and is untrusted.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import hardware, paths
from engine.hardware import Gpu
from engine.queue import folder
from engine.queue.order import CPU, EVERY, ONE, SOME
from engine.rundir import read_json, write_json
from engine.text import clean

COUNT_ENV, DIRECTORY_ENV = "TUNEDECK_SLOTS", "TUNEDECK_SLOT_DIR"
MAX_SLOTS = 256
_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_INDEX = re.compile(r"\d{1,4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a slot, by its own words (untrusted text); ``problem`` if the slot cannot even be asked."""

    user: str = ""
    run: str = ""
    pid: int | None = None
    since: float | None = None
    problem: str = ""

    def __str__(self) -> str:
        if self.problem:
            return self.problem
        who = f" of {clean(self.user, 40)}" if self.user else ""
        return f"is used by run {clean(self.run, 60)}{who}" if self.run else f"is used by another run{who}"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a run needs: any CPU slot, one of these, ``count`` of these, or every one of these; ``labels`` are for people."""

    kind: str = CPU
    slots: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    count: int = 1


def directory() -> tuple[Path, str]:
    """The slots' directory, made if needed, and a warning if it is not the machine's own.

    Raises :class:`OSError` if there is none at all.
    """
    shared = shared_directory()
    try:
        _make(shared, 0o1777)
        if os.access(shared, os.W_OK | os.X_OK):
            return shared, ""
        problem = "cannot be written"
    except OSError as error:
        problem = error.strerror or str(error)
    own = paths.state_dir() / "slots"
    own.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _make(own, 0o700)
    return own, (f"{shared} {problem}: other users do not see which GPUs this run takes, and theirs are seen only by "
                 "their processes. Have it removed, or made writable for all")  # fmt: skip


def shared_directory() -> Path:
    """Where all users of this machine meet. ``/run/lock`` where everybody may write there: no cleaner visits it."""
    given = os.environ.get(DIRECTORY_ENV)
    if given:
        return Path(given)
    try:
        mode = os.lstat("/run/lock").st_mode
        fit = stat.S_ISDIR(mode) and mode & 0o1002 == 0o1002
    except OSError:
        fit = False
    return Path("/run/lock" if fit else "/tmp") / "tunedeck-slots"


def known_directory() -> Path:
    """The slots' directory for those who only look; nothing is made."""
    shared, own = shared_directory(), paths.state_dir() / "slots"
    return own if own.is_dir() and not os.access(shared, os.W_OK | os.X_OK) else shared


def _make(path: Path, mode: int) -> None:
    try:
        with _umask(0):
            path.mkdir(mode=mode)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise OSError(errno.ENOTDIR, "is no directory") from None


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def take(place: Path, name: str, run_id: str) -> int | None:
    """Lock a slot; its descriptor, or ``None`` if somebody else holds it or its file cannot be opened.

    Raises :class:`OSError` if the directory cannot hold locks.
    """
    for _ in range(10):
        fd = _open(place / name)
        if fd is None:
            return None
        try:
            if not _lock(fd):
                os.close(fd)
                return None
            # A cleaner may have removed the file between opening and locking: then this lock says nothing.
            if os.path.samestat(os.fstat(fd), os.stat(place / name, follow_symlinks=False)):
                _sign(fd, run_id)
                return fd
        except FileNotFoundError:
            pass
        except OSError:
            os.close(fd)
            raise
        os.close(fd)
    return None


def _open(path: Path) -> int | None:
    """The slot's file, open for writing. Without O_CREAT first: the kernel may refuse that for files of others."""
    for _ in range(10):
        try:
            fd = os.open(path, os.O_RDWR | _OPEN)
        except FileNotFoundError:
            try:
                with _umask(0):
                    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN, 0o666)
            except FileExistsError:
                continue
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO, errno.EISDIR):
                return None  # somebody left something else there; :func:`holder` says so
            raise
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
        return None
    return None


def _lock(fd: int) -> bool:
    """Lock it for us alone; somebody who only looks holds it for microseconds."""
    for _ in range(10):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.005)
    return False


def _sign(fd: int, run_id: str) -> None:
    record = {"user": user_name(os.getuid()), "run": run_id, "pid": os.getpid(), "since": round(time.time(), 3)}
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(record).encode() + b"\n", 0)
    except OSError:
        pass  # a full disk: the lock itself holds


def holder(place: Path, name: str) -> Holder | None:
    """Who holds a slot; ``None`` if it is free."""
    path = place / name
    try:
        fd = os.open(path, os.O_RDONLY | _OPEN)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Holder(problem=f"cannot be asked: {path}: {error.strerror}; it has to be removed")
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return Holder(problem=f"cannot be asked: {path} is no regular file; it has to be removed")
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(fd)
    except OSError:
        return None
    finally:
        os.close(fd)
    return None if os.access(path, os.W_OK) else Holder(problem=f"cannot be taken: {path} is not writable for all")


def files(place: Path) -> list[str]:
    """The names of all slots that were ever used; untrusted."""
    try:
        names = os.listdir(place)
    except OSError:
        return []
    return sorted(name for name in names if re.fullmatch(r"(cpu-\d{1,4}|gpu-[0-9A-Za-z_.-]{1,100})", name, re.ASCII))[
        :1000
    ]


def _read_holder(fd: int) -> Holder:
    try:
        record = json.loads(os.pread(fd, 4096, 0))
    except (OSError, ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        return Holder()
    pid, since = record.get("pid"), record.get("since")
    return Holder(
        clean(record.get("user") or "", 60),
        clean(record.get("run") or "", 120),
        pid if isinstance(pid, int) and not isinstance(pid, bool) else None,
        float(since) if isinstance(since, int | float) and not isinstance(since, bool) else None,
    )


def user_name(uid: int) -> str:
    """A user's name, or its number if it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def cpu_slots() -> list[str]:
    """The slots of a machine without a GPU: one, unless ``TUNEDECK_SLOTS`` or ``tunedeck queue slots`` says otherwise."""
    return [f"cpu-{number}" for number in range(1, count() + 1)]


def count() -> int:
    """How many runs may train at once on this machine's processors."""
    given = os.environ.get(COUNT_ENV, "")
    if _INDEX.fullmatch(given) and 1 <= int(given) <= MAX_SLOTS:
        return int(given)
    stored = (read_json(folder() / ".slots") or {}).get("slots")
    return stored if isinstance(stored, int) and 1 <= stored <= MAX_SLOTS else 1


def set_count(number: int) -> None:
    """Store how many runs may train at once on this machine without a GPU; raises :class:`OSError`."""
    folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    write_json(folder() / ".slots", {"slots": number})


def slot_name(card: Gpu) -> str:
    """The slot of a card."""
    return _file_name(card.uuid or f"index-{card.index}")


def _file_name(device: str) -> str:
    return "gpu-" + re.sub(r"[^0-9A-Za-z_.-]", "_", device)[:100]


def wish(gpus: Any, cards: Sequence[Gpu], visible: str | None, count: int = 1) -> Wish:
    """What a run with the setting ``gpus`` needs; ``visible`` is CUDA_VISIBLE_DEVICES, ``None`` if it is not set.

    Without named cards it needs ``count`` of those that it may use, or all of them where there are fewer.
    """
    if isinstance(gpus, list) and gpus:
        chosen = [card for card in cards if card.index in gpus]
        if len(chosen) == len(set(gpus)):
            return Wish(EVERY, tuple(map(slot_name, chosen)), tuple(f"GPU {card.index}" for card in chosen))
        return Wish()  # a card that is not there: the worker says so, after its turn
    if visible is None:
        return _of([(slot_name(card), f"GPU {card.index}") for card in cards], count)
    found = []
    for word in (word.strip() for word in visible.split(",")):
        card = _card(word, cards)
        if card is not None:
            found.append((slot_name(card), f"GPU {card.index}"))
        elif word.startswith(("MIG-", "GPU-")):
            found.append((_file_name(word), word[:24]))
        else:
            break  # CUDA, too, stops at the first that it does not know
    return _of(found, count)


def _of(found: Sequence[tuple[str, str]], count: int) -> Wish:
    if not found:
        return Wish()
    names, labels = tuple(name for name, _ in found), tuple(label for _, label in found)
    return Wish(ONE, names, labels) if count <= 1 else Wish(SOME, names, labels, min(count, len(set(names))))


def _card(word: str, cards: Sequence[Gpu]) -> Gpu | None:
    if _INDEX.fullmatch(word):
        return next((card for card in cards if card.index == int(word)), None)
    return next((card for card in cards if word.startswith("GPU-") and card.uuid.startswith(word)), None)


def device(name: str, cards: Sequence[Gpu], visible: str | None) -> str:
    """What CUDA_VISIBLE_DEVICES has to say for a slot: the card's index now, or the word that the user gave."""
    for card in cards:
        if slot_name(card) == name:
            return str(card.index)
    words = [word.strip() for word in (visible or "").split(",")]
    return next((word for word in words if word and _file_name(word) == name), name.removeprefix("gpu-"))


def label(name: str, cards: Sequence[Gpu]) -> str:
    """A slot for people: ``GPU 0``, ``slot 2``."""
    for card in cards:
        if slot_name(card) == name:
            return f"GPU {card.index}"
    return f"slot {name[4:]}" if name.startswith("cpu-") else f"GPU {name[4:20]}"


def best_first(names: Sequence[str], cards: Sequence[Gpu]) -> list[str]:
    """Slots in the order in which ``auto`` takes them: the GPU with the most free memory first."""
    free = {slot_name(card): card.memory_free for card in cards}
    return sorted(names, key=lambda name: -free.get(name, 0))


def crowded(cards: Sequence[Gpu]) -> dict[str, str]:
    """The cards on which somebody computes, by slot, and who that is in words."""
    return {slot_name(card): _crowd(card) for card in cards if card.processes}


def _crowd(card: Gpu, owner: Callable[[int], str | None] | None = None) -> str:
    owners = sorted({name for name in map(owner or _owner, card.pids) if name})
    who = f" of {', '.join(clean(name, 40) for name in owners[:3])}" if owners else ""
    return f"is used by {card.processes} {'process' if card.processes == 1 else 'processes'}{who}"


def _owner(pid: int) -> str | None:
    try:
        return user_name(os.stat(f"/proc/{pid}").st_uid)
    except OSError:
        return None  # of another container


def cards_now() -> list[Gpu]:
    """All cards as they are now."""
    return hardware.gpus()
