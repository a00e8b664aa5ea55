"""The whole sheet as lines: what would be refused, the data, the steps, the memory by part, disk, time and the dry run."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from engine.errors import Problem
from engine.text import clean
from tui import format as fmt
from tui.glyphs import glyphs
from tui.sheet import figures
from tui.sheet.costs import Known, Trial
from tui.widgets.lines import Line, crop

if TYPE_CHECKING:
    from engine.preflight.sheet import Sheet

LABEL, WIDEST = 20, 116
_PARTS = {"weights": "Weights", "adapters": "Adapters", "gradients": "Gradients", "optimizer": "Optimizer",
          "activations": "Activations", "logits": "Scores of words", "overhead": "Overhead"}  # fmt: skip
_CHOSEN = {"dtype": "", "attn_implementation": "attention", "optim": "", "gradient_checkpointing": "activations recomputed",
           "use_liger_kernel": "Liger kernels", "packing": "packed rows", "padding_free": "no padding"}  # fmt: skip


def lines(known: Known, trial: Trial | None, width: int) -> list[Line]:
    """All of it in a width; figures of earlier settings are grey."""
    width = min(width, WIDEST)
    sheet = known.sheet
    out: list[Line] = [*_verdict(known, width), []]
    if sheet is None:
        return [crop(line, width) for line in [*out, *_trial(known, trial, width)]]
    found: list[Line] = [*_memory(sheet, known, width), [], *_trial(known, trial, width), [], *_data(sheet, width), [],
                         *_steps(sheet), *_disk(sheet), *_time(sheet)]  # fmt: skip
    if not known.current:
        found = [[(text, "rule" if colour == "rule" else "muted") for text, colour in line] for line in found]
    out += [*_failure(trial, width), *_problems(sheet, width), *found] if known.current else found
    return [crop(line, width) for line in out]


def _verdict(known: Known, width: int) -> list[Line]:
    """One line: whether it may start, or what is being done."""
    dots, sheet = glyphs().ellipsis, known.sheet
    if known.problem is not None:
        sign = f"{glyphs().warning} "
        return [*_wrapped(sign + "The costs cannot be worked out: " + clean(known.problem.message, 300), width, "warning"),
                *_wrapped("  " + clean(known.problem.hint, 300), width, "muted")]  # fmt: skip
    if not known.ready:
        return [[("The form is not right yet: esc goes back to it", "warning")]]
    if not known.current:
        doing = f"Loading the tokenizer{dots}" if known.loading else f"Working it out{dots}"
        return [
            [(doing, "accent"), ("  figures of the earlier settings are grey" if sheet is not None else "", "muted")]
        ]
    assert sheet is not None
    errors, warnings = len(sheet.errors), len(sheet.warnings)
    if errors:
        return [[(f"{glyphs().cross} {figures.many(errors, 'error')}: a start would be refused", "error")]]
    if warnings:
        return [[(f"{glyphs().warning} {figures.many(warnings, 'warning')}", "warning"),
                 ("   it may be started all the same: F5", "muted")]]  # fmt: skip
    return [[(f"{glyphs().check} Nothing speaks against this run", "success"), ("   F5 starts it", "muted")]]


def _problems(sheet: Sheet, width: int) -> list[Line]:
    """Errors, that it does not fit and what helps, then warnings: what, where, and what to do."""
    out: list[Line] = []
    for problem in sheet.errors:
        out += [*_problem(problem, width), []]
    out += _remedies(sheet, width)
    for problem in sheet.warnings:
        if problem is not figures.memory_problem(sheet):
            out += [*_problem(problem, width), []]
    return out


def _problem(problem: Problem, width: int) -> list[Line]:
    bad = problem.severity == "error"
    sign, colour = (glyphs().cross, "error") if bad else (glyphs().warning, "warning")
    where = f"{clean(problem.where, 300)}: " if problem.where else ""
    found = _wrapped(f"{sign} {where}{clean(problem.message, 1000)}", width, colour)
    return [*found, *(_wrapped(f"  {clean(problem.hint, 500)}", width, "muted") if problem.hint else [])]


# Memory.


def _memory(sheet: Sheet, known: Known, width: int) -> list[Line]:
    gpu = sheet.gpu
    where = "no NVIDIA GPU here: the run computes on the processor"
    if gpu is not None:
        room = f"{fmt.size(gpu.memory_free)} of {fmt.size(gpu.memory_total)} {'allowed' if gpu.limited else 'free'}"
        where = f"GPU {gpu.index}, {clean(gpu.name, 60)}: {room}"
    out: list[Line] = [_heading("Memory", where)]
    if known.others:
        out.append(_row("Also on it", _others(known), "warning"))
    if sheet.memory is None:
        return [*out, _row("Needed", f"{glyphs().dash}  not known: {_why_not(sheet)}", "muted")]
    out += _bars(sheet, width)
    if sheet.costs is not None:
        out.append(_row("Trained", f"{figures.trained(sheet.costs)} of {figures.short(sheet.costs['parameters'])}"))
        out.append(_row("Chosen", _chosen(sheet.costs["chosen"])))
    return out


def _others(known: Known) -> str:
    words = [other.words for other in known.others[:4]]
    more = f", {len(known.others) - 4} more" if len(known.others) > 4 else ""
    return ", ".join(words) + more


def _why_not(sheet: Sheet) -> str:
    """Why there is no estimate, in a few words."""
    said = [*sheet.errors, *sheet.warnings]
    return "see above" if said else "the model could not be looked at"


def _bars(sheet: Sheet, width: int) -> list[Line]:
    """The parts one behind the other; the scale is what is free, or all of it where that is more."""
    memory, gpu, trial = sheet.memory, sheet.gpu, figures.tried(sheet)
    assert memory is not None
    peak = (sheet.needed or 0) if trial is not None and trial.peak is not None else 0
    free = gpu.memory_free if gpu is not None else 0
    scale = max(free, memory.total, peak, 1)
    room = max(10, width - LABEL - 12)
    limit = round(room * free / scale) if gpu is not None and free < scale else None
    out: list[Line] = []
    begun = 0
    for name, size in memory.parts().items():
        out.append([*_label(_PARTS.get(name, name), size, "value"), *_bar(begun, size, scale, room, limit, "accent")])
        begun += size
    fits = free >= memory.total
    colour = "accent" if gpu is None else "success" if fits else "error"
    out.append(
        [*_label("In all, estimated", memory.total, "title"), *_bar(0, memory.total, scale, room, limit, colour)]
    )
    if peak:
        measured = "accent" if gpu is None else "success" if free >= peak else "error"
        out.append([*_label("In all, measured", peak, "title"), *_bar(0, peak, scale, room, limit, measured)])
    if limit is not None:
        text = f"{fmt.size(free)} free "
        at = LABEL + 11 + limit
        out.append([(" " * max(0, at - cell_len(text)) + text, "muted"), (glyphs().up, "warning")])
    return out


def _label(label: str, size: int, colour: str) -> Line:
    return [(f"{label:<{LABEL}}", "muted"), (f"{fmt.size(size):>10} ", colour)]


def _bar(begun: int, size: int, scale: int, room: int, limit: int | None, colour: str) -> Line:
    """A bar from where the part before it ends; what lies beyond the limit is an error."""
    first, last = round(room * begun / scale), round(room * (begun + size) / scale)
    last = max(last, first + 1) if size else last
    first = min(first, room - 1)
    cells = [
        ("track" if not first <= at < last else "over" if limit is not None and at >= limit else "in")
        for at in range(room)
    ]
    colours = {"track": (glyphs().track, "rule"), "over": (glyphs().full, "error"), "in": (glyphs().full, colour)}
    out: Line = []
    for kind in cells:
        sign, shade = colours[kind]
        if out and out[-1][1] == shade:
            out[-1] = (out[-1][0] + sign, shade)
        else:
            out.append((sign, shade))
    return out


def _chosen(chosen: dict[str, Any]) -> str:
    """What ``auto`` comes to here."""
    words = [f"{_CHOSEN[name]} {value}".strip() if isinstance(value, str) else _CHOSEN[name]
             for name, value in chosen.items() if name in _CHOSEN and value]  # fmt: skip
    return clean(", ".join(words), 200)


def _remedies(sheet: Sheet, width: int) -> list[Line]:
    """That it does not fit, and the keys that make it."""
    problem = figures.memory_problem(sheet)
    if problem is None:
        return []
    tried = "The dry run" if problem.kind == "out-of-memory" else "It does not fit:"
    out = _wrapped(f"{glyphs().cross} {tried} {clean(problem.message, 400)}", width, "error")
    if not sheet.fixes:
        return [*out, *_wrapped(f"  {clean(problem.hint, 300)}", width, "text"), []]
    for number, fix in enumerate(sheet.fixes, 1):
        settings = ", ".join(f"{name} {str(value).lower()}" for name, value in fix["settings"].items())
        total = f"{figures.about()}{fmt.size(fix['total'])}"
        for place, part in enumerate(textwrap.wrap(settings, max(20, width - 18))):
            key, size = (str(number), total) if not place else (" ", "")
            out.append([("  ", "text"), (key, "key"), (f"  {size:<12} ", "muted"), (part, "text")])
    return [*out, []]


# The dry run.


def _trial(known: Known, trial: Trial | None, width: int) -> list[Line]:
    sheet = known.sheet
    out: list[Line] = [_heading("Dry run", "two real steps on the longest rows")]
    if trial is not None and trial.running:
        return [*out, under_way(trial)]
    found = figures.tried(sheet) if sheet is not None and known.current else None
    if found is None:
        ask: Line = [("d", "key"), (" measures the true peak and the time of a step", "text")]
        return [*out, ask if known.current and sheet is not None else [("Not done with these settings", "muted")]]
    where = f"GPU {found.gpu}" if found.gpu is not None else "the processor"
    peak = fmt.size(sheet.needed) if found.peak is not None and sheet is not None else None
    if peak is not None:
        estimate = f"   {figures.about()}{fmt.size(sheet.memory.total)} by estimate" if sheet and sheet.memory else ""
        out.append(_row("Peak", f"{peak} measured on {where}{estimate}"))
    if found.host_peak is not None:
        out.append(_row("Host memory", f"{fmt.size(found.host_peak)} measured"))
    first = f"   the first one {found.first_step_seconds:.2f} s, loading {fmt.duration(found.load_seconds)}"
    out.append(_row("A step", f"{found.step_seconds:.2f} s measured on {where}{first}"))
    speed = f"{found.tokens_per_second:,.0f} tokens a second, {found.tokens_per_step:,} a step"
    out.append(_row("Speed", f"{speed}   longest row {found.longest:,} tokens"))
    return out


def under_way(trial: Trial) -> Line:
    """What a dry run does now."""
    so_far = f" {trial.done:,} of {trial.total:,}" if trial.total else ""
    words = f"{clean(trial.phase, 60).capitalize()}{so_far}{glyphs().ellipsis}"
    return [
        (words, "accent"),
        (f"  {fmt.duration(trial.seconds)}", "text"),
        ("   esc", "key"),
        (" cancels it", "muted"),
    ]


def _failure(trial: Trial | None, width: int) -> list[Line]:
    """Why a dry run came to nothing; that it ran out of memory stands with what helps."""
    if trial is None or trial.problem is None or trial.problem.kind == "out-of-memory":
        return []
    return [[("The dry run came to nothing:", "text")], *_problem(trial.problem, width), []]


# Data, steps, disk and time.


def _data(sheet: Sheet, width: int) -> list[Line]:
    data = sheet.checked.train if sheet.checked is not None else None
    lengths = sheet.lengths
    if data is None:
        return []
    how = (
        ""
        if lengths is None
        else "from a sample, all rows are being counted"
        if lengths.estimated
        else "every row counted"
    )
    out: list[Line] = [_heading("Data", clean(data.summary, 200) + (f"; {how}" if how else ""))]
    if lengths is None:
        return [*out, _row("Rows", f"{data.rows:,}"), _row("Tokens", f"{glyphs().dash}  not known", "muted")]
    sign = figures.about() if lengths.estimated else ""
    usable = f"{sign}{lengths.usable:,} of {data.rows:,} usable"
    lost = data.rows - lengths.usable
    out.append(_row("Rows", usable, "warning" if lost > 0 and not lengths.estimated else "text"))
    cut = figures.cut(sheet)
    if cut is not None:
        share = f", {figures.share(lengths.truncated, lengths.rows)} of the rows" if lengths.truncated else ""
        out.append(_row(f"Cut at {lengths.limit:,}", cut[0] + share, cut[1]))
    learned = figures.share(lengths.trained, lengths.kept)
    out.append(
        _row(
            "Tokens", f"{sign}{lengths.kept:,} an epoch after cutting, {lengths.trained:,} of them learned ({learned})"
        )
    )
    names = {0.5: "half", 0.9: "90%", 0.99: "99%"}
    told = ", ".join(f"{names[at]} {value:,}" for at, value in lengths.quantiles().items() if at in names)
    out.append(_row("Lengths up to", f"{told}, all {lengths.longest:,}" if told else glyphs().dash))
    if lengths.packed is not None:
        out.append(_row("Packed", f"{sign}{lengths.packed:,} rows of up to {lengths.limit:,} tokens"))
    else:
        waste = f"{sign}{lengths.padding:.1%} of what is computed" if lengths.padding else "none"
        out.append(_row("Padding", waste, "warning" if lengths.padding > 0.3 else "text"))
    if lengths.suggested is not None:
        same = "as it is" if lengths.suggested == lengths.limit else "F10, then tab, shows why and takes it over"
        out.append([*_row("Suggested length", f"{lengths.suggested:,}"), (f"   {same}", "muted")])
    return out


def _steps(sheet: Sheet) -> list[Line]:
    plan = sheet.plan
    if plan is None:
        return []
    of = figures.many
    out = [_heading("Run", ""), _row("Steps", f"{plan.total_steps:,}, {plan.steps_per_epoch:,} an epoch, "
           f"{plan.warmup_steps:,} of warm-up"), _row("Samples", f"{plan.samples_per_update:,} an update")]  # fmt: skip
    evaluations = (
        f", {of(plan.evaluations, 'evaluation')} of {of(plan.eval_rows, 'row')}"
        if plan.eval_rows
        else ", no evaluation"
    )
    return [*out, _row("Pauses", of(plan.checkpoints, "checkpoint") + evaluations)]


def _disk(sheet: Sheet) -> list[Line]:
    found = sheet.disk
    if found is None:
        return [_row("Disk", f"{glyphs().dash}  not known", "muted")] if sheet.plan is not None else []
    words = figures.disk(sheet)
    assert words is not None
    return [_row("Disk", f"{words[0]}, {fmt.size(found['total'])} with the adapter", words[1])]


def _time(sheet: Sheet) -> list[Line]:
    if sheet.plan is None:
        return []
    words = figures.time(sheet)
    return [_row("Time", words[0], words[1])]


def _heading(title: str, about: str) -> Line:
    return [(f"{title:<{LABEL}}", "title"), (about, "muted")]


def _row(label: str, text: str, colour: str = "text") -> Line:
    return [(f"{label:<{LABEL}}", "muted"), (text, colour)]


def _wrapped(text: str, width: int, colour: str) -> list[Line]:
    indent = "  "
    found = textwrap.wrap(text, max(20, width), subsequent_indent=indent, drop_whitespace=True)
    if any(cell_len(line) > width for line in found):  # wide characters
        found = textwrap.wrap(text, max(20, width // 2), subsequent_indent=indent)
    return [[(line, colour)] for line in found if line.strip()]
