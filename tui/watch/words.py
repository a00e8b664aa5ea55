"""What the live screen says about a run, in plain words: head lines and messages."""

from __future__ import annotations

import math

from rich.cells import cell_len

from engine import status as states
from engine.text import shorten_path
from tui import format as fmt
from tui.glyphs import state_text
from tui.watch import condition
from tui.watch.facts import Control, Facts
from tui.watch.times import elapsed, remaining
from tui.widgets.lines import Line, crop, length, spread

# An answered request stays in sight for so long, then the line is free for other news.
CONTROL_SECONDS = 60.0
NOTICE_SECONDS = 600.0
# So much of a run's name always stays.
NAME_CELLS = 16

VERBS = {"stop": "stop", "stop-now": "stop now", "checkpoint": "checkpoint", "evaluate": "evaluation"}
STATE_COLOURS = {
    states.QUEUED: "muted", states.STARTING: "accent", states.RUNNING: "accent", states.STOPPING: "warning",
    states.COMPLETED: "success", states.STOPPED: "warning", states.FAILED: "error", states.KILLED: "error",
    states.LOST: "error", states.UNKNOWN: "muted",
}  # fmt: skip


def head(facts: Facts, now: float, width: int, asked: Control | None) -> list[Line]:
    """The four lines above the charts: who and how, how far, how it fares, and what is worth saying or can be done."""
    first, rest = headline(facts, now, width)
    lines = [first, progress(facts, now, width)]
    lines += [crop(line, width) for line in rest]
    fares, message = condition.line(facts, now), message_line(facts, now, asked)
    if fares:
        lines.append(crop(fares, width))
    for line in (message, next_line(facts)):
        if line or len(lines) == 2:
            lines.append(crop(line, width))
    return [*lines, [], []][:4]


