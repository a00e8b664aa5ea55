"""What the dialog says: checkpoints to choose from, and what going on from one would mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from engine.text import clean
from tui import format as fmt
from tui.glyphs import glyphs
from tui.screens.problems import problem_content
from tui.widgets.lines import Line

if TYPE_CHECKING:
    from engine.checkpoints import Checkpoint
    from engine.errors import Problem
    from engine.resume import Change, ResumePlan

BEGINNING = "the beginning: no complete checkpoint stands"


def checkpoint_lines(
    candidates: list[Checkpoint], times: dict[int, float], chosen: int, height: int, now: float
) -> list[Line]:
    """So many lines around the chosen checkpoint, newest first."""
    if not candidates:
        return [[(f"{glyphs().cursor} ", "accent"), (BEGINNING, "text")]]
    first = max(0, min(chosen - height // 2, len(candidates) - height))
    lines: list[Line] = []
    for place, checkpoint in list(enumerate(candidates))[first : first + height]:
        here = place == chosen
        when = times.get(checkpoint.step)
        made = f"{fmt.clock(when, now, long=True)}, {fmt.age(when, now)}" if when else ""
        line: Line = [(f"{glyphs().cursor} " if here else "  ", "accent")]
        line.append((f"step {checkpoint.step:>7,}", "title" if here else "text"))
        line.append((f"   {fmt.size(checkpoint.bytes):>8}   {made}", "muted"))
        if checkpoint.finite is False:
            line.append(("   weights are not finite", "warning"))
        lines.append(line)
    older = len(candidates) - first - len(lines)
    if first:
        lines[0].append((f"   {first:,} newer {glyphs().up}", "accent"))
    if older:
        lines[-1].append((f"   {older:,} older {glyphs().down}", "accent"))
    return lines


def outcome(plan: ResumePlan, problems: list[Problem]) -> Content:
    """What stands in the way, what should be known, and what is different since the checkpoint was made."""
    parts = [problem_content(problem) for problem in [*problems, *plan.errors, *plan.warnings]]
    if plan.ok and not problems and plan_words(plan):
        parts.insert(0, Content(plan_words(plan)))
    if plan.changes:
        parts.append(_changes(plan.changes))
    elif plan.ok and not problems:
        parts.append(
            Content.styled("Nothing has changed since: data, settings and versions are the same.", "$text-muted")
        )
    return Content("\n").join(parts)


def _changes(changes: list[Change]) -> Content:
    lines = [Content.styled("Changed since:", "$text-muted")]
    width = min(28, max(len(change.name) for change in changes))
    for change in changes:
        name = fmt.fit(clean(change.name, 60), width)
        old, new = (clean(text, 300) or glyphs().dash for text in (change.old, change.new))
        lines.append(Content.assemble(f"  {name}  ", (old, "$text-muted"), f" {glyphs().right} ", (new, "bold")))
    return Content("\n").join(lines)


def plan_words(plan: ResumePlan) -> str:
    """From where to where, in one line; empty while that is not known."""
    total = plan.checked.plan.total_steps if plan.checked is not None and plan.checked.plan is not None else None
    if total is None:
        return ""
    left = total - plan.step
    if not plan.step:
        return f"{total:,} steps from the beginning"
    more = f"{max(0, left):,} more step{'' if left == 1 else 's'}, up to step {total:,}"
    again = min(plan.last_step, total)
    if plan.as_new or again <= plan.step:
        return more
    first = plan.step + 1
    steps = f"steps {first:,}{glyphs().dash}{again:,} are" if again > first else f"step {first:,} is"
    return f"{more}; {steps} done again"


def outcome_of_problems(problems: list[Problem]) -> Content:
    """Only what stands in the way."""
    return Content("\n").join([problem_content(problem) for problem in problems])
