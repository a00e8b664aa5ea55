"""Tells people that a run has ended: a command of theirs with the run as JSON, a message to their tmux clients."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

from engine.events import finite
from engine.text import clean

if TYPE_CHECKING:
    from engine.supervisor.guard import Guard

COMMAND_SECONDS = 300.0
TMUX_SECONDS = 5.0
SHOWN_MS = 10_000


def say_goodbye(guard: Guard) -> None:
    """Do what the run's settings ask for at its end, however it ended; a failure is a notice of the run."""
    wanted = guard.config.get("notify")
    if isinstance(wanted, list) and "tmux" in wanted:
        problem = tell_tmux(message(guard.record, guard.status))
        if problem:
            guard.events.write("notice", level="warning", text=f"no message in tmux: {problem}")
    command = guard.config.get("on_end")
    if isinstance(command, str) and command.strip():
        problem = run_command(command, guard)
        if problem:
            guard.events.write("notice", level="warning", text=f"the command on_end {problem}")


def message(run: dict[str, Any], status: dict[str, Any]) -> str:
    """One line: which run, how it ended, and how far it had come."""
    name = clean(run.get("name") or run.get("id") or "", 80)
    loss = status.get("last_loss")
    figures = f" at step {status.get('step')}" + (f", loss {loss:.4g}" if isinstance(loss, float) else "")
    reason = clean(status.get("reason") or "", 200)
    return f"tunedeck: {name} {status.get('state')}{figures if status.get('step') else ''}" + (
        f": {reason}" if reason else ""
    )


def tell_tmux(text: str) -> str:
    """Show a line to every client of the tmux server in which the run was launched; why not, or nothing."""
    if not os.environ.get("TMUX"):
        return "the run was not launched inside tmux"
    # tmux expands formats (#) and dates (%) in a message.
    line = clean(text, 500).replace("#", "##").replace("%", "%%")
    try:
        found = _tmux("list-clients", "-F", "#{client_name}")
        if found.returncode:
            return clean(found.stderr.strip() or "its server is gone", 200)
        for client in found.stdout.splitlines():
            _tmux("display-message", "-d", str(SHOWN_MS), "-c", client, line)
    except FileNotFoundError:
        return "tmux is not on the path"
    except (OSError, subprocess.TimeoutExpired) as error:
        return clean(error, 200)
    return ""


def _tmux(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["tmux", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TMUX_SECONDS,
        check=False,
    )


def run_command(command: str, guard: Guard) -> str:
    """Run a shell command with the run's ``show --json`` document on its standard input; what went wrong, or nothing."""
    run = guard.run
    environment = {**os.environ, "TUNEDECK_RUN": str(run.path), "TUNEDECK_STATE": str(guard.status.get("state"))}
    try:
        document = json.dumps(finite(_document(guard)), allow_nan=False, default=str).encode() + b"\n"
        with run.train_log.open("ab") as log:
            child = subprocess.Popen(
                ["/bin/sh", "-c", command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=guard.working_directory(),
                env=environment,
            )
    except (OSError, ValueError) as error:
        return f"could not be run: {clean(error, 200)}"
    begun = time.monotonic()
    try:
        child.communicate(document, timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        _end_group(child)
        return f"was ended: it took longer than {time.monotonic() - begun:.0f} s"
    except OSError as error:
        _end_group(child)
        return f"failed: {clean(error, 200)}"
    if child.returncode < 0:
        return f"was killed by signal {-child.returncode}"
    return f"failed with exit code {child.returncode}" if child.returncode else ""


def _document(guard: Guard) -> dict[str, Any]:
    from engine.history.describe import describe

    # Of a run whose directory cannot be written any more, this process knows more than the files.
    return {**describe(guard.run.path), "state": guard.status["state"], "reason": guard.status["reason"] or None}


def _end_group(child: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except OSError:
        pass
    child.wait()
