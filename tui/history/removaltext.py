"""What a removal would take, takes and took, as lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.errors import Problem
from engine.text import clean, clean_path
from tui import format as fmt
from tui.glyphs import glyphs
from tui.history import words
from tui.history.words import count, paragraph, title
from tui.widgets.lines import Line

if TYPE_CHECKING:
    from engine.history.removal import Group, Outcome, Plan

MOST_LEFT, MOST_NAMED = 200, 8
SIZE, FILES = 10, 16


def heading(plans: Sequence[Plan], *, prune: bool) -> str:
    """What is asked."""
    what = "Prune checkpoints of" if prune else "Delete"
    return f"{what} {plans[0].name}?" if len(plans) == 1 else f"{what} {count(len(plans), 'run')}?"


def needed(plans: Sequence[Plan], *, prune: bool) -> str:
    """What must be typed; empty where nothing can be done."""
    able = [plan for plan in plans if plan.ok]
    if not able:
        return ""
    if len(plans) == 1:
        return able[0].name
    return f"{'prune' if prune else 'delete'} {count(len(able), 'run')}"


def confirmed(plans: Sequence[Plan], text: str, *, prune: bool) -> bool:
    """Whether that was typed."""
    if len(plans) == 1:
        return plans[0].ok and plans[0].confirms(text)
    wanted = needed(plans, prune=prune)
    return bool(wanted) and " ".join(text.split()).casefold() == wanted


def total(plans: Sequence[Plan], width: int) -> Line:
    """How much would go, and that nothing has gone yet."""
    able = [plan for plan in plans if plan.ok]
    if not able:
        return [("Nothing can be removed here.", "warning")]
    names, size = sum(len(plan.entries) for plan in able), sum(plan.bytes for plan in able)
    files = "1 file or folder" if names == 1 else f"{names:,} files and folders"
    line: Line = [(f"{fmt.size(size)}", "value"), (f" in {files} would go; ", "text")]
    if not any(plan.entries for plan in able):
        line = [("Only the empty directory would go; ", "text")]
    return [*line, ("nothing is touched yet", "muted")]


def dry_run(plans: Sequence[Plan], width: int) -> list[Line]:
    """What would go, what stays and why, what will be different, what speaks against it."""
    out: list[Line] = []
    for plan in plans:
        out += [[]] if out else []
        if len(plans) > 1:
            out.append([(plan.name, "title"), (f"  {clean_path(plan.path)}", "muted")])
        out += _problems(plan.refused, width, glyphs().cross, "error")
        if plan.refused:
            continue
        out += _problems(plan.warnings, width, glyphs().warning, "warning")  # first: the list may be long
        out += [[]] if plan.warnings else []
        out += [_group(group, width) for group in plan.groups()]
        if not plan.entries:
            out.append([("nothing to remove", "muted")])
        if plan.kept:
            out += [[], title("stays")]
            for kept in plan.kept:
                why = fmt.cells(clean(kept.why, 300))
                name = fmt.shorten(fmt.cells(clean(kept.path, 200)), max(12, width // 2), "middle")
                out += paragraph(why, width, "muted", [(fmt.fit(name, min(28, max(12, width // 3))) + "  ", "text")])
    return out


def _group(group: Group, width: int) -> Line:
    folder = group.kind == "directory"
    files = count(group.count - 1, "file") if folder and group.count > 1 else "empty" if folder else ""
    name = fmt.shorten(fmt.cells(clean(group.name, 300)), max(8, width - SIZE - FILES - 4), "middle")
    note = {"link": "link, only itself", "other": "no ordinary file"}.get(group.kind, files)
    return [
        (fmt.fit(fmt.size(group.bytes), SIZE, "right"), "value"),
        ("  ", "text"),
        (name + ("/" if folder else ""), "text"),
        (f"  {note}" if note else "", "muted"),
    ]


def _problems(found: Sequence[Problem], width: int, sign: str, colour: str) -> list[Line]:
    out: list[Line] = []
    for problem in found:
        text = f"{problem.message}{f'. {problem.hint}' if problem.hint else ''}"
        out += paragraph(clean(text, 500), width, "text", [(f"{sign} ", colour)])
    return out


def progress(done: int, planned: int, freed: int, width: int) -> Line:
    """A bar and figures."""
    figures = f"  {done:,} of {planned:,}, {fmt.size(freed)}"
    full, left = fmt.progress_bar(done / planned if planned else None, max(8, width - len(figures) - 1))
    return [(full, "accent"), (left, "rule"), (figures, "text")]


def outcomes(plans: Sequence[Plan], found: dict[int, Outcome | list[Problem]], width: int) -> list[Line]:
    """What became of each run."""
    out: list[Line] = []
    for place, plan in enumerate(plans):
        result = found.get(place)
        if len(plans) > 1:
            out += [[]] if out else []
            out.append([(plan.name, "title")])
        if result is None:
            out.append([("was left as it is", "muted")])
        elif isinstance(result, list):
            out += _problems(result, width, glyphs().cross, "error")
        else:
            out += _outcome(result, width)
            stays = plan.kept if not result.gone else []
            if stays:
                names = ", ".join(clean(kept.path, 60) for kept in stays[:MOST_NAMED])
                more = f" and {len(stays) - MOST_NAMED:,} more" if len(stays) > MOST_NAMED else ""
                out += paragraph(f"stays, as was said before: {names}{more}", width, "muted", [("  ", "text")])
    return out


def _outcome(result: Outcome, width: int) -> list[Line]:
    sign: Line = [(f"{glyphs().check} ", "success")] if result.complete else [(f"{glyphs().warning} ", "warning")]
    names = result.removed - result.gone  # as they were listed: without the directory itself
    files = "1 file or folder" if names == 1 else f"{names:,} files and folders"
    text = f"{fmt.size(result.bytes)} in {files} removed"
    text += "; the directory is gone" if result.gone else ""
    text += "; stopped on request, the rest stands" if result.stopped else ""
    out = paragraph(text, width, "text", sign)
    if result.left:
        out += [[], words.title(f"{count(len(result.left), 'thing')} left")]
    for path, why in result.left[:MOST_LEFT]:
        out += paragraph(f"{clean(path, 200)}: {clean(why, 200)}", width, "text", [("  ", "text")])
    if len(result.left) > MOST_LEFT:
        out.append([(f"  and {len(result.left) - MOST_LEFT:,} more", "muted")])
    return out
