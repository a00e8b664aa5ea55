"""A helper process of scans: ``python -P -m engine.history.index.helper walk|read``.

What a scan touches may lie on a mount that answers never, and a file may be anything: all of that happens here, in a
process that can be given up. Commands are JSON lines on its input; answers are lines of fields with tabs between, the
first of which says what it is. It ends with its input, or when nothing was asked of it for a while.

Answers: ``W serial keys`` the walks of a command have begun; ``F serial key path real`` a run was found; ``E serial key
why`` a walk has ended; ``B keys`` these walks have moved; ``S path`` the row known is right; ``R path digest live row``
the row as it is; ``N path`` there is no run.
"""

from __future__ import annotations

import binascii
import gc
import json
import os
import queue
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

IDLE_SECONDS = 20.0
BEAT_SECONDS = 0.4
MEMORY = 2 << 30
_FLUSH_SECONDS = 0.02
_FIRST_ROWS = 100


class Out:
    """Whole lines to whoever asked, from any thread."""

    def __init__(self, fd: int) -> None:
        self._fd, self._lock = fd, threading.Lock()

    def write(self, data: bytes) -> None:
        """Hand lines over; a process that nobody listens to ends."""
        view = memoryview(data)
        with self._lock:
            try:
                while view:
                    view = view[os.write(self._fd, view) :]
            except OSError:
                os._exit(0)


def line(*parts: bytes | str | int | list[str] | None) -> bytes:
    """One answer."""
    fields = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts]
    return b"\t".join(fields) + b"\n"


