"""What stands beside the form: help for the setting in focus, and what the settings mean together."""

from __future__ import annotations

import textwrap

from rich.cells import cell_len

from engine.config import SettingInfo, settings
from engine.config.flags import format_value
from engine.text import clean
from tui import format as fmt
from tui.glyphs import glyphs
from tui.launch.model import FormModel
from tui.widgets.lines import Line

LABEL = 10


def help_lines(model: FormModel, info: SettingInfo, width: int) -> list[Line]:
    """Name, plain words, range and default of a setting, and what is wrong with it."""
    lines: list[Line] = [[(info.name, "title")]]
    lines += [[(text, "text")] for text in _wrap(info.help, width)]
    facts = []
    if info.range_text:
        facts.append(("values", f"{info.range_text} {info.unit}".rstrip()))
    elif info.unit:
        facts.append(("unit", info.unit))
    if info.suggestions:
        facts.append(("such as", "  ".join(info.suggestions[:3])))
    default = "" if info.default is None else format_value(info.default)
    facts.append(("default", "required" if info.required else default or "empty"))
    for label, text in facts:
        for number, part in enumerate(_wrap(text, width - LABEL)):
            lines.append([((label if not number else "").ljust(LABEL), "muted"), (part, "text")])
    problem = model.problem(info.name)
    if problem is not None:
        text = clean(f"{problem.message}. {problem.hint}" if problem.hint else problem.message, 400)
        where = f"line {problem.line}: " if problem.line else ""
        lines += [[(part, "error")] for part in _wrap(where + text, width)]
    return lines


def consequence_lines(model: FormModel, *, checking: bool) -> list[Line]:
    """What the settings come to: samples, steps, saves."""
    return [
        [(label.ljust(LABEL), "muted"), (text, colour)]
        for label, text, colour in consequences(model, checking=checking)
    ]


def consequences(model: FormModel, *, checking: bool) -> list[tuple[str, str, str]]:
    """Label, text and colour of each consequence; what is not known says so."""
    plan, config = model.plan, model.config
    dash = glyphs().dash
    if plan is None:
        data = "reading…" if checking else f"{fmt.count(model.rows)} rows" if model.rows is not None else dash
        why = "once the settings are right" if config is None else "once the data are known"
        return [("data", data, "value"), ("update", dash, "value"), ("steps", why, "muted")]
    assert config is not None
    times = glyphs().times
    rows = f"{fmt.count(plan.train_rows)} rows"
    rows += f", {fmt.count(plan.eval_rows)} to evaluate on" if plan.eval_rows else ", no evaluation"
    gpus = len(config.gpus) if isinstance(config.gpus, list) else 1
    product = f"{config.batch_size} {times} {config.gradient_accumulation_steps}" + (
        f" {times} {gpus} GPUs" if gpus > 1 else ""
    )
    steps = f"{fmt.count(plan.total_steps)} in all, {fmt.count(plan.steps_per_epoch)} an epoch"
    saves = f"{fmt.count(plan.checkpoints)} checkpoints"
    if plan.evaluations:
        saves += f", {fmt.count(plan.evaluations)} evaluations"
    return [
        ("data", rows, "value"),
        ("update", f"{fmt.count(plan.samples_per_update)} samples = {product}", "value"),
        ("steps", steps, "value"),
        ("warm-up", f"{fmt.count(plan.warmup_steps)} steps", "value"),
        ("saves", saves, "value"),
    ]


def verdict_lines(model: FormModel, width: int, *, busy: str, room: int) -> list[Line]:
    """What is left to mend, or the key that starts the run."""
    if busy:
        return [[(busy, "accent")]]
    wrong = model.wrong
    if not wrong:
        return [[("F5 ", "key"), ("starts this run", "text")]]
    many = "1 setting is not right yet" if len(wrong) == 1 else f"{len(wrong)} settings are not right yet"
    lines: list[Line] = [[(many, "warning")]]
    for name in wrong[: max(0, room - 1)]:
        problem = model.problem(name)
        message = clean(problem.message, 200) if problem else ""
        lines.append([(f"{name} ", "error"), (fmt.shorten(message, max(4, width - cell_len(name) - 1)), "muted")])
    return lines


def status_line(model: FormModel, width: int, *, busy: str, checking: bool) -> Line:
    """The one line that a small terminal has for all of it."""
    if busy:
        return [(busy, "accent")]
    wrong = model.wrong
    if wrong:
        problem = model.problem(wrong[0])
        text = f"{wrong[0]} {clean(problem.message, 200) if problem else ''}"
        more = f"  (+{len(wrong) - 1})" if len(wrong) > 1 else ""
        return [(fmt.shorten(text, max(8, width - len(more))), "warning"), (more, "muted")]
    plan = model.plan
    if plan is None:
        return [("reading the data…" if checking else "the data are not known yet", "muted")]
    text = f"{plan.samples_per_update} samples an update, {fmt.count(plan.total_steps)} steps"
    return [("F5 ", "key"), ("starts this run   ", "text"), (text, "muted")]


def setting(name: str) -> SettingInfo:
    """A setting by name."""
    return settings()[name]


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(10, width)) or [""]
