"""Starts what was planned."""

from __future__ import annotations

import shlex
from typing import Any

from engine import registry
from engine.config import settings
from engine.errors import InputError, RunInUseError
from engine.launchers.local import attempt_record, launch, start_supervisor
from engine.models import consent
from engine.resume.record import ResumePlan, problem
from engine.rundir import RunDir, write_json


def start(plan: ResumePlan, *, command: str | None = None) -> RunDir:
    """Go on with a run, or start the new one that goes on from it; returns when its supervisor has taken over.

    Raises :class:`InputError` if the plan has errors or somebody else has started the run meanwhile.
    """
    if plan.errors or plan.config is None:
        raise InputError(plan.errors)
    command = command or _command(plan)
    attempt = {
        "checkpoint": str(plan.checkpoint.path) if plan.checkpoint else None,
        "step": plan.step,
        "changes": {change.name: [change.old, change.new] for change in plan.changes},
        "notes": [str(problem) for problem in plan.warnings],
    }
    if plan.accumulation is not None:
        attempt["gradient_accumulation_steps"] = plan.accumulation
    if plan.as_new:
        record = plan.run.read_run() or {}
        parent = {"id": record.get("id"), "path": str(plan.run.path), "kind": "resume", "step": plan.step}
        return launch(plan.config, command=command, checked=plan.checked, parent=parent, attempt=attempt)
    return _again(plan, command, attempt)


def _again(plan: ResumePlan, command: str, attempt: dict[str, Any]) -> RunDir:
    run, config = plan.run, plan.config
    assert config is not None and plan.checked is not None
    config, code = consent.pinned(config)
    lock = run.acquire_lock()
    try:
        # With the lock in hand: what was planned may be old.
        record, status = run.read_run() or {}, run.read_status() or {}
        earlier = _attempts(record, status)
        if len(earlier) != plan.attempts:
            text = "has been resumed by somebody else meanwhile"
            raise RunInUseError(problem("run-in-use", text, "Look at it again", run))
        record.update(
            config=config.model_dump(mode="json"),
            attempts=[*earlier, {**attempt_record(len(earlier) + 1, command), **attempt}],
            data={**record.get("data", {}), **plan.checked.data_record()},
        )
        record.pop("code", None)
        if code is not None:
            record["code"] = code
        for verb in run.requests():
            run.take(verb)  # what was asked of an earlier attempt is not meant for this one
        write_json(run.run_json, record, run.file_mode(config.share))
    except RunInUseError:
        run.release_lock(lock)
        raise
    except OSError as error:
        run.release_lock(lock)
        raise InputError(
            problem("bad-output", f"cannot be written: {error.strerror}", "Free some space", run)
        ) from None
    registry.remember_run(str(record.get("id")), run.path)
    start_supervisor(run, lock)
    return run


def _attempts(record: dict[str, Any], status: dict[str, Any]) -> list[dict[str, Any]]:
    """The attempts so far; records from before they were kept get one entry for each."""
    found = record.get("attempts")
    if isinstance(found, list) and found:
        return found
    count = status.get("attempts")
    made = count if isinstance(count, int) and 1 <= count < 10_000 else 1
    return [
        {**attempt_record(n, str(record.get("command") or "")), "time": record.get("created")}
        for n in range(1, made + 1)
    ]


def _command(plan: ResumePlan) -> str:
    words = ["tunedeck", "resume", str(plan.run.path)]
    if plan.checkpoint is not None:
        words += ["--checkpoint", str(plan.checkpoint.step)]
    if plan.as_new and plan.config is not None:
        words += ["--output_dir", plan.config.output_dir]
    for change in plan.changes:
        if change.name in settings():
            words += [f"--{change.name}", change.new]
    return shlex.join(words)
