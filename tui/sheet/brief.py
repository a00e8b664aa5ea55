"""The costs beside the form: a few lines in a wide terminal, one in a small one."""

from __future__ import annotations

from tui import format as fmt
from tui.glyphs import glyphs
from tui.sheet import figures
from tui.sheet.costs import Known
from tui.widgets.lines import Line, crop, length, spread

LABEL = 9


def lines(known: Known, width: int, *, few: bool = False) -> list[Line]:
    """What stands in the side pane; ``few`` where there is little room. Figures of earlier settings are grey."""
    sheet = known.sheet
    out: list[Line] = [_head(known, width)]
    memory, verdict = _memory(known, width)
    out += [memory, verdict] if verdict else [memory]
    cut = figures.cut(sheet) if sheet is not None else None
    lengths = sheet.lengths if sheet is not None else None
    longest = f"{lengths.longest:,} tokens, " if lengths is not None and lengths.lengths else ""
    out.append(_row("Longest", (f"{longest}{cut[0]}", cut[1]) if cut else None))
    if not few:
        disk = figures.disk(sheet) if sheet is not None else None
        costs = sheet.costs if sheet is not None else None
        out[-1:-1] = [
            _row("Trained", (figures.trained(costs), "text") if costs else None),
            _row("Tokens", _tokens(known)),
        ]
        out += [_row("Disk", disk), _row("Time", figures.time(sheet) if sheet is not None else None)]
    shown = [crop(line, width) for line in out]
    return shown if known.current else [shown[0], *(_grey(line) for line in shown[1:])]


def line(known: Known, width: int) -> Line:
    """All of it in one line."""
    sheet, dot = known.sheet, f" {glyphs().dot} "
    if sheet is None:
        start: Line = [("Memory ", "muted"), (f"{glyphs().dash}  ", "muted")]
        if known.ready and (known.asleep or known.problem is not None):
            return crop([*start, *_key(known)], width)
        return crop([*start, (_state(known) or "known once the form is right", "muted")], width)
    fits = figures.fits(sheet)
    out: Line = [("Memory ", "muted"), (figures.memory(sheet), "text")]
    if fits is not None:
        out += [(dot, "muted"), ("fits", "success") if fits else ("does not fit, F11 helps", "error")]
    cut = figures.cut(sheet)
    if cut is not None and sheet.lengths is not None and sheet.lengths.truncated:
        out += [(dot, "muted"), cut]
    if sheet.seconds is not None:
        out += [(dot, "muted"), (f"{figures.about()}{fmt.duration(sheet.seconds)}", "text")]
    state = _state(known)
    if not known.current:
        return crop([*_grey(out), (f" {glyphs().ellipsis}", "muted")], width)
    return crop([*out, (f"{dot}{state}", "muted")] if state else out, width)


def _head(known: Known, width: int) -> Line:
    state = _state(known)
    return spread([("Costs".ljust(LABEL), "muted"), (state, "muted")], _key(known), width)


def _key(known: Known) -> Line:
    """What F11 is good for now."""
    asleep = known.asleep and not known.current
    words = "says why it is not known" if known.problem is not None else "works it out" if asleep else "shows all"
    return [("F11", "key"), (f" {words}", "muted")]


def _state(known: Known) -> str:
    """What is being done, or why nothing is."""
    dots = glyphs().ellipsis
    if known.problem is not None or (known.asleep and not known.current):
        return ""
    if not known.ready:
        return "" if known.sheet is None else f"of earlier settings {dots}"
    if known.loading and not known.current:
        return f"loading the tokenizer{dots}"
    if not known.current:
        return f"working it out{dots}"
    lengths = known.sheet.lengths if known.sheet is not None else None
    if lengths is not None and lengths.estimated:
        done, total = known.counted or (0, 0)
        return (
            f"counting all rows {fmt.percent(fmt.share(done, total))}{dots}"
            if done and total
            else f"counting all rows{dots}"
        )
    return ""


def _memory(known: Known, width: int) -> tuple[Line, Line]:
    """Memory against what is free, and a bar with whether it fits."""
    sheet = known.sheet
    if sheet is None:
        return _row("Memory", None), [(" " * LABEL, "muted"), (glyphs().track * min(24, width - LABEL), "rule")]
    found, fits = figures.held(sheet), figures.fits(sheet)
    first = _row("Memory", (figures.memory(sheet), "text"))
    if found is None or fits is None or sheet.gpu is None:
        return first, []
    if not fits:
        changes = len(sheet.fixes)
        more = f" shows {changes} change{'' if changes == 1 else 's'}" if changes else " shows why"
        words: Line = [("does not fit: ", "error"), ("F11", "key"), (more, "text")]
    else:
        words = [(f"fits, {'measured' if found[1] else 'by estimate'}", "success")]
    room = min(24, width - LABEL - length(words) - 2)
    full, rest = fmt.progress_bar(found[0] / max(1, sheet.gpu.memory_free), max(0, room))
    bar: Line = [(full, "accent" if fits else "error"), (rest, "rule"), ("  ", "text")] if room >= 6 else []
    return first, [(" " * LABEL, "muted"), *bar, *words]


def _tokens(known: Known) -> tuple[str, str] | None:
    lengths = known.sheet.lengths if known.sheet is not None else None
    if lengths is None or not lengths.rows:
        return None
    sign = figures.about() if lengths.estimated else ""
    return f"{sign}{figures.short(lengths.kept)}, {figures.short(lengths.trained)} learned", "text"


def _row(label: str, value: tuple[str, str] | None) -> Line:
    return [(label.ljust(LABEL), "muted"), value or (glyphs().dash, "muted")]


def _grey(line: Line) -> Line:
    return [(text, "rule" if colour == "rule" else "muted") for text, colour in line]
