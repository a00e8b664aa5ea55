"""Configurations and tokenizers that make no sense: refused in words that name the file at fault, before weights are loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.config import parse
from engine.worker.inspect.answers import Answers, Refused

SAMPLE = paths.sample_data_dir() / "tiny-qwen2"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLE, tmp_path / "model"))


def edited(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def opened(model: Path, answers: Answers | None = None) -> dict[str, Any]:
    fields = {"base_model": str(model), "revision": None, "trust_remote_code": False}
    return (answers or Answers()).answer({"ask": "open", "model": fields}, lambda: None)


def costs(model: Path, **settings: Any) -> dict[str, Any]:
    values = parse({"base_model": str(model), "train_path": "x", "output_dir": "out", **settings}).model_dump()
    return Answers().answer({"ask": "costs", "settings": values, "machine": {"cuda": False}}, lambda: None)


def said(ask: Callable[..., Any], *args: Any, **more: Any) -> str:
    with pytest.raises(Refused) as refused:
        ask(*args, **more)
    assert refused.value.hint and "\n" not in refused.value.message
    return f"{refused.value.kind}: {refused.value.message}"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hidden_size": "192"}, "'hidden_size' expected int, got str"),
        ({"hidden_size": 192.0}, "'hidden_size' expected int, got float"),
        ({"vocab_size": None}, "'vocab_size' expected int, got NoneType"),
        ({"layer_types": ["full_attention"]}, "must be equal to the number of `layer_types`"),
        ({"hidden_act": 3}, "'hidden_act' expected str, got int"),
        ({"dtype": "bfloat17"}, "no attribute 'bfloat17'"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "Missing required keys"),
        ({"id2label": "x"}, "no attribute 'items'"),
        ({"text_config": "x"}, "its part about text is no configuration"),
        ({"head_dim": 33}, "RoPE requires an even rotary dimension"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps nan, which no model has"),
        ({"rms_norm_eps": float("inf")}, "rms_norm_eps inf"),
        ({"rms_norm_eps": -1e-6}, "rms_norm_eps -1e-06"),
        ({"initializer_range": float("nan")}, "initializer_range nan"),
        ({"attention_dropout": 2.0}, "attention_dropout 2.0"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 0}}, "rope_theta 0"),
        ({"return_dict": False}, "return_dict false"),
        ({"num_hidden_layers": 10_000_000, "layer_types": None}, "num_hidden_layers 10,000,000"),
        ({"text_config": {"vocab_size": 10**15}}, "vocab_size 1,000,000,000,000,000"),
    ],
)
def test_a_configuration_is_at_fault_and_not_the_tokenizer(model: Path, changes: dict[str, Any], says: str) -> None:
    edited(model / "config.json", **changes)
    answer = said(costs, model)
    assert answer.startswith("bad-model: config.json") and says in answer
    try:
        opened(model)  # some need no more than the tokenizer's own files
    except Refused as refused:
        assert refused.message.startswith("config.json") and says in refused.message


@pytest.mark.parametrize(
    ("file", "changes", "says"),
    [
        ("tokenizer_config.json", {"model_max_length": "long"}, "the tokenizer of"),
        ("tokenizer_config.json", {"eos_token": 2}, "eos_token"),
        ("tokenizer_config.json", {"padding_side": "up"}, "current value: up"),
        ("tokenizer_config.json", {"unk_token": ""}, "recursion"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": {"content": "a"}}}, "invalid literal"),
        ("tokenizer.json", {"model": {"type": "BPE", "vocab": {}, "merges": []}}, "its vocabulary is empty"),
    ],
)
def test_tokenizers_that_do_nothing(model: Path, file: str, changes: dict[str, Any], says: str) -> None:
    edited(model / file, **changes)
    answer = said(opened, model)
    assert answer.startswith("bad-model: the tokenizer of") and says in answer


@pytest.mark.parametrize("token", ["eos_token", "pad_token"])
def test_tokens_that_every_run_needs_lie_inside_the_embedding(model: Path, token: str) -> None:
    edited(model / "tokenizer_config.json", **{token: "<|not-there|>"})
    found = next(p for p in opened(model)["problems"] if p["kind"] == "token-outside")
    assert found["severity"] == "error" and "<|not-there|> (2560)" in found["message"]


def test_a_token_that_few_rows_hold_is_only_a_warning(model: Path) -> None:
    edited(model / "tokenizer_config.json", added_tokens_decoder={"9999": {"content": "<new>", "special": True}})
    found = next(p for p in opened(model)["problems"] if p["kind"] == "token-outside")
    assert found["severity"] == "warning"


@pytest.mark.parametrize("content", ["[]", '{"max_new_tokens": "many"}', '{"a":' * 30_000 + "1" + "}" * 30_000])
def test_settings_of_generation_that_loading_the_model_would_end_with(model: Path, content: str) -> None:
    (model / "generation_config.json").write_text(content)
    found = next(p for p in opened(model)["problems"] if p["kind"] == "bad-model")
    assert found["severity"] == "error" and found["message"].startswith("generation_config.json cannot be used")


@pytest.mark.parametrize("content", ['{"eos', '{"eos_token_id": "x"}', '{"temperature": -1, "do_sample": true}', None])
def test_settings_of_generation_that_transformers_goes_on_without(model: Path, content: str | None) -> None:
    (model / "generation_config.json").unlink() if content is None else (model / "generation_config.json").write_text(
        content
    )
    assert not [p for p in opened(model)["problems"] if p["severity"] == "error"]


def test_a_mended_file_is_looked_at_again(model: Path) -> None:
    answers = Answers()
    assert opened(model, answers)["eos"]["token"] == "<|im_end|>"
    (model / "special_tokens_map.json").write_text('{"eos_token": "<|endoftext|>"}')
    assert opened(model, answers)["eos"]["token"] == "<|endoftext|>"


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_an_adapter_cannot_start_from_more_parts_than_a_layer_has(model: Path, start: str) -> None:
    """PEFT would make a smaller adapter than was asked for, which then is not the one that the sheet has counted."""
    answer = said(costs, model, init_lora_weights=start, lora_r=65)
    assert answer.startswith("bad-adapter: lora_r 65") and "k_proj" in answer and start in answer
    assert costs(model, init_lora_weights=start, lora_r=64)["trainable"] == 868_352
    assert costs(model, init_lora_weights=start, lora_r=192, target_modules="q_proj")["trainable"] > 0
    assert "lora_r 193" in said(costs, model, init_lora_weights=start, lora_r=193, target_modules="all-linear")
