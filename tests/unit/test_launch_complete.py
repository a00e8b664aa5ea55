from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from tui.launch.complete import complete, finished
from tui.launch.entry import Entry


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "한국어 대화.jsonl").touch()
    (tmp_path / "한국어 평가.jsonl").touch()
    (tmp_path / "my chats").mkdir()
    (tmp_path / "my chats" / "train.jsonl").touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").touch()
    return tmp_path


def test_one_match_is_completed_and_a_folder_gets_its_slash(tree: Path) -> None:
    assert complete(f"{tree}/my").text == f"{tree}/my chats/"
    assert complete(f"{tree}/my chats/t").text == f"{tree}/my chats/train.jsonl"


def test_several_are_completed_as_far_as_they_agree(tree: Path) -> None:
    found = complete(f"{tree}/한")
    assert found.text == f"{tree}/한국어 "
    assert found.candidates == ("한국어 대화.jsonl", "한국어 평가.jsonl")


def test_hidden_files_only_if_asked_for(tree: Path) -> None:
    assert ".hidden" not in complete(f"{tree}/").candidates
    assert complete(f"{tree}/.h").text == f"{tree}/.hidden"


def test_only_folders_for_directories(tree: Path) -> None:
    assert complete(f"{tree}/", directories_only=True).candidates == ("model/", "my chats/")


def test_nothing_there(tree: Path) -> None:
    assert complete(f"{tree}/none/x").text == f"{tree}/none/x"
    assert complete("\0").text == "\0"


def test_home_stays_as_typed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tree))
    assert complete("~/mod").text == "~/model/"


def test_names_from_a_mac_are_found_by_what_people_type(tmp_path: Path) -> None:
    raw = unicodedata.normalize("NFD", "학습 데이터.jsonl")
    (tmp_path / raw).touch()
    found = complete(f"{tmp_path}/학습")
    assert found.text == f"{tmp_path}/{raw}"
    assert Path(found.text).is_file()


def test_finished(tree: Path) -> None:
    assert finished(f"{tree}/my chats/train.jsonl", "path")
    assert not finished(f"{tree}/my chats", "path")
    assert finished(f"{tree}/model", "directory")
    assert not finished(f"{tree}/my chats", "directory")
    assert not finished("\0", "path")


async def test_tab_goes_on_where_nothing_was_typed(tree: Path) -> None:
    assert not await Entry("", kind="path").complete()
    assert not await Entry(f"{tree}/my", kind="path", selected=True).complete()


async def test_tab_completes_then_shows_then_chooses(tree: Path) -> None:
    entry = Entry(kind="path")
    entry.insert(f"{tree}/m")
    assert await entry.complete()
    assert entry.text == f"{tree}/m" and entry.candidates == ("model/", "my chats/")
    assert await entry.complete()
    assert entry.text == f"{tree}/model/"
    entry.choose(1)
    assert entry.text == f"{tree}/my chats/"
    assert await entry.complete(), "what lies in the chosen folder comes next"
    assert entry.text == f"{tree}/my chats/train.jsonl"
    assert not await entry.complete(), "a file is complete"


async def test_tab_leaves_a_new_path_alone(tree: Path) -> None:
    entry = Entry(kind="directory", new=True)
    entry.insert(f"{tree}/m")
    assert await entry.complete()
    assert not await entry.complete()
    assert entry.text == f"{tree}/m"


async def test_typing_narrows_the_candidates(tree: Path) -> None:
    entry = Entry(kind="path")
    entry.insert(f"{tree}/m")
    await entry.complete()
    entry.insert("y")
    assert entry.candidates == ("my chats/",)


def test_a_quoted_path_is_pasted_without_its_quotes() -> None:
    entry = Entry(kind="path")
    entry.insert("'/data/my chats/train.jsonl'")
    assert entry.text == "/data/my chats/train.jsonl"


async def test_hub_ids_of_the_cache_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("models--Qwen--Qwen2.5-0.5B", "models--Qwen--Qwen2.5-7B", "models--gpt2", "datasets--x--y"):
        (tmp_path / "hub" / name).mkdir(parents=True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    entry = Entry(kind="directory", model=True)
    entry.insert("Qw")
    assert await entry.complete()
    assert entry.text == "Qwen/Qwen2.5-" and len(entry.candidates) == 2
    entry.choose(1)
    assert entry.text == "Qwen/Qwen2.5-0.5B"
    assert not await entry.complete()
    other = Entry(kind="directory", model=True)
    other.insert("unknown/model")
    assert not await other.complete()
