"""How a run fares, in one line: a sign, a word and the evidence; what is most urgent stands first."""

from __future__ import annotations

import math

from engine import status as states
from tui import format as fmt
from tui.glyphs import glyphs
from tui.watch.facts import Facts
from tui.watch.signs import CLIMBING, DISK, DIVERGING, IDLE, NAMES, PROGRESSING, SLOW
from tui.watch.times import span
from tui.widgets.lines import Line

PHASES = {
    "loading": "loading the model",
    "tokenising": "tokenising the data",
    "compiling": "compiling kernels",
    "training": "training",
    "evaluating": "evaluating",
    "saving": "saving",
}
# A short evaluation or save is no news: the line stays as it is.
PHASE_SECONDS = 2.0
# A host that has not been heard for this long says nothing of how its run fares.
SILENT_SECONDS = 30.0

Item = tuple[str, str, str, str]
"""Sign, word, colour, evidence."""


def line(facts: Facts, now: float) -> Line:
    """The one line; empty for a run that waits, has ended or cannot be read. ``now`` is Unix seconds."""
    state = facts.state
    if facts.problem or not state.live or state.state == states.QUEUED:
        return []
    items = _items(facts, now)
    found: Line = []
    for sign, word, colour, text in items:
        found += [("   ", "text")] if found else []
        found.append((f"{sign} {word}", colour))
        text = text.partition(";")[0] if len(items) > 1 else text  # room for all of them
        if text:
            found.append((f": {text}" if colour not in ("accent", "muted") else f"   {text}", "text"))
    return found


def shows(facts: Facts, kind: str) -> bool:
    """Whether the line speaks of this already (``nonfinite`` or ``divergence``, as notices are called)."""
    if kind == "nonfinite":
        return bool(_nonfinite(facts))
    return kind == "divergence" and any(sign.kind in ("diverging", "climbing") for sign in facts.signs)


def _items(facts: Facts, now: float) -> list[Item]:
    g = glyphs()
    if not facts.state.here and _silence(facts, now) > SILENT_SECONDS:
        what = "how it fares cannot be seen from here"
        return [
            (
                g.state(states.LOST),
                "silent",
                "muted",
                f"{what}, nothing was heard for {fmt.duration(_silence(facts, now))}",
            )
        ]
    if facts.reading:
        return [(g.state(states.STARTING), "reading", "accent", "the record has not been read to its end yet")]
    items: list[Item] = []
    bad = _nonfinite(facts)
    if bad:
        items.append((g.cross, "not finite", "error", bad))
    items += _signs(facts, lambda kind, level: kind == DISK and level == "error")
    if facts.state.stalled:
        items.append((g.warning, "stalled", "warning", _stalled(facts, now)))
    phase = [] if facts.state.stalled else _phase(facts, now)
    items += phase
    # Who stands still is neither slow nor idle besides.
    rest = (DISK,) if facts.state.stalled else (DISK, DIVERGING, CLIMBING, SLOW, IDLE)
    items += _signs(facts, lambda kind, level: not (kind == DISK and level == "error") and kind in rest)
    if not items:
        items += _signs(facts, lambda kind, level: kind == PROGRESSING)
    return items


def _signs(facts: Facts, wanted: object) -> list[Item]:
    g = glyphs()
    marks = {"success": g.check, "warning": g.warning, "error": g.cross}
    assert callable(wanted)
    return [
        (marks[sign.level], NAMES[sign.kind], sign.level, sign.text)
        for sign in facts.signs
        if wanted(sign.kind, sign.level)
    ]


def _nonfinite(facts: Facts) -> str:
    figures = [facts.values.get(name) for name in ("loss", "grad_norm")]
    loss = figures[0]
    if facts.nonfinite_text and any(v is not None and not math.isfinite(v) for v in figures):
        return f"{facts.nonfinite_text}: what is trained now is of no use"
    if loss is not None and not math.isfinite(loss):
        return f"the loss is NaN or infinite at step {facts.step:,}: what is trained now is of no use"
    return ""


def _stalled(facts: Facts, now: float) -> str:
    usual = f" (a step usually takes {span(facts.median_step)})" if facts.median_step else ""
    silent = f"no sign for {fmt.duration(_silence(facts, now))}" if facts.last_event else "no sign"
    machine = facts.machine
    use = [card.utilization for card in machine.mine if card.utilization is not None]
    if machine.time is None or now - machine.time > 60:
        return silent + usual
    seen = [f"GPU {max(use):.0f}%"] if use else []
    if machine.run_cpu is not None:
        seen.append(f"processor {machine.run_cpu / 100:.1f} cores")
    return f"{silent}{usual}{'; ' if seen else ''}{', '.join(seen)}"


def _phase(facts: Facts, now: float) -> list[Item]:
    g, phase = glyphs(), facts.phase
    sign = g.state(states.STARTING)
    lasts = max(0.0, now - phase.since) if phase.since else None
    for_ = f"for {fmt.duration(lasts)}" if lasts is not None else ""
    earlier = facts.before_first_step and bool(phase.since and facts.started and phase.since < facts.started)
    if earlier or phase.name in ("", "training"):
        if facts.step and not facts.before_first_step:
            return []
        if phase.name and not earlier:
            return [(sign, "the first step is under way", "accent", for_)]
        return [(sign, "starting the training process", "accent", "")] if facts.state.state == states.STARTING else []
    if facts.step and not facts.before_first_step and lasts is not None and lasts < PHASE_SECONDS:
        return []
    text = PHASES.get(phase.name, "") or "busy"
    if phase.done is not None and phase.total and phase.name != "saving":
        text += f" {phase.done:,.0f} / {phase.total:,.0f}"
    return [(sign, text, "accent", for_)]


def _silence(facts: Facts, now: float) -> float:
    heard = facts.last_event or facts.state.heard
    return max(0.0, now - heard) if heard else 0.0
