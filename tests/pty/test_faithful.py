"""A short version of ``python -m tests.benchmarks.faithful``."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.faithful import run


def test_random_interactions_leave_the_screen_as_painted_whole(tmp_path: Path) -> None:
    result = run(tmp_path, 90, 11, every=6)
    assert not result.wrong, result.wrong
    assert result.checks == 15 and len(result.screens) >= 2
