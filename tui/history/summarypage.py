"""What a run came to, on one page: what is not known is said to be unknown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from engine.text import clean, clean_path
from tui import format as fmt
from tui.glyphs import glyphs, state_text
from tui.history import words
from tui.history.words import LABEL, dot, figure, row, rows, text
from tui.watch.words import STATE_COLOURS
from tui.widgets.lines import Line, length

if TYPE_CHECKING:
    from engine.history.record import RunRecord
    from engine.history.summary import RunSummary

MOST_PROBLEMS = 20
NOTE_LINES = 3
WAYS = {
    "loss": ("last_loss", "best_loss", "loss", False),
    "eval loss": ("last_eval_loss", "best_eval_loss", "eval_loss", True),
}


def standing(run: RunSummary, width: int) -> list[Line]:
    """The state, and how it ended in words."""
    colour = "warning" if run.stalled else STATE_COLOURS.get(run.state, "muted")
    sign: Line = [(state_text(run.state, stalled=run.stalled), colour)]
    reason = fmt.reason_after(run.state, run.reason)
    if not reason and run.state == "unknown":
        return [[*sign, ("  nothing in this directory says how it ended", "muted")]]
    out = words.paragraph(clean(reason, 500), width, "text", [*sign, ("  ", "text")]) if reason else [sign]
    if run.resumable and not run.live and run.state != "completed":
        more = f"{dot() if reason else '  '}can be resumed"
        if length(out[-1]) + len(more) <= width:
            out[-1] = [*out[-1], (more, "muted")]
        else:
            out.append([(" " * LABEL, "text"), (more.strip(dot()), "muted")])
    return out


def lines(record: RunRecord, best: dict[str, int | None], width: int, now: float | None = None) -> list[Line]:
    """The whole page; ``best`` is of :func:`best_steps`."""
    run = record.summary
    out = [*standing(run, width), []]
    out += rows("model", [text(run.base_model)], width)
    out += rows("data", _data(record), width)
    out += [*rows("recipe", _recipe(record), width), []]
    out += rows("reached", _reached(run), width)
    out += rows("time", _took(run, time.time() if now is None else now), width)
    for label, (last, lowest, name, evaluated) in WAYS.items():
        none = evaluated and len(record.steps) > 0 and not len(record.evals)
        out += rows(label, _metric(getattr(run, last), getattr(run, lowest), best.get(name), none=none), width)
    out += [[], *rows("size", _size(record), width), *rows("by", _by(record), width)]
    if run.tags:
        out.append(row("tags", [(f"{glyphs().dot} ".join(clean(tag, 60) + " " for tag in run.tags).strip(), "accent")]))
    return out + _problems(record, width)


def _data(record: RunRecord) -> list[Line]:
    run = record.summary
    name = fmt.shorten(fmt.cells(clean_path(run.dataset)), 60, "start") if run.dataset else ""
    count = _rows(record.data)
    return [[(name, "text")] if name else [], figure("rows", fmt.count(count)) if count is not None else []]


def _rows(data: dict[str, Any]) -> float | None:
    for place in (data, data.get("train")):
        value = place.get("rows") if isinstance(place, dict) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


def _recipe(record: RunRecord) -> list[Line]:
    run, times = record.summary, glyphs().times
    rank = []
    if run.lora_r is not None:
        alpha = f", alpha {fmt.number(run.lora_alpha)}" if run.lora_alpha is not None else ""
        rank = [(f"LoRA r {run.lora_r}{alpha}", "text")]
    batch = ""
    if run.batch_size is not None:
        more = record.settings.get("gradient_accumulation_steps")
        batch = f"batch {run.batch_size}{f' {times} {more}' if isinstance(more, int) else ''}"
    return [
        _rate(record),
        rank,
        [(batch, "text")] if batch else [],
        [(f"length {run.max_seq_length:,}", "text")] if run.max_seq_length is not None else [],
    ]


def _rate(record: RunRecord) -> Line:
    """The learning rate that was set; else the one that the log tells, which need not be the same."""
    rate = record.summary.learning_rate
    if rate is None:
        return []
    logged: Line = [] if "learning_rate" in record.settings else [(" as logged", "muted")]
    return [(f"learning rate {fmt.rate(rate)}", "text"), *logged]


def _reached(run: RunSummary) -> list[Line]:
    steps: Line = []
    if run.step is not None:
        steps = [(f"step {run.step:,}", "value")]
        steps += [(f" of {run.total_steps:,}", "text")] if run.total_steps else [(" of an unknown number", "muted")]
    epochs: Line = []
    if run.epoch is not None:
        whole = f" of {fmt.number(run.num_train_epochs)}" if run.num_train_epochs is not None else ""
        epochs = [(f"epoch {run.epoch:.2f}{whole}", "text")]
    rows = "logged row" if run.points == 1 else "logged rows"
    return [steps, epochs, figure(rows, fmt.count(run.points)) if run.points is not None else []]


def _took(run: RunSummary, now: float) -> list[Line]:
    start = run.started or run.created
    span: Line = []
    if start is not None:
        span = [(fmt.clock(start, now, long=True), "text")]
        if run.ended is not None:
            span += [(f" {glyphs().right} ", "muted"), (fmt.clock(run.ended, now, long=True), "text")]
    elif run.modified is not None:
        span = [("last written ", "muted"), (fmt.clock(run.modified, now, long=True), "text")]
    return [[(fmt.duration_exact(run.seconds), "value")] if run.seconds is not None else [], span]


def _metric(last: float | None, best: float | None, where: int | None, *, none: bool) -> list[Line]:
    if last is None and best is None:
        return [[("no evaluation was logged", "muted")]] if none else []
    at = [(f" at step {where:,}", "muted")] if where is not None else []
    return [
        [*words.loss(last), (" last", "muted")] if last is not None else [],
        [*words.loss(best), (" best", "muted"), *at] if best is not None else [("no finite value", "error")],
    ]


def best_steps(record: RunRecord) -> dict[str, int | None]:
    """At which steps the losses were lowest; in the reader's thread, since a record may be long."""
    return {name: best_step(record, name, evaluated) for _, _, name, evaluated in WAYS.values()}


