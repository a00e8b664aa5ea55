"""What stands beside the form: help for the setting in focus, what the settings come to, and what is left to do."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

from rich.cells import cell_len

from engine.config import SettingInfo
from engine.errors import Problem
from engine.preflight import Plan
from engine.text import clean
from tui import format as fmt
from tui.glyphs import glyphs
from tui.launch import ladder
from tui.launch.complete import PATH_KINDS
from tui.launch.model import FormModel, default_text
from tui.launch.rows import UNTOLD, explain
from tui.launch.starter import CHECKING
from tui.models import known as about_model
from tui.sheet import brief, figures
from tui.sheet.costs import Known
from tui.widgets.lines import Line, length

LABEL = 9
NUMBER_AT = 19
# Of the numbers, those that stay where there is little room: rows, samples per update, steps in all.
FEW = (0, 2, 4)
_UNTOLD = "The run that was cloned does not tell this"


@dataclass(frozen=True, slots=True)
class Now:
    """What the form is doing: ``busy`` says it in words, ``reading`` that files are being looked at, ``read`` how much of them.

    ``costs`` is what is known of the run's costs.
    """

    busy: str = ""
    reading: bool = False
    read: float = 0.0
    costs: Known = field(default_factory=Known)


def pane(model: FormModel, info: SettingInfo | None, width: int, height: int, now: Now) -> list[Line]:
    """The whole side pane; what is left to do stands last."""
    lines = _help(model, info, width) if info is not None else []
    # The numbers below keep their place while the focus goes from one setting to the next.
    lines += [[]] * (9 - len(lines))
    verdict = [[], _rule(width), [], *_verdict(model, width, now)]
    lines += [[], _rule(width), [], *_comes_to(model, width, height - len(lines) - len(verdict) - 3, now)]
    lines = [*lines[: max(0, height - len(verdict))], *verdict]
    todo = _to_do(model, width, height - len(lines) - 1)
    return [*lines, [], *todo] if todo else lines


def foot(model: FormModel, info: SettingInfo | None, width: int, now: Now) -> list[Line]:
    """Six lines that say the same in a small terminal."""
    about: list[Line] = []
    if info is not None:
        problem = model.problem(info.name)
        if problem is not None and problem.kind != "missing-setting":
            about = [[(fmt.shorten(info.help, width), "muted")], [(fmt.shorten(_in_full(problem), width), "error")]]
            if info.suggestions and cell_len(_in_full(problem)) > width:  # what to choose is said in its hint
                about = [[(part, "error")] for part in _wrap(_in_full(problem), width)][:2]
        elif info.name in model.untold:
            said = fmt.shorten(f"{UNTOLD} {_untold(model, info)}", width)
            about = [[(fmt.shorten(info.help, width), "muted")], [(said, "warning")]]
        elif (choice := model.choice(info.name)) is not None:
            said = fmt.shorten(f"{model.text(info.name).strip() or 'Empty'}: {choice.words}", width)
            about = [[(fmt.shorten(info.help, width), "muted")], [(said, "warning" if choice.warns else "text")]]
        elif info.name == "base_model" and (known := about_model.words(model))[0]:
            about = [[(fmt.shorten(info.help, width), "muted")], [(fmt.shorten(known[0], width), known[1])]]
        else:
            about = [[(part, "muted")] for part in _wrap(f"{info.help} {_in_brief(info)}", width)][:2]
    about += [[]] * (2 - len(about))
    return [
        _rule(width),
        *about,
        _sentence(model, width, now),
        _costs(model, width, now),
        _verdict(model, width, now)[0],
    ]


def _help(model: FormModel, info: SettingInfo, width: int) -> list[Line]:
    lines: list[Line] = [[(info.name, "title")]]
    lines += [[(text, "text")] for text in _wrap(info.help, width)]
    lines.append([])
    known = about_model.lines(model, width - LABEL) if info.name == "base_model" else []
    for label, text in _facts(info):
        if known and label == "Such as":
            continue
        for number, part in enumerate(_wrap(text, width - LABEL)):
            lines.append([((label if not number else "").ljust(LABEL), "muted"), (part, "text")])
    for number, (text, colour) in enumerate(known):
        lines.append([(("Known" if not number else "").ljust(LABEL), "muted"), (text, colour)])
    choice = model.choice(info.name)
    if choice is not None and model.problem(info.name) is None:
        colour = "warning" if choice.warns else "text"
        for number, part in enumerate(_wrap(choice.words, width - LABEL)):
            lines.append([(("Meaning" if not number else "").ljust(LABEL), "muted"), (part, colour)])
    if info.ladder:
        lines.append([("Ladder".ljust(LABEL), "muted"), *_rungs(model, info, width - LABEL)])
    if info.name in model.untold:
        parts = _wrap(_untold(model, info), width - 2)
        lines += [[(f"{' ' if n else UNTOLD} {part}", "warning")] for n, part in enumerate(parts)]
    elif info.name in model.remarks:
        said = f"The run that was cloned: {clean(model.remarks[info.name], 300)}"
        lines += [[(part, "muted")] for part in _wrap(said, width)]
    problem = model.problem(info.name)
    if problem is not None and problem.kind != "missing-setting":
        parts = _wrap(_in_full(problem), width - 2)
        lines += [[(f"{' ' if n else glyphs().cross} {part}", "error")] for n, part in enumerate(parts)]
    return lines


def _untold(model: FormModel, info: SettingInfo) -> str:
    """That the run these settings come from does not tell this one, and what it says instead."""
    said = model.remarks.get(info.name)
    what = f"Not taken over from the run that was cloned: {clean(said, 300)}" if said else _UNTOLD
    problem = model.problem(info.name)
    return what if problem is not None else f"{what}. Edit it, or press Enter twice to keep it"


def _in_full(problem: Problem) -> str:
    return f"{explain(problem)}. {clean(problem.hint, 300)}" if problem.hint else explain(problem)


def _facts(info: SettingInfo) -> list[tuple[str, str]]:
    facts = []
    if info.range_text:
        facts.append(("Values", f"{info.range_text} {info.unit}".rstrip()))
    elif info.kind in PATH_KINDS:
        what = "a name or a path" if info.suggestions else "a path"
        facts.append(("Values", f"{what}; tab completes it"))
    if info.suggestions:
        facts.append(("Such as", ", ".join(info.suggestions[: 3 if info.kind in PATH_KINDS else 2])))
    facts.append(("Default", "none, it is required" if info.required else default_text(info) or "empty"))
    return facts


def _in_brief(info: SettingInfo) -> str:
    plain_flag = info.kind == "flag" and not info.allows_auto
    parts = [f"{info.range_text} {info.unit}".rstrip() if info.range_text and not plain_flag else ""]
    parts.append("required" if info.required else f"default {default_text(info) or 'empty'}")
    text = "; ".join(part for part in parts if part)
    return f"{text[:1].upper()}{text[1:]}."


def _rungs(model: FormModel, info: SettingInfo, width: int) -> Line:
    """The ladder around the present value, which is marked."""
    value = ladder.number(model.text(info.name))
    rungs = [ladder.written(info, rung) for rung in info.ladder]
    near = [i for i, rung in enumerate(info.ladder) if value is not None and abs(rung - value) <= 1e-9 * abs(rung)]
    now = near[0] if near else -1
    while len(rungs) > 3 and sum(len(rung) + 2 for rung in rungs) > width:
        if now > len(rungs) // 2:
            rungs.pop(0)
            now -= 1
        else:
            rungs.pop()
    return [part for i, rung in enumerate(rungs) for part in ((rung, "key" if i == now else "muted"), ("  ", "text"))]


def _comes_to(model: FormModel, width: int, room: int, now: Now) -> list[Line]:
    """Numbers and costs, as many of them as there is room for."""
    data, numbers = _data(model, width), _numbers(model, width, now)
    few = [numbers[place] for place in FEW]
    costs, least = (
        brief.lines(now.costs, width),
        [brief.line(now.costs, width)] if _plan(model, now) is not None else [],
    )
    ways = (
        [*data, *numbers, [], *costs],
        [*data, *few, [], *costs],
        [*data[:1], *few, [], *brief.lines(now.costs, width, few=True)],
        [*data[:1], *few, *least],
        [numbers[0], numbers[4], *least],
    )
    return next((way for way in ways if len(way) <= room), least)


def _numbers(model: FormModel, width: int, now: Now) -> list[Line]:
    """What the settings come to, one number a line; what is not known is a dash."""
    plan, g = _plan(model, now), glyphs()
    samples = f"{model.text('batch_size').strip()} {g.times} {model.text('gradient_accumulation_steps').strip()}"
    if model.gpu_count > 1:
        samples += f" {g.times} {model.gpu_count} GPUs"
    samples = "by fastest" if model.text("recipe").strip() == "fastest" else f"= {samples}"
    reading = now.reading and model.text("train_path").strip() and model.problem("train_path") is None
    so_far = f"reading {now.read:.0%}" if now.read else "reading"
    size = fmt.size(model.train.bytes) if model.train is not None else ""
    table = [
        ("Training rows", plan.train_rows if plan else None, size or (so_far if reading else "")),
        ("Evaluation rows", plan.eval_rows if plan else None, ""),
        ("Samples per update", plan.samples_per_update if plan else None, samples if plan else ""),
        ("Steps per epoch", plan.steps_per_epoch if plan else None, ""),
        ("Steps in all", plan.total_steps if plan else None, ""),
        ("Warm-up steps", plan.warmup_steps if plan else None, ""),
        ("Checkpoints", plan.checkpoints if plan else None, ""),
        (
            "Evaluations",
            plan.evaluations if plan else None,
            "" if plan is None or plan.eval_rows else "no evaluation data",
        ),
    ]
    return [
        [(label.ljust(NUMBER_AT), "muted"), (fmt.fit(fmt.count(number), 9, "right"), "value"),
         (f"  {fmt.shorten(clean(note, 60), width - NUMBER_AT - 11)}", "muted")]
        for label, number, note in table
    ]  # fmt: skip


def _data(model: FormModel, width: int) -> list[Line]:
    """What the training data were taken for, and what is odd about them."""
    report = model.train
    if report is None or not report.shape:
        return []
    room, count = width - LABEL, _many(report.messages, "message")
    whole = f"{clean(report.summary, 200)}, {count}"
    parts = [whole] if cell_len(whole) <= room else [clean(report.summary, 200), count]
    lines: list[Line] = [[(label.ljust(LABEL), "muted"), (fmt.shorten(part, room), "text")]
                         for label, part in zip(("Data", ""), parts, strict=False)]  # fmt: skip
    tallies = [*([model.leak] if model.leak is not None else []), *report.tallies.values()]
    odd = [f"{tally.kind} {fmt.count(tally.count)}" for tally in tallies]
    if odd:
        lines.append(
            [(f"{glyphs().warning} ".rjust(LABEL), "warning"), (fmt.shorten(", ".join(odd), width - LABEL), "warning")]
        )
    return lines


def _sentence(model: FormModel, width: int, now: Now) -> Line:
    """Rows, steps and pauses in one line."""
    plan = _plan(model, now)
    if plan is None:
        reading = now.reading and model.text("train_path").strip()
        later = (
            "Steps follow from the lengths of the rows"
            if model.train
            else "Steps and samples are counted once the data are there"
        )
        return [("Reading the data" if reading else later, "muted")]
    dot = f" {glyphs().dot} "
    rows = f"{fmt.count(plan.train_rows)} rows"
    rows += f", {fmt.count(plan.eval_rows)} to evaluate on" if plan.eval_rows else ", none to evaluate on"
    steps = f"{_many(plan.total_steps, 'step')} of {_many(plan.samples_per_update, 'sample')}"
    return [(fmt.shorten(f"{rows}{dot}{steps}{dot}{_many(plan.checkpoints, 'checkpoint')}", width), "text")]


def _costs(model: FormModel, width: int, now: Now) -> Line:
    """What the run costs, in one line."""
    return brief.line(now.costs, width) if _plan(model, now) is not None else []


def _plan(model: FormModel, now: Now) -> Plan | None:
    """Steps and samples; of a run that chooses its updates by the lengths of the rows, what the sheet of costs says."""
    plan, sheet = model.plan, now.costs.sheet if now.costs.current else None
    return plan if plan is not None or sheet is None else sheet.plan


def _to_do(model: FormModel, width: int, room: int) -> list[Line]:
    """What is missing or wrong, as many lines as there is room for."""
    wrong = model.wrong
    if not wrong or room < 2:
        return []
    shown = wrong if len(wrong) <= room else wrong[: room - 1]
    lines: list[Line] = []
    column = max(cell_len(name) for name in shown)
    for name in shown:
        problem = model.problem(name)
        assert problem is not None
        missing = problem.kind == "missing-setting"
        sign, colour = (glyphs().warning, "warning") if missing else (glyphs().cross, "error")
        text = "required" if missing else explain(problem)
        message = fmt.shorten(text, max(4, width - column - 4))
        lines.append([(f"{sign} ", colour), (name.ljust(column), "text"), (f"  {message}", "muted")])
    if len(shown) < len(wrong):
        lines.append([(f"  {len(wrong) - len(shown)} more", "muted")])
    return lines


def _verdict(model: FormModel, width: int, now: Now) -> list[Line]:
    """What is left to do, or the key that starts the run."""
    if now.busy:
        cancel: Line = [("   esc", "key"), (" cancels", "muted")] if now.busy == CHECKING else []
        return [[(f"{now.busy}{glyphs().ellipsis}", "accent"), *cancel]]
    wrong = model.wrong
    if wrong:
        kinds = [problem.kind for name in wrong if (problem := model.problem(name)) is not None]
        missing = kinds.count("missing-setting")
        parts = [
            f"{missing} missing" if missing else "",
            f"{len(wrong) - missing} wrong" if len(wrong) > missing else "",
        ]
        text = ", ".join(part for part in parts if part)
        line: Line = [(f"{glyphs().warning} {text}", "warning"), ("   F5", "key"), (f" goes to {wrong[0]}", "muted")]
        return [line if length(line) <= width else line[:1]]
    if now.reading:
        return [[("Looking at the files", "muted")]]
    sheet = now.costs.sheet if now.costs.current else None
    if sheet is not None and sheet.errors:
        left = f"{glyphs().cross} A start would be refused: {explain(sheet.errors[0])}"
        return [[(fmt.shorten(left, max(20, width - 6)), "error"), ("  F11", "key")]]
    if sheet is not None and figures.fits(sheet) is False:
        start: Line = [("   F5", "key"), (" starts it", "muted")]
        return [
            [
                (f"{glyphs().warning} Ready, but it does not fit: ", "warning"),
                ("F11", "key"),
                (" helps", "text"),
                *start,
            ]
        ]
    return [_ready(model, now)]


def _ready(model: FormModel, now: Now) -> Line:
    """Nothing is wrong as far as is known: whether that is all, and the key."""
    costs = now.costs
    if model.asks_hub or (costs.ready and not costs.current and not costs.asleep):
        return [("Still checking: ", "accent"), ("F5", "key"), (" starts it after that", "text")]
    if costs.current and costs.sheet is None:
        start: Line = [("   F5", "key"), (" starts it all the same", "muted")]
        return [(f"{glyphs().warning} Costs not known", "warning"), *start]
    what = f"{model.title}: press " if model.title else "Ready: press "
    after = " to train it" if model.title else " to start the run"
    return [(f"{glyphs().check} ", "success"), (what, "text"), ("F5", "key"), (after, "text")]


def _rule(width: int) -> Line:
    return [(glyphs().rule * width, "rule")]


def _many(number: int, word: str) -> str:
    return f"{fmt.count(number)} {word}{'' if number == 1 else 's'}"


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(10, width)) or [""]
