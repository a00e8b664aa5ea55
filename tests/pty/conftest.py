from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import process
from engine.rundir import META, RunDir
from tests.pty.terminal import Terminal

Start = Callable[..., Terminal]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty working directory."""
    path = tmp_path / "work"
    path.mkdir()
    return path


@pytest.fixture
def start(folder: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts the installed command in ``folder``; ends it, and every run it left behind there, after the test."""
    open_terminals: list[Terminal] = []

    def begin(*words: str | Path, **options: Any) -> Terminal:
        open_terminals.append(Terminal(folder, *words, **options))
        return open_terminals[-1]

    yield begin
    for terminal in open_terminals:
        terminal.close()
    for meta in folder.rglob(META):
        run = RunDir(meta.parent)
        status = run.read_status() or {}
        if status.get("state") in ("starting", "running", "stopping") and status.get("pid") != os.getpid():
            for pid, started in (("supervisor_pid", "supervisor_started"), ("pid", "pid_started")):
                process.signal_exactly(status, signal.SIGKILL, run.lock, pid, started)
