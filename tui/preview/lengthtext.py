"""The lengths of all rows as a page: a histogram, quantiles, and what ``max_seq_length`` costs."""

from __future__ import annotations

from engine.preflight.distribution import Bin, Suggestion
from engine.preflight.lengths import Lengths
from engine.text import clean
from tui.glyphs import glyphs
from tui.preview.about import count
from tui.preview.measuring import Measuring
from tui.widgets.lines import Line, crop

QUANTILES = ((0.5, "half"), (0.9, "90%"), (0.95, "95%"), (0.99, "99%"))
_LABEL = 22


def page(stats: Measuring, width: int, height: int, total: int | None, *, draws: bool = False) -> list[Line]:
    """All lines; ``total`` is how many rows there are, if that is known."""
    found = stats.lengths
    if found is None or not found.counted:
        words = "There are no rows" if stats.complete else f"Measuring the first rows{glyphs().ellipsis}"
        return [[], [(words, "muted")]]
    lines: list[Line] = [progress(stats, found, total), []]
    figures = _figures(stats, found)
    room = max(4, height - len(lines) - len(figures) - 3 - draws)
    lines += _histogram(found, width, min(room, 20))
    lines += [[], *figures]
    if draws:
        about = "about " if found.estimated else ""
        rows = (
            f"{about}{count(found.rows, 'row')} with an answer"
            if found.unanswered
            else f"{about}{count(found.rows, 'row')}"
        )
        lines.append([(f"As many rows of each file as the run takes: {rows}", "muted")])
    return [crop(line, width) for line in lines]


def progress(stats: Measuring, found: Lengths, total: int | None) -> Line:
    """How much of it is measured: what is said of all rows is an estimate until then."""
    if not found.estimated:
        return [(f"All {count(found.counted, 'row')} measured", "success")]
    known = [stats.total(file) for file in range(len(stats.counts))]
    if total is None and None not in known:
        total = sum(rows or 0 for rows in known)
    of_all = f" of {total:,}" if total else ""
    line: Line = [(f"Estimated from a sample of {found.counted:,}{of_all} rows", "warning")]
    if stats.done:
        share = f" ({min(99, stats.done * 100 // total)}%)" if total else ""
        line.append((f"   counting all: {stats.done:,}{share}", "muted"))
    return line


def _figures(stats: Measuring, found: Lengths) -> list[Line]:
    spread, rows = found.lengths, round(found.lengths.rows) or 1
    quantiles: Line = [("Tokens a row, up to".ljust(_LABEL), "muted")]
    for share, name in QUANTILES:
        quantiles += [(f"{name} ", "muted"), (f"{spread.quantile(share) or 0:,}", "value"), ("  ", "text")]
    quantiles += [("all ", "muted"), (f"{found.longest:,}", "value")]
    lost = sum((length - stats.limit) * number for length, number in spread.counts.items() if length > stats.limit)
    nothing, everyone = found.empty + found.unanswered, rows + found.unanswered
    sign = "about " if found.estimated else ""
    told = f"{found.trained:,} trained, {spread.tokens / rows:,.0f} a row"
    lines: list[Line] = [
        quantiles,
        _figure("Tokens in all", f"{sign}{found.tokens:,}", told),
        _figure(f"Cut off at {stats.limit:,}", f"{sign if found.truncated else ''}{count(found.truncated, 'row')}",
                f"{_share(found.truncated, rows)} of the rows, {_share(lost, found.tokens or 1)} of the tokens",
                bad=bool(found.truncated)),
        _figure("Nothing to train", f"{sign if nothing else ''}{count(nothing, 'row')}", f"{_share(nothing, everyone)} of the rows",
                bad=bool(nothing)),
    ]  # fmt: skip
    if found.refused:
        least = "at least " if found.estimated else ""
        lines.append(_figure("The template refuses", f"{least}{count(len(found.refused), 'row')}",
                             clean(found.refused[0][2], 200), bad=True))  # fmt: skip
    if found.suggestion is not None:
        lines.append(_suggested(stats, found, found.suggestion, rows))
    return lines


def _suggested(stats: Measuring, found: Lengths, suggested: Suggestion, rows: int) -> Line:
    about = "no row is cut" if not suggested.cut else (
        f"cuts {count(suggested.cut, 'row')} ({_share(suggested.cut, rows)}), the longest has {suggested.longest:,}")  # fmt: skip
    same = "as it is now" if suggested.length == stats.limit else "s takes it over"
    so_far = ", by the sample" if found.estimated else ""
    return [("Suggested length".ljust(_LABEL), "muted"), (f"{suggested.length:,}", "key"),
            (f"  {about}{so_far}; {same}", "muted")]  # fmt: skip


def _figure(label: str, value: str, about: str, *, bad: bool = False) -> Line:
    return [(label.ljust(_LABEL), "muted"), (value, "warning" if bad else "value"), (f"  {about}", "muted")]


def _share(part: float, whole: float) -> str:
    if not part:
        return "0%"
    share = 100 * part / whole
    return f"{share:.0f}%" if share >= 10 else f"{share:.1f}%" if share >= 0.1 else "less than 0.1%"


def _histogram(found: Lengths, width: int, most: int) -> list[Line]:
    bins, limit = found.lengths.histogram(most), found.limit
    if not bins:
        return []
    names = [_name(item) for item in bins]
    wide, size = max(len(name) for name in names), max(len(f"{item.rows:,}") for item in bins)
    top, room = max(item.rows for item in bins) or 1, max(5, width - wide - size - 18)
    lines: list[Line] = []
    for item, name in zip(bins, names, strict=True):
        bar = glyphs().full * max(1 if item.rows else 0, round(room * item.rows / top))
        gone = item.low >= limit
        cuts = item.low < limit < item.high
        word = "  all cut" if gone and item.rows else "  cut in here" if cuts and found.truncated else ""
        lines.append([(f"{name:>{wide}}  ", "muted"), (f"{item.rows:>{size},}  ", "value"),
                      (bar, "warning" if gone else "accent"), (word, "warning")])  # fmt: skip
    return lines


def _name(item: Bin) -> str:
    return f"{item.low:,} and more" if item.rest else f"{item.low:,}{glyphs().dash}{item.high - 1:,}"
