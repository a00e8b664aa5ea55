"""The selected run in three lines: how it stands in words, its numbers, where it lies."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.cells import cell_len

from engine.text import clean, clean_path
from tui import format as fmt
from tui.glyphs import glyphs
from tui.runlist.values import begun, elapsed, state_colour, state_words
from tui.widgets.lines import crop

if TYPE_CHECKING:
    from engine.history import RunSummary

Part = tuple[str, str]
WORTH_TELLING = 1 << 20


def lines(run: RunSummary, width: int, now: float | None = None) -> list[list[Part]]:
    """Three lines; texts are cleaned here and cut to the width."""
    now = time.time() if now is None else now
    return [crop(_standing(run, now), width), _facts(run, width, now), _place(run, width)]


def _standing(run: RunSummary, now: float) -> list[Part]:
    parts: list[Part] = [(state_words(run), state_colour(run))]
    if run.live and not run.here:
        parts.append((f", last heard {fmt.age(run.heard, now)}", "text"))
    elif run.state == "queued" and (run.waits_for or run.queue_position is not None):
        return [*parts, (f"  {fmt.queue_words(run.queue_position, clean(run.waits_for or '', 300))}", "text")]
    elif run.stalled:
        parts.append(("  no sign of the worker for a while; open it to see its log", "text"))
    if run.tool != "tunedeck":
        parts.append((f"  {clean(run.tool, 40)}", "muted"))
    if run.reason:
        parts.append((f"  {clean(fmt.reason_after(run.state, run.reason), 500)}", "text"))
    if run.resumable and not run.live and run.state != "completed":
        parts.append(("  can be resumed", "muted"))
    if run.problems:
        parts.append((f"  {clean('; '.join(run.problems), 300)}", "warning"))
    return parts


def _facts(run: RunSummary, width: int, now: float) -> list[Part]:
    """What fits, the most important first; a fact is shown whole or not at all."""
    start = fmt.clock(begun(run), now, long=True)
    spent = fmt.duration_exact(elapsed(run, now))
    if (run.attempts or 1) > 1 and run.started:
        facts = [(f"attempt {run.attempts} {'from' if run.ended else 'since'}", f"{start}, {spent} in all")]
    else:
        facts = [("started" if run.started else "made" if run.created else "changed", start)]
        if elapsed(run, now) is not None or run.live:
            facts.append(("for" if run.live else "took", spent))
    least = sum(len(label) + cell_len(value) + 4 for label, value in facts)
    if run.ended:
        facts.append(("ended", fmt.clock(run.ended, now, long=True)))
    if run.last_eval_loss is not None:
        facts.append(("eval", f"{fmt.loss(run.last_eval_loss)}, best {fmt.loss(run.best_eval_loss)}"))
    if run.best_loss is not None:
        facts.append(("best loss", fmt.loss(run.best_loss)))
    if run.points:
        facts.append(("logged steps", fmt.count(run.points)))
    if run.learning_rate is not None:
        facts.append(("rate", fmt.rate(run.learning_rate)))
    if run.lora_r is not None:
        facts.append(("r", fmt.count(run.lora_r)))
    if run.bytes is not None and run.bytes >= WORTH_TELLING:
        facts.append(("size", fmt.size(run.bytes)))
    room = max(12, width - least - 6)
    model = fmt.cells(clean(run.base_model, 300)) if run.base_model else glyphs().dash
    if cell_len(model) > room:
        model = fmt.shorten(fmt.model_name(model), room, "middle")
    parts: list[Part] = []
    used = 0
    for label, value in [("model", model), *facts]:
        size = len(label) + 1 + cell_len(value) + (3 if parts else 0)
        if used + size > width:
            break
        used += size
        parts += [(f"{'   ' if parts else ''}{label} ", "muted"), (value, "text")]
    return parts


def _place(run: RunSummary, width: int) -> list[Part]:
    run_id = clean(run.id, 40)
    path = fmt.shorten(fmt.cells(clean_path(run.path)), max(8, width - len(run_id) - 3), "start")
    return [(run_id, "muted"), ("   ", "text"), (path, "muted")]
