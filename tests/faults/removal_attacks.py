"""How a run is attacked while it is removed: each attack prepares its tools, and yields what is done again and again."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)
_EXCHANGE, BIND, DETACH = 2, 4096, 2
OTHER = 65534
WEIGHTS, STATE = b"w" * 300, b'{"global_step": 1, "log_history": []}'
STRANGER = b"somebody else's\n"
CHECKPOINT = {"trainer_state.json": STATE, "optimizer.pt": WEIGHTS, "adapter_model.safetensors": WEIGHTS}
RECORD = {"run.json": b'{"format": 1, "id": "20261124-000000-aaaaa", "config": {}}',
          "status.json": b'{"state": "completed"}', "events.jsonl": b"{}\n", "lock": b"1           \n"}  # fmt: skip


def exchange(one: str, other: str) -> bool:
    """Swap two names at once; ``False`` if one of them is not there."""
    return libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), _EXCHANGE) == 0


@dataclass
class World:
    """One race's folders: the ``run``, what is ``outside``, and the attacker's own things in ``tools``."""

    folder: Path
    run: Path = field(init=False)
    outside: Path = field(init=False)
    tools: Path = field(init=False)

    def __post_init__(self) -> None:
        self.run, self.outside, self.tools = (self.folder / name for name in ("run", "outside", "tools"))

    def build(self, own: bool) -> None:
        """The same names inside and outside, so that whatever follows a link finds something to remove."""
        self.tools.mkdir(parents=True)
        for place in (self.run, self.outside):
            names = {f"checkpoint-{n}/{name}": data for n in (1, 2) for name, data in CHECKPOINT.items()}
            names |= {"adapter_config.json": b"{}", "trainer_state.json": STATE, "notes.txt": STRANGER,
                      "checkpoint-1/global_step1/mp_rank_00_model_states.pt": WEIGHTS,
                      "runs/a/events.out.tfevents.1": WEIGHTS}  # fmt: skip
            if own or place is self.outside:
                names |= {f".tunedeck/{name}": data for name, data in RECORD.items()}
            for name, data in names.items():
                path = place / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        (self.outside / "empty").mkdir()
        os.chmod(self.outside / "checkpoint-2" / "optimizer.pt", 0o640)


Attack = Callable[[World, random.Random], Iterator[Callable[[], object]]]
ATTACKS: dict[str, Attack] = {}
# These move the outside's own things into the run: where they are is the attacker's doing, what they are must be the same.
MOVES = ("dir-moved-in", "file-moved-in", "run-exchanged", "record-moved-in")


def attack(name: str) -> Callable[[Attack], Attack]:
    """Register a way to attack: it prepares its tools and yields what is then done again and again."""

    def add(one: Attack) -> Attack:
        ATTACKS[name] = one
        return one

    return add


def _swap(run: str, tool: str) -> Callable[[], object]:
    return lambda: exchange(run, tool)


FOLDERS = ("checkpoint-1", "checkpoint-2", "checkpoint-1/global_step1", "runs", "runs/a")
FILES = ("checkpoint-1/optimizer.pt", "checkpoint-2/trainer_state.json", "adapter_config.json", "trainer_state.json",
         "runs/a/events.out.tfevents.1", "checkpoint-1/global_step1/mp_rank_00_model_states.pt")  # fmt: skip


def _linked(world: World, names: Sequence[str]) -> Iterator[Callable[[], object]]:
    for number, name in enumerate(names):
        tool = world.tools / f"link-{number}"
        tool.symlink_to(world.outside / name)
        yield _swap(f"{world.run}/{name}", str(tool))


@attack("dir-for-link")
def _dirs(world: World, choose: random.Random) -> Iterator[Callable[[], object]]:
    # None in another: through the first link the attacker would himself reach outside with the second.
    apart = (("checkpoint-1", "runs"), ("checkpoint-1/global_step1", "runs/a"), ("checkpoint-2", "runs/a"))
    yield from _linked(world, choose.choice(apart))


@attack("file-for-link")
def _files(world: World, choose: random.Random) -> Iterator[Callable[[], object]]:
    yield from _linked(world, choose.sample(FILES, 2))


@attack("record-for-link")
def _record(world: World, choose: random.Random) -> Iterator[Callable[[], object]]:
    yield from _linked(world, [".tunedeck"])


@attack("lock-for-link")
def _lock(world: World, choose: random.Random) -> Iterator[Callable[[], object]]:
    yield from _linked(world, [".tunedeck/lock", ".tunedeck/run.json", ".tunedeck/status.json"])


@attack("run-for-link")
def _run(world: World, choose: random.Random) -> Iterator[Callable[[], object]]:
    tool = world.tools / "link"
    tool.symlink_to(world.outside)
    yield _swap(str(world.run), str(tool))


@attack("hard-link")
def _hard(world: World, choose: random.Random) -> Iterator[Callable[[], object]]:
    for number, name in enumerate([*choose.sample(FILES, 2), ".tunedeck/lock"]):
        tool = world.tools / f"hard-{number}"
        os.link(world.outside / name, tool)
        yield _swap(f"{world.run}/{name}", str(tool))


@attack("dir-moved-in")
def _dir_in(world: World, choose: random.Random) -> Iterator[Callable[[], object]]:
    name = choose.choice(FOLDERS)
    yield _swap(f"{world.run}/{name}", f"{world.outside}/{choose.choice((name, 'empty'))}")


@attack("file-moved-in")
def _file_in(world: World, choose: random.Random) -> Iterator[Callable[[], object]]:
    name = choose.choice(FILES)
    yield _swap(f"{world.run}/{name}", f"{world.outside}/{name}")


@attack("record-moved-in")
def _record_in(world: World, choose: random.Random) -> Iterator[Callable[[], object]]:
    name = choose.choice((".tunedeck", ".tunedeck/lock", ".tunedeck/run.json"))
    yield _swap(f"{world.run}/{name}", f"{world.outside}/{name}")


@attack("run-exchanged")
def _run_in(world: World, choose: random.Random) -> Iterator[Callable[[], object]]:
    yield _swap(str(world.run), f"{world.outside}/{choose.choice(('empty', 'checkpoint-1', '.'))}".removesuffix("/."))


@attack("pipe-and-device")
def _pipes(world: World, choose: random.Random) -> Iterator[Callable[[], object]]:
    for number, name in enumerate([*choose.sample(FILES, 2), ".tunedeck/lock", ".tunedeck/status.json"]):
        tool = world.tools / f"pipe-{number}"
        os.mkfifo(tool)
        yield _swap(f"{world.run}/{name}", str(tool))


@attack("other-owner")
def _owner(world: World, choose: random.Random) -> Iterator[Callable[[], object]]:
    path = f"{world.run}/{choose.choice((*FOLDERS, *FILES, ''))}"

    def give(user: int) -> Callable[[], object]:
        return lambda: _try(lambda: os.chown(path, user, -1, follow_symlinks=False))

    yield give(OTHER)
    yield give(os.geteuid())


@attack("dir-moved-out")
def _dir_out(world: World, choose: random.Random) -> Iterator[Callable[[], object]]:
    # Its `..` is another directory then, with the same names in it.
    name = choose.choice(FOLDERS)
    away = world.tools / "place" / "deep"
    shutil.copytree(world.outside, away / "twin")
    inside, there = f"{world.run}/{name}", str(away / "moved")
    yield lambda: _try(lambda: os.rename(inside, there))
    yield lambda: _try(lambda: os.rename(there, inside))


@attack("new-names")
def _new(world: World, choose: random.Random) -> Iterator[Callable[[], object]]:
    place, count = f"{world.run}/{choose.choice(FOLDERS)}", iter(range(1_000_000))
    names = ("...", "..a", "-rf", "optimizer.bin", "scheduler.pt", "events.out.tfevents.2", " ", "a\nb", "\udcff")

    def make() -> None:
        number = next(count)
        path = f"{place}/{names[number % len(names)]}"
        with contextlib.suppress(OSError), open(path, "xb") as file:
            file.write(STRANGER)
            os.link(path, world.tools / f"made-{number}")  # a second name tells whether the first still stands

    yield make


@attack("quarantine")
def _quarantine(world: World, choose: random.Random) -> Iterator[Callable[[], object]]:
    tool = world.tools / "link"
    tool.symlink_to(world.outside)

    def swap() -> None:
        for name in os.listdir(world.run):
            if name.startswith(".tunedeck.removing-"):
                exchange(f"{world.run}/{name}", str(tool))

    yield lambda: _try(swap)


@attack("bind-mount")
def _bind(world: World, choose: random.Random) -> Iterator[Callable[[], object]]:
    name = choose.choice((*FOLDERS, ".tunedeck"))
    inside, there = f"{world.run}/{name}", f"{world.outside}/{name}"
    yield lambda: libc.mount(os.fsencode(there), os.fsencode(inside), None, BIND, None)
    yield lambda: libc.umount2(os.fsencode(inside), DETACH)


@attack("tmpfs")
def _tmpfs(world: World, choose: random.Random) -> Iterator[Callable[[], object]]:
    inside = f"{world.run}/{choose.choice(FOLDERS)}"

    def fill() -> None:
        if libc.mount(b"none", os.fsencode(inside), b"tmpfs", 0, b"size=64k") == 0:
            _try(lambda: Path(inside, "optimizer.pt").write_bytes(STRANGER))

    yield fill
    yield lambda: libc.umount2(os.fsencode(inside), DETACH)


def _try(do: Callable[[], object]) -> None:
    with contextlib.suppress(OSError):
        do()
