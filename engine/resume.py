"""Going on with a run from a checkpoint: what it would start from, what has changed since, and what cannot be changed.

A resumed run is the same training, continued: what a checkpoint holds (weights, optimizer, position in the data) wins
over a setting. So a setting that resuming would silently ignore is refused here; those that a person may well want to
change (more epochs, another learning rate) are carried out by ``engine.worker.resuming``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from engine import registry
from engine import status as states
from engine.checkpoints import Checkpoint, checkpoints, verify
from engine.config import RunConfig, flags, parse, settings
from engine.errors import InputError, Problem
from engine.launchers.local import attempt_record, launch, start_supervisor, with_absolute_paths
from engine.preflight import Preflight, check
from engine.rundir import RunDir, write_json
from engine.snapshot import RunFollower, RunView

_NEW_RUN = "Start a new run with it instead"
# Settings that are built into the weights, the optimizer or the order of the data of a checkpoint.
_FIXED = {
    "base_model": "the adapter was trained on the other model",
    "revision": "the adapter was trained on the other revision",
    "lora_r": "the adapter's shape is fixed",
    "target_modules": "the adapter's layers are fixed",
    "modules_to_save": "the adapter's layers are fixed",
    "use_dora": "the adapter's kind is fixed",
    "bias": "the trained parameters are fixed",
    "init_lora_weights": "the adapter has long left its start",
    "optim": "the optimizer's state belongs to the other optimizer",
    "seed": "the order of the data and all random numbers go on from the checkpoint",
    "data_seed": "the order of the data goes on from the checkpoint",
    "eval_fraction": "other rows would be held out, and the run may have learned them",
    "packing": "the rows of an epoch would be others, and its position in the data lost",
}
_COMPARED_PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes", "liger_kernel")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs from when the checkpoint was made; ``name`` is a setting, ``data`` or ``version`` of what."""

    name: str
    old: str
    new: str


@dataclass(slots=True)
class ResumePlan:
    """What :func:`start` would do. Nothing may be started while there are errors.

    ``checkpoint`` is ``None`` where none stands: then the run begins anew. ``candidates`` are the checkpoints that can
    be chosen, newest first.
    """

    run: RunDir
    checkpoint: Checkpoint | None = None
    candidates: list[Checkpoint] = field(default_factory=list)
    config: RunConfig | None = None
    changes: list[Change] = field(default_factory=list)
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    as_new: bool = False
    checked: Preflight | None = None

    @property
    def ok(self) -> bool:
        """Whether it can be started."""
        return not self.errors

    @property
    def step(self) -> int:
        """The last step that is kept."""
        return self.checkpoint.step if self.checkpoint is not None else 0


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
    result = ResumePlan(run, as_new=output_dir is not None)
    record = run.read_run()
    if record is None or not isinstance(record.get("config"), dict):
        result.errors.append(_problem("no-run", "run.json is missing or damaged, so its settings are not known",
                                      "Fill in a new run", run))  # fmt: skip
        return result
    view = RunFollower(run.path).read_all()
    if view.state.live:
        where = "" if view.state.here else f" on {view.state.host}"
        result.errors.append(
            _problem("run-in-use", f"is still {view.state.state}{where}", "Stop it first, or watch it", run)
        )
        return result
    _choose(result, view, checkpoint)
    _settings(result, record["config"], overrides, output_dir)
    if result.config is not None:
        _refuse_fixed(result, record)
        _compare(result, record)
        _check_length(result, view)
    return result


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
    if plan.as_new:
        record = plan.run.read_run() or {}
        parent = {"id": record.get("id"), "path": str(plan.run.path), "kind": "resume", "step": plan.step}
        return launch(plan.config, command=command, checked=plan.checked, parent=parent, attempt=attempt)
    return _again(plan, command, attempt)


