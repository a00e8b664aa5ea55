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


def apart(program: str, *words: str) -> None:
    """Run a program in a process with mounts of its own; skipped where nothing may be mounted."""
    head = (
        "import sys\nfrom pathlib import Path\nfrom engine.history import removal\nfrom tests.faults import home\n"
        "from tests.faults.trial import Skip\nfrom tests.support import make_run\n"
        "from tests.unit.test_removal import foreign, kept, names\nhome.own_mounts()\nplace = Path(sys.argv[1])\n"
    )
    body = "".join(f"    {line}\n" for line in program.strip().splitlines())
    program = f"{head}try:\n{body}except Skip as why:\n    print(why)\n    sys.exit(77)\n"
    answer = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False,
                            cwd=home.ROOT, timeout=60)  # fmt: skip
    if answer.returncode == 77:
        pytest.skip(answer.stdout)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("inodes", [False, True])
def test_a_full_disk_can_be_freed(tmp_path: Path, inodes: bool) -> None:
    """A full disk takes no directory for what is looked at for the last time."""
    apart("""
with home.small_disk(place, size='4m', inodes=200) as disk:
    theirs, ours = foreign(disk / 'theirs'), make_run(disk / 'ours')
    ours.release_lock(ours.acquire_lock())
    home.fill_inodes(disk) if sys.argv[2] == 'True' else home.fill(disk)
    for path in (theirs, ours.path):
        outcome = removal.carry_out(removal.plan(path))
        assert outcome.gone and not outcome.left, outcome
        assert names(disk) >= {'inodes'} or sys.argv[2] == 'False'
""", str(tmp_path / "disk"), str(inodes))  # fmt: skip


def test_what_is_mounted_inside_stays(tmp_path: Path) -> None:
    """Another disk, the same one mounted again, and a run's directory that is a mount itself."""
    apart("""
run, outside, itself = (foreign(place / name) for name in ('run', 'outside', 'itself'))
before = names(outside)
home.mount('-t', 'tmpfs', '-o', 'size=1m', 'none', run / 'runs')
(run / 'runs' / 'events.out.tfevents.1').write_text('x')
home.mount('--bind', outside / 'checkpoint-10', run / 'checkpoint-10')
home.mount('--bind', outside / 'tokenizer.json', run / 'tokenizer.json')
home.mount('--bind', itself, itself)
plan = removal.plan(run)
where = 'is another file system that is mounted there'
assert kept(plan) == {'checkpoint-10': where, 'runs': where}, plan.kept
outcome = removal.carry_out(plan)
assert [path for path, _ in outcome.left] == ['tokenizer.json'] and 'in use' in outcome.left[0][1], outcome
assert names(outside) == before and (run / 'runs' / 'events.out.tfevents.1').exists()
outcome = removal.carry_out(removal.plan(itself))
assert outcome.complete and not outcome.gone and [path for path, _ in outcome.left] == ['.'], outcome
assert names(itself) == set()
""", str(tmp_path))  # fmt: skip
