"""Weights that do not fit their configuration, and layers that are not there, are said before a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.config import parse
from engine.inspecting import InspectError, Inspector

SAMPLE = paths.sample_data_dir() / "tiny-qwen2"


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    asked = Inspector()
    yield asked
    asked.close()


def costs(inspector: Inspector, folder: Path, **more: Any) -> dict[str, Any]:
    config = parse({"base_model": str(folder), "train_path": "x", "output_dir": "y", **more})
    return inspector.ask("costs", settings=config.model_dump(), machine={"cuda": False})


def changed(folder: Path, **more: Any) -> Path:
    path = Path(shutil.copytree(SAMPLE, folder / "model"))
    record = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**record, **more}))
    return path


@pytest.mark.parametrize(("more", "words"), [
    ({"vocab_size": 300}, "model.embed_tokens.weight is 2,560 × 192, where config.json makes 300 × 192"),
    ({"intermediate_size": 256}, "where config.json makes"),
    ({"num_key_value_heads": 6}, "_proj"),
])  # fmt: skip
def test_weights_of_another_size(inspector: Inspector, tmp_path: Path, more: dict[str, Any], words: str) -> None:
    with pytest.raises(InspectError, match="do not fit") as caught:
        costs(inspector, changed(tmp_path, **more))
    assert words in str(caught.value) and caught.value.kind == "bad-model"


def test_what_fits_is_not_refused(inspector: Inspector, tmp_path: Path) -> None:
    assert costs(inspector, SAMPLE)["trainable"] == 217_088
    assert costs(inspector, changed(tmp_path, max_position_embeddings=64))["trainable"] == 217_088


def test_weights_in_shards_are_looked_at_too(inspector: Inspector, tmp_path: Path) -> None:
    path = changed(tmp_path, vocab_size=300)
    (path / "model.safetensors").rename(path / "model-00001-of-00001.safetensors")
    (path / "model.safetensors.index.json").write_text(
        '{"weight_map": {"model.embed_tokens.weight": "model-00001-of-00001.safetensors"}}'
    )
    with pytest.raises(InspectError, match="2,560 × 192"):
        costs(inspector, path)


def test_packed_weights_are_not_compared(inspector: Inspector, tmp_path: Path) -> None:
    """Quantised files hold other shapes than the model that is made of them."""
    packed = changed(
        tmp_path, vocab_size=300, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}
    )
    assert costs(inspector, packed)["vocabulary"] == 300


def test_layers_to_be_trained_whole_must_be_there(inspector: Inspector) -> None:
    assert costs(inspector, SAMPLE, modules_to_save="embed_tokens")["trainable"] > 217_088
    with pytest.raises(InspectError, match="no layer named head_of_nothing") as caught:
        costs(inspector, SAMPLE, modules_to_save="embed_tokens,head_of_nothing")
    assert caught.value.kind == "unknown-layer" and "lm_head" in str(caught.value)
