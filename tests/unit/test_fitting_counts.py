"""The count of trained parameters against PEFT over models loaded from disk: architectures of many kinds and odd shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config import parse
from engine.modelfiles import check_model_directory
from engine.worker.inspect.costs import sizes

COMMON = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64,
          "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
GATED = {**COMMON, "intermediate_size": 48, "num_key_value_heads": 2}
EXPERTS = {
    **GATED,
    "head_dim": 8,
    "moe_intermediate_size": 16,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "num_local_experts": 4,
}
DEEPSEEK = {**EXPERTS, "num_key_value_heads": 4, "kv_lora_rank": 8, "q_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4,
            "v_head_dim": 8, "first_k_dense_replace": 1, "n_shared_experts": 1, "n_group": 1, "topk_group": 1, "n_routed_experts": 4}  # fmt: skip
# model type: its configuration, layers that are tuned, and one that is trained whole.
MODELS: dict[str, tuple[dict[str, Any], str, str]] = {
    "mpt": ({"vocab_size": 96, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64}, "Wqkv,out_proj", "wte"),
    "stablelm": (GATED, "q_proj,v_proj", "lm_head"),
    "cohere": (GATED, "q_proj,v_proj", "embed_tokens"),
    "olmo2": (GATED, "q_proj,v_proj", "lm_head"),
    "granite": (GATED, "q_proj,down_proj", "lm_head"),
    "granitemoe": (EXPERTS, "q_proj,layer", "lm_head"),
    "qwen3_moe": (EXPERTS, "q_proj,o_proj", "lm_head"),
    "qwen3_next": ({**EXPERTS, "num_hidden_layers": 4, "shared_expert_intermediate_size": 24, "linear_num_key_heads": 2,
                    "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8}, "q_proj,in_proj_qkvz", "norm"),
    "deepseek_v3": (DEEPSEEK, "q_a_proj,kv_b_proj", "lm_head"),
    "gpt_oss": ({**EXPERTS, "layer_types": ["sliding_attention", "full_attention"]}, "q_proj,o_proj", "lm_head"),
    "glm4": ({**GATED, "head_dim": 8}, "q_proj,gate_up_proj", "lm_head"),
    "nemotron": (GATED, "q_proj,up_proj", "lm_head"),
    "phi": (GATED, "q_proj,dense,fc1", "lm_head"),
    "starcoder2": (GATED, "q_proj,c_fc", "lm_head"),
    "gpt_bigcode": ({"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}, "c_attn,c_proj", "wte"),
    "lfm2": ({**GATED, "layer_types": ["conv", "full_attention"]}, "q_proj,in_proj", "lm_head"),
    "gpt_neox": ({**COMMON, "intermediate_size": 64}, "query_key_value,lm_head", "embed_in"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_the_count_is_that_of_peft(kind: str, tmp_path: Path) -> None:
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from engine.worker.train import lora_config

    values, names, saved = MODELS[kind]
    AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **values)).save_pretrained(tmp_path)
    for chosen in (
        {"target_modules": names, "modules_to_save": saved, "use_rslora": True},
        {"target_modules": "all-linear", "lora_r": 5, "lora_dropout": 0, "bias": "all"},
        {"target_modules": names, "use_dora": True, "bias": "lora_only"},
    ):
        given = {"base_model": str(tmp_path), "train_path": "x", "output_dir": "out", **chosen}
        config = parse(given).model_dump(mode="json")
        tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(tmp_path), lora_config(config))
        assert sizes(config, cuda=False)["trainable"] == tuned.get_nb_trainable_parameters()[0] > 0, chosen
        unknown = [
            p for p in check_model_directory(tmp_path, config["target_modules"])[0] if p.setting == "target_modules"
        ]
        assert not unknown, unknown
