"""Runs are removed while they are attacked; ``python -m tests.faults.removal 10000`` runs many more races."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults import home

pytestmark = pytest.mark.faults


def figures(*words: str) -> tuple[dict[str, Any], str]:
    """Run races in a process of their own: they mount, and they fork."""
    answer = subprocess.run([sys.executable, "-m", "tests.faults.removal", *words], capture_output=True, text=True,
                            check=False, cwd=home.ROOT, timeout=120)  # fmt: skip
    head, _, harm = answer.stdout.partition("\n}")
    return json.loads(head + "}"), harm.strip() or answer.stderr


def test_nothing_outside_is_changed() -> None:
    found, harm = figures("300")
    assert found["races"] == 300 and found["harmed"] == 0, harm
    assert found["met"] > 60 and found["steps"] > 3000, "the attackers hardly came to anything"


def test_the_races_find_a_careless_removal() -> None:
    found, _ = figures("200", "--naive")
    assert found["harmed"] >= 1


@pytest.mark.parametrize("inodes", [False, True])
def test_a_full_disk_can_be_freed(tmp_path: Path, inodes: bool) -> None:
    """A full disk takes no directory for what is looked at for the last time."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom tests.faults import home\nfrom tests.faults.trial import Skip\n"
        "from engine.history import removal\nfrom tests.unit.test_removal import foreign\nfrom tests.support import make_run\n"
        "home.own_mounts()\n"
        "try:\n"
        "    with home.small_disk(Path(sys.argv[1]), size='4m', inodes=200) as disk:\n"
        "        theirs, ours = foreign(disk / 'theirs'), make_run(disk / 'ours')\n"
        "        ours.release_lock(ours.acquire_lock())\n"
        "        home.fill_inodes(disk) if sys.argv[2] == 'True' else home.fill(disk)\n"
        "        for path in (theirs, ours.path):\n"
        "            outcome = removal.carry_out(removal.plan(path))\n"
        "            assert outcome.gone and not outcome.left, outcome\n"
        "except Skip as why:\n"
        "    print(why)\n    sys.exit(77)\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "disk"), str(inodes)]
    answer = subprocess.run(words, capture_output=True, text=True, check=False, cwd=home.ROOT, timeout=60)
    if answer.returncode == 77:
        pytest.skip(answer.stdout)
    assert answer.returncode == 0, answer.stderr
