"""Figures of a sheet in words: what is estimated, measured or not known says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.errors import Problem
from tui import format as fmt
from tui.glyphs import glyphs

if TYPE_CHECKING:
    from engine.preflight.sheet import Sheet
    from engine.rehearsal import Rehearsal


def about() -> str:
    """The sign of an estimate, with its space."""
    return "~ " if glyphs().ascii else "≈ "


def short(number: float | None) -> str:
    """A large number in a few cells: ``40.4 M``, ``7.62 B``, ``12,300``."""
    if number is None:
        return glyphs().dash
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6)):
        if number >= size:
            return f"{number / size:.3g} {unit}" if number < 999.5 * size else f"{number / size:,.0f} {unit}"
    return f"{number:,.0f}"


def many(number: int, word: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def share(part: float, whole: float) -> str:
    """A share in percent with as many digits as mean something."""
    value = 100 * part / whole if whole else 0.0
    return f"{value:.0f}%" if value >= 10 else f"{value:.1f}%" if value >= 1 else f"{value:.2f}%" if value else "0%"


def tried(sheet: Sheet) -> Rehearsal | None:
    """The dry run of just these settings, if there was one."""
    return sheet.rehearsal


def held(sheet: Sheet) -> tuple[int, bool] | None:
    """Bytes on the GPU at the peak, and whether they were measured; ``None`` where neither is known."""
    if sheet.needed is None:
        return None
    return sheet.needed, sheet.rehearsal is not None and sheet.rehearsal.peak is not None


def fits(sheet: Sheet) -> bool | None:
    """Whether the run fits into what is free on its GPU now; ``None`` without a GPU, or where it is not known."""
    if sheet.gpu is None or held(sheet) is None:
        return None
    return memory_problem(sheet) is None


def memory_problem(sheet: Sheet) -> Problem | None:
    """That the run does not fit: by estimate, as measured, or because a dry run ran out of memory."""
    return next((one for one in (*sheet.errors, *sheet.warnings) if one.kind in ("memory", "out-of-memory")), None)


def memory(sheet: Sheet) -> str:
    """``≈ 18.2 GiB of 79.1 GiB free``."""
    found = held(sheet)
    free = ", no GPU here"
    if sheet.gpu is not None:
        free = f" of {fmt.size(sheet.gpu.memory_free)} {'allowed' if sheet.gpu.limited else 'free'}"
    if found is None:
        return f"{glyphs().dash}{free}"
    return f"{'' if found[1] else about()}{fmt.size(found[0])}{free}"


def trained(costs: dict[str, Any]) -> str:
    """``40.4 M parameters, 0.53%``."""
    return f"{short(costs['trainable'])} parameters, {share(costs['trainable'], costs['parameters'])}"


def cut(sheet: Sheet) -> tuple[str, str] | None:
    """Rows that ``max_seq_length`` cuts, and those that keep nothing to learn: words, and their colour."""
    lengths = sheet.lengths
    if lengths is None or not lengths.rows:
        return None
    sign = about() if lengths.estimated else ""
    if not lengths.truncated:
        return ("none cut in a sample" if lengths.estimated else "none cut"), "text"
    if lengths.empty:
        return f"{sign}{lengths.truncated:,} cut, {sign}{lengths.empty:,} lost", "warning"
    return f"{sign}{many(lengths.truncated, 'row')} cut", "warning"


def disk(sheet: Sheet) -> tuple[str, str] | None:
    """Checkpoints against what is free: words, and their colour."""
    found = sheet.disk
    if found is None:
        return None
    words = f"{about()}{found['count']} {glyphs().times} {fmt.size(found['checkpoint'])}"
    needed, free = found["total"], found["free"]
    short_of = needed is not None and free is not None and needed > free
    return f"{words} of {fmt.size(free)} free", "warning" if short_of else "text"


def time(sheet: Sheet) -> tuple[str, str]:
    """How long it takes, and from where that is known: words, and their colour."""
    if sheet.seconds is None:
        return f"{glyphs().dash}  not measured here yet", "muted"
    whence = "by the dry run" if sheet.time_from == "dry run" else "as runs took here"
    return f"{about()}{fmt.duration(sheet.seconds)} {whence}", "text"
