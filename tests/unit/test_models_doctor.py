"""What doctor says of the hub: the cache, what lies in it, and whether there is a token, which is never shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.cli.doctor import Finding, _hub, run
from engine.models import cache
from tests.support import fake_model


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_HUB_CACHE",
        "HF_TOKEN_PATH",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "hf"


def texts(found: list[Finding]) -> str:
    return "\n".join(f"{one.level} {one.message}. {one.hint}" for one in found)


def test_an_empty_cache_without_a_token(place: Path) -> None:
    said = texts(list(_hub()))
    assert (
        f"ok 0 models, 0 B, in the cache at {place / 'hub'}" in said
        and "not logged in" in said
        and "OFFLINE" not in said
    )


def test_models_sizes_and_what_is_incomplete(place: Path) -> None:
    fake_model(cache.repository("org/a") / "snapshots" / "abc")
    blobs = cache.repository("org/b") / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "x").write_bytes(bytes(5 * 2**20))
    torn = cache.repository("org/b") / "snapshots" / "abc"
    torn.mkdir(parents=True)
    (torn / "config.json").symlink_to(blobs / "x")
    (torn / "model.safetensors").symlink_to(blobs / "gone")
    said = texts(list(_hub()))
    assert "ok 2 models, 5.0 MiB, in the cache" in said and "the weights of 1 cached model are incomplete" in said


def test_a_token_is_named_by_its_place_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.mkdir()
    (place / "token").write_text("hf_very_secret")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said = texts(list(_hub()))
    assert f"a token is there ({place / 'token'})" in said and "HF_HUB_OFFLINE is set" in said and "secret" not in said
    monkeypatch.setenv("HF_TOKEN", "hf_other_secret")
    assert "a token is there (HF_TOKEN)" in texts(list(_hub()))
    run("doctor", ["--json"])
    assert "secret" not in capsys.readouterr().out


def test_the_document_is_strict_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("doctor", ["--json"])
    assert any(finding["topic"] == "hub" for finding in json.loads(capsys.readouterr().out))
