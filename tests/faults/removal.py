"""Removing a run while somebody swaps what is in it: ``python -m tests.faults.removal N`` runs N races.

In each race a small run is removed while another process exchanges its directories and files for links, for things from
outside, hard links, pipes, mounts and other owners, as fast as it can. Afterwards all that was outside is compared:
contents, modes, inodes and times.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import os
import random
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.errors import TunedeckError
from engine.history import removal
from engine.history.removal import guards, quarantine
from tests.faults import home
from tests.faults.removal_attacks import ATTACKS, DETACH, FOLDERS, MOVES, STRANGER, World, libc
from tests.faults.trial import Trial

Known = dict[str, tuple[Any, ...]]


def known(place: Path) -> Known:
    """All that is below a folder, the folder among it: inode, mode, owner, size, time and contents."""
    found: Known = {}
    for folder, folders, files in os.walk(place):
        for name in (".", *folders, *files):
            path = os.path.join(folder, name)
            info = os.lstat(path)
            plain = stat.S_ISREG(info.st_mode)
            size = info.st_size if plain else 0
            found[os.path.normpath(path)] = (info.st_ino, info.st_mode, info.st_uid, size, info.st_mtime_ns,
                                             Path(path).read_bytes() if plain else b"")  # fmt: skip
    return found


class Held:
    """Everything of a folder by descriptor: what it is can be compared wherever somebody moved it."""

    def __init__(self, before: Known) -> None:
        self.files = [(path, os.open(path, os.O_RDONLY | os.O_NOFOLLOW), state) for path, state in before.items()]

    def harm(self) -> str:
        """What is gone or changed, empty if nothing; closes everything."""
        found = ""
        for path, fd, (inode, mode, owner, size, modified, data) in self.files:
            info = os.fstat(fd)
            now = (info.st_ino, info.st_mode, info.st_uid)
            if os.readlink(f"/proc/self/fd/{fd}").endswith(" (deleted)"):
                found = found or f"{path} was deleted"
            elif now != (inode, mode, owner):
                found = found or f"{path} has another mode or owner"
            elif stat.S_ISREG(mode) and (info.st_size, info.st_mtime_ns, os.pread(fd, size + 1, 0)) != (
                size,
                modified,
                data,
            ):
                found = found or f"{path} was changed"
            os.close(fd)
        self.files.clear()
        return found


class Attacker:
    """Does the steps of an attack again and again in another process, from before the removal until after it."""

    def __init__(self, steps: Sequence[Callable[[], object]], start: int) -> None:
        self.shared = mmap.mmap(-1, 16)
        self.child = os.fork()
        if self.child == 0:
            try:
                self._loop(steps, start)
            finally:
                os._exit(0)
        while not self.shared[1]:
            os.sched_yield()

    def _loop(self, steps: Sequence[Callable[[], object]], start: int) -> None:
        place, rounds = start, 0
        deadline = time.monotonic() + 10.0
        while not self.shared[0] and time.monotonic() < deadline:
            steps[place % len(steps)]()
            place, rounds = place + 1, rounds + 1
            self.shared[1] = 1
            os.sched_yield()
        self.shared[4:8] = rounds.to_bytes(4, "little")

    def end(self) -> int:
        """Stop it; returns how many steps it has done."""
        self.shared[0] = 1
        os.waitpid(self.child, 0)
        return int.from_bytes(self.shared[4:8], "little")


def carefully(plan: removal.Plan) -> int:
    """The removal itself; how many things it left."""
    try:
        # After every name the other process may have its turn, also on a machine with one core.
        outcome = removal.carry_out(plan, lambda done, total, freed: os.sched_yield())
    except TunedeckError:
        return 1
    return len(outcome.left)


def naively(plan: removal.Plan) -> int:
    """The same by paths, with a look before each step: what the races must find out about."""
    for entry in plan.entries:
        path = plan.path / entry.path
        with contextlib.suppress(OSError):
            if os.lstat(path).st_ino == entry.inode:
                os.sched_yield()
                (path.rmdir if entry.kind == "directory" else path.unlink)()
    return 0


@dataclass
class Figures:
    """What the races came to: races by kind of attack, steps of the attackers, races that met the attack.

    ``caught``: so often something else was moved away in place of what had been looked at, and moved back.
    """

    races: dict[str, int] = field(default_factory=dict)
    steps: int = 0
    met: int = 0
    caught: int = 0
    harm: list[str] = field(default_factory=list)


def race(
    number: int, folder: Path, names: Sequence[str], figures: Figures, remove: Callable[[removal.Plan], int]
) -> None:
    """One race; what it harmed is added to the figures."""
    choose = random.Random(number)
    name = names[number % len(names)]
    world = World(folder / f"r{number}")
    world.build(own=choose.random() < 0.7 or "record" in name or "lock" in name)
    steps = list(ATTACKS[name](world, choose))
    before = known(world.outside)
    held = Held(before)
    mode = choose.choice(({}, {}, {}, {"checkpoints_only": True, "keep": ()}, {"optimizer_states": True}))
    plan = removal.plan(world.run, **mode)
    stranger = os.open(world.run / "notes.txt", os.O_RDONLY)
    attacker = Attacker(steps, choose.randrange(4))
    try:
        figures.met += bool(remove(plan))
    finally:
        figures.steps += attacker.end()
        while any(libc.umount2(os.fsencode(f"{world.run}/{place}"), DETACH) == 0 for place in (*FOLDERS, ".tunedeck")):
            pass
    harm = held.harm()
    if not harm and name not in MOVES and (after := known(world.outside)) != before:
        harm = str([path for path in {*before, *after} if before.get(path) != after.get(path)])
    gone = os.readlink(f"/proc/self/fd/{stranger}").endswith(" (deleted)")
    if not harm and (gone or os.pread(stranger, 100, 0) != STRANGER):
        harm = "a file that does not belong to the run was removed"
    os.close(stranger)
    made = [path for path in world.tools.iterdir() if path.name.startswith("made-")]
    if not harm and any(path.stat().st_nlink != 2 or path.read_bytes() != STRANGER for path in made):
        harm = "a file that appeared meanwhile was removed"
    figures.races[name] = figures.races.get(name, 0) + 1
    if harm:
        figures.harm.append(f"race {number} ({name}, {plan.what}): {harm}")
    shutil.rmtree(world.folder, ignore_errors=True)


def able(folder: Path) -> list[str]:
    """The attacks that this machine and user can show."""
    left_out = set() if os.geteuid() == 0 else {"other-owner"}
    probe = folder / "probe"
    probe.mkdir()
    if libc.mount(b"none", os.fsencode(probe), b"tmpfs", 0, b"size=64k") == 0:
        libc.umount2(os.fsencode(probe), DETACH)
    else:
        left_out |= {"bind-mount", "tmpfs"}
    return [name for name in ATTACKS if name not in left_out]


@contextlib.contextmanager
def unwary(figures: Figures) -> Iterator[None]:
    """Make the moment between a look and what is done then longer, count what it catches, and leave out looks at ``/proc``.

    Those take 20 ms, and have nothing to do with races.
    """
    insist, put_back = quarantine._insist, quarantine.put_back

    def look(found: os.stat_result, entry: removal.Entry) -> None:
        insist(found, entry)
        os.sched_yield()

    def counted(name: str, at: int, wanted: str, to: int) -> str:
        figures.caught += 1
        return put_back(name, at, wanted, to)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quarantine, "_insist", look)
        patch.setattr(quarantine, "put_back", counted)
        patch.setattr(guards, "writers", lambda path: [])
        yield


def races(numbers: Sequence[int], folder: Path, remove: Callable[[removal.Plan], int] = carefully) -> Figures:
    """Run these races below a folder, in memory where that may be mounted."""
    figures = Figures()
    ground = folder / "ground"
    ground.mkdir(parents=True)
    mounted = libc.mount(b"none", os.fsencode(ground), b"tmpfs", 0, b"size=64m") == 0
    try:
        names = able(ground)
        with unwary(figures):
            for number in numbers:
                race(number, ground, names, figures, remove)
    finally:
        if mounted:
            libc.umount2(os.fsencode(ground), DETACH)
    return figures


def do(numbers: Sequence[int], folder: Path) -> list[Trial]:
    """Runs are removed while their directories and files are swapped for others; nothing outside is changed."""
    begun = time.monotonic()
    figures = races(numbers, folder)
    bad = {int(text.split()[1]): text for text in figures.harm}
    trials = [Trial("removal", n, "races", ok=n not in bad, outcome=bad.get(n, "nothing outside was changed"),
                    time=round(time.time(), 1)) for n in numbers]  # fmt: skip
    trials[0].count(steps=figures.steps, met=figures.met, caught=figures.caught)
    trials[0].seconds = round(time.monotonic() - begun, 2)
    return trials


def main() -> int:
    """Run N races; prints the figures, and what was harmed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.removal", description=__doc__)
    parser.add_argument("races", type=int, nargs="?", default=10_000)
    parser.add_argument("--from", type=int, default=0, dest="first", help="number of the first race")
    parser.add_argument("--naive", action="store_true", help="remove by paths instead: shows what the races find")
    options = parser.parse_args()
    home.own_mounts()
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="tdr-"))
    for name in ("STATE", "CACHE", "CONFIG", "DATA"):
        os.environ[f"XDG_{name}_HOME"] = str(folder / "xdg" / name.lower())
    try:
        numbers = range(options.first, options.first + options.races)
        figures = races(numbers, folder, naively if options.naive else carefully)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = time.monotonic() - begun
    print(json.dumps({"races": sum(figures.races.values()), "harmed": len(figures.harm), "attacks": figures.races,
                      "steps": figures.steps, "met": figures.met, "caught": figures.caught, "seconds": round(seconds, 1)}, indent=1))  # fmt: skip
    print("\n".join(figures.harm[:20]))
    return 1 if figures.harm else 0


if __name__ == "__main__":
    sys.exit(main())
