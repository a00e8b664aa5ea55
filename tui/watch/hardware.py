"""The pane of the machine: every card with its memory, processor, host memory, and the disk against the next checkpoint."""

from __future__ import annotations

import math

from tui import format as fmt
from tui.glyphs import glyphs
from tui.watch import bars
from tui.watch.facts import Facts
from tui.watch.machine import Card, Machine
from tui.watch.times import heat
from tui.widgets.lines import Line, Lines, crop, length

# A reading comes every five seconds, later every ten.
OLD_SECONDS = 15.0
# Without a reading after so long, nobody samples.
UNSAMPLED_SECONDS = 30.0
LABEL = 11
GIB = 1024**3


class HardwarePanel(Lines):
    """Shown in place of the charts; repaints only lines that changed."""

    def show_facts(self, facts: Facts, now: float) -> None:
        """Show the newest reading; ``now`` is Unix seconds."""
        width, height = self.size
        if width and height:
            self.show(lines(facts, now, width, height))


def lines(facts: Facts, now: float, width: int, height: int) -> list[Line]:
    """The pane's text: as much detail as ``width`` × ``height`` cells have room for."""
    machine = facts.machine
    rest = [*_host(machine, width), *_disk(machine, width)]
    said = _age(facts, now)
    if not machine.cards:
        top = [said] if said else []
        top += [*_without_cards(facts, now), []]
        return [crop(line, width) for line in [*top, *rest]][:height]
    return [crop(line, width) for line in _fitted(facts, said, rest, width, height)][:height]


def _fitted(facts: Facts, said: Line, rest: list[Line], width: int, height: int) -> list[Line]:
    """The most detailed form that fits into the height."""
    cards = sorted(facts.machine.cards, key=lambda card: not card.mine)
    head = [said] if said else []
    room = height - len(head) - len(rest)
    if len(cards) <= 4:
        blocks = [_block(card, facts, width) for card in cards]
        for gap in (1, 0):
            if sum(map(len, blocks)) + (len(blocks)) * gap <= room:
                spaced = [line for block in blocks for line in [*block, *[[]] * gap]]
                return [*head, *spaced, *rest]
    rows = [_row(card, facts, width) for card in cards]
    legend = _legend(facts, width)
    for above, gap in ((legend, 1), (legend, 0), (legend[-1:], 0)):
        if len(rows) + len(above) + gap <= room:
            return [*head, *above, *rows, *[[]] * gap, *rest]
    if len(rows) > room:
        kept = max(1, room - 1)
        rows = [*rows[:kept], [(f"and {len(rows) - kept} more cards: the window is too low for them", "muted")]]
    return [*head, *rows, *rest]


# -- cards --------------------------------------------------------------------------------------------------------------


def _block(card: Card, facts: Facts, width: int) -> list[Line]:
    """A card in full: who, memory bar, what the bar says in numbers, use, heat and power."""
    marked = "this run" if card.mine else "" if card.mine is None else "not used by this run"
    title: Line = [(f"GPU {card.index}".ljust(LABEL), "title"), (fmt.shorten(card.name, max(8, width - 36)), "value")]
    if marked:
        title.append((f"   {glyphs().check + ' ' if card.mine else ''}{marked}", "accent" if card.mine else "muted"))
    block = [title]
    total = card.total or 0.0
    if total > 0:
        text = f" {_gib(card.used)} / {total / GIB:.0f} GiB"
        room = min(100, width - LABEL - len(text))
        marks = _marks(card, facts)
        label: Line = [("memory".ljust(LABEL), "muted")]
        block.append([*label, *bars.memory(marks, total, room), (text, "value")])
        block += [[(" " * LABEL, "text"), *line] for line in bars.key(marks, width - LABEL)]
    block.append(_vitals(card, width))
    return block


def _vitals(card: Card, width: int) -> Line:
    """Use with its last minutes, temperature and power in one line."""
    line: Line = [("use".ljust(LABEL), "muted"), (_percent(card.utilization).rjust(4), "value")]
    tail: Line = []
    if card.temperature is not None:
        tail.append((f"   {heat(card.temperature)}", "warning" if card.temperature >= 87 else "value"))
    if card.power is not None:
        limit = f" / {card.power_limit:.0f}" if card.power_limit else ""
        tail.append((f"   {card.power:.0f}{limit} W", "value"))
    room = min(60, width - length(line) - length(tail) - 2)
    if room >= 8 and len(card.history) > 1:
        line += [("  ", "text"), (bars.spark(card.history, room), "accent")]
    return [*line, *tail]


def _row(card: Card, facts: Facts, width: int) -> Line:
    """A card in one line."""
    mark = glyphs().check if card.mine else " "
    name = f" GPU {card.index:<2} " if width >= 60 else f"{card.index:>2} "
    left: Line = [(mark, "accent"), (name, "title" if card.mine else "value")]
    total = card.total or 0.0
    memory = f"{_gib(card.used)}/{total / GIB:.0f} GiB" if total else glyphs().dash
    warm = heat(card.temperature) if card.temperature is not None else glyphs().dash
    power = f"{card.power:.0f} W" if card.power is not None else glyphs().dash
    right: Line = [(f" {memory:>13} {_percent(card.utilization):>4}", "value")]
    if width >= 52:
        right += [(f" {warm:>6}", "warning" if (card.temperature or 0) >= 87 else "value"), (f" {power:>6}", "value")]
    room = width - length(left) - length(right)
    if width >= 110 and len(card.history) > 1:
        right += [("  ", "text"), (bars.spark(card.history, 24).rjust(24), "accent")]
        room -= 26
    return [*left, *bars.memory(_marks(card, facts), total, min(80, max(4, room))), *right]


