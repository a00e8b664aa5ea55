"""A representative part of the fault suite; ``python -m tests.faults`` runs the rest of the table."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import table
from tests.faults.checks import check
from tests.faults.home import ROOT

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def stall(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], dict[str, Any]]]:
    """A stopped worker: half a minute of waiting, beside all that follows; gives the trial's line of results."""
    if not any(item.name == "test_a_stall" for item in request.session.items):
        yield dict
        return
    results = tmp_path_factory.mktemp("stall") / "results.jsonl"
    words = [sys.executable, "-m", "tests.faults", "--fault", "stall", "--trials", "1", "--results", str(results)]
    beside = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL)
    yield lambda: (beside.wait(150), *table.read(results))[1]
    beside.wait(150)


def test_killed_launches(tmp_path: Path) -> None:
    check("launch-loss", [1, 7, 13], tmp_path)


def test_endings(tmp_path: Path) -> None:
    check("endings", [*range(12, 24), 10], tmp_path)


def test_forged_records(tmp_path: Path) -> None:
    check("forged", list(range(400)), tmp_path, jobs=1)


def test_a_queue(tmp_path: Path) -> None:
    check("queue-quick", list(range(10)), tmp_path)


def test_a_slice_of_the_stream(tmp_path: Path) -> None:
    # test_stream.py does the same for every byte of a shorter stream.
    check("stream", [0, 1], tmp_path, jobs=1)


def test_the_table_sums_portions(tmp_path: Path) -> None:
    """The newest line of a trial counts, bad and skipped ones are named, torn lines are left out."""
    from tests.faults.trial import Trial

    path = tmp_path / "r.jsonl"
    table.append(path, [Trial("a", 0, "x", ok=False, outcome="no"), Trial("a", 1, "y", ok=True, detect=0.5)])
    table.append(
        path, [Trial("a", 0, "x", ok=True, detect=1.25), Trial("b", 0, "z", skipped="no tmux", outcome="no tmux")]
    )
    with path.open("a") as file:
        file.write('{"fault": "a", "num')
    text = table.summed(table.read(path), {"a": 2, "b": 1})
    lines = [line.split() for line in text.splitlines()]
    assert ["a", "ALL", "(of", "2)", "2", "2", "0", "0", "1.25"] in lines
    assert ["b", "ALL", "(of", "1)", "1", "0", "0", "1", "-"] in lines
    assert "skipped: b 0 (z): no tmux" in text and "BAD" not in text


def test_a_stall(stall: Callable[[], dict[str, Any]]) -> None:
    trial = stall()
    if trial["skipped"]:
        pytest.skip(trial["skipped"])
    assert trial["ok"], trial["outcome"]
