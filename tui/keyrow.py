"""One row of the table of keys."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """One action and its key: ``key`` as Textual names it (commas between several), ``label`` for the footer.

    ``group`` is the heading under which the help lists it; none: the screen's own.
    """

    id: str
    key: str
    action: str
    label: str
    help: str
    show: bool = True
    display: str = ""
    priority: bool = False
    palette: bool = True
    group: str = ""
