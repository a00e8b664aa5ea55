"""The count of trained parameters, and what else is told of a model without its weights, against PEFT over the real model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.config import parse
from engine.hardware import Gpu
from engine.inspecting import InspectError, Inspector
from engine.preflight import parameters

COMMON = {
    "vocab_size": 96,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
GATED = {**COMMON, "intermediate_size": 48, "num_key_value_heads": 2}
SEVEN = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"
# model type: what its configuration says, and names of layers that are tuned.
ARCHITECTURES: dict[str, tuple[str, dict[str, Any], str]] = {
    "qwen2": ("qwen2", GATED, SEVEN),
    "qwen3": ("qwen3", {**GATED, "head_dim": 12}, SEVEN),
    "llama": ("llama", {**GATED, "attention_bias": True}, SEVEN),
    "smollm": ("llama", {**GATED, "tie_word_embeddings": True}, SEVEN),
    "gemma2": ("gemma2", {**GATED, "head_dim": 8}, SEVEN),
    "gemma3": ("gemma3_text", {**GATED, "head_dim": 8, "layer_types": ["sliding_attention", "full_attention"]}, SEVEN),
    "mistral": ("mistral", GATED, SEVEN),
    "mixtral": ("mixtral", {**GATED, "num_local_experts": 4, "num_experts_per_tok": 2}, "q_proj,k_proj,v_proj,o_proj"),
    "phi3": ("phi3", {**GATED, "pad_token_id": 0}, "qkv_proj,o_proj,gate_up_proj,down_proj"),
    "gpt_neox": ("gpt_neox", {**COMMON, "intermediate_size": 64}, "query_key_value,dense,dense_h_to_4h,dense_4h_to_h"),
    "falcon": ("falcon", {**COMMON, "num_kv_heads": 4}, "query_key_value,dense"),
    "bloom": ("bloom", {"vocab_size": 96, "hidden_size": 32, "n_layer": 2, "n_head": 4}, "query_key_value"),
    "opt": ("opt", {**COMMON, "ffn_dim": 64, "word_embed_proj_dim": 16}, "q_proj,v_proj,fc1,fc2"),
    "gpt2": ("gpt2", {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}, "c_attn,c_proj,c_fc"),
}  # fmt: skip


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    asked = Inspector()
    yield asked
    asked.close()


def settings(model: Path, **more: Any) -> dict[str, Any]:
    return parse({"base_model": str(model), "train_path": "t.jsonl", "output_dir": "out", **more}).model_dump()


def by_peft(model: Path, config: dict[str, Any]) -> int:
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    from engine.worker.train import lora_config

    tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(model), lora_config(config))
    return int(tuned.get_nb_trainable_parameters()[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_count_is_that_of_peft(name: str, inspector: Inspector, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, values, names = ARCHITECTURES[name]
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **values))
    model.save_pretrained(tmp_path / "model")
    head = "lm_head" if hasattr(model, "lm_head") else "embed_out"
    variants: list[dict[str, Any]] = [
        {"target_modules": names}, {"target_modules": "all-linear", "lora_r": 5}, {"target_modules": names, "bias": "all"},
        {"target_modules": names, "bias": "lora_only"}, {"target_modules": names, "use_dora": True},
        {"target_modules": names, "modules_to_save": head},
    ]  # fmt: skip
    if name == "mixtral":
        variants.append({"target_modules": SEVEN, "lora_dropout": 0})
        variants.append({"target_modules": "w1,w2,w3,q_proj", "lora_dropout": 0})
    counted = 0
    for variant in variants:
        config = settings(tmp_path / "model", **variant)
        try:
            expected = by_peft(tmp_path / "model", config)
        except ValueError as error:  # fused experts do without dropout and DoRA: then the sheet must refuse, too
            assert name == "mixtral" and "ParamWrapper" in str(error)
            with pytest.raises(InspectError, match="ParamWrapper") as caught:
                parameters.costs(inspector, config, None, chats=True)
            assert caught.value.kind == "bad-adapter"
            continue
        counted += 1
        found = parameters.costs(inspector, config, None, chats=True)
        assert found["trainable"] == expected > 0, variant
        assert found["parameters"] == model.num_parameters() and found["layers"] == 2 and found["hidden"] == 32
        assert 0 < found["linear"] < found["parameters"]  # embeddings and norms are none that could be quantised
    assert counted >= 4


def test_counts_of_the_sample_model(inspector: Inspector) -> None:
    model = paths.sample_data_dir() / "tiny-qwen2"
    found = parameters.costs(inspector, settings(model), None, chats=True)
    # Four layers: q, o 192×192, k, v 192×64, three of 192×512, each with two matrices of rank 16.
    assert found["trainable"] == 4 * 16 * (2 * (192 + 192) + 2 * (192 + 64) + 3 * (192 + 512)) == 217_088
    assert found["chosen"]["dtype"] == "float32" and found["chosen"]["gradient_checkpointing"] is False
    gpu = Gpu(0, "A card", 0, 80 * 2**30, capability=(9, 0))
    chosen = parameters.costs(inspector, settings(model, packing=True), gpu, chats=True)["chosen"]
    assert chosen["dtype"] == "bfloat16" and chosen["gradient_checkpointing"] is True and chosen["padding_free"] is True


def test_layers_that_are_not_there_are_said(inspector: Inspector, tmp_path: Path) -> None:
    model = paths.sample_data_dir() / "tiny-qwen2"
    with pytest.raises(InspectError) as caught:
        parameters.costs(inspector, settings(model, target_modules="c_attn"), None, chats=True)
    assert caught.value.kind == "unknown-target"
    (tmp_path / "config.json").write_text('{"model_type": "none-such"}')
    with pytest.raises(InspectError) as caught:
        parameters.costs(inspector, settings(tmp_path), None, chats=True)
    assert caught.value.kind == "bad-model" and "\n" not in str(caught.value)
