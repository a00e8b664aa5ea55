"""Finding runs: as they are found, from any root, while everything changes."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from pathlib import Path

import pytest

from engine.history import readers, walk
from tests.corpus import many
from tests.corpus.judging import sound


def test_a_walk_yields_as_it_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many(tmp_path / "tree", 80, 400)
    looks = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looks.append(path) or scandir(path))
    walking = walk.find([tmp_path / "tree"])
    assert next(walking) and 0 < len(looks) < 15
    assert len(list(walking)) == 79


def test_a_walk_can_be_stopped(tmp_path: Path) -> None:
    many(tmp_path, 20, 400)
    found: list[Path] = []
    for path in walk.find([tmp_path], stop=lambda: len(found) >= 3):
        found.append(path)
    assert len(found) == 3


def test_roots_overlap_and_may_be_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = many(tmp_path / "tree", 3, 400)
    (tmp_path / "link").symlink_to("tree")
    assert len(list(walk.find([tmp_path / "tree", tmp_path / "tree" / "project-0000", cases[0].path]))) == 3
    assert len(list(walk.find([tmp_path / "link"]))) == 3
    monkeypatch.chdir(tmp_path)
    assert sorted(walk.find([Path("tree")])) == sorted(case.path for case in cases)
    row = readers.read_summary(cases[0].path.relative_to(tmp_path))
    assert row is not None and row.path == str(cases[0].path)


def test_what_changes_while_it_is_read_never_crashes(tmp_path: Path) -> None:
    cases = many(tmp_path, 12, 20_000)
    over = threading.Event()
    threading.Thread(target=_stir, args=(tmp_path, over), daemon=True).start()
    try:
        ends = time.monotonic() + 1.0
        while time.monotonic() < ends:
            for case in cases:
                for told in (
                    readers.read_summary(case.path),
                    (record := readers.read_record(case.path)) and record.summary,
                ):
                    if told is not None:
                        sound(told, case.path)
            list(walk.find([tmp_path]))
    finally:
        over.set()


def _stir(folder: Path, over: threading.Event) -> None:
    """Cut, hide, put back and swap everything below a folder, again and again."""
    dice = random.Random(3)
    files = sorted(p for p in folder.rglob("*") if p.is_file() or p.name.startswith("checkpoint-"))
    while not over.wait(0.0005):
        file = dice.choice(files)
        away = file.with_name(file.name + ".away")
        with contextlib.suppress(OSError):
            if dice.random() < 0.3 and file.is_file():
                content = file.read_bytes()
                file.write_bytes(content[: dice.randrange(len(content) + 1)])
                over.wait(0.0005)
                file.write_bytes(content)
                continue
            file.rename(away)
            kind = dice.randrange(3)
            if kind == 0:
                file.mkdir()
                over.wait(0.0005)
                file.rmdir()
            elif kind == 1:
                file.symlink_to("/dev/zero")
                over.wait(0.0005)
                file.unlink()
            away.rename(file)
