"""``tunedeck rm``: says first what would go, and removes only what was confirmed by its name."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from engine import cli, registry
from tests.support import make_run
from tests.unit.test_removal import checkpoint, foreign, names


def rm(*words: str | Path) -> int:
    """Run the command in this process; its exit code."""
    try:
        return cli.main(["rm", *map(str, words)])
    except SystemExit as end:
        return int(str(end.code))


def test_a_dry_run_and_the_removal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "a", run_id="20261124-083000-aaaaa")
    registry.remember_run("20261124-083000-aaaaa", run.path)
    checkpoint(run.path, 10)
    (run.path / "mine\x1b]0;evil\x07.txt").write_text("mine")
    before = names(run.path)
    assert rm("20261124-0830", "--dry-run") == 0
    said = capsys.readouterr()
    assert (
        "checkpoint-10/" in said.out and ".tunedeck/" in said.out and "Together" in said.out and "\x1b" not in said.out
    )
    assert "mine.txt: is not known as a part of a run" in said.out
    assert rm("20261124-0830", "--dry-run", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["dry_run"] is True and document["id"] == "20261124-083000-aaaaa" and document["what"] == "run"
    assert {entry["path"] for entry in document["entries"]} == {name for name in before if "mine" not in name}
    assert document["bytes"] == sum(entry["bytes"] for entry in document["entries"]) > 0
    assert names(run.path) == before
    assert rm(run.path, "--yes", "b") == 2 and "It is called a" in capsys.readouterr().err
    assert rm(run.path) == 2 and "no terminal to ask" in capsys.readouterr().err
    assert rm(run.path, "--json") == 2
    assert names(run.path) == before
    capsys.readouterr()
    assert rm(run.path, "--yes", "a", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["outcome"]["complete"] and not document["outcome"]["gone"]
    assert len(names(run.path)) == 1 and registry.runs() == []
    assert rm("20261124-0830", "--dry-run") == 2


def test_asks_for_the_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run = foreign(tmp_path / "out")
    monkeypatch.setattr("sys.stdin", io.StringIO("no\nout\n"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert rm(run) == 2 and run.exists()
    said = capsys.readouterr()
    assert "Type its name, out, to remove this" in said.out and "Nothing was removed" in said.err
    assert rm(run) == 0 and not run.exists()
    assert "Removed" in capsys.readouterr().out


def test_prune(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "a", steps=40, evals=4)
    for step in (10, 20, 30, 40):
        checkpoint(run.path, step)
    assert rm(run.path, "--prune", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "checkpoint-40: the best by eval_loss" in said and "the last one" in said and "checkpoint-10/" in said
    assert rm(run.path, "--prune", "--keep", "best,last,20", "--optimizer-states", "--yes", "a") == 0
    assert {name for name in os.listdir(run.path) if name.startswith("checkpoint")} == {
        "checkpoint-20",
        "checkpoint-40",
    }
    assert not (run.path / "checkpoint-40" / "optimizer.pt").exists() and run.exists
    capsys.readouterr()
    assert rm(run.path, "--prune", "--keep", "20,40", "--yes", "a") == 0
    assert "nothing to remove" in capsys.readouterr().out
    assert rm(run.path, "--prune", "--keep", "newest") == 2
    assert rm(run.path, "--keep", "best", "--yes", "a") == 2  # of the whole run nothing would be kept


def test_refusals_and_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    live = make_run(tmp_path / "live", state="running")
    assert rm(live.path, "--yes", "live") == 2 and "is running" in capsys.readouterr().err
    assert rm(live.path, "--dry-run", "--json") == 2
    assert json.loads(capsys.readouterr().out)["refused"][0]["kind"] == "run-in-use"
    run = foreign(tmp_path / "out")
    (tmp_path / "link").symlink_to(run)
    assert rm(tmp_path / "link", "--yes", "link") == 2 and "is a link" in capsys.readouterr().err
    assert rm("nosuchrun", "--dry-run") == 2 and rm("", "--dry-run") == 2
    assert live.exists and run.exists()


def test_ctrl_c_stops_between_two_names(tmp_path: Path) -> None:
    """A second command finishes what was begun."""
    run = make_run(tmp_path / "a", run_id="20261124-083000-aaaaa")
    jobs = run.meta / "jobs"
    jobs.mkdir()
    for number in range(3000):
        (jobs / f"{number}").touch()
    program = (
        "import os, signal, sys\nfrom engine import cli\nfrom engine.history.removal import carrying\n"
        "carrying._EVERY = 0\ntell = carrying._Work._tell\n"
        "def told(self, *, last=False):\n"
        "    tell(self, last=last)\n"
        "    if self.outcome.removed == 100: os.kill(os.getpid(), signal.SIGINT)\n"
        "carrying._Work._tell = told\nsys.exit(cli.main(sys.argv[1:]))\n"
    )
    words = [sys.executable, "-c", program, "rm", str(run.path), "--yes", "a"]
    answer = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 130, shlex.join(words) + answer.stderr
    assert "the same command goes on with it" in answer.stderr and "Removed 100 names" in answer.stdout
    assert run.exists and 2900 <= len(os.listdir(jobs)) < 3000
    assert rm(run.path, "--yes", "a") == 0 and not run.path.exists()
