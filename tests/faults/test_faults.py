"""A representative part of the fault suite; ``python -m tests.faults`` runs the rest of the table."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults import portions, table

pytestmark = [pytest.mark.faults, pytest.mark.slow]


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


def test_lost_apps(tmp_path: Path) -> None:
    # One of each way to be lost, in front of a form, of `train` and of a watched run.
    check("app-loss", [0, 6, 12, 3, 9], tmp_path)


def test_killed_workers(tmp_path: Path) -> None:
    # In the optimizer's file and after a step of epoch 1; tests/slow/test_checkpoints.py kills in the final save.
    check("worker-kill", [15, 73], tmp_path)


def test_killed_launches(tmp_path: Path) -> None:
    check("launch-loss", [1, 7, 13], tmp_path)


def test_endings_and_a_stall(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as beside:  # half a minute of waiting for a stopped worker
        stall = beside.submit(check, "stall", [0], tmp_path / "stall")
        check("endings", [*range(12, 24), 10], tmp_path)
        stall.result()


def test_forged_records(tmp_path: Path) -> None:
    check("forged", list(range(400)), tmp_path, jobs=1)


def test_failing_disks(tmp_path: Path) -> None:
    # Full and EIO with the events, read-only with the final save; tests/slow/test_checkpoints.py has the other kinds.
    check("disk", [0, 11, 2], tmp_path)


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
