"""Pages that are tables: evaluations, checkpoints, files; and the answers and notes of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from engine.text import clean
from tui import format as fmt
from tui.glyphs import glyphs
from tui.history import words
from tui.history.files import Files
from tui.history.sheet import Page, static
from tui.history.summarypage import best_step
from tui.watch.metrics import title
from tui.widgets.lines import Line

if TYPE_CHECKING:
    from engine.history.record import RunRecord
    from engine.notes import Notes

COLUMN = 14
MOST_COLUMNS = 12
# Columns of evaluations that people look at last.
LATE = ("runtime", "samples_per_second", "steps_per_second")
TITLES = {"samples_per_second": "samples/s", "steps_per_second": "steps/s"}
# Beyond so many characters of one answer it is for the screen of answers.
LONGEST_ANSWER = 1500


def evaluations(record: RunRecord, width: int) -> Page:
    """A row an evaluation, the newest first; the best loss is marked."""
    rows = list(record.evals.rows())
    names = sorted(record.evals.names, key=_order)
    names = names[: min(MOST_COLUMNS, max(1, (width - 19 - 8) // (COLUMN + 1)))]
    best = best_step(record, "eval_loss", True)
    first = next((place for place, row in enumerate(rows) if best is not None and row.get("step") == best
                  and _is_best(row, rows)), -1)  # fmt: skip
    head: Line = [(fmt.fit("step", 10, "right"), "muted"), (fmt.fit("epoch", 9, "right"), "muted")]
    head += [(" " + fmt.fit(_title(name), COLUMN, "right", "middle"), "muted") for name in names]

    def line(place: int, width: int) -> Line:
        at = len(rows) - 1 - place
        row = rows[at]
        out: Line = [(fmt.fit(fmt.count(row.get("step")), 10, "right"), "value")]
        epoch = row.get("epoch")
        out.append((fmt.fit(glyphs().dash if epoch is None else f"{epoch:.2f}", 9, "right"), "text"))
        for name in names:
            value = row.get(name)
            shown = fmt.loss(value) if name.endswith("loss") else fmt.number(value)
            colour = "success" if at == first and name == "eval_loss" else words.tone(value)
            out.append((" " + fmt.fit(shown, COLUMN, "right"), colour))
        return [*out, *([(f"  {glyphs().check} best", "success")] if at == first else [])]

    empty: Line = [("No evaluation was logged in this directory.", "muted")]
    return Page(len(rows), line, [head] if rows else [], empty=empty)


def _is_best(row: dict[str, float], rows: list[dict[str, float]]) -> bool:
    finite = [r["eval_loss"] for r in rows if math.isfinite(r.get("eval_loss", math.nan))]
    return bool(finite) and row.get("eval_loss") == min(finite)


def _order(name: str) -> tuple[int, str]:
    base = name.removeprefix("eval_")
    return (0 if base == "loss" else 2 if base in LATE else 1), name


def _title(name: str) -> str:
    return TITLES.get(name.removeprefix("eval_")) or title(name.removeprefix("eval_"))


def checkpoints(record: RunRecord, width: int) -> Page:
    """A row a checkpoint, the newest first: size, whether it can be resumed from, which is the best and the last."""
    found = sorted(record.checkpoints, key=lambda c: c.step, reverse=True)
    best = best_checkpoint(record)
    last = max((c.step for c in found if c.valid), default=None)
    total = sum(c.bytes for c in found)
    head: list[Line] = []
    if found:
        head = [
            [(words.count(len(found), "checkpoint"), "text"), (f", {fmt.size(total)} in all", "muted"),
             *([("   p ", "key"), ("keeps the best and the last", "muted")] if len(found) > 2 else [])],
            [],
            [(fmt.fit("step", 10, "right"), "muted"), (fmt.fit("size", 12, "right"), "muted"), ("   ", "text"),
             ("eval loss  ", "muted"), ("state", "muted")],
        ]  # fmt: skip
    losses = _losses(record)

    def line(place: int, width: int) -> Line:
        checkpoint = found[place]
        value = losses.get(checkpoint.step)
        out: Line = [
            (fmt.fit(f"{checkpoint.step:,}", 10, "right"), "value"),
            (fmt.fit(fmt.size(checkpoint.bytes), 12, "right"), "text"),
            ("   ", "text"),
            (fmt.fit(fmt.loss(value), 9, "right") + "  ", words.tone(value) if value is not None else "muted"),
        ]
        marks = [name for name, step in (("best", best), ("last", last)) if step == checkpoint.step]
        if checkpoint.valid:
            out.append((f"{glyphs().check} complete", "success" if marks else "muted"))
        else:
            out.append((f"{glyphs().cross} {clean(checkpoint.problem, 200)}", "error"))
        if checkpoint.finite is False:
            out.append(("  weights are not finite", "error"))
        return [*out, *([(f"   {' and '.join(marks)}", "accent")] if marks else [])]

    empty: Line = [("No checkpoints stand in this directory.", "muted")]
    return Page(len(found), line, head, empty=empty)


def best_checkpoint(record: RunRecord) -> int | None:
    """The step of the valid checkpoint with the lowest evaluation loss."""
    losses = _losses(record)
    known = [(losses[c.step], c.step) for c in record.checkpoints
             if c.valid and math.isfinite(losses.get(c.step, math.nan))]  # fmt: skip
    return min(known)[1] if known else None


def _losses(record: RunRecord) -> dict[int, float]:
    xs, ys = record.evals.pair("eval_loss")
    return {int(x): y for x, y in zip(xs, ys, strict=True)}


def file_list(files: Files | None, search: str, width: int) -> Page:
    """Every file with its size; folders tell what is in them."""
    if files is None:
        return static([[("reading the directory", "muted"), (glyphs().ellipsis, "muted")]])
    wanted = search.casefold().split()
    entries = files.entries
    if wanted:
        entries = [e for e in entries if not e.folder and all(word in e.path.casefold() for word in wanted)]
    more = f", {files.trouble}" if files.trouble else ""
    shown = sum(not e.folder for e in entries)
    of = f"{shown:,} of " if wanted else ""
    head: list[Line] = [
        [(f"{of}{words.count(files.count, 'file')}", "text"), (f", {fmt.size(files.bytes)} in all", "muted"),
         (clean(more, 200), "warning")],
        [],
    ]  # fmt: skip

    def line(place: int, width: int) -> Line:
        entry = entries[place]
        depth = 0 if wanted else entry.path.count("/")
        name = entry.path if wanted else entry.path.rpartition("/")[2]
        shown = fmt.cells(clean(name, 300))
        size: Line = [
            (
                fmt.fit(fmt.size(entry.bytes) if entry.bytes >= 0 else "", 10, "right"),
                "muted" if entry.folder else "value",
            )
        ]
        when = (fmt.fit(fmt.clock(entry.modified, long=True), 14, "right"), "muted")
        room = max(8, width - 26 - 2 * depth)
        shown = fmt.shorten(shown, room, "middle")
        mark = "/" if entry.folder else ""
        note: Line = [(f"  {clean(entry.note, 80)}", "muted")] if entry.note else []
        return [*size, when, ("  " + "  " * depth, "text"), (shown + mark, "title" if entry.folder else "text"), *note]

    empty: Line = [("No file has these words. ", "muted"), ("esc", "key"), (" shows all", "muted")]
    return Page(len(entries), line, head, empty=empty if wanted else [("The directory is empty.", "muted")])


def samples(record: RunRecord, width: int) -> Page:
    """The model's answers, those after the newest step first."""
    out: list[Line] = []
    step: Any = None
    for sample in reversed(record.samples[-400:]):
        if sample.get("step") != step or not out:
            step = sample.get("step")
            out += [[]] if out else []
            out.append(words.title(f"step {step:,}" if isinstance(step, int) else "step unknown"))
        prompt = clean(sample.get("prompt") or "", LONGEST_ANSWER, keep_newlines=True)
        answer = clean(sample.get("completion") or "", LONGEST_ANSWER, keep_newlines=True)
        out.append([])
        out += words.paragraph(prompt, width, "muted", [(f"{glyphs().right} ", "accent")], 2)
        out += words.paragraph(answer or "(empty)", width, "text" if answer else "muted", [("  ", "text")])
    if out:
        out[:0] = [[("⏎" if not glyphs().ascii else "Enter", "key"), (" shows them by step, compared", "muted")], []]
    made = static(out)
    made.empty = [("No answers were recorded in this directory.", "muted")]
    return made


def notes(found: Notes | None, trouble: str, width: int) -> Page:
    """Name, tags and note."""
    if trouble:
        return static(words.paragraph(clean(trouble, 300), width, "warning"))
    if found is None:
        return static([[("reading the notes", "muted"), (glyphs().ellipsis, "muted")]])
    if not (found.name or found.tags or found.notes.strip()):
        return static(
            [[("Nothing is noted yet. ", "muted"), ("t", "key"), (" writes a name, tags and a note", "muted")]]
        )
    out: list[Line] = []
    if found.name:
        out.append(words.row("name", words.text(found.name, "title")))
    if found.tags:
        tags: Line = []
        for tag in found.tags:
            tags += [*([("  ", "text")] if tags else []), *words.text(tag, "accent", 60)]
        out.append(words.row("tags", tags))
    if found.notes.strip():
        out += [[]] if out else []
        for paragraph in found.notes.strip("\n").split("\n"):
            out += words.paragraph(paragraph, min(width, 100))
    return static(out)
