"""What each ``auto`` of the recipe chooses, from card, memory, model and settings."""

from __future__ import annotations

from typing import Any

import pytest

from engine.config import parse
from engine.preflight import memory
from engine.worker import layout
from engine.worker.recipe import Machine, Recipe, resolve

GIB = 2**30
SEVEN_B = {"trainable": 40370176, "cuda": True, "parameters": 7615616512, "linear": 6525288448, "largest_linear": 67895296, "layers": 28,
           "hidden": 3584, "heads": 28, "vocabulary": 152064, "positions": 32768,
           "layer": {"outputs": 49664, "widest": 18944, "norms": 2, "experts": 0, "adapter_inputs": 40448, "adapters": 7}}  # fmt: skip


def card(free: float, **more: Any) -> Machine:
    values = {"cuda": True, "gpu_name": "NVIDIA H100", "capability": (9, 0), "bf16": True, "memory_total": 80 * GIB, "liger": True,
              "memory_free": int(free * GIB), "triton": True, "varlen": True}  # fmt: skip
    return Machine(**{**values, **more})


def chosen(machine: Machine, sizes: dict[str, Any] | None = SEVEN_B, **settings: Any) -> Recipe:
    given = {"base_model": "/m", "train_path": "/t", "output_dir": "/o", **settings}
    config = parse({name: str(value) for name, value in given.items()}).model_dump()
    return resolve(config, machine, marking="marked", sizes=sizes)


def test_a_large_card_keeps_activations_and_lays_samples_end_to_end() -> None:
    recipe = chosen(card(79))
    assert recipe.recipe == "exact" and recipe.end_to_end and recipe.attn_implementation == "varlen"
    assert recipe.fused_lora and recipe.cuda_graphs and not recipe.gradient_checkpointing
    assert set(recipe.auto) >= {"recipe", "attn_implementation", "padding_free", "fused_lora", "cuda_graphs", "gradient_checkpointing",
                                "max_tokens_per_pass", "optim", "use_liger_kernel", "dataloader_num_workers"}  # fmt: skip
    assert "dataloader_num_workers" not in chosen(card(79), dataloader_num_workers=2).auto
    assert all(choice["why"] for choice in recipe.auto.values())


def test_a_small_card_computes_activations_again_and_never_plans_more_than_is_free() -> None:
    for free in (18, 20, 24, 30, 40, 79):
        recipe = chosen(card(free), batch_size=8, gradient_accumulation_steps=4)
        assert recipe.tokens_per_pass is not None and recipe.tokens_per_pass >= 2048
        costs = {**SEVEN_B, "chosen": recipe.as_chosen()}
        config = parse({"base_model": "/m", "train_path": "/t", "output_dir": "/o"}).model_dump()
        if recipe.tokens_per_pass > 2048:
            assert memory.estimate(costs, config, recipe.tokens_per_pass).total < free * GIB
        assert recipe.gradient_checkpointing == (free < 30)


def test_more_memory_means_larger_passes_up_to_the_whole_update() -> None:
    sizes = [
        chosen(card(free), batch_size=16, gradient_accumulation_steps=2).tokens_per_pass or 0 for free in (40, 60, 79)
    ]
    assert sizes == sorted(sizes) and sizes[-1] > sizes[0]
    assert chosen(card(79), batch_size=1, gradient_accumulation_steps=2, max_seq_length=512).tokens_per_pass == 1024


def test_fastest_fills_its_passes_whatever_is_set() -> None:
    few = chosen(card(139), recipe="fastest", batch_size=1, gradient_accumulation_steps=1, max_seq_length=512)
    assert few.recipe == "fastest" and few.end_to_end and few.tokens_per_pass == 16384
    assert chosen(card(139), batch_size=1, gradient_accumulation_steps=1, max_seq_length=512).tokens_per_pass == 512
    config = parse({"base_model": "/m", "train_path": "/t", "output_dir": "/o", "recipe": "fastest"}).model_dump()
    assert memory.micro_batch(config, 300, few.as_chosen()) == 16384


def test_a_limit_counts_as_what_is_free() -> None:
    whole, limited = card(79), card(79).limited(17)
    assert limited.memory_free == limited.memory_total == 17 * GIB and whole.limited(None) is whole
    assert card(12).limited(17).memory_free == 12 * GIB
    lean = chosen(limited, batch_size=8)
    assert lean.gradient_checkpointing and lean.tokens_per_pass == 2048
    assert not chosen(whole, batch_size=8).gradient_checkpointing


