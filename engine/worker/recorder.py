"""Writes a run's events from inside the training process, and beats while a long phase lasts."""

from __future__ import annotations

import threading
from typing import Any

from engine.events import EventWriter
from engine.rundir import RunDir

BEAT_SECONDS = 8.0


class Recorder:
    """The training process's pen: events, phases, notices. Safe to use from several threads."""

    def __init__(self, run: RunDir, *, attempt: int = 1, share: str = "private", rank: int = 0) -> None:
        """Of several processes only the first (``rank`` 0) writes events; the others' notices go to the log alone."""
        self.run = run
        self.attempt = attempt
        self.rank = rank
        self._writer = None if rank else EventWriter(run.events, attempt=attempt, mode=run.file_mode(share))
        self._lock = threading.Lock()
        self._phase: tuple[str, float | None, float | None] | None = None
        self._ended = threading.Event()

    def write(self, type: str, **fields: Any) -> bool:
        """Append one event; ``False`` if the disk refused it."""
        if self._writer is None:
            return True
        with self._lock:
            return self._writer.write(type, **fields)

    def step(self, **fields: Any) -> None:
        """Append a ``step`` event."""
        self.write("step", **fields)

    def notice(self, text: str, level: str = "info", **more: Any) -> None:
        """Something worth showing to the person who watches; also printed to the log. ``more`` are keys for programs."""
        try:
            if not self.rank or level == "error":
                print(f"[rank {self.rank}] {text}" if self.rank else text, flush=True)
        except (OSError, ValueError):  # a full disk, or an output that was closed
            pass
        self.write("notice", level=level, text=text, **more)

    def phase(self, name: str, done: float | None = None, total: float | None = None) -> None:
        """Say what the process is doing now."""
        self._phase = (name, done, total)
        self.write("phase", name=name, done=done, total=total)

    def start_beating(self) -> None:
        """Repeat the phase every few seconds while it is not training, where steps are the beat."""
        if self._writer is None:
            return

        def beat() -> None:
            while not self._ended.wait(BEAT_SECONDS):
                phase = self._phase
                if phase is not None and phase[0] != "training":
                    self.write("phase", name=phase[0], done=phase[1], total=phase[2])

        threading.Thread(target=beat, name="tunedeck-beat", daemon=True).start()

    def close(self) -> None:
        """Flush and close; later events are lost."""
        self._ended.set()
        if self._writer is not None:
            with self._lock:
                self._writer.close()
