"""Damage to the event stream, in portions: the checks of test_stream.py, a portion a slice of the file's bytes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.test_stream import check_cut, check_flip, stream
from tests.faults.trial import Trial

RECORDS = 200 if os.environ.get("TUNEDECK_FULL") else 100
BYTES = len(stream(RECORDS)[0])
SLICE = 500
# For each slice of the file: its cuts, then its flips of each of the eight bits.
SLICES = -(-BYTES // SLICE)
TOTAL, BATCH = SLICES * 9, 9


def do(numbers: Sequence[int], folder: Path) -> list[Trial]:
    """events.jsonl cut at every byte, and every bit of it flipped: nothing whole is lost, all damage is counted."""
    data, records = stream(RECORDS)
    trials = []
    for number in numbers:
        kind, begin = number % 9, number // 9 * SLICE
        trial = Trial("stream", number, "cut" if kind == 0 else "one bit flipped", time=round(time.time(), 1))
        begun = time.monotonic()
        try:
            most = 0
            places = range(begin, min(begin + SLICE, BYTES + (kind == 0)))
            for place in places:
                if kind == 0:
                    check_cut(folder, data, records, place)
                else:
                    most = max(most, check_flip(folder, data, records, place, kind - 1))
            trial.ok = most <= 2
            trial.count(bytes=len(places))
            trial.outcome = f"at most {most} records lost"
        except AssertionError as error:
            trial.outcome = f"at {error}"
        trial.seconds = round(time.monotonic() - begun, 2)
        trials.append(trial)
    return trials