def _again(plan: ResumePlan, command: str, attempt: dict[str, Any]) -> RunDir:
    run, config = plan.run, plan.config
    assert config is not None and plan.checked is not None
    lock = run.acquire_lock()
    try:
        # With the lock in hand: what was planned may be old.
        record, status = run.read_run() or {}, run.read_status() or {}
        earlier = _attempts(record, status)
        record.update(
            config=config.model_dump(mode="json"),
            attempts=[*earlier, {**attempt_record(len(earlier) + 1, command), **attempt}],
            data={**record.get("data", {}), **plan.checked.data_record()},
        )
        for verb in run.requests():
            run.take(verb)  # what was asked of an earlier attempt is not meant for this one
        write_json(run.run_json, record, run.file_mode(config.share))
    except OSError as error:
        os.close(lock)
        raise InputError(
            _problem("bad-output", f"cannot be written: {error.strerror}", "Free some space", run)
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


def _choose(result: ResumePlan, view: RunView, step: int | None) -> None:
    found = checkpoints(result.run.path)
    result.candidates = [c for c in reversed(found) if c.valid]
    if step is not None:
        chosen = next((c for c in found if c.step == step), None)
        why = f"there is no checkpoint-{step}" if chosen is None else chosen.problem or verify(chosen)
        if chosen is None or why:
            known = ", ".join(str(c.step) for c in result.candidates) or "none"
            words = why if chosen is None else f"checkpoint-{step} cannot be used: {why}"
            result.errors.append(_problem("bad-checkpoint", words, f"Complete ones: {known}", result.run))
        else:
            result.checkpoint = chosen
        return
    for candidate in sorted(result.candidates, key=lambda c: (c.finite is not False, c.step), reverse=True):
        why = verify(candidate)
        if not why:
            result.checkpoint = candidate
            return
        result.warnings.append(_problem("bad-checkpoint", f"checkpoint-{candidate.step} is damaged ({why})",
                                        "An older one is used", result.run, "warning"))  # fmt: skip
    _from_elsewhere(result, view)


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
                result.errors.append(_problem("bad-checkpoint", f"{source} is gone or damaged, and this run has saved none yet",
                                              "Start a new run", result.run))  # fmt: skip
            return
    result.warnings.append(_problem("no-checkpoint", "has no complete checkpoint: it begins anew at step 1", "",
                                    result.run, "warning"))  # fmt: skip


def _settings(result: ResumePlan, recorded: dict[str, Any], overrides: dict[str, Any], output_dir: str | None) -> None:
    known = {name: value for name, value in recorded.items() if name in settings()}
    dropped = sorted(set(recorded) - set(known))
    if dropped:
        text = f"settings that this version does not know are left out: {', '.join(dropped)}"
        result.warnings.append(_problem("unknown-setting", text, "", result.run, "warning"))  # fmt: skip
    try:
        result.config = with_absolute_paths(
            parse({**known, **overrides, "output_dir": output_dir or str(result.run.path)})
        )
    except InputError as error:
        result.errors += error.problems
        return
    result.checked = check(result.config, new_output=result.as_new)
    result.errors += result.checked.errors
    result.warnings += result.checked.warnings
    old = _recorded_config(known, result)
    for name, info in settings().items():
        before, after = old.get(name, info.default), getattr(result.config, name)
        if name != "output_dir" and before != after:
            result.changes.append(Change(name, flags.format_value(before), flags.format_value(after)))


def _recorded_config(known: dict[str, Any], result: ResumePlan) -> dict[str, Any]:
    try:
        return with_absolute_paths(parse({**known, "output_dir": str(result.run.path)})).model_dump()
    except InputError:
        return known


def _refuse_fixed(result: ResumePlan, record: dict[str, Any]) -> None:
    assert result.config is not None
    if result.checkpoint is None:
        return  # it begins anew: everything may change
    for change in result.changes:
        why = _FIXED.get(change.name)
        if why is None or _is_the_same(change, record):
            continue
        result.errors.append(Problem("fixed-setting", f"cannot be changed from {change.old} to {change.new} when a run goes on: {why}",
                                     _NEW_RUN, setting=change.name))  # fmt: skip
    old, new = record["config"], result.config
    before = _product(old.get("batch_size"), old.get("gradient_accumulation_steps"))
    after = new.batch_size * new.gradient_accumulation_steps
    if before is not None and before != after:
        result.errors.append(Problem("fixed-setting", f"samples per update must stay {before}, not {after}: the position in the data "
            "is counted in updates", f"Keep batch_size × gradient_accumulation_steps at {before}, or start a new run",
            setting="batch_size"))  # fmt: skip
    if new.packing is True and any(c.name == "max_seq_length" for c in result.changes):
        result.errors.append(Problem("fixed-setting", "cannot be changed when a packed run goes on: its rows would be others",
                                     _NEW_RUN, setting="max_seq_length"))  # fmt: skip


def _is_the_same(change: Change, record: dict[str, Any]) -> bool:
    """Whether a change only writes down what was in force anyway, or names a model that has moved."""
    if change.name == "base_model":
        return Path(change.old).is_absolute() and not Path(change.old).exists()
    auto = record.get("auto")
    chosen = auto.get(change.name) if isinstance(auto, dict) else None
    return isinstance(chosen, dict) and change.old == "auto" and flags.format_value(chosen.get("value")) == change.new


def _product(a: Any, b: Any) -> int | None:
    return a * b if isinstance(a, int) and isinstance(b, int) else None


def _compare(result: ResumePlan, record: dict[str, Any]) -> None:
    """Data by hash, packages by version."""
    assert result.config is not None and result.checked is not None
    data = _dict(record.get("data"))
    now = result.checked.data_record()
    for name in ("train", "eval"):
        before, after = _dict(data.get(name)), _dict(now.get(name))
        if before.get("sha256") and after.get("sha256") and before["sha256"] != after["sha256"]:
            old, new = (f"{part.get('rows')} rows, sha256 {str(part['sha256'])[:12]}" for part in (before, after))
            result.changes.append(Change(f"{name} data", old, new))
            if name == "train" and result.checkpoint is not None:
                _changed_data(result, before.get("rows"), after.get("rows"))
    if result.config.worker_python is None:
        versions = _dict(record.get("versions"))
        for package in _COMPARED_PACKAGES:
            was, now_is = versions.get(package), _version(package)
            if isinstance(was, str) and now_is is not None and was.split("+")[0] != now_is.split("+")[0]:
                result.changes.append(Change(f"version of {package}", was, now_is))


def _changed_data(result: ResumePlan, before: Any, after: Any) -> None:
    file = result.config.train_path if result.config else None
    if before != after:
        text = f"has {after} rows now and had {before}: the run's position in the data would be lost"
        hint = "Give the old file, or start a new run"
        result.errors.append(Problem("changed-data", text, hint, setting="train_path", file=file))
        return
    text = "has changed since the checkpoint: the rest of the run learns from the new rows"
    result.warnings.append(Problem("changed-data", text, setting="train_path", file=file, severity="warning"))


def _check_length(result: ResumePlan, view: RunView) -> None:
    planned = result.checked.plan if result.checked is not None else None
    if planned is None or result.checkpoint is None:
        return
    total, step = planned.total_steps, result.checkpoint.step
    if total < step:
        result.errors.append(Problem("too-few-steps", f"would end at step {total}, before the checkpoint's step {step}",
            "Raise num_train_epochs or max_steps, or choose an earlier checkpoint",
            setting="max_steps" if result.config and result.config.max_steps else "num_train_epochs"))  # fmt: skip
    elif total == step and view.state.state == states.COMPLETED and not result.as_new:
        result.errors.append(Problem("nothing-to-do", f"all {total} steps are done and the adapter is saved",
            "Raise num_train_epochs or max_steps to go on, or choose an earlier checkpoint",
            setting="max_steps" if result.config and result.config.max_steps else "num_train_epochs"))  # fmt: skip


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _command(plan: ResumePlan) -> str:
    import shlex

    words = ["tunedeck", "resume", str(plan.run.path)]
    if plan.checkpoint is not None:
        words += ["--checkpoint", str(plan.checkpoint.step)]
    if plan.as_new and plan.config is not None:
        words += ["--output_dir", plan.config.output_dir]
    for change in plan.changes:
        if change.name in settings():
            words += [f"--{change.name}", change.new]
    return shlex.join(words)


def _problem(kind: str, message: str, hint: str, run: RunDir, severity: str = "error") -> Problem:
    return Problem(kind, message, hint, file=str(run.path), severity=severity)
