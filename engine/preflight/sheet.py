"""The whole sheet of a run that is not started: the light checks, then lengths, memory, disk and time."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine import hardware
from engine.config import RunConfig
from engine.data import DataReport
from engine.errors import Problem
from engine.hardware import Gpu
from engine.inspecting import InspectError, Inspector
from engine.preflight import checks, disk, memory, parameters, speed
from engine.preflight.checks import Plan, Preflight
from engine.preflight.lengths import Lengths, Tell, measure, model_folder

# Kinds of the inspector's answers that only say that something could not be asked, not that a run would fail.
_UNKNOWN = {"not-downloaded": "base_model", "timeout": None, "inspector-ended": None, "no-inspector": "worker_python",
            "failed": None, "no-costs": "base_model"}  # fmt: skip
_SETTINGS = {"unknown-target": "target_modules", "bad-adapter": "target_modules",
             "cannot-mark": "assistant_only_loss", "no-template": "base_model",
             "bad-model": "base_model"}  # fmt: skip
_OF_TEMPLATES = ("no-template", "cannot-mark")
_SHOWN = 5


@dataclass(slots=True)
class Sheet:
    """What is known of a run. Everything that is ``None`` is unknown."""

    config: RunConfig | None = None
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    checked: Preflight | None = None
    lengths: Lengths | None = None
    costs: dict[str, Any] | None = None
    plan: Plan | None = None
    memory: memory.Memory | None = None
    fixes: list[dict[str, Any]] = field(default_factory=list)
    gpu: Gpu | None = None
    disk: dict[str, int | None] | None = None
    seconds: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the run may start."""
        return not self.errors

    def as_dict(self) -> dict[str, Any]:
        """The document of ``preflight --json``."""
        data = self.checked.train if self.checked is not None else None
        lengths = self.lengths
        held = None
        if self.memory is not None:
            free = self.gpu.memory_free if self.gpu is not None else None
            held = {**self.memory.parts(), "total": self.memory.total, "free": free, "fixes": self.fixes}
        return {
            "ok": self.ok,
            "errors": [problem.as_dict() for problem in self.errors],
            "warnings": [problem.as_dict() for problem in self.warnings],
            "format": (data.summary or None) if data is not None else None,
            "rows": data.rows if data is not None else None,
            "usable_rows": lengths.usable if lengths is not None else None,
            "tokens": lengths.tokens if lengths is not None else None,
            "truncated_rows": lengths.truncated if lengths is not None else None,
            "max_length_suggested": lengths.suggested if lengths is not None else None,
            "steps": self.plan.total_steps if self.plan is not None else None,
            "samples_per_update": self.plan.samples_per_update if self.plan is not None else None,
            "trainable_parameters": self.costs["trainable"] if self.costs is not None else None,
            "memory": held,
            "disk": self.disk,
            "seconds": self.seconds,
        }


def sheet(config: RunConfig, inspector: Inspector, *, sample: bool = False, tell: Tell | None = None,
          cancelled: threading.Event | None = None, checked: Preflight | None = None) -> Sheet:  # fmt: skip
    """Everything that can be known of a run before it starts; ``checked`` is the outcome of the light checks, if they ran."""
    checked = checks.check(config) if checked is None else checked
    out = Sheet(config, list(checked.errors), list(checked.warnings), checked, plan=checked.plan)
    if checked.train is not None and not any(problem.setting == "output_dir" for problem in out.errors):
        why = disk.refusal(Path(config.output_dir))
        if why:
            out.errors.append(Problem("bad-output", f"cannot be created: {why}", "Choose another directory", "output_dir",
                                      config.output_dir))  # fmt: skip
    data = checked.train
    if (
        data is None
        or not data.rows
        or data.error_count
        or any(p.setting in ("base_model", "worker_python") for p in out.errors)
    ):
        return out
    out.gpu = memory.card(config.gpus, hardware.gpus())
    values = config.model_dump()
    try:
        _facts(config, inspector, out, chats=not data.plain_text)
        out.costs = parameters.costs(inspector, values, out.gpu, chats=not data.plain_text)
    except InspectError as error:
        _say(out, error)
    chosen = out.costs["chosen"] if out.costs is not None else {}
    if not any(problem.kind in (*_OF_TEMPLATES, "bad-model") for problem in out.errors):
        try:
            out.lengths = measure(inspector, config, data, sample=sample, tell=tell, cancelled=cancelled,
                                  packing=chosen.get("packing", config.packing is True),
                                  padding_free=chosen.get("padding_free", config.padding_free is True))  # fmt: skip
        except InspectError as error:
            _say(out, error)
    if out.lengths is not None:
        _of_lengths(config, out, out.lengths)
        if checked.eval is not None and not checked.eval.error_count:
            _of_evaluation(config, inspector, out, checked.eval, sample=sample, cancelled=cancelled)
    if out.costs is not None:
        _of_costs(values, out, out.costs)
    return out


