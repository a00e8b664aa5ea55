"""Numbers, times and texts as every screen writes them: short, aligned, honest about what is not known."""

from __future__ import annotations

import math
import re
import time

from rich.cells import cell_len, set_cell_size

from tui.glyphs import glyphs

# Characters that change how their neighbours are drawn: terminals disagree about the width of what results.
_JOINERS = re.compile("[\u200c\u200d\ufe00-\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0000-\U000e007f]")


def cells(text: str) -> str:
    """A cleaned text without the joining characters whose width terminals disagree about."""
    return text if text.isascii() else _JOINERS.sub("", text)


def fit(text: str, width: int, align: str = "left", cut: str = "end") -> str:
    """A cleaned text in exactly ``width`` cells: padded, or cut (``end``, ``start`` or ``middle``) with an ellipsis."""
    text = cells(text)
    length = cell_len(text)
    if length > width:
        text = shorten(text, width, cut)
        length = cell_len(text)
    space = " " * (width - length)
    return space + text if align == "right" else text + space


def shorten(text: str, width: int, cut: str = "end") -> str:
    """A cleaned text of at most ``width`` cells; wide characters are never split."""
    if cell_len(text) <= width:
        return text
    mark = glyphs().ellipsis
    if width <= 1:
        return mark[: max(0, width)]
    if cut == "start":
        return mark + _last_cells(text, width - 1)
    if cut == "middle":
        head = (width - 1) // 2
        return set_cell_size(text, head).rstrip() + mark + _last_cells(text, width - 1 - head)
    return set_cell_size(text, width - 1).rstrip() + mark


def _last_cells(text: str, width: int) -> str:
    taken = 0
    for index in range(len(text) - 1, -1, -1):
        taken += cell_len(text[index])
        if taken > width:
            return text[index + 1 :]
    return text


def duration(seconds: float | None) -> str:
    """At most seven cells: ``42s``, ``3m 05s``, ``47m``, ``2h 07m``, ``3d 04h``; a dash if unknown."""
    if seconds is None or not math.isfinite(seconds):
        return glyphs().dash
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 86_400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3600:02d}h"


def duration_exact(seconds: float | None) -> str:
    """A duration to the second: ``47m 12s``, ``2h 07m 09s``; a dash if unknown."""
    if seconds is None or not math.isfinite(seconds) or seconds < 600:
        return duration(seconds)
    whole = int(seconds)
    text = f"{whole % 3600 // 60:02d}m {whole % 60:02d}s"
    return f"{whole // 3600}h {text}" if whole >= 3600 else text


def age(then: float | None, now: float | None = None) -> str:
    """How long ago: ``just now``, ``12s ago``, ``3h ago``; a dash if unknown."""
    if then is None or not math.isfinite(then):
        return glyphs().dash
    seconds = (time.time() if now is None else now) - then
    if seconds < 2:
        return "just now"
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit} ago"
    return f"{int(seconds)}s ago"


def size(amount: float | None) -> str:
    """Bytes in binary units, at most eight cells: ``512 B``, ``3.4 GiB``, ``981 MiB``; a dash if unknown."""
    if amount is None or not math.isfinite(amount):
        return glyphs().dash
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or abs(amount) >= 99.95 else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def loss(value: float | None) -> str:
    """A loss in at most seven cells, four decimals where they fit; NaN and infinities by name, a dash if unknown."""
    if value is None:
        return glyphs().dash
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    magnitude = abs(value)
    if magnitude >= 9999.95 or 0 < magnitude < 0.0005:
        return f"{value:.1e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
    decimals = 4 if magnitude < 9.99995 else 3 if magnitude < 99.9995 else 2 if magnitude < 999.995 else 1
    return f"{value:.{decimals}f}"


def number(value: float | None, digits: int = 4) -> str:
    """Any number in few digits; NaN and infinities by name, a dash if unknown."""
    if value is None:
        return glyphs().dash
    return "NaN" if value != value else f"{value:.{digits}g}"


def rate(value: float | None) -> str:
    """A learning rate as people type it: ``2e-4``."""
    if value is None or not 0 < abs(value) < 0.01:
        return number(value, 3)
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def count(value: float | None) -> str:
    """A whole number with thousands separated by commas; a dash if unknown."""
    return glyphs().dash if value is None or not math.isfinite(value) else f"{value:,.0f}"


def steps(step: int | None, total: int | None) -> str:
    """Progress as ``120/400``; what is not known is a dash."""
    dash = glyphs().dash
    return dash if step is None and total is None else f"{dash if step is None else step}/{total or dash}"


def percent(fraction: float | None) -> str:
    """A share in whole percent, never 100% before all is done; a dash if unknown."""
    if fraction is None or not math.isfinite(fraction):
        return glyphs().dash
    return f"{100 if fraction >= 1 else min(99, int(fraction * 100))}%"


def share(step: int | None, total: int | None) -> float | None:
    """Progress as a fraction from 0 to 1, ``None`` if unknown."""
    return min(1.0, max(0.0, step / total)) if step is not None and total else None


def progress_bar(fraction: float | None, width: int) -> tuple[str, str]:
    """A bar of ``width`` cells in two parts, done and left, to be coloured separately; full only when all is done."""
    g = glyphs()
    if fraction is None:
        return "", g.track * width
    halves = int(min(1.0, max(0.0, fraction)) * width * 2)
    done = g.full * (halves // 2) + (g.half if halves % 2 else "")
    return done, g.track * (width - len(done))


def clock(when: float | None, now: float | None = None, *, long: bool = False) -> str:
    """Local time in at most seven cells: ``14:05`` today, ``Nov 23``, ``2025-11``; a dash if unknown.

    ``long`` forms have twelve: ``Nov 23 14:05``, ``2025-11-23``.
    """
    if when is None or not 0 < when < 2**40:
        return glyphs().dash
    moment, today = time.localtime(when), time.localtime(time.time() if now is None else now)
    if moment.tm_year != today.tm_year:
        return time.strftime("%Y-%m-%d" if long else "%Y-%m", moment)
    day = f"{_MONTHS[moment.tm_mon - 1]} {moment.tm_mday:2d}"
    hour = f"{moment.tm_hour:02d}:{moment.tm_min:02d}"
    if long:
        return f"{day} {hour}"
    return hour if moment.tm_yday == today.tm_yday else day


# strftime's %b follows the locale and would change the column's width.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def queue_words(position: int | None, waits_for: str | None) -> str:
    """Where a queued run stands and what holds it up, e.g. ``waits: 1 run is before it``."""
    waits = waits_for or ""
    if position == 1 and not waits:
        return "is next"
    if not waits:
        return f"is number {position} in the queue" if position is not None else "waits in the queue"
    return f"waits for {waits}" if waits.startswith("a ") else f"waits: {waits}"


def reason_after(state: str, reason: str) -> str:
    """A reason to stand behind its state: ``killed`` and ``killed by SIGKILL`` are said as ``killed`` ``by SIGKILL``."""
    return reason.removeprefix("killed ") if state == "killed" and reason.startswith("killed by ") else reason


def unit(number: float | None, units: str) -> str:
    """A unit as it stands behind a number: ``passes``, but 1 ``pass``."""
    if number != 1:
        return units
    return units.removesuffix("es") if units.endswith("sses") else units.removesuffix("s")


def model_name(name: str | None) -> str:
    """The last part of a model's name or path, where models differ most (not yet cleaned)."""
    return (name or "").rstrip("/").rsplit("/", 1)[-1] or glyphs().dash
