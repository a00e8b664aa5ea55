"""A representative part of the faults that real runs are compared by; ``python -m tests.faults`` runs the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.checks import check

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def test_lost_apps(tmp_path: Path) -> None:
    # One of each way to be lost, in front of a form, of `train` and of a watched run.
    check("app-loss", [0, 6, 12, 3, 9], tmp_path)


def test_killed_workers(tmp_path: Path) -> None:
    # In the optimizer's file and after a step of epoch 1; tests/slow/test_checkpoints.py kills in the final save.
    check("worker-kill", [15, 73], tmp_path)


def test_failing_disks(tmp_path: Path) -> None:
    # Full and EIO with the events, read-only with the final save; tests/slow/test_checkpoints.py has the other kinds.
    check("disk", [0, 11, 2], tmp_path)