def _facts(config: RunConfig, inspector: Inspector, out: Sheet, *, chats: bool) -> None:
    """What the tokenizer and its template mean for this run."""
    model = {
        "base_model": config.base_model,
        "revision": config.revision,
        "trust_remote_code": config.trust_remote_code,
    }
    facts = inspector.ask("open", timeout=120.0, model=model, assistant_only_loss=config.assistant_only_loss)
    for said in facts["problems"]:
        if not chats and (said["kind"] in _OF_TEMPLATES or said["severity"] == "warning"):
            continue
        problem = Problem(said["kind"], said["message"], said["hint"], setting=_SETTINGS.get(said["kind"], "base_model"),
                          severity=said["severity"])  # fmt: skip
        (out.errors if problem.severity == "error" else out.warnings).append(problem)


def _say(out: Sheet, error: InspectError) -> None:
    """An answer that there is none: an error where the run would fail as well, else a warning that something is unknown."""
    problem = error.problems[0]
    if any(problem.kind == said.kind for said in (*out.errors, *out.warnings)):
        return  # the light checks have said it
    if problem.kind in _UNKNOWN:
        out.warnings.append(replace(problem, setting=_UNKNOWN[problem.kind], severity="warning"))
    else:
        out.errors.append(replace(problem, setting=problem.setting or _SETTINGS.get(problem.kind)))


def _of_lengths(config: RunConfig, out: Sheet, lengths: Lengths) -> None:
    """What follows from lengths: rows that are cut, lost or refused, and the steps that are left."""
    limit = config.max_seq_length
    _refused(config, out, lengths, "train_path")

    def warn(kind: str, message: str, hint: str) -> None:
        out.warnings.append(Problem(kind, message, hint, setting="max_seq_length", severity="warning"))

    about = "about " if lengths.estimated else ""
    if not lengths.usable and not lengths.refused and not lengths.estimated:
        out.errors.append(Problem("nothing-left", f"all rows are cut off before the text that is learned ({limit})"
            if lengths.truncated else "in none of the rows is there anything to learn", "Raise it" if lengths.truncated else
            "Set assistant_only_loss to false to learn from the whole text", setting="max_seq_length" if lengths.truncated
            else "assistant_only_loss"))  # fmt: skip
    elif lengths.empty:
        warn("rows-lost", f"{about}{lengths.empty:,} of {lengths.rows:,} rows keep nothing to learn and are left out",
             f"The longest row has {lengths.longest:,} tokens")  # fmt: skip
    if lengths.truncated and lengths.usable:
        share = lengths.truncated / max(1, lengths.rows)
        warn("truncated", f"cuts off {about}{lengths.truncated:,} of {lengths.rows:,} rows ({share:.1%})",
             f"{lengths.suggested:,} would hold {'nearly ' if (lengths.suggested or 0) < lengths.longest else ''}all")  # fmt: skip
    if lengths.usable and out.checked is not None:
        _, eval_rows = checks.samples(config, out.checked.train, out.checked.eval)  # type: ignore[arg-type]
        rows = lengths.usable if lengths.packed is None else lengths.packed
        out.plan = checks.plan(config, rows, eval_rows)


def _of_evaluation(config: RunConfig, inspector: Inspector, out: Sheet, report: DataReport, *, sample: bool,
                   cancelled: threading.Event | None) -> None:  # fmt: skip
    """Rows to evaluate with that the run would refuse."""
    try:
        found = measure(inspector, config, report, sample=sample, cancelled=cancelled)
    except InspectError as error:
        _say(out, error)
        return
    _refused(config, out, found, "eval_path")
    if not found.usable and not found.refused and not found.estimated:
        out.errors.append(Problem("nothing-left", "in no row is anything left to measure", "Raise max_seq_length, or take other data",
                                  "eval_path", str(report.path)))  # fmt: skip


