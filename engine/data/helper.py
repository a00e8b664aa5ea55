"""Rows of formats that need heavy libraries, asked of a process of their own: ``python -P -m engine.worker.rows FILE``.

It writes a row as JSON a line; a line that begins with ``#`` says how many there are, one that begins with ``!`` what is
wrong.
"""

from __future__ import annotations

import io
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.data.faults import Bad
from engine.text import clean

_BLOCK = 1 << 20
_WAIT_SECONDS = 0.1
_AGAIN = "Copy or download it again"


class _Pipe(io.RawIOBase):
    """What the process writes; ``tick`` is called while nothing comes, and may raise."""

    def __init__(self, fd: int, tick: Callable[[], None]) -> None:
        self._fd, self._tick = fd, tick

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Wait for more."""
        while True:
            self._tick()
            if select.select([self._fd], [], [], _WAIT_SECONDS)[0]:
                return os.readv(self._fd, [buffer])


def rows(path: Path, tick: Callable[[float], None]) -> Iterator[tuple[int, bytes]]:
    """Number and JSON text of each row; ``tick`` is told the share that is done. Raises :class:`Bad`."""
    command = [sys.executable, "-P", "-m", "engine.worker.rows", str(path.absolute())]
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError as error:
        raise Bad("unreadable-file", f"cannot be read: no process could be started ({error.strerror})") from None
    assert process.stdout is not None
    number, total = 0, 0
    try:
        pipe = io.BufferedReader(_Pipe(process.stdout.fileno(), lambda: tick(number / total if total else 0.0)), _BLOCK)
        for line in pipe:
            if line.startswith(b"#"):
                total = int(line[1:])
            elif line.startswith(b"!"):
                said = json.loads(line[1:])
                raise Bad(said["kind"], clean(said["message"], 300), said.get("hint", ""))
            else:
                number += 1
                yield number, line
        if process.wait() != 0 or number != total:
            raise Bad("broken-parquet", f"could be read only up to row {number}", _AGAIN)
    finally:
        process.stdout.close()
        if process.poll() is None:
            process.kill()
            process.wait()
