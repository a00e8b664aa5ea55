"""Looks through a run's directory and sorts what is there: what goes, what stays and why. Touches nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace

from engine.history.removal import layouts
from engine.history.removal.handles import Elsewhere, folder, kind_of, person, reason
from engine.history.removal.layouts import ADAPTER, ALL, ANYTHING, IN_CHECKPOINT, Place
from engine.history.removal.records import DIRECTORY, FILE, LINK, Entry, Kept
from engine.rundir import META

MAX_DEPTH = 64
NOT_KNOWN = "is not known as a part of a run"
ANOTHER_RUN = "is another run"
Identity = tuple[int, int]


@dataclass(slots=True)
class Survey:
    """What was found, in the order in which it would go: what is in a directory before the directory."""

    mount: int
    protected: Mapping[Identity, str] = field(default_factory=dict)
    everything: bool = False
    entries: list[Entry] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    links: dict[Identity, int] = field(default_factory=dict)

    def walk(self, fd: int, place: Place, only: Container[str] | None = None) -> None:
        """Look through the directory behind ``fd``; with ``only`` at these of its names."""
        self._level(fd, "", place, 0, only)
        self._share_links()

    def _level(self, fd: int, prefix: str, place: Place, depth: int, only: Container[str] | None = None) -> None:
        with os.scandir(fd) as found:
            names = {entry.name: entry for entry in found if only is None or entry.name in only}
        for name in sorted(names, key=_order(place, prefix)):
            path = prefix + name
            try:
                info = names[name].stat(follow_symlinks=False)
            except OSError:
                continue  # gone this moment
            why = self._protection(info)
            if why:
                self.kept.append(Kept(path, why))
            elif kind_of(info) == DIRECTORY:
                self._folder(fd, name, path, info, place, depth)
            elif self._belongs(place, prefix, name, info) or self._is_link(fd, prefix, name, info):
                self._take(path, info)
            else:
                self.kept.append(Kept(path, NOT_KNOWN))

    def _protection(self, info: os.stat_result) -> str:
        if info.st_uid != os.geteuid():
            return f"belongs to {person(info.st_uid)}"
        return self.protected.get((info.st_dev, info.st_ino), "")

    def _belongs(self, place: Place, prefix: str, name: str, info: os.stat_result) -> bool:
        if prefix.startswith(layouts.QUARANTINE) and prefix.count("/") == 1:
            return name == quarantined(info)  # else the removal was interrupted before it had looked at this
        if name.startswith(layouts.QUARANTINE):  # on a full disk they have the place of a directory
            return name.endswith(f"-{quarantined(info)}")
        return self.everything or place.file(name)

    def _is_link(self, fd: int, prefix: str, name: str, info: os.stat_result) -> bool:
        try:
            return not prefix and kind_of(info) == LINK and layouts.is_link_of_run(name, os.readlink(name, dir_fd=fd))
        except OSError:
            return False

    def _folder(self, at: int, name: str, path: str, info: os.stat_result, place: Place, depth: int) -> None:
        inner = place.folder(name)
        if inner is not None and path.startswith(layouts.QUARANTINE) and path.count("/") == 1:
            inner = IN_CHECKPOINT if name == quarantined(info) else None
        before = len(self.kept)
        try:
            with folder(name, at, self.mount) as fd:
                here = os.fstat(fd)
                if (here.st_dev, here.st_ino) != (info.st_dev, info.st_ino):
                    raise OSError("was replaced this moment")
                names = os.listdir(fd)
                if inner is None and place is IN_CHECKPOINT and "adapter_config.json" in names:
                    inner = ADAPTER  # one of several adapters
                why = self._foreign(names, inner, depth)
                if why:
                    self.kept.append(Kept(path, why))
                    return
                self._level(fd, f"{path}/", ANYTHING if inner is None else inner, depth + 1)
        except Elsewhere:
            self.kept.append(Kept(path, "is another file system that is mounted there"))
        except OSError as error:
            self.kept.append(Kept(path, f"cannot be looked into: {reason(error)}"))
        if len(self.kept) == before:
            self.entries.append(Entry(path, DIRECTORY, 0, info.st_dev, info.st_ino))

    def _foreign(self, names: list[str], place: Place | None, depth: int) -> str:
        """Why a directory that holds these names stays as a whole; empty if it is to be looked through."""
        if META in names and not (place is ALL and depth == 0):
            return ANOTHER_RUN
        if depth >= MAX_DEPTH:
            return "is nested too deeply"
        if place in (ALL, IN_CHECKPOINT, ADAPTER):
            return ""
        if place is not None:
            gathered = all(layouts.is_checkpoint(name) for name in names)
            return ANOTHER_RUN if layouts.is_run_within(names) and not gathered else ""
        if layouts.shows_training(names):
            return ANOTHER_RUN
        if ".git" in names:
            return "is a git checkout"
        if layouts.is_model(names):
            return "is a model"
        return "" if self.everything else NOT_KNOWN

    def _take(self, path: str, info: os.stat_result) -> None:
        kind = kind_of(info)
        size = info.st_size if kind == FILE else 0
        if kind == FILE and info.st_nlink > 1:
            # How many of its names are left over is known when all have been seen.
            self.links[info.st_dev, info.st_ino] = self.links.get((info.st_dev, info.st_ino), info.st_nlink) - 1
        self.entries.append(Entry(path, kind, size, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns))

    def _share_links(self) -> None:
        """A file with several names is freed once, by the last of them, and only if all of them go."""
        if not self.links:
            return
        counted = set()
        for index in range(len(self.entries) - 1, -1, -1):
            entry = self.entries[index]
            identity = entry.device, entry.inode
            if entry.kind == FILE and identity in self.links:
                if self.links[identity] > 0 or identity in counted:
                    self.entries[index] = replace(entry, bytes=0)
                counted.add(identity)


def quarantined(info: os.stat_result) -> str:
    """The name that something has while it is looked at for the last time."""
    return f"{kind_of(info)}-{info.st_ino}"


def _order(place: Place, prefix: str) -> Callable[[str], tuple[int, int, str]]:
    if not prefix:
        return layouts.order
    if place is IN_CHECKPOINT:
        return layouts.order_within
    if prefix == f"{META}/":
        last = ("run.json", "lock.owner", "lock")
        return lambda name: (last.index(name) + 1 if name in last else 0, 0, name)
    return lambda name: (0, 0, name)