def headline(facts: Facts, now: float, width: int) -> tuple[Line, list[Line]]:
    """Name, state and why; the base model at the right end. A reason that does not fit gets lines of its own."""
    state = facts.state
    colour = "warning" if state.stalled else STATE_COLOURS.get(state.state, "muted")
    after: Line = [("   ", "text"), (state_text(state.state, stalled=state.stalled), colour)]
    if state.state == states.QUEUED and facts.queue_position is not None:
        after.append((f" {facts.queue_position}", colour))
    if history(facts):
        after.append((f"   {history(facts)}", "muted"))
    # A long name gives way: the state is what one looks for here.
    room = max(NAME_CELLS, width - length(after))
    left: Line = [(fmt.shorten(fmt.cells(facts.name or facts.path.name), room, "middle"), "title"), *after]
    reason = why(facts, now)
    tone = "text" if colour in ("error", "warning") else "muted"
    rest: list[Line] = []
    if reason and length(left) + cell_len(reason) + 3 <= width:
        left.append(("   " + reason, tone))
    elif reason:
        rest = [[(line, tone)] for line in wrap(reason, width, 2)]
    model = fmt.shorten(facts.base_model, width // 3)
    right: Line = [(model, "muted")] if model and length(left) + cell_len(model) + 2 <= width else []
    return spread(left, right, width), rest


def history(facts: Facts) -> str:
    """Which attempt this is, and from where it went on; empty for a run that never ended before."""
    if facts.attempt < 2 and facts.resumed_step is None:
        return ""
    queued = facts.state.state == states.QUEUED
    if facts.resumed_step is None:
        begun = "from the beginning"
    else:
        begun = f"{'will go on after' if queued else 'resumed at'} step {facts.resumed_step:,}"
    return f"attempt {facts.attempt}, {begun}" if facts.attempt > 1 else begun


def wrap(text: str, width: int, most: int) -> list[str]:
    """A text in at most so many lines, broken between words."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(longer) <= width or not lines[-1] or len(lines) == most:
            lines[-1] = longer
        else:
            lines.append(word)
    return [fmt.shorten(line, width) for line in lines]


def why(facts: Facts, now: float) -> str:
    """The reason behind a state, or what can be said of a run elsewhere."""
    state = facts.state
    if state.live and not state.here:
        heard = facts.last_event or state.heard
        ago = f", last heard {fmt.age(heard, now)}" if heard else ""
        return f"on {facts.host or 'another machine'}{ago}"
    if state.state == states.QUEUED and (facts.waits_for or facts.queue_position is not None):
        return fmt.queue_words(facts.queue_position, facts.waits_for)
    return fmt.reason_after(state.state, facts.reason)


def progress(facts: Facts, now: float, width: int) -> Line:
    """Bar, step, epoch, elapsed and remaining time."""
    total = facts.total_steps
    share = fmt.share(facts.step, total)
    steps = f"{facts.step:,} / {total:,}" if total else f"{facts.step:,}"
    parts: Line = [("step ", "muted"), (steps, "value")]
    if facts.before_first_step and facts.step:
        of = f" of {total:,}" if total else ""
        parts = [("goes on after step ", "muted"), (f"{facts.step:,}{of}", "value")]
    if facts.epoch is not None and math.isfinite(facts.epoch):
        of = f" / {facts.epochs:g}" if facts.epochs else ""
        parts += [("   epoch ", "muted"), (f"{facts.epoch:.2f}{of}", "value")]
    parts += [("   elapsed ", "muted"), (fmt.duration(elapsed(facts, now)), "value")]
    if facts.state.live and not facts.before_first_step:
        parts += [("   left ", "muted"), (fmt.duration(remaining(facts, now)), "value")]
    percent = fmt.percent(share).rjust(4) if share is not None else "    "
    room = width - length(parts) - len(percent) - 4
    if room < 8:
        return crop([(percent.strip() + "  ", "value"), *parts], width)
    return [*bar(share, room, facts), (f" {percent}   ", "value"), *parts]


def bar(share: float | None, width: int, facts: Facts) -> Line:
    """A progress bar; its colour is the state's."""
    done, left = fmt.progress_bar(share, width)
    colour = "warning" if facts.state.stalled else STATE_COLOURS.get(facts.state.state, "muted")
    return [(done, colour), (left, "rule")]


def message_line(facts: Facts, now: float, asked: Control | None) -> Line:
    """The one thing most worth saying now."""
    if facts.problem:
        return [(facts.problem, "error")]
    for line in (
        _waiting(facts, now, asked),
        _answer(facts, now),
        _turn(facts),
        _ending(facts),
        _notice(facts, now),
    ):
        if line:
            return line
    if facts.damaged:
        return [(f"{facts.damaged:,} damaged lines in the record were skipped", "warning")]
    return []


def next_line(facts: Facts) -> Line:
    """What a person can do once the run has ended."""
    if facts.state.live or facts.problem:
        return []
    keys: Line = []
    if facts.state.state != states.UNKNOWN:
        keys += [
            ("r", "key"),
            (" go on with more steps   " if facts.state.state == states.COMPLETED else " resume   ", "muted"),
        ]
    keys += [("c", "key"), (" new run from these settings", "muted")]
    if facts.state.state == states.COMPLETED:
        keys += [("   y", "key"), (" copy the path", "muted")]
    return keys


def loss_of_stopping(facts: Facts) -> str:
    """What a stop without saving costs."""
    if not facts.step:
        return "It has not finished a step yet: nothing is lost."
    if facts.before_first_step:
        return "It has not done a step since it was resumed: nothing is lost."
    saved = facts.last_checkpoint or 0
    steps = max(0, facts.step - saved)
    seconds = steps * (facts.median_step or 0.0)
    work = f", about {fmt.duration(seconds)} of work" if seconds >= 1 else ""
    ends = "It ends at once without saving."
    if not saved:
        lost = f"all {steps:,} steps are lost" if steps > 1 else "its only step is lost"
        return f"{ends} There is no checkpoint yet: {lost}{work}."
    if not steps:
        return f"{ends} Nothing was done since the checkpoint at step {saved:,}."
    lost = (
        f"{steps:,} steps since the checkpoint at step {saved:,} are"
        if steps > 1
        else f"step since the checkpoint at step {saved:,} is"
    )
    return f"{ends} The {lost} lost{work}."


def _waiting(facts: Facts, now: float, asked: Control | None) -> Line:
    if asked is not None and facts.state.live:
        return [
            (
                f"{VERBS.get(asked.verb, asked.verb)} asked for {fmt.age(asked.time, now)}, waiting for the run",
                "warning",
            )
        ]
    if facts.waiting and facts.state.live:
        names = ", ".join(VERBS.get(verb, verb) for verb in facts.waiting)
        return [(f"{names} asked for, not taken yet", "warning")]
    return []


def _answer(facts: Facts, now: float) -> Line:
    control = facts.control
    if control and facts.state.live and now - control.time < CONTROL_SECONDS:
        bad = control.outcome.startswith(("refused", "too late"))
        return [(f"{VERBS.get(control.verb, control.verb)}: {control.outcome}", "warning" if bad else "success")]
    return []


def _turn(facts: Facts) -> Line:
    if facts.state.state == states.QUEUED and facts.state.here:
        return [("it starts by itself when it is its turn; nothing needs to stay open for that", "muted")]
    return []


def _ending(facts: Facts) -> Line:
    state = facts.state.state
    if facts.state.live:
        return []
    where = shorten_path(facts.path, 200)
    if state == states.COMPLETED:
        return [("the adapter is in ", "muted"), (where, "value")]
    if state == states.STOPPED and facts.has_adapter:
        return [(f"saved at step {facts.step:,} in ", "muted"), (where, "value")]
    if state == states.UNKNOWN:
        return []
    line: Line = [(f"ended after {facts.step:,} steps" if facts.step else "ended before the first step", "text")]
    if facts.state.resumable:
        line.append(("; it can be resumed from its last checkpoint", "text"))
    elif facts.step:
        line.append(("; no checkpoint stands from which it could be resumed", "muted"))
    return line


def _notice(facts: Facts, now: float) -> Line:
    if facts.notice is None:
        return []
    when, level, text = facts.notice
    if condition.shows(facts, facts.notice_kind):
        return []
    if level == "info" and not now - when < NOTICE_SECONDS:
        return []
    return [(text, level if level in ("warning", "error") else "muted")]
