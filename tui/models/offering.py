"""The line of what was typed and is not in the list: a question to the hub and its answer, or a directory."""

from __future__ import annotations

from engine.text import clean
from tui import format as fmt
from tui.glyphs import glyphs
from tui.models import values
from tui.models.facts import ANSWERS, Seen
from tui.models.ledger import Offer
from tui.widgets.lines import Line, length


def line(row: Offer, seen: Seen, room: int, *, asking: bool = False) -> Line:
    """In at most ``room`` cells; the name gives way to what is said of it."""
    before, after = _directory(row, seen) if row.kind == "directory" else _hub(row, seen, asking=asking)
    at = f" @{values.revision(row.revision)}" if row.revision else ""
    name = fmt.cells(f"{clean(row.name, 400)}{at}")
    cut = "start" if row.kind == "directory" else "middle"
    return [*before, (fmt.shorten(name, max(8, room - length(before) - length(after)), cut), "text"), *after]


def _directory(row: Offer, seen: Seen) -> tuple[Line, Line]:
    if seen.paths.get(row.name) is not None:
        return [("Take the directory ", "accent")], []
    count = len(seen.below.get(row.name, ()))
    said = f"no model itself, {count} in it" if count else "no model lies there"
    return [], [(f"  {said if row.name in seen.paths else glyphs().ellipsis}", "muted")]


def _hub(row: Offer, seen: Seen, *, asking: bool) -> tuple[Line, Line]:
    g, answer = glyphs(), seen.answer(row)
    if asking:
        return [("Asking the hub ", "accent")], [(f"  {seen.seconds_left} s left", "muted")]
    if answer is None:
        return [("Ask the hub about ", "accent")], []
    good = answer.kind == "ok" and not answer.trouble
    word = ANSWERS.get(answer.kind, answer.kind) if good or answer.kind != "ok" else "cannot be fine-tuned"
    sign = (f"{g.check} ", "success") if good else (f"{g.cross} ", "error")
    return [sign], [(f"  {clean(word, 60)}", "muted")]