def _marks(card: Card, facts: Facts) -> bars.Marks:
    """What of this card's memory can be told apart. The trainer's own figures are those of its fullest card."""
    mine = len(facts.machine.mine) == 1 and card in facts.machine.mine and facts.state.live
    values = facts.values if mine else {}
    return bars.Marks(
        allocated=values.get("gpu_memory_allocated"),
        peak=values.get("gpu_memory_peak"),
        reserved=values.get("gpu_memory_reserved"),
        own=None if values.get("gpu_memory_reserved") is not None else card.own,
        used=card.used,
    )


def _legend(facts: Facts, width: int) -> list[Line]:
    """What the marks of the compact bars mean, and the trainer's own figures where several cards share them."""
    cards = facts.machine.mine
    if len(cards) == 1 and facts.values.get("gpu_memory_allocated") is not None:
        return bars.key(_marks(cards[0], facts), width)[:1]
    line: Line = []
    first, unit = ("trainer: ", " GiB   ") if width >= 60 else ("", "  ")
    for name in ("allocated", "reserved", "peak"):
        value = facts.values.get(f"gpu_memory_{name}")
        if value is not None:
            line += [(f"{'' if line else first}{name} ", "muted"), (f"{_gib(value)}{unit}", "value")]
    key = bars.short_key(width)
    return [[*line, *key]] if not line or length(line) + length(key) <= width else [line, key]


def _without_cards(facts: Facts, now: float) -> list[Line]:
    machine = facts.machine
    if machine.silent:
        return [[(f"{glyphs().warning} the graphics driver does not answer", "warning")]]
    if machine.time is not None:
        return [
            [(f"{'no GPU':<{LABEL}}", "value"), ("this machine has no NVIDIA card that a driver answers for", "muted")]
        ]
    peak = facts.values.get("gpu_memory_peak")
    text = "no reading yet" if facts.state.live else "no reading of the machine was recorded"
    if facts.state.live and facts.started and now - facts.started > UNSAMPLED_SECONDS:
        text = "no reading of the machine: only runs that tunedeck started are sampled"
    found: list[Line] = [[(text, "muted")]]
    if peak is not None:
        found.append([("GPU".ljust(LABEL), "muted"), (f"memory peak {_gib(peak)} GiB", "value")])
    held = facts.values.get("host_memory")
    if held is not None:
        found.append([("memory".ljust(LABEL), "muted"), (f"this run {_gib(held)} GiB", "value")])
    return found


# -- host and disk ------------------------------------------------------------------------------------------------------


def _host(machine: Machine, width: int) -> list[Line]:
    found: list[Line] = []
    if machine.cpu is not None:
        of = f" of {machine.cores} cores" if machine.cores else ""
        run = f"   this run {machine.run_cpu / 100:.1f} cores" if machine.run_cpu is not None else ""
        share = machine.run_cpu / 100 / machine.cores if machine.run_cpu is not None and machine.cores else None
        found.append(_gauge("processor", machine.cpu / 100, share, f" {_percent(machine.cpu)}{of}", run, width))
    if machine.memory_used is not None and machine.memory_total:
        text = f" {_gib(machine.memory_used)} / {machine.memory_total / GIB:.0f} GiB"
        run = f"   this run {_gib(machine.run_memory)} GiB" if machine.run_memory is not None else ""
        share = machine.run_memory / machine.memory_total if machine.run_memory is not None else None
        found.append(_gauge("memory", machine.memory_used / machine.memory_total, share, text, run, width))
    return found


def _gauge(label: str, whole: float, own: float | None, text: str, more: str, width: int) -> Line:
    if width < 60:
        text, more = text.partition(" of ")[0], more.replace("   this run", "   run")
    room = min(40, width - LABEL - len(text) - len(more))
    line: Line = [(label.ljust(LABEL), "muted")]
    if room >= 8:
        line += bars.share(whole, own, room)
    return [*line, (text if room >= 8 else text.lstrip(), "value"), (more, "muted")]


def _disk(machine: Machine, width: int) -> list[Line]:
    if machine.disk_free is None:
        return []
    free, needed = machine.disk_free, machine.checkpoint
    narrow = width < 70
    line: Line = [("disk".ljust(LABEL), "muted")]
    short = machine.disk_short
    line.append((f"{glyphs().warning + ' ' if short else ''}{fmt.size(free)} free", "error" if short else "value"))
    if needed:
        line.append((f"   {'next' if narrow else 'next checkpoint'} {fmt.size(needed)}", "value"))
        if short:
            line.append(("   too little" if narrow else "   it does not fit", "error"))
        else:
            times = int(free / needed)
            room = f"   room for {times:,}" if times < 1000 else "   room for many"
            line += [(room, "muted")] if length(line) + len(room) <= width else []
    elif machine.disk_total:
        line.append((f" of {fmt.size(machine.disk_total)}", "muted"))
    return [line]


def _age(facts: Facts, now: float) -> Line:
    """How old the reading is, where that matters."""
    when = facts.machine.time
    if when is None or (facts.state.live and now - when <= OLD_SECONDS):
        return []
    if not facts.state.live:
        return [(f"the last reading, {fmt.age(when, now)}", "muted")]
    return [(f"{glyphs().warning} this reading is old: {fmt.age(when, now)}", "warning")]


def _gib(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return glyphs().dash
    return f"{value / GIB:.1f}" if value < 1000 * GIB else f"{value / GIB:.0f}"


def _percent(value: float | None) -> str:
    return glyphs().dash if value is None else f"{value:.0f}%"
