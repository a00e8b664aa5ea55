"""The lengths of all rows as a page: a histogram, quantiles, and what ``max_seq_length`` costs."""

from __future__ import annotations

from engine.text import clean
from tui.glyphs import glyphs
from tui.preview.about import count
from tui.preview.lengthstats import Bin, LengthStats
from tui.widgets.lines import Line, crop

QUANTILES = ((0.5, "half"), (0.9, "90%"), (0.95, "95%"), (0.99, "99%"))
_LABEL = 22


def page(
    stats: LengthStats, width: int, height: int, total: int | None, *, draws: bool = False, waiting: bool = False
) -> list[Line]:
    """All lines; ``total`` is how many rows there are, if that is known, ``waiting`` that nothing was measured yet."""
    if not stats.rows:
        words = "Measuring the first rows" if waiting or not stats.complete else "There are no rows"
        return [[], [(f"{words}{glyphs().ellipsis if not stats.complete else ''}", "muted")]]
    lines: list[Line] = [progress(stats, total), []]
    figures = _figures(stats)
    room = max(4, height - len(lines) - len(figures) - 3 - draws)
    lines += _histogram(stats, width, min(room, 20))
    lines += [[], *figures]
    if draws:
        lines.append([("All rows of the files are counted, whatever share of a file the run takes", "muted")])
    return [crop(line, width) for line in lines]


def progress(stats: LengthStats, total: int | None) -> Line:
    """How much of it is measured: what is said of all rows is an estimate until then."""
    if stats.complete:
        return [(f"All {count(stats.rows, 'row')} measured", "success")]
    share = f" of {total:,} ({min(99, stats.rows * 100 // total)}%)" if total and stats.rows <= total else ""
    return [(f"{stats.rows:,}{share} rows measured so far: the figures are estimates until all are", "warning")]


def _figures(stats: LengthStats) -> list[Line]:
    rows = stats.measured or 1
    quantiles: Line = [("Tokens a row, up to".ljust(_LABEL), "muted")]
    for share, name in QUANTILES:
        quantiles += [(f"{name} ", "muted"), (f"{stats.quantile(share) or 0:,}", "value"), ("   ", "text")]
    quantiles += [("all ", "muted"), (f"{stats.longest:,}", "value")]
    lost = stats.tokens - stats.kept
    lines: list[Line] = [
        quantiles,
        _figure("Tokens in all", f"{stats.tokens:,}", f"{stats.learned:,} trained, {stats.mean or 0:,.0f} a row on average"),
        _figure(f"Cut off at {stats.limit:,}", count(stats.cut, "row"),
                f"{_share(stats.cut, rows)} of the rows, {_share(lost, stats.tokens or 1)} of the tokens", bad=bool(stats.cut)),
        _figure("Nothing to train", count(stats.nothing, "row"), f"{_share(stats.nothing, rows)} of the rows",
                bad=bool(stats.nothing)),
    ]  # fmt: skip
    if stats.refused:
        first = stats.refusals[0]["message"] if stats.refusals else ""
        lines.append(_figure("The template refuses", count(stats.refused, "row"), clean(first, 200), bad=True))
    suggested = stats.suggestion
    if suggested is not None:
        about = "no row is cut" if not suggested.cut else (
            f"cuts {count(suggested.cut, 'row')} ({_share(suggested.cut, rows)}), the longest has {suggested.longest:,}")  # fmt: skip
        same = "as it is now" if suggested.length == stats.limit else "s takes it over"
        so_far = "" if stats.complete else ", so far"
        lines.append([("Suggested length".ljust(_LABEL), "muted"), (f"{suggested.length:,}", "key"),
                      (f"  {about}{so_far}; {same}", "muted")])  # fmt: skip
    return lines


def _figure(label: str, value: str, about: str, *, bad: bool = False) -> Line:
    return [(label.ljust(_LABEL), "muted"), (value, "warning" if bad else "value"), (f"  {about}", "muted")]


def _share(part: int, whole: int) -> str:
    if not part:
        return "0%"
    share = 100 * part / whole
    return f"{share:.0f}%" if share >= 10 else f"{share:.1f}%" if share >= 0.1 else "less than 0.1%"


def _histogram(stats: LengthStats, width: int, most: int) -> list[Line]:
    bins = stats.histogram(most)
    if not bins:
        return []
    names = [_name(item) for item in bins]
    wide, size = max(len(name) for name in names), max(len(f"{item.count:,}") for item in bins)
    top, room = max(item.count for item in bins) or 1, max(5, width - wide - size - 18)
    lines: list[Line] = []
    for item, name in zip(bins, names, strict=True):
        bar = glyphs().full * max(1 if item.count else 0, round(room * item.count / top))
        gone = item.low >= stats.limit
        cuts = item.low < stats.limit < item.high
        word = "  all cut" if gone and item.count else "  cut in here" if cuts and stats.cut else ""
        lines.append([(f"{name:>{wide}}  ", "muted"), (f"{item.count:>{size},}  ", "value"),
                      (bar, "warning" if gone else "accent"), (word, "warning")])  # fmt: skip
    return lines


def _name(item: Bin) -> str:
    return f"{item.low:,} and more" if item.rest else f"{item.low:,}{glyphs().dash}{item.high - 1:,}"