class Walk:
    """One root, walked in a thread of its own: one that hangs keeps no other waiting."""

    def __init__(self, key: str, out: Out) -> None:
        self.key, self.moves = key, 0
        self._out, self._jobs = out, queue.SimpleQueue[tuple[int, str | None, Path | None]]()
        self._serial = 0
        self._working = False
        threading.Thread(target=self._work, daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether it goes on, or hangs."""
        return self._working or not self._jobs.empty()

    def begin(self, serial: int) -> None:
        """Walk the root anew; what was going on for an earlier scan ends."""
        self._serial = serial
        self._jobs.put((serial, None, Path(self.key)))

    def check(self, serial: int, run_id: str | None, path: Path | None) -> None:
        """One registered run; without any, there are no more of them."""
        self._serial = serial
        self._jobs.put((serial, run_id, path))

    def _work(self) -> None:
        siblings: dict[Path, dict[str, Path]] = {}
        while True:
            self._working = False
            serial, run_id, path = self._jobs.get()
            self._working = True
            self.moves += 1
            if serial != self._serial:
                continue
            if run_id is None:
                why = None if path is None else self._walk(serial, path)
                siblings = {}
                self._out.write(line(b"E", serial, self.key, why))
            elif path is not None:
                self._locate(serial, run_id, path, siblings)

    def _walk(self, serial: int, root: Path) -> str | None:
        from engine.history import walk

        def stop() -> bool:
            self.moves += 1
            return serial != self._serial

        try:
            with os.scandir(root):
                pass
            real, length = os.path.realpath(root), len(str(root))
            for found in walk.find([root], stop):
                self.moves += 1
                path = str(found)
                place = real + path[length:] if path.startswith(str(root)) else os.path.realpath(path)
                self._out.write(line(b"F", serial, self.key, path, place))
        except (OSError, ValueError, RuntimeError, RecursionError, MemoryError) as error:
            return str(getattr(error, "strerror", None) or error or type(error).__name__)
        return None

    def _locate(self, serial: int, run_id: str, path: Path, siblings: dict[Path, dict[str, Path]]) -> None:
        from engine import registry

        try:
            where = registry.locate(run_id, path, siblings)
            if where is not None:
                self._out.write(line(b"F", serial, self.key, str(where), os.path.realpath(where)))
        except (OSError, ValueError, RuntimeError, RecursionError, MemoryError):
            pass


class Walker:
    """All walks of this process."""

    def __init__(self, out: Out) -> None:
        self._out, self._walks = out, dict[str, Walk]()
        threading.Thread(target=self._beat, daemon=True).start()

    def do(self, command: dict[str, Any]) -> None:
        """Begin the walks of a scan."""
        serial, roots = command["serial"], command["roots"]
        self._out.write(line(b"W", serial, roots))
        for root in roots:
            self._walk(root).begin(serial)
        if command["registered"]:
            self._registered(serial)

    def _registered(self, serial: int) -> None:
        """Registered runs, those of one mount in one thread."""
        from engine import registry

        mounts, used = mount_points(), set[str]()
        for run_id, path in registry.entries():
            key = "\0" + mount_of(str(path), mounts)
            if key not in used:
                used.add(key)
                self._out.write(line(b"W", serial, [key]))
            self._walk(key).check(serial, run_id, path)
        for key in used:
            self._walk(key).check(serial, None, None)
        self._out.write(line(b"W", serial, [], 1))

    @property
    def busy(self) -> bool:
        """Whether a walk goes on, or hangs."""
        return any(walk.busy for walk in self._walks.values())

    def _walk(self, key: str) -> Walk:
        if key not in self._walks:
            self._walks[key] = Walk(key, self._out)
        return self._walks[key]

    def _beat(self) -> None:
        seen: dict[str, int] = {}
        while True:
            time.sleep(BEAT_SECONDS)
            moves = {key: walk.moves for key, walk in list(self._walks.items())}
            self._out.write(line(b"B", [key for key, number in moves.items() if number != seen.get(key)]))
            seen = moves


def mount_points() -> list[str]:
    """Where file systems are mounted, the deepest first; found without asking any of them."""
    found = {"/"}
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            for entry in file:
                place = entry.split()[4].decode("unicode_escape", "replace")
                found.add(place)
    except (OSError, IndexError, ValueError):
        pass
    return sorted(found, key=len, reverse=True)


def mount_of(path: str, mounts: list[str]) -> str:
    """The mount point that a path lies below, by its text."""
    return next((mount for mount in mounts if path == mount or path.startswith(mount.rstrip("/") + "/")), "/")


class Reader:
    """Reads runs one after the other."""

    def __init__(self, out: Out) -> None:
        self._out = out
        from engine.history.index import reading
        from engine.history.readers import foreign  # noqa: F401  what is loaded now does not delay the first row

        self._look, self._answers = reading.look, 0

    def do(self, command: dict[str, Any]) -> None:
        """Answer for each run in order."""
        ready, last = [], time.monotonic()
        for path, known in command["items"]:
            ready.append(self._answer(path, binascii.unhexlify(known) if known else None))
            self._answers += 1
            if self._answers == _FIRST_ROWS:
                os.nice(5)  # the rest is less urgent than the screen, and than what trains on this machine
            now = time.monotonic()
            if now - last > _FLUSH_SECONDS:
                self._out.write(b"".join(ready))
                ready, last = [], now
        if ready:
            self._out.write(b"".join(ready))

    def _answer(self, path: str, known: bytes | None) -> bytes:
        try:
            found = self._look(Path(path), known)
        except (OSError, ValueError, MemoryError, RecursionError):
            return line(b"N", path)
        if isinstance(found, bool):
            return line(b"S" if found else b"N", path)
        return line(b"R", path, binascii.hexlify(found.digest), int(found.live), found.row)


def commands(active: Callable[[], bool]) -> Iterator[dict[str, Any]]:
    """The lines of standard input; ends with it, or after a while without any."""
    waiting = b""
    while True:
        ready, _, _ = select.select([0], [], [], IDLE_SECONDS)
        if not ready:
            if active():
                continue
            return
        data = os.read(0, 1 << 16)
        if not data:
            return
        *lines, waiting = (waiting + data).split(b"\n")
        for text in lines:
            yield json.loads(text)


def main(role: str) -> None:
    """Serve until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the one who asked
    _limit_memory()
    out = Out(os.dup(1))
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    gc.set_threshold(50_000, 20, 50)
    threading.stack_size(1 << 20)
    served: Walker | Reader = Walker(out) if role == "walk" else Reader(out)
    for command in commands(lambda: isinstance(served, Walker) and served.busy):
        served.do(command)
    os._exit(0)  # threads that hang are not waited for


def _limit_memory() -> None:
    """What a file makes of it costs this process, not the machine."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY if hard < 0 else min(MEMORY, hard), hard))
    except (OSError, ValueError):
        pass


if __name__ == "__main__":
    main(sys.argv[1])
