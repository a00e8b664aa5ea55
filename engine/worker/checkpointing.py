"""Puts a run's checkpoints on the disk so that each is complete before it counts, and clears away old ones.

A checkpoint is written into ``.tunedeck/partial``, flushed, given its manifest last and then renamed to where it
stands. What this run did not write is never deleted, and links are never followed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

from engine.checkpoints import (
    MANIFEST,
    MANIFEST_FORMAT,
    PARTIAL,
    RENUMBERED,
    Checkpoint,
    checkpoints,
    leftovers,
    sha256,
)
from engine.rundir import RunDir, read_json, write_json
from engine.worker import disk
from engine.worker.failure import CannotTrain

FINAL = "final"
# Given up when the disk is full, so that the end of the run can still be written down.
RESERVE, RESERVE_BYTES = "reserve", 256 * 1024
# What the adapter at the root does without.
ONLY_TO_RESUME = re.compile(r"optimizer\.pt|scheduler\.pt|scaler\.pt|rng_state.*\.pth|manifest\.json")
_BLOCK = 4096
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


class Keeper:
    """The checkpoints of one run. ``limit`` is ``save_total_limit``; ``say`` tells the person who watches."""

    def __init__(
        self, run: RunDir, *, run_id: str, attempt: int, limit: int | None, say: Callable[[str], None]
    ) -> None:
        self.run = run
        self.run_id = run_id
        self.attempt = attempt
        self.limit = limit
        self.say = say
        self.partial = run.meta / PARTIAL
        # Where the best adapter of this run stands, if the trainer needs it at the end: never cleared away.
        self.best: Path | None = None
        self._warned = False

    # -- what stands ------------------------------------------------------------------------------------------------

    def own(self) -> list[Checkpoint]:
        """This run's checkpoints in the order in which they were written, damaged ones too; not a person's copies."""
        found = checkpoints(self.run.path)
        return sorted((c for c in found if c.run == self.run_id and c.problem != RENUMBERED), key=lambda c: c.age)

    def last_good(self) -> Checkpoint | None:
        """The newest complete one with finite weights, else the newest complete one."""
        valid = [c for c in self.own() if c.valid]
        finite = [c for c in valid if c.finite is not False]
        return (finite or valid)[-1] if valid else None

    # -- writing ----------------------------------------------------------------------------------------------------

    def begin(self, name: str) -> Path:
        """A free place to write ``name`` into; what an earlier attempt left there is moved aside."""
        if self.partial.is_symlink():
            os.rename(self.partial, _free_name(self.partial, "foreign"))
        self.partial.mkdir(mode=0o700, exist_ok=True)
        stage = self.partial / name
        if os.path.lexists(stage):
            if name == FINAL:
                self.discard(stage)
            else:
                os.rename(stage, _free_name(stage, "torn"))
        stage.mkdir()
        return stage

    def finish(self, stage: Path, step: int, *, finite: bool) -> Path:
        """Flush what was written, add its manifest, and put it in place; returns where it stands now."""
        files = {name: {"bytes": size, "sha256": sha256(stage / name)} for name, size in flush(stage).items()}
        if not finite:
            self.say(
                f"{stage.name} holds weights that are no numbers: a resume starts from an earlier one if there is one"
            )
        record = {"format": MANIFEST_FORMAT, "run": self.run_id, "attempt": self.attempt, "step": step,
                  "time": time.time(), "finite": finite, "files": files}  # fmt: skip
        write_json(stage / MANIFEST, record, stat.S_IMODE((stage / "trainer_state.json").stat().st_mode))
        fsync_directory(stage)
        target = self.run.path / stage.name
        if not os.path.lexists(target):
            os.rename(stage, target)
        elif self._wrote(target):
            self._replace(stage, target)
        else:
            aside = _free_name(target, "foreign")
            os.rename(target, aside)
            os.rename(stage, target)
            self.say(f"{target.name} stood there already and was not written by this run: it is now {aside.name}")
        fsync_directory(self.run.path)
        fsync_directory(self.partial)
        return target

    def place_final(self, stage: Path) -> None:
        """Put the files of the final save in place at the root, the adapter's weights last."""
        names = sorted(
            flush(stage), key=lambda name: (name.endswith(".safetensors"), name != "adapter_config.json", name)
        )
        for name in names:
            target = self.run.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(stage / name, target)
        for folder in {(self.run.path / name).parent for name in names}:
            fsync_directory(folder)
        self.discard(stage)

    def discard(self, path: Path) -> None:
        """Remove something of this run's below ``partial``."""
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path, ignore_errors=True)

    def _replace(self, stage: Path, target: Path) -> None:
        """Put a new one in the place of an older one of this run, so that a complete one stands at every moment."""
        old = _free_name(stage, "old")
        if exchange(stage, target):
            os.rename(stage, old)
        else:  # a kill between these two leaves the new one complete in its stage, from where it is recovered
            os.rename(target, old)
            os.rename(stage, target)
        self.discard(old)

    def _wrote(self, path: Path) -> bool:
        if path.is_symlink() or not path.is_dir():
            return False
        return (read_json(path / MANIFEST) or {}).get("run") == self.run_id

    # -- clearing away ----------------------------------------------------------------------------------------------

    def rotate(self) -> None:
        """Keep ``save_total_limit`` checkpoints, and what is left of broken saves only until a newer one stands."""
        own = self.own()
        newest = next((c for c in reversed(own) if c.valid), None)
        if newest is not None and self.limit is not None:
            self._clear(own, self.limit, {newest.path})
        self._tidy()

    def make_room(self, coming: int = 1) -> bool:
        """Before a save that does not fit: clear away what the limit will not allow after it. Whether anything went."""
        cleared = self._tidy()
        if not coming:  # the last save of all: the room that it leaves must do for the last words
            cleared = self.release_reserve() or cleared
        if self.limit is not None:
            cleared = self._clear(self.own(), max(0, self.limit - coming), set()) or cleared
        return cleared

    def _clear(self, own: list[Checkpoint], limit: int, protected: set[Path]) -> bool:
        good = self.last_good()
        if good is None:
            return False
        protected |= {good.path} | ({self.best} if self.best is not None else set())
        standing = [c for c in own if c.valid]
        torn = [c for c in own if not c.valid and c.age < good.age and c.path not in protected]
        surplus = len(standing) - max(limit, len(protected & {c.path for c in standing}))
        doomed = torn + [c for c in standing if c.path not in protected][: max(0, surplus)]
        self.partial.mkdir(mode=0o700, exist_ok=True)
        for checkpoint in doomed:
            # Renamed first: a kill in the middle of removing leaves no half checkpoint where it stood.
            aside = _free_name(self.partial / checkpoint.path.name, "old")
            os.rename(checkpoint.path, aside)
            self.discard(aside)
        return bool(doomed)

    def _tidy(self) -> bool:
        """Remove what broken saves left, where a newer complete checkpoint stands."""
        good = next((c for c in reversed(self.own()) if c.valid), None)
        if good is None:
            return False
        doomed = [path for path, step in leftovers(self.partial)
                  if ".old" in path.name or step <= good.step or _newer(good, path)]  # fmt: skip
        if os.path.lexists(self.partial / FINAL):
            doomed.append(self.partial / FINAL)
        for path in doomed:
            self.discard(path)
        return bool(doomed)

    # -- room -------------------------------------------------------------------------------------------------------

    def need(self, estimate: Callable[[], tuple[disk.Room, disk.Room]]) -> tuple[disk.Room, disk.Room]:
        """What the next checkpoint and the final adapter take: as the last of this attempt did, else as estimated."""
        last = next((c for c in reversed(self.own()) if c.valid and c.attempt == self.attempt), None)
        if last is None:
            return estimate()
        sizes = {e.name: e.stat(follow_symlinks=False).st_size for e in os.scandir(last.path)}
        # The trainer's log grows from save to save.
        checkpoint = sum(map(_on_disk, sizes.values())) + sizes.get("trainer_state.json", 0) // 2 + 16 * _BLOCK
        final = [size for name, size in sizes.items() if not ONLY_TO_RESUME.fullmatch(name)]
        return disk.Room(checkpoint, len(sizes) + 2), disk.Room(sum(map(_on_disk, final)) + 16 * _BLOCK, len(final) + 2)

    def guarded(
        self,
        name: str,
        needed: disk.Room,
        write: Callable[[], None],
        *,
        spare: disk.Room | None = None,
        again: bool = True,
    ) -> None:
        """Check that ``name`` fits, then ``write()`` it; on a full disk make room within the limit and try once more.

        ``spare`` is wanted beside it, but not worth losing the save for. ``again`` is false where other processes take
        part in writing and would not know of a second try. Raises :class:`CannotTrain` in words.
        """
        what = "the final adapter" if name == FINAL else name
        coming = 0 if name == FINAL else 1
        for last in (False, True) if again else (True,):
            try:
                self._check(needed, spare, what, coming)
                return write()
            except Exception as error:
                number = disk.trouble(error, self.partial if self.partial.is_dir() else self.run.path)
                left = None
                with contextlib.suppress(OSError):
                    left = disk.free(self.run.path)  # before what is half written goes
                self.discard(self.partial / name)
                if number is None:
                    raise
                if last or number not in disk.FULL or not self.make_room(coming):
                    raise self._give_up(number, what, needed, left) from error

    def _check(self, needed: disk.Room, spare: disk.Room | None, what: str, coming: int) -> None:
        left = disk.free(self.run.path)
        both = (
            needed if spare is None else disk.Room(needed.bytes + spare.bytes, (needed.files or 0) + (spare.files or 0))
        )
        if left.lacks(both) and self.make_room(coming):
            left = disk.free(self.run.path)
        if left.lacks(needed):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if left.lacks(both) and not self._warned:
            self._warned = True
            place = disk.mount_point(self.run.path)
            self.say(f"The disk is nearly full: after {what} there will be no room for the final adapter on {place}")

    def _give_up(self, number: int, what: str, needed: disk.Room, left: disk.Room | None) -> CannotTrain:
        if number in disk.FULL:
            self.release_reserve()
        words = disk.explain(number, what, self.run.path, needed, left)
        good = self.last_good()
        return CannotTrain(f"{words}; {good.path.name} is complete" if good is not None else words)

    def keep_reserve(self) -> None:
        """Hold a little space for the last words of a run whose disk has become full; it may fail."""
        path = self.partial / RESERVE
        try:
            self.partial.mkdir(mode=0o700, exist_ok=True)
            if not path.exists() and disk.free(self.partial).bytes > 16 * RESERVE_BYTES:
                path.write_bytes(bytes(RESERVE_BYTES))
        except OSError:
            self.release_reserve()

    def release_reserve(self) -> bool:
        """Give the held space back; whether there was any."""
        try:
            (self.partial / RESERVE).unlink()
        except OSError:
            return False
        return True

    def close(self) -> None:
        """After the final save: nothing of what was only needed to save stays."""
        self._tidy()
        self.release_reserve()
        with contextlib.suppress(OSError):
            self.partial.rmdir()


def flush(folder: Path) -> dict[str, int]:
    """Write every file and directory below through to the disk; returns the files' sizes by relative name."""
    sizes = {}
    for base, _, names in os.walk(folder, topdown=False):
        for name in sorted(names):
            path = Path(base) / name
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fsync(fd)
                sizes[path.relative_to(folder).as_posix()] = os.fstat(fd).st_size
            finally:
                os.close(fd)
        fsync_directory(Path(base))
    return sizes


def fsync_directory(path: Path) -> None:
    """Write a directory's entries through to the disk, where the file system can."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)


def exchange(one: Path, other: Path) -> bool:
    """Swap two directories in one instant; ``False`` where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0


def _free_name(path: Path, word: str) -> Path:
    count = 1
    while os.path.lexists(free := path.with_name(f"{path.name}.{word}-{count}")):
        count += 1
    return free


def _on_disk(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _newer(checkpoint: Checkpoint, path: Path) -> bool:
    try:
        return (checkpoint.path / MANIFEST).stat().st_mtime > path.stat().st_mtime
    except OSError:
        return False
