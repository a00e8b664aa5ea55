"""The whole sheet of a run that is not started: the light checks, then lengths, memory, disk and time."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.config import RunConfig
from engine.data import DataReport
from engine.errors import Problem
from engine.hardware import Gpu
from engine.inspecting import InspectError, Inspector, model_fields
from engine.preflight import checks, disk, memory, parameters, speed, updates
from engine.preflight.checks import Plan, Preflight
from engine.preflight.lengths import Lengths, Tell, measure, model_folder
from engine.rehearsal import Refusal, Rehearsal, place, remembered

# Kinds of the inspector's answers that only say that something could not be asked, not that a run would fail.
_UNKNOWN = {"not-downloaded": "base_model", "timeout": None, "inspector-ended": None, "no-inspector": "worker_python",
            "failed": None, "no-costs": "base_model"}  # fmt: skip
_SETTINGS = {"bad-template": "chat_template_path", "unknown-target": "target_modules", "bad-adapter": "target_modules",
             "cannot-mark": "assistant_only_loss", "no-template": "chat_template_path",
             "endless-template": "chat_template_path", "unknown-layer": "modules_to_save",
             "bad-model": "base_model"}  # fmt: skip
_OF_TEMPLATES = ("bad-template", "no-template", "cannot-mark", "endless-template")
_SHOWN = 5


@dataclass(slots=True)
class Sheet:
    """What is known of a run. Everything that is ``None`` is unknown.

    ``rehearsal`` is what a dry run of the same settings measured; ``time_from`` says where ``seconds`` are known from: ``runs``
    on this machine, or a ``dry run``.
    """

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
    time_from: str | None = None
    rehearsal: Rehearsal | None = None

    @property
    def needed(self) -> int | None:
        """Bytes of GPU memory that the run takes at its peak: measured by a dry run with what CUDA itself takes, else estimated."""
        if self.rehearsal is not None and self.rehearsal.held is not None:
            return self.rehearsal.held + memory.CONTEXT_BYTES
        return self.memory.total if self.memory is not None else None

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
            "time_from": self.time_from,
            "dry_run": asdict(self.rehearsal) if self.rehearsal is not None else None,
        }


def sheet(config: RunConfig, inspector: Inspector, *, sample: bool = False, tell: Tell | None = None,
          cancelled: threading.Event | None = None, checked: Preflight | None = None,
          limit: float | None = None) -> Sheet:  # fmt: skip
    """Everything that can be known of a run before it starts; ``checked`` is the outcome of the light checks, if they ran.

    What the inspector is asked takes at most ``limit`` seconds; what it has not answered by then is unknown, with a warning.
    """
    checked = checks.check(config) if checked is None else checked
    inspector = inspector if limit is None else _InTime(inspector, limit)
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
        or any(p.setting in ("base_model", "worker_python") or p.kind == "bad-template" for p in out.errors)
    ):
        return out
    out.gpu = memory.limited(place(config)[0], config.max_gpu_memory)
    out.rehearsal = remembered(config, checked)
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
        if out.rehearsal is not None and not out.rehearsal.holds_for(chosen):
            out.rehearsal = None
    _of_memory(out)
    _of_time(out)
    return out


def rehearsed(out: Sheet, rehearsal: Rehearsal) -> None:
    """Put what a dry run measured in the place of what was estimated."""
    out.rehearsal = rehearsal
    _of_memory(out)
    _of_time(out)


def refused(out: Sheet, error: InspectError) -> None:
    """Add what a dry run came to nothing by; where it ran out of memory, with what would make it fit."""
    problem = error.problems[0]
    out.errors += error.problems if problem.kind != "out-of-memory" else []
    if problem.kind != "out-of-memory":
        return
    out.warnings = [said for said in out.warnings if said.kind != "memory"]
    needed = error.needed if isinstance(error, Refusal) else None
    if out.gpu is not None and needed is not None:
        needed = max(needed + memory.CONTEXT_BYTES, out.gpu.memory_free + 1)
        out.fixes = _fixes(out, needed, out.gpu)
    first = next(iter(out.fixes[0]["settings"])) if out.fixes else problem.setting
    out.errors.append(replace(problem, hint=_how(out.fixes) if out.fixes else problem.hint, setting=first))


class _InTime(Inspector):
    """An inspector whose answers all together take at most so many seconds."""

    def __init__(self, inspector: Inspector, seconds: float) -> None:
        self._inspector, self._seconds, self._until = inspector, seconds, time.monotonic() + seconds

    def ask(
        self, what: str, timeout: float = 60.0, cancelled: threading.Event | None = None, **fields: Any
    ) -> dict[str, Any]:
        """The answer, if there is still time for it."""
        left = self._until - time.monotonic()
        try:
            if left > 0:
                return self._inspector.ask(what, min(timeout, left), cancelled, **fields)
        except InspectError as error:
            if error.kind != "timeout":
                raise
        raise InspectError(Problem("timeout", f"tokens and memory could not be checked within {self._seconds:.3g} s",
                                   "tunedeck preflight takes the time that it needs"))  # fmt: skip


def _facts(config: RunConfig, inspector: Inspector, out: Sheet, *, chats: bool) -> None:
    """What the tokenizer and its template mean for this run."""
    facts = inspector.ask(
        "open", timeout=120.0, model=model_fields(config), assistant_only_loss=config.assistant_only_loss
    )
    for said in facts["problems"]:
        if not chats and (said["kind"] in _OF_TEMPLATES or said["severity"] == "warning"):
            continue
        if said["kind"] == "no-template" and any(error.kind == "no-template" for error in out.errors):
            continue  # the light checks have said it
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
            "See the template's warnings and the preview, or set it to false to learn from the whole text",
            setting="max_seq_length" if lengths.truncated else "assistant_only_loss"))  # fmt: skip
    elif lengths.empty and not lengths.truncated:
        text = f"{about}{lengths.empty:,} of {lengths.rows:,} rows hold nothing to learn and are left out"
        hint = "Their preview shows how the template renders them"
        out.warnings.append(Problem("rows-lost", text, hint, setting="assistant_only_loss", severity="warning"))
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
        if updates.chosen(config):
            asked, passes = out.plan, _passes(config, rows, lengths)
            out.plan = checks.plan(config, rows, eval_rows, accumulation=passes)
            _say_free(out, asked, out.plan, about)


def _say_free(out: Sheet, asked: Plan, chosen: Plan, about: str) -> None:
    """That a run makes other updates than those that are set, since it was told to choose them."""
    if chosen.samples_per_update == asked.samples_per_update:
        return
    text = f"makes {about}{chosen.total_steps:,} updates of {chosen.samples_per_update:,} samples"
    text += f", not {asked.total_steps:,} of {asked.samples_per_update:,}"
    hint = "learning_rate may have to rise; recipe exact keeps the updates as they are set"
    out.warnings.append(Problem("free-updates", text, hint, setting="recipe", severity="warning"))


def _passes(config: RunConfig, rows: int, lengths: Lengths) -> int:
    """What recipe fastest makes of ``gradient_accumulation_steps``."""
    trained = rows - (checks.held_out(rows, config.eval_fraction) if config.eval_fraction is not None else 0)
    return updates.accumulation(config, trained, lengths.kept * trained / max(1, rows))


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
    """What follows from the sizes of the model: memory and disk."""
    settled = {**config, "packing": costs["chosen"]["packing"]}
    longest = _longest(out)
    positions = costs.get("positions")
    if positions and longest > positions:
        text = f"rows of {longest:,} tokens are longer than what the model was made for ({positions:,})"
        out.warnings.append(
            Problem("beyond-positions", text, f"Set it to {positions}", setting="max_seq_length", severity="warning")
        )
    out.memory = memory.estimate(
        costs, settled, memory.micro_batch(settled, longest, costs["chosen"]), memory.eval_batch(settled, longest)
    )
    if out.plan is not None:
        out.disk = disk.disk(config, costs, out.plan, model_folder(config["base_model"], config["revision"]))
        needed, free = out.disk["total"], out.disk["free"]
        if needed is not None and free is not None and needed > free:
            out.warnings.append(Problem("disk", f"the checkpoints take about {_size(needed)}, and {_size(free)} are free",
                "Set save_total_limit, or raise save_steps", setting="output_dir", severity="warning"))  # fmt: skip


def _of_memory(out: Sheet) -> None:
    """Whether the run fits into what is free on its GPU now, and what would make it fit."""
    out.warnings = [said for said in out.warnings if said.kind != "memory"]
    out.fixes, needed = [], out.needed
    if out.gpu is not None and needed is not None and needed > out.gpu.memory_free:
        out.fixes = _fixes(out, needed, out.gpu)
        measured = out.rehearsal is not None and out.rehearsal.peak is not None
        out.warnings.append(too_large(needed, out.gpu, out.fixes, measured=measured))


def _fixes(out: Sheet, needed: int, gpu: Gpu) -> list[dict[str, Any]]:
    """Changes that make a run fit which takes ``needed`` bytes: what they come to is estimated, then scaled by what is known."""
    if out.config is None or out.costs is None or out.memory is None:
        return []
    settled = {**out.config.model_dump(), "packing": out.costs["chosen"]["packing"]}
    share = needed / out.memory.total
    found = memory.fixes(
        out.costs, settled, _longest(out), int(gpu.memory_free / share), can_quantise=parameters.can_quantise()
    )
    return [{**fix, "total": round(fix["total"] * share)} for fix in found]


def _longest(out: Sheet) -> int:
    """Tokens of the longest row as it is trained; the limit, where not all rows were counted."""
    limit, lengths = out.config.max_seq_length if out.config is not None else 0, out.lengths
    counted = lengths is not None and lengths.lengths and not lengths.estimated
    return min(limit, lengths.longest) if counted and lengths is not None else limit


def _of_time(out: Sheet) -> None:
    """How long it takes: as runs did, else as the steps of a dry run did."""
    out.seconds = out.time_from = None
    if out.config is None or out.plan is None or out.lengths is None or not out.lengths.usable:
        return
    values = out.config.model_dump()
    tokens = tokens_of(values, out.plan, out.lengths)
    out.seconds = speed.seconds(values, tokens)
    if out.seconds is not None:
        out.time_from = "runs"
    elif out.rehearsal is not None:
        out.seconds, out.time_from = out.rehearsal.seconds(out.plan.total_steps, tokens), "dry run"


def tokens_of(config: dict[str, Any], plan: Plan, lengths: Lengths) -> int:
    """Tokens that a run sees from its first to its last step."""
    rows = plan.train_rows or 1
    share = rows / (rows + plan.eval_rows) if config["eval_fraction"] is not None else 1.0
    if config["max_steps"] is None:
        return round(lengths.kept * share * config["num_train_epochs"])
    each = lengths.kept / (lengths.usable if lengths.packed is None else max(1, lengths.packed))
    return round(config["max_steps"] * plan.samples_per_update * each)


def too_large(needed: int, gpu: Gpu, fixes: list[dict[str, Any]], *, measured: bool = False) -> Problem:
    """That a run will probably not fit, with what would make it fit."""
    known = (
        f"needs {_size(needed)}, measured by a dry run," if measured else f"needs about {_size(needed)} by estimate,"
    )
    first = next(iter(fixes[0]["settings"])) if fixes else "base_model"
    room = f"{_size(gpu.memory_free)} are free on GPU {gpu.index}"
    if gpu.limited:
        room = f"max_gpu_memory allows {_size(gpu.memory_free)} of GPU {gpu.index}"
    return Problem("memory", f"{known} and {room}", _how(fixes), setting=first, severity="warning")


def _how(fixes: list[dict[str, Any]]) -> str:
    """What to set, in words."""
    hints = [f"{words(fix['settings'])} (about {_size(fix['total'])})" for fix in fixes]
    return f"Set {'; or '.join(hints)}" if hints else (
        "No single setting makes it fit: take a smaller model or a larger GPU")  # fmt: skip


def words(settings: dict[str, Any]) -> str:
    """Settings as one says them: ``batch_size 2 and gradient_accumulation_steps 8``."""
    return " and ".join(f"{name} {str(value).lower()}" for name, value in settings.items())


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**29 else f"{count / 2**20:.0f} MiB"