def _refused(config: RunConfig, out: Sheet, lengths: Lengths, setting: str) -> None:
    """Rows that the template cannot render: the first ones, and how many."""
    skip = config.on_bad_rows == "skip"
    severity, problems = ("warning", out.warnings) if skip else ("error", out.errors)
    for file, line, message in lengths.refused[:_SHOWN]:
        hint = "It is skipped" if skip else "Change the row, or set on_bad_rows to skip"
        problems.append(Problem("cannot-render", message, hint, setting, file, line, severity))
    if len(lengths.refused) > _SHOWN:
        text = f"{len(lengths.refused)} rows cannot be rendered; the first {_SHOWN} are shown"
        problems.append(Problem("more-errors", text, setting=setting, severity=severity))


def _of_costs(config: dict[str, Any], out: Sheet, costs: dict[str, Any]) -> None:
    """What follows from the sizes of the model: memory, disk and time."""
    limit, lengths = config["max_seq_length"], out.lengths
    chosen = costs["chosen"]
    settled = {**config, "packing": chosen["packing"]}
    longest = (
        min(limit, lengths.longest) if lengths is not None and lengths.lengths and not lengths.estimated else limit
    )
    positions = costs.get("positions")
    if positions and longest > positions:
        text = f"rows of {longest:,} tokens are longer than what the model was made for ({positions:,})"
        out.warnings.append(
            Problem("beyond-positions", text, f"Set it to {positions}", setting="max_seq_length", severity="warning")
        )
    out.memory = memory.estimate(
        costs, settled, memory.micro_batch(settled, longest), memory.eval_batch(settled, longest)
    )
    if out.gpu is not None and out.memory.total > out.gpu.memory_free:
        out.fixes = memory.fixes(costs, settled, longest, out.gpu.memory_free, can_quantise=parameters.can_quantise())
        out.warnings.append(too_large(out.memory, out.gpu, out.fixes))
    if out.plan is not None:
        out.disk = disk.disk(config, costs, out.plan, model_folder(config["base_model"], config["revision"]))
        needed, free = out.disk["total"], out.disk["free"]
        if needed is not None and free is not None and needed > free:
            out.warnings.append(Problem("disk", f"the checkpoints take about {_size(needed)}, and {_size(free)} are free",
                "Set save_total_limit, or raise save_steps", setting="output_dir", severity="warning"))  # fmt: skip
        if lengths is not None and lengths.usable:
            out.seconds = speed.seconds(config, tokens_of(config, out.plan, lengths))


def tokens_of(config: dict[str, Any], plan: Plan, lengths: Lengths) -> int:
    """Tokens that a run sees from its first to its last step."""
    rows = plan.train_rows or 1
    share = rows / (rows + plan.eval_rows) if config["eval_fraction"] is not None else 1.0
    if config["max_steps"] is None:
        return round(lengths.kept * share * config["num_train_epochs"])
    each = lengths.kept / (lengths.usable if lengths.packed is None else max(1, lengths.packed))
    return round(config["max_steps"] * plan.samples_per_update * each)


def too_large(held: memory.Memory, gpu: Gpu, fixes: list[dict[str, Any]]) -> Problem:
    """That a run will probably not fit, with what would make it fit."""
    hints = [f"{words(fix['settings'])} (about {_size(fix['total'])})" for fix in fixes]
    hint = (
        f"Set {'; or '.join(hints)}"
        if hints
        else "No single setting makes it fit: take a smaller model or a larger GPU"
    )
    message = f"needs about {_size(held.total)} by estimate, and {_size(gpu.memory_free)} are free on GPU {gpu.index}"
    first = next(iter(fixes[0]["settings"])) if fixes else "base_model"
    return Problem("memory", message, hint, setting=first, severity="warning")


def words(settings: dict[str, Any]) -> str:
    """Settings as one says them: ``batch_size 2 and gradient_accumulation_steps 8``."""
    return " and ".join(f"{name} {str(value).lower()}" for name, value in settings.items())


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**29 else f"{count / 2**20:.0f} MiB"
