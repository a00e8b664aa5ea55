"""Which checkpoint a run would go on from, with which settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.checkpoints import PARTIAL, Checkpoint, checkpoints, leftovers, recover, verify
from engine.config import flags, parse, settings
from engine.errors import InputError, TunedeckError
from engine.launchers.local import with_absolute_paths
from engine.paths import expand
from engine.preflight import check, updates
from engine.resume.differences import check_length, compare, refuse_fixed
from engine.resume.record import Change, ResumePlan, accumulation_of, problem
from engine.rundir import RunDir
from engine.snapshot import RunFollower, RunView


def plan(
    run: RunDir,
    *,
    checkpoint: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    output_dir: str | None = None,
) -> ResumePlan:
    """Work out how ``run`` would go on; starts nothing.

    ``checkpoint`` is the step of the one to go on from (the newest complete one with finite weights otherwise),
    ``overrides`` are raw settings to change, ``output_dir`` makes it a new run in another directory.
    """
    overrides = dict(overrides or {})
    output_dir = overrides.pop("output_dir", None) or output_dir
    if output_dir is not None and expand(output_dir).absolute() == run.path:
        output_dir = None
    result = ResumePlan(run, as_new=output_dir is not None)
    record = run.read_run()
    if record is None or not isinstance(record.get("config"), dict):
        result.errors.append(problem("no-run", "run.json is missing or damaged, so its settings are not known",
                                      "Fill in a new run", run))  # fmt: skip
        return result
    view = RunFollower(run.path).read_all()
    if view.state.live:
        where = "" if view.state.here else f" on {view.state.host}"
        result.errors.append(
            problem("run-in-use", f"is still {view.state.state}{where}", "Stop it first, or watch it", run)
        )
        return result
    result.last_step, result.attempts = view.step, view.attempt_number
    _recover(run)
    _choose(result, view, checkpoint)
    _settings(result, record, overrides, output_dir)
    if result.config is not None:
        refuse_fixed(result, record)
        compare(result, record)
        check_length(result, view)
    return result


def _recover(run: RunDir) -> None:
    """A checkpoint that was complete when everything was killed, but not yet in its place, is put there."""
    if not any(leftovers(run.meta / PARTIAL)):
        return
    try:
        lock = run.acquire_lock()
    except (TunedeckError, OSError):
        return
    try:
        recover(run)
    except OSError:
        pass  # an older one is used
    finally:
        run.release_lock(lock)


def _choose(result: ResumePlan, view: RunView, step: int | None) -> None:
    found = checkpoints(result.run.path)
    result.candidates = [c for c in reversed(found) if c.valid]
    # Only attempts that have trained leave a branch behind.
    starts = [(a["attempt"], a["step"]) for a in view.attempts if _is_attempt(a) and a["attempt"] <= view.step_attempt]

    def superseded(candidate: Checkpoint) -> bool:
        return any(number > candidate.attempt and start < candidate.step for number, start in starts)

    def foreign(candidate: Checkpoint) -> bool:
        return candidate.run is not None and candidate.run != view.id

    if step is not None:
        chosen = next((c for c in found if c.step == step), None)
        why = f"there is no checkpoint-{step}" if chosen is None else chosen.problem or verify(chosen)
        known = ", ".join(str(c.step) for c in result.candidates) or "none"
        if chosen is None or why:
            words = why if chosen is None else f"checkpoint-{step} cannot be used: {why}"
            result.errors.append(problem("bad-checkpoint", words, f"Complete ones: {known}", result.run))
            return
        result.checkpoint = chosen
        if foreign(chosen):
            text = f"checkpoint-{step} was written by another run ({chosen.run})"
            result.warnings.append(problem("foreign-checkpoint", text, "", result.run, "warning"))
        if superseded(chosen) and not result.as_new:
            text = f"checkpoint-{step} belongs to a branch that a later attempt left: this run's charts could not go on from it"
            hint = "Go on from it as a new run, with --output_dir"
            result.errors.append(problem("left-branch", text, hint, result.run))
        return

    def worth(candidate: Checkpoint) -> tuple[bool, bool, bool, int, int]:
        return (not foreign(candidate), candidate.finite is not False, not superseded(candidate), *candidate.age)

    for candidate in sorted(result.candidates, key=worth, reverse=True):
        why = verify(candidate)
        if not why:
            result.checkpoint = candidate
            return
        result.warnings.append(problem("bad-checkpoint", f"checkpoint-{candidate.step} is damaged ({why})",
                                        "An older one is used", result.run, "warning"))  # fmt: skip
    _from_elsewhere(result, view)


def _is_attempt(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), int) for key in ("attempt", "step"))


def _from_elsewhere(result: ResumePlan, view: RunView) -> None:
    """A run that itself went on from another run's checkpoint and has none of its own yet."""
    attempts = view.run.get("attempts")
    for attempt in reversed(attempts if isinstance(attempts, list) else []):
        source = attempt.get("checkpoint") if isinstance(attempt, dict) else None
        if isinstance(source, str):
            found = [c for c in checkpoints(Path(source).parent) if str(c.path) == source and c.valid and not verify(c)]
            if found:
                result.checkpoint = found[0]
                result.candidates.append(found[0])
            else:
                result.errors.append(problem("bad-checkpoint", f"{source} is gone or damaged, and this run has saved none yet",
                                              "Start a new run", result.run))  # fmt: skip
            return
    result.warnings.append(problem("no-checkpoint", "has no complete checkpoint: it begins anew at step 1", "",
                                    result.run, "warning"))  # fmt: skip


def _settings(result: ResumePlan, record: dict[str, Any], overrides: dict[str, Any], output_dir: str | None) -> None:
    recorded: dict[str, Any] = record["config"]
    known = {name: value for name, value in recorded.items() if name in settings()}
    dropped = sorted(set(recorded) - set(known))
    if dropped:
        text = f"settings that this version does not know are left out: {', '.join(dropped)}"
        result.warnings.append(problem("unknown-setting", text, "", result.run, "warning"))  # fmt: skip
    try:
        result.config = with_absolute_paths(
            parse({**known, **overrides, "output_dir": output_dir or str(result.run.path)})
        )
    except InputError as error:
        result.errors += error.problems
        return
    if result.checkpoint is not None and updates.chosen(result.config):
        result.accumulation = accumulation_of(record)
    result.checked = check(result.config, new_output=result.as_new, accumulation=result.accumulation)
    result.errors += result.checked.errors
    result.warnings += result.checked.warnings
    old = _recorded_config(known, result)
    for name, info in settings().items():
        before, after = old.get(name, info.default), getattr(result.config, name)
        if name != "output_dir" and before != after:
            result.changes.append(Change(name, *(flags.format_value(value, info.kind) for value in (before, after))))


def _recorded_config(known: dict[str, Any], result: ResumePlan) -> dict[str, Any]:
    try:
        return with_absolute_paths(parse({**known, "output_dir": str(result.run.path)})).model_dump()
    except InputError:
        return known
