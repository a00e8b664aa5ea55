"""Helper processes and the pipes to them. Nothing here waits for a helper: one that does not answer is given up."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

COMMAND = (sys.executable, "-P", "-m", "engine.history.index.helper")
_READ = 1 << 18
# How long the end of all helpers together is waited for (seconds): killed ones go at once, unless they hang.
_END = 0.1


class Helper:
    """One process. ``asked`` are the paths that it has not answered for; ``heard`` is when it last said anything."""

    def __init__(self, command: Sequence[str], role: str) -> None:
        environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
        self.role = role
        self.process = subprocess.Popen(
            [*command, role],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env=environment,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.input, self.output = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self.input, False)
        os.set_blocking(self.output, False)
        self.asked: deque[tuple[str, str]] = deque()  # (path, key)
        self.heard = time.monotonic()
        # ``proven``: it was started, or has answered, in this scan; ``alone``: it reads one that others were lost with.
        self.went, self.alone, self.proven = False, False, True
        self.loaded = False
        self._out, self._in = bytearray(), b""

    def send(self, message: dict[str, Any]) -> None:
        """Ask; what the pipe does not take now goes later."""
        self._out += json.dumps(message).encode() + b"\n"
        self.flush()

    def flush(self) -> bool:
        """Hand over what waits; whether something still does."""
        with contextlib.suppress(OSError):
            while self._out:
                del self._out[: os.write(self.input, self._out)]
        return bool(self._out)

    def lines(self) -> list[bytes] | None:
        """What it has said since; ``None`` when it has ended."""
        try:
            data = os.read(self.output, _READ)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            return None
        self.heard, self.loaded = time.monotonic(), True
        *found, self._in = (self._in + data).split(b"\n")
        return found

    def ended(self) -> None:
        """It has closed its pipes: whether it went by itself, because it had nothing to do, is known in a moment."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.went = self.process.wait(0.5) == 0

    def kill(self) -> None:
        """End it; a process that hangs in the kernel goes when it can, and is not waited for."""
        with contextlib.suppress(OSError):
            self.process.kill()


class Crew:
    """The helpers of one scanner."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        self._selector = selectors.DefaultSelector()
        self._ended: list[subprocess.Popen[bytes]] = []
        self.helpers: list[Helper] = []

    def of(self, role: str) -> list[Helper]:
        """The helpers that walk, or those that read."""
        return [helper for helper in self.helpers if helper.role == role]

    def start(self, role: str) -> Helper | None:
        """One more helper; ``None`` where no process can be started."""
        try:
            helper = Helper(self._command, role)
        except OSError:
            return None
        self._selector.register(helper.output, selectors.EVENT_READ, helper)
        self.helpers.append(helper)
        return helper

    def poll(self, seconds: float) -> list[tuple[Helper, list[bytes] | None]]:
        """What helpers say within that time; ``None`` for one that has ended, which is then no longer here."""
        if self._ended:
            self._ended = [process for process in self._ended if process.poll() is None]
        waiting = [helper.flush() for helper in self.helpers]
        if any(waiting):
            seconds = min(seconds, 0.02)
        if not self.helpers:
            time.sleep(seconds)
        found: list[tuple[Helper, list[bytes] | None]] = []
        for key, _ in self._selector.select(seconds) if self.helpers else ():
            said = key.data.lines()
            if said is None:
                key.data.ended()
                self.give_up(key.data)
            found.append((key.data, said))
        return found

    def give_up(self, helper: Helper) -> None:
        """Kill a helper and forget it."""
        if helper in self.helpers:
            self.helpers.remove(helper)
            self._selector.unregister(helper.output)
        helper.kill()
        for pipe in (helper.process.stdin, helper.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if helper.process.poll() is None:
            self._ended.append(helper.process)

    def kill(self) -> None:
        """End all, from any thread; whoever polls sees them go."""
        for helper in list(self.helpers):
            helper.kill()

    def close(self) -> None:
        """End all and let the pipes go."""
        for helper in list(self.helpers):
            self.give_up(helper)
        end = time.monotonic() + _END
        for process in self._ended:
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.returncode = -9  # it hangs in the kernel; the system's first process inherits it
        self._selector.close()
