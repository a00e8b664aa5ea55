"""People's words on runs of other tools: kept in our state directory, since nothing is written into theirs.

A record is found by the directory's path, inode and time of birth, since an inode is soon used again. A directory that
was moved is known again by its inode, one that was restored or lies on a file system without lasting inodes by the
files in it; another run in the same place gets none of the earlier one's words.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import time
from pathlib import Path
from typing import Any

from engine import paths
from engine.errors import Problem, TunedeckError
from engine.notes import ChangedMeanwhileError, Notes, merged, parse, too_much
from engine.rundir import FORMAT, read_json, write_json
from engine.text import clean

# Files by which a directory is known again, and how old a listing must be to be sure that nothing changed in the same
# tick of the file system's clock.
_KNOWN_BY = 12
_TICK = 50_000_000

Listing = dict[str, list[str]]
_listing: tuple[str, int, Listing, Listing] | None = None


def folder() -> Path:
    """Where the records lie."""
    return paths.state_dir() / "notes"


def foreign(path: Path) -> Notes:
    """The words on a directory that is not ours, as they are now; empty if there are none."""
    found = _find(path)
    return parse(found[1]) if found is not None else Notes()


def tags_of(path: Path) -> list[str]:
    """The tags of a directory that is not ours; cheap where there are no words on it."""
    found = _find(path)
    return list(parse(found[1]).tags) if found is not None else []


def refusal(path: Path) -> str:
    """Why words on this directory cannot be kept, in words; empty if they can."""
    identity = _identity(path)
    if identity is None:
        return "The directory cannot be reached, so its words would not be found again"
    record = folder() / _name(*identity)
    if os.path.lexists(record) and read_json(record) is None:
        return f"{clean(record)} is damaged: move it away first, or what is in it would be lost"
    place = folder()
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        return f"{clean(place)} cannot be written, and nothing is written into other tools' directories"
    return ""


def save_foreign(path: Path, read: Notes, wanted: Notes) -> None:
    """Write what is wanted over what was read, below our state directory.

    Raises :class:`ChangedMeanwhileError` if the words are no longer those that were read, and :class:`TunedeckError` if
    they cannot be kept.
    """
    why = refusal(path) or too_much(wanted)
    identity = _identity(path)
    if why or identity is None:
        raise TunedeckError(Problem("cannot-save", why or "The directory has gone", file=str(path)))
    found = _find(path)
    now = parse(found[1]) if found is not None else Notes()
    if now != read:
        text = "Somebody else changed this meanwhile: their words and yours are both here now"
        problem = Problem("changed-meanwhile", text, "Look them over, and save again", file=str(path))
        raise ChangedMeanwhileError(problem, merged(read, now, wanted), now)
    if wanted == read:
        return
    real, inode = identity
    words = {"name": wanted.name, "notes": wanted.notes, "tags": list(wanted.tags)}
    who = {"format": FORMAT, "path": _text(real), "inode": inode, "born": _born(real), "known_by": _marks(real)}
    target = folder() / _name(real, inode)
    try:
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(target, {**now.raw, **who, **words})
        if found is not None and found[0] != target:
            found[0].unlink(missing_ok=True)  # the directory was moved: its words go along
    except OSError as error:
        why = f"cannot be written: {clean(error.strerror or 'unknown', 100)}"
        raise TunedeckError(Problem("cannot-save", why, file=str(target))) from None
    finally:
        _forget_listing()


def forget(path: Path) -> None:
    """Remove the words on a directory, before or after it was deleted."""
    found = _find(path)
    records = [found[0]] if found is not None else []
    if not os.path.lexists(path):
        records += [folder() / name for name in _records()[0].get(_digest(os.path.realpath(path)), [])]
    for record in records:
        with contextlib.suppress(OSError):
            record.unlink()
    _forget_listing()


def _find(path: Path) -> tuple[Path, dict[str, Any]] | None:
    """The record on a directory and what it holds."""
    by_path, by_inode = _records()
    if not by_path:
        return None
    identity = _identity(path)
    if identity is None:
        return None
    real, inode = identity
    exact, here = _name(real, inode), by_path.get(_digest(real), [])
    moved = [name for name in by_inode.get(f"{inode:x}", []) if name not in here]
    for name in sorted([*here, *moved], key=lambda name: name != exact):
        record = read_json(folder() / name)
        if record is None:
            continue
        same = name == exact and record.get("path") == _text(real) and _born(real) in (record.get("born"), None)
        if same or _is_known_again(record, real, inode):
            return folder() / name, record
    return None


def _is_known_again(record: dict[str, Any], real: str, inode: int) -> bool:
    """Whether a record of another path or inode is this directory's: files that it was known by are still there."""
    if record.get("path") != _text(real) and record.get("inode") != inode:
        return False
    known = record.get("known_by")
    if not isinstance(known, list):
        return False
    here = {tuple(mark) for mark in _marks(real)}
    return any(isinstance(mark, list) and tuple(mark) in here for mark in known)


def _identity(path: Path) -> tuple[str, int] | None:
    try:
        real = os.path.realpath(path)
        return real, os.stat(real).st_ino
    except (OSError, ValueError):
        return None


def _name(real: str, inode: int) -> str:
    return f"{_digest(real)}-{inode:x}.json"


def _digest(real: str) -> str:
    return hashlib.sha256(os.fsencode(real)).hexdigest()[:24]


def _text(name: str) -> str:
    """A path or name as JSON can hold it."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _born(real: str) -> str | None:
    """When a directory was made; ``None`` where that is not kept. Python tells it only from 3.12 on, and not on Linux."""
    import ctypes

    known, answer = 0x800, ctypes.create_string_buffer(256)  # STATX_BTIME
    try:
        failed = ctypes.CDLL(None, use_errno=True).statx(-100, os.fsencode(real), 0, known, answer)  # AT_FDCWD
    except (OSError, AttributeError):  # a C library without it
        return None
    mask, seconds, nanoseconds = struct.unpack_from("=I76xqI", answer)
    return None if failed or not mask & known else f"{seconds}.{nanoseconds:09d}"


def _marks(real: str) -> list[list[Any]]:
    """A few files of a directory with size and time, in whole seconds since archives keep no more."""
    out: list[list[Any]] = []
    try:
        with os.scandir(real) as entries:
            names = sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
        for name in names[:_KNOWN_BY]:
            info = os.lstat(os.path.join(real, name))
            out.append([_text(name), info.st_size, int(info.st_mtime)])
    except OSError:
        pass
    return out


def _records() -> tuple[Listing, Listing]:
    """The names of all records, by their directory's path (its digest) and by inode; read again only after a change."""
    global _listing
    place = os.fspath(folder())
    by_path: Listing = {}
    by_inode: Listing = {}
    try:
        changed = os.stat(place).st_mtime_ns
        kept = _listing
        if kept is not None and kept[:2] == (place, changed):
            return kept[2], kept[3]
        names = os.listdir(place)
    except OSError:
        return {}, {}
    for name in names:
        digest, dash, rest = name.partition("-")
        if dash and rest.endswith(".json") and not name.startswith("."):
            by_path.setdefault(digest, []).append(name)
            by_inode.setdefault(rest.removesuffix(".json"), []).append(name)
    if time.time_ns() - changed > _TICK:
        _listing = (place, changed, by_path, by_inode)
    return by_path, by_inode


def _forget_listing() -> None:
    global _listing
    _listing = None