def test_what_goes_to_the_host_and_back_is_not_recorded() -> None:
    recipe = chosen(card(79), activation_offloading="true")
    assert not recipe.cuda_graphs and recipe.auto["cuda_graphs"]["why"].startswith("activations go")
    assert recipe.gradient_checkpointing and "inputs" in recipe.auto["gradient_checkpointing"]["why"]
    assert not chosen(card(79), activation_offloading="true", gradient_checkpointing="false").gradient_checkpointing
    costs = {**SEVEN_B, "chosen": chosen(card(79)).as_chosen()}
    config = parse({"base_model": "/m", "train_path": "/t", "output_dir": "/o"}).model_dump()
    kept = memory.estimate(costs, config, 4096).activations
    assert memory.estimate(costs, {**config, "activation_offloading": True}, 4096).activations < 0.3 * kept


def test_a_cpu_stays_plain_unless_asked() -> None:
    nothing = Machine(cuda=False)
    assert chosen(nothing, None).recipe == "plain" and not chosen(nothing, None).end_to_end
    asked = chosen(nothing, None, recipe="exact")
    assert asked.end_to_end and asked.attn_implementation == "varlen" and not asked.cuda_graphs and not asked.fused_lora


@pytest.mark.parametrize("settings", [{"packing": "true"}, {"padding_free": "false"}, {"attn_implementation": "sdpa"},
                                      {"recipe": "plain"}])  # fmt: skip
def test_what_is_asked_for_is_not_overruled(settings: dict[str, str]) -> None:
    recipe = chosen(card(79), **settings)
    assert not recipe.end_to_end and not recipe.cuda_graphs and not recipe.fused_lora
    assert recipe.attn_implementation == "sdpa"
    for name, value in settings.items():
        assert str(getattr(recipe, name)).lower() == value and name not in recipe.auto


def test_settings_of_its_own_are_kept() -> None:
    recipe = chosen(
        card(79), max_tokens_per_pass=3000, cuda_graphs="false", fused_lora="false", gradient_checkpointing="true"
    )
    assert recipe.tokens_per_pass == 3000 and recipe.gradient_checkpointing
    assert not recipe.cuda_graphs and not recipe.fused_lora and recipe.end_to_end


def test_an_old_card_and_quantised_weights() -> None:
    old = chosen(card(15, capability=(7, 5), bf16=False, varlen=True, gpu_name="T4"))
    assert old.recipe == "plain" and "T4" in old.auto["recipe"]["why"]
    four = chosen(card(79, bitsandbytes=True), load_in_4bit="true")
    assert four.end_to_end and not four.fused_lora and "quantised" in four.auto["fused_lora"]["why"]
    assert (
        chosen(card(79, triton=False)).fused_lora is False and chosen(card(79, triton=False), lora_dropout=0).fused_lora
    )


def test_without_sizes_as_little_memory_as_possible_is_used() -> None:
    recipe = chosen(card(79), None)
    assert recipe.gradient_checkpointing and recipe.tokens_per_pass == 2048
    assert not layout.can_keep({**SEVEN_B, "chosen": recipe.as_chosen()}, {}, None)


def test_a_model_is_shared_out_only_where_it_does_not_fit_on_each_gpu() -> None:
    large = {**SEVEN_B, "parameters": 72_706_203_648, "linear": 70_212_648_960, "layers": 80, "hidden": 8192}
    alone, four, small = (chosen(card(79), sizes, **more) for sizes, more in (
        (large, {}), (large, {"num_gpus": 4}), (SEVEN_B, {"num_gpus": 4})))  # fmt: skip
    assert (alone.fsdp, four.fsdp, small.fsdp) == (False, True, False)
    assert "not fit" in four.auto["fsdp"]["why"] and four.as_chosen()["fsdp"] is True
    assert not chosen(card(79), None, num_gpus=4).fsdp, "nothing is known of the model"
    for setting, word in (("load_in_8bit", "8-bit"), ("use_dora", "DoRA"), ("torch_compile", "torch_compile")):
        whole = chosen(card(79), large, num_gpus=4, **{setting: "true"})
        assert not whole.fsdp and word in whole.auto["fsdp"]["why"]
    assert not chosen(card(79), large, num_gpus=4, load_in_4bit="true").fsdp, "in 4 bits it fits"
    assert chosen(card(30), large, num_gpus=4, load_in_4bit="true").fsdp


def test_the_estimate_of_a_model_that_is_shared_out() -> None:
    def weights(**more: Any) -> int:
        config = parse({"base_model": "/m", "train_path": "/t", "output_dir": "/o", **more}).model_dump()
        recipe = chosen(card(79), num_gpus=4, fsdp=more.get("fsdp", "false"))
        return memory.estimate({**SEVEN_B, "chosen": recipe.as_chosen()}, config, 2048).weights

    linear, rest = 2 * SEVEN_B["linear"], 2 * (SEVEN_B["parameters"] - SEVEN_B["linear"])
    assert weights(num_gpus=4) == linear + rest
    assert weights(num_gpus=4, fsdp=True) == int(linear / 4 + 2 * linear / 28) + rest
