"""Weights and a configuration that are of two models, or of none: refused before anything is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from engine import paths
from engine.config import parse
from engine.modelfiles import check_model_directory
from engine.worker.inspect.costs import sizes
from engine.worker.inspect.fitting import DoesNotFit

MODEL = paths.sample_data_dir() / "tiny-qwen2"


def counted(model: Path, **more: Any) -> dict[str, Any]:
    values = {"base_model": str(model), "train_path": "x", "output_dir": "out", **more}
    return sizes(parse(values).model_dump(mode="json"), cuda=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MODEL, tmp_path / "model"))


def configured(model: Path, **changes: Any) -> None:
    file = model / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_hidden_layers": 2_001, "layer_types": None}, "num_hidden_layers 2,001"),
        ({"num_hidden_layers": 0, "layer_types": []}, "num_hidden_layers 0"),
        ({"hidden_size": 10**12}, "hidden_size 1,000,000,000,000"),
        ({"hidden_size": -5}, "hidden_size -5"),
        ({"num_attention_heads": 0}, "num_attention_heads 0"),
        ({"hidden_act": "no-such-function"}, "config.json makes no model: KeyError: 'no-such-function'"),
        ({"num_hidden_layers": 9, "layer_types": None}, "the weights lack"),
        ({"num_hidden_layers": 3, "layer_types": None}, "the weights hold 4 layers, and config.json makes 3"),
        (
            {"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
            "the weights hold model.layers.0.self_attn.k_proj.bias",
        ),
    ],
)
def test_configurations_that_no_weights_have(model: Path, changes: dict[str, Any], says: str) -> None:
    configured(model, **changes)
    with pytest.raises(DoesNotFit) as refused:
        counted(model)
    assert refused.value.kind == "bad-model" and says in refused.value.message and refused.value.hint


def _without_a_layer(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor for name, tensor in tensors.items() if ".layers.1." not in name}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda tensors: {f"x.{n}": tensor for n, tensor in enumerate(tensors.values())},
            "none of the weights belongs",
        ),
        (lambda tensors: {}, "none of the weights belongs"),
        (_without_a_layer, "the weights lack"),
    ],
)
def test_weights_of_something_else(model: Path, change: Callable[[dict[str, Any]], dict[str, Any]], says: str) -> None:
    file = model / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    save_file(change(tensors), file, metadata={"format": "pt"})
    with pytest.raises(DoesNotFit, match=says):
        counted(model)


def test_other_names_are_what_transformers_makes_of_them(model: Path) -> None:
    """Some models were saved without the ``model.`` before each name: they load, and so they are not refused."""
    file = model / "model.safetensors"
    tensors = {name.removeprefix("model."): tensor.clone() for name, tensor in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})
    assert counted(model)["trainable"] == counted(MODEL)["trainable"]


def test_what_is_left_over_for_other_ends_is_not_judged(model: Path) -> None:
    """Buffers of old models, and a last layer of other parts that guesses one token more: transformers drops them, rightly."""
    file = model / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    norm = tensors["model.norm.weight"]
    more = ["model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.4.eh_proj.weight", "model.layers.4.enorm.weight",
            "visual.blocks.0.norm.weight", "visual.blocks.0.norm.bias"]  # fmt: skip
    save_file({**tensors, **{name: norm.clone() for name in more}}, file, metadata={"format": "pt"})
    assert counted(model)["trainable"] == counted(MODEL)["trainable"]


def test_weights_that_are_not_here_yet_are_not_judged(model: Path) -> None:
    """A hub model whose configuration alone, or whose first shard, is in the cache: the rest is fetched when a run loads it."""
    tensors = {name: tensor.clone() for name, tensor in load_file(model / "model.safetensors").items()}
    (model / "model.safetensors").unlink()
    assert counted(model)["trainable"] == counted(MODEL)["trainable"]
    shards = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(tensors)}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    first = {name: tensor for name, tensor in tensors.items() if "00001" in shards[name]}
    save_file(first, model / "model-00001-of-00002.safetensors", metadata={"format": "pt"})
    assert counted(model)["trainable"] == counted(MODEL)["trainable"]


def test_a_tied_head_may_get_an_adapter(model: Path) -> None:
    assert json.loads((model / "config.json").read_text())["tie_word_embeddings"] is True
    errors, _ = check_model_directory(model, ["q_proj", "lm_head"])
    assert not errors and counted(model, target_modules="q_proj,lm_head", lora_r=4)["trainable"] == 17_152
    configured(model, tie_word_embeddings=False)
    errors, _ = check_model_directory(model, ["q_proj", "lm_head"])
    assert [problem.kind for problem in errors] == ["unknown-target"]


def test_an_index_of_nothing_is_damaged(model: Path) -> None:
    (model / "model.safetensors.index.json").write_text('{"metadata": {}, "weight_map": {}}')
    errors, _ = check_model_directory(model, "all-linear")
    assert [problem.kind for problem in errors] == ["bad-model"] and "damaged" in errors[0].message