def best_step(record: RunRecord, name: str, evaluated: bool) -> int | None:
    """The step of the lowest finite value."""
    xs, ys = (record.evals if evaluated else record.steps).pair(name)
    finite = [(y, x) for x, y in zip(xs, ys, strict=True) if y - y == 0]
    return int(min(finite)[1]) if finite else None


def _size(record: RunRecord) -> list[Line]:
    run = record.summary
    found = record.checkpoints
    if not found:
        saves: Line = [("no checkpoints", "muted")]
    else:
        at = f" at {', '.join(f'{c.step:,}' for c in found[-3:])}" if len(found) <= 3 else f", last {found[-1].step:,}"
        saves = [(words.count(len(found), "checkpoint"), "text"), (at, "muted")]
        bad = sum(not c.valid for c in found)
        saves += [(f", {bad} cannot be resumed from", "warning")] if bad else []
    return [[(fmt.size(run.bytes), "text")] if run.bytes is not None else [], saves]


def _by(record: RunRecord) -> list[Line]:
    run = record.summary
    version = record.versions.get({"llama-factory": "llamafactory", "ms-swift": "swift"}.get(run.tool, run.tool), "")
    tool = "an unknown tool" if run.tool == "unknown" else f"{run.tool} {version}".strip()
    others = [f"{name} {record.versions[name]}" for name in ("trl", "transformers", "torch") if name in record.versions]
    where = [("on ", "muted"), *text(run.host, limit=60)] if run.host else []
    own = [(run.id, "muted")] if run.tool == "tunedeck" else []
    shown = [part for part in others if not part.startswith(f"{run.tool} ")][:2]
    return [text(tool), where, *(text(part, "muted") for part in shown), text(own[0][0], "muted") if own else []]


def _problems(record: RunRecord, width: int) -> list[Line]:
    found = record.summary.problems
    if not found:
        return []
    out: list[Line] = [[]]
    for problem in found[:MOST_PROBLEMS]:
        first: Line = [(f"{glyphs().warning} ", "warning")]
        out += words.paragraph(clean(problem, 500), width, "warning", first)
    if len(found) > MOST_PROBLEMS:
        out.append([(f"  and {len(found) - MOST_PROBLEMS} more", "muted")])
    return out


def note_lines(note: str, width: int) -> list[Line]:
    """The beginning of a note, for the summary."""
    if not note.strip():
        return []
    lines = words.paragraph(note.strip(), width, "text", [(fmt.fit("note", LABEL), "muted")])
    return lines[:NOTE_LINES] + ([[(" " * LABEL + "t shows all of it", "muted")]] if len(lines) > NOTE_LINES else [])
