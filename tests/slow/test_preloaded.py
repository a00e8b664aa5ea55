"""The interpreter that many slow tests train in: what they prove of a worker's process holds for what it forks, too."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from engine import process
from tests import preloaded
from tests.support import wait_for

pytestmark = pytest.mark.slow
WAIT = "import os, time; print(os.getpid(), flush=True); time.sleep(100)"


def test_it_ends_as_its_fork_ends_and_the_other_way_round(tmp_path: Path) -> None:
    python = preloaded.interpreter(tmp_path / "python")
    said = "import os, sys; print(os.getcwd(), os.environ['WORD'], 'trl' in sys.modules, sys.argv[1:]); sys.exit(7)"
    answer = subprocess.run(
        [python, "-c", said, "a b"], capture_output=True, text=True, cwd=tmp_path, env={"WORD": "w"}
    )
    assert answer.returncode == 7 and answer.stdout == f"{tmp_path} w True ['a b']\n", answer
    assert subprocess.run([python, "-c", "import os; os.kill(os.getpid(), 9)"]).returncode == -signal.SIGKILL
    bug = subprocess.run([python, "-c", "1 / 0"], capture_output=True, text=True)
    assert bug.returncode == 1 and "ZeroDivisionError" in bug.stderr
    for number in (signal.SIGINT, signal.SIGKILL):
        child = subprocess.Popen([python, "-c", WAIT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert child.stdout is not None
        fork = int(child.stdout.readline())
        assert process.started(fork) is not None
        child.send_signal(number)
        assert child.wait(10) == -number
        wait_for(lambda fork=fork: process.started(fork) is None)
