"""Portions of the fault suite under pytest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import portions, table


def check(name: str, numbers: list[int], tmp_path: Path, jobs: int = 2) -> None:
    """All trials are good, or this machine cannot show any of them."""
    trials = portions.run(name, numbers, jobs=jobs)
    table.append(tmp_path / "results.jsonl", trials)
    print(table.summed(table.read(tmp_path / "results.jsonl"), {}))
    bad = [f"{t.number} ({t.where}): {t.outcome}" for t in trials if not t.ok and not t.skipped]
    assert not bad, "\n".join(bad)
    skipped = [t for t in trials if t.skipped]
    if len(skipped) == len(trials):
        pytest.skip("; ".join(sorted({t.skipped for t in skipped})))
