"""Words on other tools' runs: kept in our state directory, found again after a move, never shown for another run."""

from __future__ import annotations

import os
import shutil
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import TunedeckError
from engine.history import notes
from engine.notes import ALSO, ChangedMeanwhileError, Notes

WORDS = Notes(name="이름", notes="one\ntwo", tags=("keep", "a b"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "runs" / "one"
    path.mkdir(parents=True)
    (path / "trainer_state.json").write_text("{}")
    return path


def tree(path: Path) -> list[tuple[str, int]]:
    return sorted((str(p), p.lstat().st_mtime_ns) for p in [path, *path.rglob("*")])


def test_words_are_kept_and_nothing_is_written_into_the_directory(run: Path) -> None:
    before = tree(run)
    assert notes.foreign(run) == Notes() and notes.tags_of(run) == [] and notes.refusal(run) == ""
    notes.save_foreign(run, Notes(), WORDS)
    assert notes.foreign(run) == WORDS and notes.tags_of(run) == ["keep", "a b"]
    assert tree(run) == before
    (record,) = notes.folder().iterdir()
    assert stat.S_IMODE(record.stat().st_mode) == 0o600 and stat.S_IMODE(notes.folder().stat().st_mode) == 0o700
    notes.save_foreign(run, notes.foreign(run), replace(WORDS, tags=()))
    assert notes.tags_of(run) == [] and len(list(notes.folder().iterdir())) == 1


def test_a_link_to_the_directory_has_its_words(run: Path, tmp_path: Path) -> None:
    notes.save_foreign(run, Notes(), WORDS)
    (tmp_path / "link").symlink_to(run)
    assert notes.foreign(tmp_path / "link") == WORDS
    assert notes.foreign(run / ".." / "one") == WORDS


def test_words_follow_a_directory_that_was_moved(run: Path) -> None:
    notes.save_foreign(run, Notes(), WORDS)
    moved = run.rename(run.parent / "two")
    assert notes.foreign(moved) == WORDS
    notes.save_foreign(moved, WORDS, replace(WORDS, name="new"))
    assert notes.foreign(moved).name == "new" and len(list(notes.folder().iterdir())) == 1


def test_another_run_in_the_same_place_has_none(run: Path) -> None:
    notes.save_foreign(run, Notes(), WORDS)
    shutil.rmtree(run)
    run.mkdir()
    (run / "trainer_state.json").write_text('{"step": 1}')
    os.utime(run / "trainer_state.json", (1, 1))
    assert notes.foreign(run) == Notes()


def test_a_directory_that_was_restored_has_its_words(run: Path) -> None:
    notes.save_foreign(run, Notes(), WORDS)
    shutil.copytree(run, run.parent / "copy")  # keeps times, as archives do
    assert notes.foreign(run.parent / "copy") == Notes()
    shutil.rmtree(run)
    (run.parent / "keeps the inode").mkdir()
    (run.parent / "copy").rename(run)
    assert notes.foreign(run) == WORDS


def test_words_of_two_people_are_both_kept(run: Path) -> None:
    notes.save_foreign(run, Notes(), Notes(notes="theirs", tags=("a",)))
    with pytest.raises(ChangedMeanwhileError) as caught:
        notes.save_foreign(run, Notes(), Notes(notes="ours", tags=("b",)))
    assert caught.value.both.notes == f"ours\n\n{ALSO}\ntheirs" and caught.value.both.tags == ("a", "b")
    assert notes.foreign(run).notes == "theirs"


def test_what_cannot_be_kept_is_said(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TunedeckError, match="too long"):
        notes.save_foreign(run, Notes(), Notes(name="x" * 300))
    with pytest.raises(TunedeckError, match="cannot be reached"):
        notes.save_foreign(tmp_path / "gone", Notes(), WORDS)
    notes.save_foreign(run, Notes(), WORDS)
    (record,) = notes.folder().iterdir()
    record.write_text("{")
    assert "damaged" in notes.refusal(run) and notes.foreign(run) == Notes()
    with pytest.raises(TunedeckError, match="damaged"):
        notes.save_foreign(run, Notes(), WORDS)
    assert record.read_text() == "{"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    with pytest.raises(TunedeckError, match="cannot be written"):
        notes.save_foreign(run, Notes(), WORDS)


def test_odd_records_are_no_words(run: Path) -> None:
    notes.save_foreign(run, Notes(), WORDS)
    (record,) = notes.folder().iterdir()
    (notes.folder() / "x").write_text("{}")
    (notes.folder() / "no-inode.json").write_text('{"path": 3, "known_by": [1, [2], {}], "tags": "x"}')
    assert notes.foreign(run) == WORDS
    record.write_text(record.read_text().replace('"keep"', "7"))
    assert notes.tags_of(run) == ["a b"]


def test_words_are_forgotten_with_their_directory(run: Path) -> None:
    notes.save_foreign(run, Notes(), WORDS)
    shutil.rmtree(run)
    notes.forget(run)
    assert list(notes.folder().iterdir()) == []


def test_what_another_process_saved_is_seen_at_once(run: Path) -> None:
    notes.save_foreign(run, Notes(), WORDS)
    time.sleep(0.06)  # the listing is kept from here on
    other = run.parent / "other"
    other.mkdir()
    assert notes.tags_of(run) == ["keep", "a b"] and notes.tags_of(other) == []
    pid = os.fork()
    if not pid:
        try:
            notes.save_foreign(other, Notes(), Notes(tags=("theirs",)))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert notes.tags_of(other) == ["theirs"]


def test_asking_for_tags_is_cheap_where_there_are_none(tmp_path: Path, run: Path) -> None:
    notes.save_foreign(run, Notes(), WORDS)
    time.sleep(0.06)
    folders = [tmp_path / f"f{n}" for n in range(200)]
    for folder in folders:
        folder.mkdir()
    begun = time.process_time()
    assert not any(notes.tags_of(folder) for folder in folders for _ in range(5))
    assert time.process_time() - begun < 0.5  # 1,000 askings
