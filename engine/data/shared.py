"""Rows that several files share: training files with each other, and the data for evaluation with those for training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.data.duplicates import Repeat, across, shared
from engine.data.faults import Cancelled
from engine.data.remarks import ACROSS_FILES, EVAL_IN_TRAIN, WORDS
from engine.data.report import FIRST_LINES, DataReport, Tally
from engine.text import clean_path

Stop = Callable[[], bool]


def say_repeats(whole: DataReport, stop: Stop | None = None) -> None:
    """Count in the report of several files the rows that also stand in an earlier one. Raises :class:`Cancelled`."""
    parts = [part for part in whole.files if part.seen is not None]
    count, found = across([part.seen for part in parts if part.seen], FIRST_LINES, _tick(stop))
    tally = _tally(ACROSS_FILES, count, found, parts, parts)
    if tally is not None:
        whole.tallies[ACROSS_FILES] = tally


def rows_in_both(train: DataReport, evaluation: DataReport, stop: Stop | None = None) -> Tally | None:
    """The rows to evaluate with that also stand in the training data, ``None`` if there are none.

    The whole files are compared, whatever share of them is taken. Raises :class:`Cancelled` when ``stop`` says so.
    """
    earlier, later = (
        [part for part in whole.files or [whole] if part.seen is not None] for whole in (train, evaluation)
    )
    count, found = shared([part.seen for part in earlier if part.seen], [part.seen for part in later if part.seen],
                          FIRST_LINES, _tick(stop))  # fmt: skip
    return _tally(EVAL_IN_TRAIN, count, found, later, earlier)


def _tally(
    kind: str, count: int, found: list[Repeat], here: Sequence[DataReport], there: Sequence[DataReport]
) -> Tally | None:
    if not count:
        return None
    places = [
        (str(here[r.file].path), r.line, f"{clean_path(there[r.earlier_file].path, 300)}:{r.earlier_line}")
        for r in found
    ]
    return Tally(kind, "warning", count, WORDS[kind][2], places)  # type: ignore[arg-type]


def _tick(stop: Stop | None) -> Callable[[], None]:
    def tick() -> None:
        if stop is not None and stop():
            raise Cancelled

    return tick
