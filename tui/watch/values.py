"""The column of current values beside the charts: loss, optimizer, speed, memory and cards, checkpoints."""

from __future__ import annotations

import math

from tui import format as fmt
from tui.glyphs import glyphs
from tui.watch.facts import Facts
from tui.watch.signs import DISK
from tui.watch.times import heat, span
from tui.widgets.chart.frame import value_label
from tui.widgets.chart.ticks import number_label
from tui.widgets.lines import Line, length


def values(facts: Facts, smooth: float | None, width: int, height: int) -> list[Line]:
    """The column of current values: labels left, numbers right; groups set apart while there is room."""
    groups = [group for group in _groups(facts, smooth) if group]
    spare = height - sum(map(len, groups))
    lines: list[Line] = []
    for index, group in enumerate(groups):
        if index and spare >= len(groups) - 1:
            lines.append([])
        lines += [_value(label, text, colour, width) for label, text, colour in group]
    return lines[:height]


Entry = tuple[str, str, str]


def _groups(facts: Facts, smooth: float | None) -> list[list[Entry]]:
    v = facts.values
    loss: list[Entry] = [_loss("loss", v.get("loss")), _loss("smooth", smooth)]
    best = _loss("best", facts.best_loss)
    if facts.best_step is not None:
        best = (f"best, step {facts.best_step:,}", best[1], best[2])
    loss.append(best)
    if facts.eval_loss is not None or facts.best_eval is not None:
        loss += [_loss("eval loss", facts.eval_loss), _loss("best eval", facts.best_eval)]
    if facts.nonfinite_loss:
        loss.append(("not finite", f"{facts.nonfinite_loss:,}", "error"))
    optim = [_number("learning rate", v.get("learning_rate"), 3), _number("grad norm", v.get("grad_norm"), 3)]
    speed = [
        _rate("samples/s", v.get("samples_per_second")),
        _rate("tokens/s", v.get("tokens_per_second")),
        _number("tokens seen", v.get("num_tokens"), 3),
    ]
    if v.get("step_seconds") is not None:
        speed.append(("step time", span(v["step_seconds"]), "value"))
    kept: list[Entry] = []
    if facts.checkpoints:
        kept = [("checkpoints", f"{facts.checkpoints:,}", "value")]
        if facts.last_checkpoint is not None:
            kept.append(("last at step", f"{facts.last_checkpoint:,}", "value"))
    return [loss, optim, speed, _memory(facts), kept]


def _memory(facts: Facts) -> list[Entry]:
    v, machine = facts.values, facts.machine
    entries: list[Entry] = []
    if v.get("gpu_memory_peak") is not None:
        entries.append(_bytes("memory peak", v["gpu_memory_peak"]))
    else:
        entries.append(_bytes("host memory", v.get("host_memory")))
    for card in machine.mine[:4]:
        parts = [f"{card.utilization:.0f}%" if card.utilization is not None else glyphs().dash]
        if card.temperature is not None:
            parts.append(heat(card.temperature))
        if card.power is not None:
            parts.append(f"{card.power:.0f} W")
        entries.append((f"GPU {card.index}", " ".join(parts), "value"))
        if card.used is not None and card.total and len(machine.mine) <= 2:
            used, total = card.used / 1024**3, card.total / 1024**3
            entries.append(("  memory", f"{used:.1f} / {total:.0f} GiB", "value"))
    if machine.cpu is not None and not machine.mine:
        entries.append(("processor", f"{machine.cpu:.0f}%", "value"))
    if any(sign.kind == DISK for sign in facts.signs):
        entries.append((f"{glyphs().warning} disk free", fmt.size(machine.disk_free), "error"))
    return entries


def _value(label: str, text: str, colour: str, width: int) -> Line:
    label = fmt.shorten(label, max(0, width - len(text) - 1))
    return [(label + " " * max(1, width - len(text) - length([(label, "")])), "muted"), (text, colour)]


def _number(label: str, value: float | None, digits: int = 4) -> Entry:
    if value is None:
        return label, glyphs().dash, "muted"
    return label, value_label(value, number_label, digits), "value" if math.isfinite(value) else "error"


def _rate(label: str, value: float | None) -> Entry:
    if value is not None and 1000 <= value < 1e6:
        return label, fmt.count(value), "value"
    return _number(label, value, 3)


def _loss(label: str, value: float | None) -> Entry:
    return label, fmt.loss(value), "muted" if value is None else "value" if math.isfinite(value) else "error"


def _bytes(label: str, value: float | None) -> Entry:
    if value is None or not math.isfinite(value):
        return label, glyphs().dash, "muted"
    return label, fmt.size(value), "value"
