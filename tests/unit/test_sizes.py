"""A model's sizes are counted once, and again for all that could change them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.config import parse
from engine.worker import sizes
from engine.worker.inspect.costs import costs

MODEL = paths.sample_data_dir() / "tiny-qwen2"
MACHINE: dict[str, Any] = {"cuda": False}


def settings(model: Path, **more: Any) -> dict[str, Any]:
    return parse({"base_model": str(model), "train_path": "x", "output_dir": "out", **more}).model_dump(mode="json")


def test_sizes_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "cache_dir", lambda: tmp_path / "cache")
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    assert sizes.recall(settings(model), cuda=False) is None
    counted = costs(settings(model), MACHINE, chats=True)
    counted.pop("chosen")
    assert sizes.recall(settings(model), cuda=False) == counted and counted["trainable"] > 0
    assert sizes.recall(settings(model, learning_rate=1), cuda=False) == counted
    for other in ({"lora_r": 3}, {"use_dora": True}, {"target_modules": ["q_proj"]}):
        assert sizes.recall(settings(model, **other), cuda=False) is None
    assert sizes.recall(settings(model), cuda=True) is None
    assert sizes.recall({**settings(model), "trust_remote_code": True}, cuda=False) is None
    (file,) = (tmp_path / "cache" / "sizes").iterdir()
    for damaged in (b"{", b"[]", b'{"key": "x", "sizes": {}}'):
        file.write_bytes(damaged)
        assert sizes.recall(settings(model), cuda=False) is None
    costs(settings(model), MACHINE, chats=True)
    told = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**told, "num_hidden_layers": 1}))
    assert sizes.recall(settings(model), cuda=False) is None


def test_only_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(sizes, "_KEPT", 3)
    for rank in range(1, 7):
        sizes.remember(settings(MODEL, lora_r=rank), {"cuda": False, "trainable": rank})
    assert len(list((tmp_path / "cache" / "sizes").iterdir())) == 3
    assert sizes.recall(settings(MODEL, lora_r=6), cuda=False) == {"cuda": False, "trainable": 6}
