"""The pages of a run: their names, and which lines stand on each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tui import format as fmt
from tui.glyphs import glyphs
from tui.history import listpages, settingspage, summarypage
from tui.history.files import Files
from tui.history.load import Charted, Loaded, Settings, Words
from tui.history.sheet import Page, static
from tui.widgets.lines import Line, length

if TYPE_CHECKING:
    from tui.history.settingspage import Setting

NAMES = ("summary", "settings", "curves", "evaluations", "samples", "checkpoints", "files", "log", "notes")
SHORT = {"evaluations": "evals", "checkpoints": "saves"}
SUMMARY, SETTINGS, CURVES, EVALUATIONS, SAMPLES, CHECKPOINTS, FILES, LOG, NOTES = range(1, 10)
COUNT = len(NAMES)
SEARCHED = (SETTINGS, FILES, LOG)


class Known(Protocol):
    """What a screen knows besides the record."""

    page: int
    charted: Charted | None
    settings: Settings | None
    words: Words
    files: Files | None


def tabs(chosen: int, width: int) -> Line:
    """All pages in a line with their keys; shorter names and gaps where there is less room."""
    for short, gap in ((False, 3), (True, 2), (True, 1)):
        line: Line = []
        for number, name in enumerate(NAMES, 1):
            shown = SHORT.get(name, name) if short else name
            line += [(" " * gap, "text")] if line else []
            here = number == chosen
            line += [(f"{number}", "key" if here else "muted"), (f" {shown}", "title" if here else "muted")]
        if length(line) <= width:
            break
    return line


def waiting(trouble: str, seconds: float) -> list[Line]:
    """What stands there while nothing is known yet, or never will be."""
    if trouble:
        return [[(f"{glyphs().warning} ", "warning"), (trouble, "warning")]]
    words: Line = [(f"reading{glyphs().ellipsis}", "muted")]
    if seconds >= 1:
        words = [
            (f"reading{glyphs().ellipsis} {fmt.duration(seconds)}", "muted"),
            ("   esc", "key"),
            (" goes back", "muted"),
        ]
    return [words]


def about_steps(charted: Charted | None) -> Line:
    """What must be known of the x axis."""
    if charted is None:
        return []
    if charted.counted:
        return [("no row says its step: the rows are counted", "muted")]
    if charted.left_out:
        return [(f"{charted.left_out:,} rows say no step and are left out", "muted")]
    return []


def make(known: Known, loaded: Loaded, search: str, width: int) -> tuple[Page, list[Setting | None]]:
    """The chosen page, and the settings of its rows, if it has any."""
    record, page = loaded.record, known.page
    if page == SETTINGS and known.settings is not None:
        return settingspage.page(known.settings.sections, search)
    if page == SETTINGS or (page == CURVES and known.charted is None):
        return static(waiting("", 0)), []
    if page == SUMMARY:
        lines = summarypage.lines(record, loaded.best, width)
        if known.words.notes is not None:
            note = summarypage.note_lines(known.words.notes.notes, width)
            lines += [[], *note] if note else []
        return static(lines), []
    if page == EVALUATIONS:
        return listpages.evaluations(record, width), []
    if page == SAMPLES:
        return listpages.samples(record, width), []
    if page == CHECKPOINTS:
        return listpages.checkpoints(record, width), []
    if page == FILES:
        return listpages.file_list(known.files, search, width), []
    if page == NOTES:
        return listpages.notes(known.words.notes, known.words.trouble, width), []
    none = "Nothing was logged that could be drawn." if page == CURVES else "This directory holds no log."
    return static([[(none, "muted")]]), []
