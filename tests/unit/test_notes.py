"""People's own words: saved whole, refused where they are not ours to write, and never lost to somebody else's."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from engine import notes
from engine.errors import TunedeckError
from engine.rundir import RunDir, write_json
from tests.support import make_run


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return make_run(tmp_path / "run", steps=3)


def test_words_are_saved_and_what_is_not_known_is_kept(run: RunDir) -> None:
    write_json(run.notes_json, {"name": "old", "colour": "blue", "tags": ["two words"]})
    read = notes.load(run)
    notes.save(run, read, replace(read, name="이름", notes="one\ntwo"))
    assert json.loads(run.notes_json.read_text()) == {
        "name": "이름", "colour": "blue", "tags": ["two words"], "notes": "one\ntwo"
    }  # fmt: skip
    assert stat.S_IMODE(run.notes_json.stat().st_mode) == 0o600
    assert notes.load(run) == replace(read, name="이름", notes="one\ntwo")


def test_a_shared_run_is_readable_by_the_group(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=3, config={"share": "group"})
    notes.save(run, notes.load(run), notes.Notes(name="n"))
    assert stat.S_IMODE(run.notes_json.stat().st_mode) == 0o640


def test_somebody_elses_words_are_kept_beside_ours(run: RunDir) -> None:
    write_json(run.notes_json, {"name": "a", "notes": "first", "tags": ["x", "y"]})
    read = notes.load(run)
    write_json(run.notes_json, {"name": "theirs", "notes": "their note", "tags": ["x", "y", "z"]})
    with pytest.raises(notes.ChangedMeanwhileError, match="Somebody else") as caught:
        notes.save(run, read, replace(read, notes="our note", tags=("y", "w")))
    both = caught.value.both
    assert both.name == "theirs" and both.tags == ("y", "z", "w")
    assert "our note" in both.notes and "their note" in both.notes and notes.ALSO in both.notes
    assert notes.load(run).notes == "their note"  # nothing is written before somebody has looked
    notes.save(run, caught.value.theirs, both)
    assert notes.load(run) == both


def test_what_is_not_ours_is_refused_in_words(tmp_path: Path, run: RunDir) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    assert "no record of tunedeck" in notes.refusal(RunDir(foreign))
    with pytest.raises(TunedeckError, match="no place for notes"):
        notes.save(RunDir(foreign), notes.Notes(), notes.Notes(name="n"))
    assert list(foreign.iterdir()) == []
    assert notes.refusal(run) == ""
    run.notes_json.write_text("{torn")
    assert "damaged" in notes.refusal(run)
    run.notes_json.unlink()
    record = run.read_run() or {}
    write_json(run.run_json, {**record, "format": 2})
    assert "newer version" in notes.refusal(run)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_run_of_somebody_else_is_refused(run: RunDir) -> None:
    os.chown(run.meta, 12345, -1)
    assert "somebody else" in notes.refusal(run)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_run_is_refused(run: RunDir) -> None:
    run.meta.chmod(0o500)
    assert "read-only" in notes.refusal(run)
    run.meta.chmod(0o700)


def test_hostile_and_odd_files_are_only_text(run: RunDir) -> None:
    write_json(run.notes_json, {"name": "a\x1b[2Jb", "notes": ["no text"], "tags": "none"})
    assert notes.load(run) == notes.Notes(name="ab")
    assert notes.split_tags(" a, b  b,c ") == ("a", "b", "c")
