"""One directory of the corpus, and what a reader should tell of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Case:
    """``expected`` holds only what is asserted of this directory; ``listed`` says whether it is a run at all.

    Its keys are those of a row, and ``settings`` and ``other`` (parts of them), ``checkpoints`` (steps), ``problem`` (a text that one
    of the problems must hold; ``""``: any; ``None``: there must be none), ``remark`` (the same, of the whole record only), ``hidden`` (a text that must show nowhere),
    ``valid`` (steps of checkpoints that can be resumed from), ``curves`` (names of metrics that must be there), ``eval_rows``.
    """

    name: str
    path: Path
    expected: dict[str, Any] = field(default_factory=dict)
    listed: bool = True


Told = dict[str, Any] | Case | Iterable[Case]
LAYOUTS: list[Callable[[Path], Told]] = []


def layout(function: Callable[[Path], Told]) -> Callable[[Path], Told]:
    """Enrol a function that fills an empty folder of its own.

    It returns what is expected of that folder, or cases for what it made within.
    """
    LAYOUTS.append(function)
    return function


def build(folder: Path) -> list[Case]:
    """Fill ``folder`` with the whole corpus. A folder within that is no case must not be listed."""
    found: list[Case] = []
    for function in LAYOUTS:
        name = name_of(function)
        here = folder / name
        here.mkdir(parents=True)
        told = function(here)
        if isinstance(told, dict):
            found.append(Case(name, here, told))
        elif isinstance(told, Case):
            found.append(told)
        else:
            found.extend(told)
    assert len({case.name for case in found}) == len(found), "two cases have one name"
    return found


def name_of(function: Callable[[Path], Told]) -> str:
    """The name of a layout."""
    return function.__name__.replace("_", "-")
