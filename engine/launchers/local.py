"""Starts a run on this machine: writes its directory, then hands it to a detached supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import engine
from engine import process, registry, templates
from engine.config import RunConfig, flags
from engine.data import sources
from engine.errors import InputError, Problem, TunedeckError
from engine.models import consent
from engine.paths import expand
from engine.preflight import Preflight, check, is_local_model
from engine.prompts import file_of as prompt_file
from engine.rundir import FORMAT, RunDir, new_run_id, read_json, refuse_foreign_work, write_json

START_SECONDS = 20.0
_PATHS = ("train_path", "eval_path", "output_dir", "worker_python")


def launch(
    config: RunConfig,
    *,
    command: str | None = None,
    checked: Preflight | None = None,
    parent: dict[str, Any] | None = None,
    attempt: dict[str, Any] | None = None,
) -> RunDir:
    """Create the run's directory and start its supervisor; returns when the supervisor has taken over.

    Without ``checked``, the outcome of :func:`engine.preflight.check`, everything is checked here. ``attempt`` adds to
    the record of the first attempt (a checkpoint of another run to go on from). Raises :class:`InputError` for bad
    input or a directory that is taken, :class:`TunedeckError` if the supervisor does not start; in either case nothing
    runs.
    """
    checked = checked or check(config)
    if not checked.ok:
        raise InputError(checked.errors)
    config, code = consent.pinned(with_absolute_paths(config))
    run = RunDir(config.output_dir)
    refuse_foreign_work(run.path)
    try:
        run.make(config.share)
        lock = run.acquire_lock()
        try:
            # Of two launches, who has the lock first writes the record.
            refuse_foreign_work(run.path, held=True)
            record = _record(run, config, command, checked, parent)
            if code is not None:
                record["code"] = code
            record["attempts"] = [{**attempt_record(1, record["command"]), **(attempt or {})}]
            write_json(run.run_json, record, run.file_mode(config.share))
        except BaseException:
            run.release_lock(lock)
            raise
    except OSError as error:
        hint = "Choose another output directory"
        raise InputError(Problem("bad-output", f"cannot be written: {error.strerror}", hint, setting="output_dir",
                                 file=str(run.path))) from None  # fmt: skip
    registry.remember_run(record["id"], run.path)
    start_supervisor(run, lock)
    return run


def attempt_record(number: int, command: str) -> dict[str, Any]:
    """The entry of one attempt in ``run.json``: where it starts from and what was changed for it."""
    return {"attempt": number, "time": round(time.time(), 3), "command": command, "checkpoint": None, "step": 0,
            "changes": {}, "notes": []}  # fmt: skip


def start_supervisor(run: RunDir, lock: int | None = None) -> None:
    """Start the guardian of a prepared run directory in a session of its own and wait until it answers.

    ``lock`` is the run's lock, held by this process: it passes to the supervisor without a moment in which anybody else
    could take it, and is closed here. Without it the supervisor takes the lock itself.
    """
    earlier = _supervisor(run)
    environment = _environment()
    if lock is not None:
        environment["TUNEDECK_LOCK_FD"] = str(lock)
    try:
        with run.train_log.open("ab") as log:
            os.fchmod(log.fileno(), run.file_mode(str((run.read_run() or {}).get("config", {}).get("share"))))
            # The supervisor forks itself away, so this child ends at once and leaves no zombie in a long-lived app.
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "engine.supervisor", str(run.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env=environment,
                pass_fds=() if lock is None else (lock,),
            )
        code = child.wait()
    except OSError as error:
        raise TunedeckError(Problem("not-started", f"the run's supervisor could not be started: {error.strerror}",
                                    "Free some space, or choose another output directory", file=str(run.path))) from None  # fmt: skip
    finally:
        if lock is not None:
            os.close(lock)  # the supervisor has its own copy; where it did not start, nobody holds it any more
    deadline = time.monotonic() + START_SECONDS
    while code == 0 and time.monotonic() < deadline:
        if _supervisor(run) not in (None, earlier):
            return
        time.sleep(0.01)
    raise TunedeckError(Problem("not-started", "the run's supervisor did not start", f"See {run.train_log}"))


def _supervisor(run: RunDir) -> tuple[Any, Any, Any] | None:
    """Who wrote the status: process id, its start, boot; ``None`` before anybody has."""
    status = read_json(run.status_json)
    if not status or not status.get("state"):
        return None
    return status.get("supervisor_pid"), status.get("supervisor_started"), status.get("boot_id")


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """The same settings with every path absolute, so that they mean the same from any folder."""
    changes: dict[str, Any] = {}
    for name in _PATHS:
        value = getattr(config, name)
        if value is not None and name in ("train_path", "eval_path"):
            changes[name] = sources.absolute(value)
        elif value is not None:
            changes[name] = str(expand(value).absolute())
    if is_local_model(config.base_model):
        changes["base_model"] = str(expand(config.base_model).absolute())
    if config.chat_template_path is not None:
        changes["chat_template_path"] = templates.absolute(config.chat_template_path)
    prompts = prompt_file(config.sample_prompts)
    if prompts is not None:
        changes["sample_prompts"] = [str(prompts.absolute())]
    return config.model_copy(update=changes)


def _record(
    run: RunDir, config: RunConfig, command: str | None, checked: Preflight, parent: dict[str, Any] | None
) -> dict[str, Any]:
    import getpass

    try:
        owner = getpass.getuser()
    except (KeyError, OSError):
        owner = str(os.getuid())
    return {
        "format": FORMAT,
        "id": new_run_id(),
        "name": config.run_name or run.path.name,
        "created": round(time.time(), 3),
        "owner": owner,
        "host": process.host(),
        "config": config.model_dump(mode="json"),
        "auto": {},
        "data": checked.data_record(),
        "versions": {"tunedeck": engine.__version__, "python": sys.version.split()[0]},
        "git_commit": _git_commit(),
        "working_directory": str(Path.cwd()),
        "command": command or flags.command_line(config),
        "launcher": {"kind": "local", "job_id": None},
        "parent": parent,
    }


def _git_commit() -> str | None:
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=2,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def _environment() -> dict[str, str]:
    """The environment of supervisor and worker: ours, and the engine's folder if it is not installed."""
    env = dict(os.environ)
    # What a terminal app or a test set for itself must not follow a run that outlives it.
    for name in ("COLUMNS", "LINES", "PYTHONSTARTUP", "PYTHONINSPECT"):
        env.pop(name, None)
    env["PYTHONUNBUFFERED"] = "1"
    return env
