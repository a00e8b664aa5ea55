"""Run directories as the tools of this trade leave them, whole and damaged, each with what a reader should make of it."""

from __future__ import annotations

from pathlib import Path

from tests.corpus.case import Case
from tests.corpus.many import many

__all__ = ["Case", "build", "layouts", "many"]


def build(folder: Path) -> list[Case]:
    """Fill ``folder`` with the whole corpus; the ``listed`` cases are exactly the runs below it."""
    from tests.corpus import case

    layouts()
    return case.build(folder)


def layouts() -> list[str]:
    """The names of all layouts: each has a folder of that name."""
    from tests.corpus import axolotl, board, case, damaged, factory, odd_values, own, public, swift, trainer, trees, trl

    assert all((axolotl, board, damaged, factory, odd_values, own, public, swift, trainer, trees, trl))
    return [case.name_of(function) for function in case.LAYOUTS]
