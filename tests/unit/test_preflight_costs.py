"""Memory, disk and time by arithmetic that can be done by hand, and what is proposed when memory will not do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from engine import process
from engine.config import parse
from engine.hardware import Gpu
from engine.preflight import disk, memory, plan, speed
from engine.rehearsal import place
from engine.rundir import write_json
from tests.support import append_step, make_run

GIB = 2**30
CHOSEN = {"dtype": "bfloat16", "attn_implementation": "sdpa", "optim": "adamw_torch_fused", "gradient_checkpointing": False,
          "use_liger_kernel": False, "packing": False, "padding_free": False}  # fmt: skip
# What the inspector tells of Qwen2.5-7B with the seven projections at rank 16.
SEVEN = {
    "trainable": 40_370_176, "cuda": True, "parameters": 7_615_616_512, "linear": 6_525_288_448, "largest_linear": 67_895_296,
    "layers": 28, "hidden": 3584, "heads": 28, "vocabulary": 152_064, "positions": 32_768, "chosen": CHOSEN,
    "layer": {"outputs": 49_664, "widest": 18_944, "norms": 2, "experts": 0, "adapter_inputs": 40_448, "adapters": 7},
}  # fmt: skip


def config(**more: Any) -> dict[str, Any]:
    return parse({"base_model": "a/b", "train_path": "t.jsonl", "output_dir": "out", **more}).model_dump()


def costs(**chosen: Any) -> dict[str, Any]:
    return {**SEVEN, "chosen": {**CHOSEN, **chosen}}


def test_the_fixed_parts() -> None:
    found = memory.estimate(SEVEN, config(), 2048)
    assert found.weights == 2 * SEVEN["parameters"]
    assert found.gradients == 4 * SEVEN["trainable"] and found.adapters == 6 * SEVEN["trainable"]
    assert found.optimizer == 8 * SEVEN["trainable"] and found.total == sum(found.parts().values())
    assert found.overhead > memory.CONTEXT_BYTES
    assert list(found.parts()) == ["weights", "adapters", "gradients", "optimizer", "activations", "logits", "overhead"]
    four, eight = (memory.estimate(SEVEN, config(**{name: True}), 2048) for name in ("load_in_4bit", "load_in_8bit"))
    rest = 2 * (SEVEN["parameters"] - SEVEN["linear"])
    assert 0.51 < (four.weights - rest) / SEVEN["linear"] < 0.52 and eight.weights == rest + int(
        memory._INT8 * SEVEN["linear"]
    )
    assert four.adapters == four.gradients == 2 * SEVEN["trainable"]
    for optim, least, most in (
        ("adamw_8bit", 2, 2.1),
        ("sgd", 0, 0),
        ("lion_8bit", 1, 1.1),
        ("paged_adamw_32bit", 8, 8),
    ):
        assert (
            least * SEVEN["trainable"]
            <= memory.estimate(costs(optim=optim), config(), 64).optimizer
            <= most * SEVEN["trainable"]
        )
    assert memory.estimate({**SEVEN, "cuda": False}, config(), 64).overhead < memory.CONTEXT_BYTES / 4


@pytest.mark.parametrize(
    ("tokens", "checkpointing", "measured"), [(2048, False, 25.7), (8192, False, 58.6), (16_384, True, 22.9)]
)
def test_near_what_was_measured_on_an_h100(tokens: int, checkpointing: bool, measured: float) -> None:
    # Packed rows, Liger, taken as without dropout (which was not noted); measured are tensors alone, without CUDA's context.
    chosen = costs(use_liger_kernel=True, gradient_checkpointing=checkpointing, packing=True)
    found = memory.estimate(chosen, config(lora_dropout=0), tokens)
    assert 0.9 < (found.total - memory.CONTEXT_BYTES) / GIB / measured < 1.15


# Qwen2's shape: hidden, intermediate, layers, heads, of two for keys and values; tied embeddings of 151,936 words.
SHAPES = {"0.5B": (896, 4864, 24, 14), "1.5B": (1536, 8960, 28, 12), "3B": (2048, 11_008, 36, 16)}


@pytest.mark.parametrize(
    ("shape", "tokens", "checkpointing", "more", "measured"),
    [
        ("0.5B", 1024, True, {}, 1.25), ("0.5B", 4096, True, {}, 1.74), ("0.5B", 2048, False, {}, 4.50),
        ("0.5B", 4096, False, {}, 7.88), ("0.5B", 8192, True, {"padding_free": True}, 2.61), ("1.5B", 1024, True, {}, 3.45),
        ("1.5B", 4096, True, {}, 4.37), ("1.5B", 2048, False, {"lora_dropout": 0}, 9.19),
        ("1.5B", 2048, True, {"packing": True}, 3.76), ("1.5B", 4096, True, {"lora_r": 64}, 4.99), ("3B", 1024, True, {}, 6.57),
        ("3B", 2048, False, {}, 17.54), ("0.5B", 8192, True, {"recipe": "exact"}, 2.25), ("1.5B", 4096, False, {"recipe": "exact"}, 11.58),
    ],
)  # fmt: skip
def test_near_what_was_measured_on_an_h200(
    shape: str, tokens: int, checkpointing: bool, more: dict[str, Any], measured: float
) -> None:
    # python -m tests.benchmarks.memory_estimate: what torch had allocated at the most, in GiB; with recorded passes, had reserved.
    hidden, wide, layers, heads = SHAPES[shape]
    pairs = 2 * hidden // heads
    linear = layers * (2 * hidden * hidden + 2 * hidden * pairs + 3 * hidden * wide)
    trained = layers * more.get("lora_r", 16) * (4 * hidden + 2 * (hidden + pairs) + 3 * (hidden + wide))
    chosen = {
        **CHOSEN,
        "gradient_checkpointing": checkpointing,
        "packing": "packing" in more,
        "padding_free": "padding_free" in more,
        **dict.fromkeys(("use_liger_kernel", "end_to_end", "fused_lora", "cuda_graphs"), "recipe" in more),
    }
    told = {"trainable": trained, "cuda": True, "parameters": linear + 151_936 * hidden, "linear": linear, "largest_linear": hidden * wide,
            "layers": layers, "hidden": hidden, "heads": heads, "vocabulary": 151_936, "positions": 8192, "chosen": chosen,
            "layer": {"outputs": 3 * hidden + 2 * pairs + 2 * wide, "widest": wide, "norms": 2, "experts": 0,
                      "adapter_inputs": 6 * hidden + wide, "adapters": 7}}  # fmt: skip
    found = memory.estimate(told, config(**more), tokens)
    assert 0.92 < (found.total - found.overhead) / GIB / measured < 1.06


def test_what_makes_it_more_or_less() -> None:
    def total(tokens: int = 2048, chosen: dict[str, Any] = {}, **more: Any) -> int:
        return memory.estimate(costs(**chosen), config(**more), tokens).total

    assert total(4096) > total(2048) > total(1024)
    assert total(chosen={"gradient_checkpointing": True}) < total(chosen={"use_liger_kernel": True}) < total()
    assert (
        total(chosen={"attn_implementation": "eager"})
        > total()
        > total(lora_dropout=0)
        > total(lora_dropout=0, load_in_4bit=True)
    )
    assert memory.micro_batch(config(batch_size=3, max_seq_length=100), 70) == 210
    assert memory.micro_batch(config(batch_size=3, max_seq_length=100), 700) == 300
    assert memory.micro_batch({**config(batch_size=3, max_seq_length=100), "packing": True}, 70) == 300


@pytest.mark.parametrize("room", [12, 16, 20, 24, 30, 40, 60])
@pytest.mark.parametrize("batch", [1, 4, 6, 16])
def test_what_is_proposed_fits_and_keeps_the_updates(room: int, batch: int) -> None:
    settings = config(batch_size=batch, gradient_accumulation_steps=4)
    found = memory.fixes(SEVEN, settings, 2048, room * GIB, can_quantise=True)
    assert 1 <= len(found) <= 3
    for fix in found:
        changed = parse({**settings, **fix["settings"]}).model_dump()
        assert fix["total"] <= room * GIB and fix["settings"]
        assert changed["batch_size"] * changed["gradient_accumulation_steps"] == 4 * batch
        chosen = costs(gradient_checkpointing=fix["settings"].get("gradient_checkpointing", False))
        assert memory.estimate(chosen, changed, memory.micro_batch(changed, 2048)).total == fix["total"]
    assert all(
        "load_in_4bit" not in fix["settings"]
        for fix in memory.fixes(SEVEN, settings, 2048, room * GIB, can_quantise=False)
    )


def test_the_cheapest_change_comes_first_and_none_is_made_up() -> None:
    first = memory.fixes(SEVEN, config(batch_size=8), 2048, 60 * GIB, can_quantise=True)[0]["settings"]
    assert first == {"batch_size": 2, "gradient_accumulation_steps": 16}
    together = memory.fixes(SEVEN, config(batch_size=8), 2048, 13 * GIB, can_quantise=True)
    assert together[0]["settings"] == {"batch_size": 1, "gradient_accumulation_steps": 32, "gradient_checkpointing": True,
                                       "load_in_4bit": True}  # fmt: skip
    assert memory.fixes(SEVEN, config(), 2048, GIB, can_quantise=True) == []


def test_the_card_is_the_one_that_a_run_would_get(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = [Gpu(0, "A", 70 * GIB, 80 * GIB, uuid="GPU-a"), Gpu(1, "B", 10 * GIB, 80 * GIB, uuid="GPU-b"),
             Gpu(2, "C", 0, 80 * GIB, processes=1, uuid="GPU-c")]  # fmt: skip
    monkeypatch.setattr("engine.hardware.gpus", lambda: cards)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def got(**more: Any) -> Gpu | None:
        return place(parse({"base_model": "/m", "train_path": "/t", "output_dir": "/o", **more}))[0]

    assert got() == cards[1], "nobody computes there, and most is free"
    assert got(gpus="0") == cards[0] and got(gpus="7") is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert got() == cards[0]
    assert (
        memory.limited(cards[1], 17.0).memory_free == 17 * GIB
        and memory.limited(cards[0], 17.0).memory_free == 10 * GIB
    )  # type: ignore[union-attr]
    assert memory.limited(cards[0], None) is cards[0] and memory.limited(None, 3.0) is None


def test_checkpoints_on_the_disk(tmp_path: Path) -> None:
    settings = config(save_steps=10, max_steps=100, output_dir=str(tmp_path / "a" / "b"))
    steps = plan(parse(settings), 1000)
    found = disk.disk(settings, SEVEN, steps, None)
    each = 12 * SEVEN["trainable"]
    assert found["count"] == 10 and each < found["checkpoint"] < each + 2**20  # type: ignore[operator]
    assert found["total"] == 10 * found["checkpoint"] + found["checkpoint"] - 8 * SEVEN["trainable"]  # type: ignore[operator]
    assert found["free"] is not None and found["free"] > 0
    (tmp_path / "tokenizer.json").write_bytes(bytes(10_000_000))
    assert disk.disk(settings, SEVEN, steps, tmp_path)["checkpoint"] == found["checkpoint"] + 10_000_000  # type: ignore[operator]
    limited = {**settings, "save_total_limit": 2}
    assert disk.disk(limited, SEVEN, steps, None)["count"] == 3
    assert disk.disk({**limited, "load_best_model_at_end": True}, SEVEN, steps, None)["count"] == 4


def test_time_comes_only_from_runs_like_this_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(base_model="a/b")
    run = make_run(tmp_path / "run", config=settings, base_model="a/b")
    assert speed.seconds(settings, 9000, [run.path]) == pytest.approx(10.0)  # 900 tokens a second
    assert speed.seconds({**settings, "load_in_4bit": True}, 9000, [run.path]) is None
    assert speed.seconds({**settings, "base_model": "a/c"}, 9000, [run.path]) is None
    assert speed.seconds(settings, 9000, [tmp_path / "none"]) is None and speed.seconds(settings, 9000, []) is None
    record = run.read_run() or {}
    write_json(run.run_json, {**record, "host": f"not-{process.host()}"})
    assert speed.seconds(settings, 9000, [run.path]) is None
    (tmp_path / "model").mkdir()
    local = make_run(tmp_path / "local", config={**settings, "base_model": str(tmp_path / "model")})
    monkeypatch.chdir(tmp_path)  # a run records the whole path of its model
    assert speed.seconds({**settings, "base_model": "./model"}, 9000, [local.path]) == pytest.approx(10.0)
    few = make_run(tmp_path / "few", steps=2, config=settings, base_model="a/b")
    append_step(few, 3, 1.0, time=time.time(), tokens_per_second="NaN")
    assert speed.seconds(settings, 9000, [few.path]) is None


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    assert disk.refusal(tmp_path / "a" / "b") == "" == disk.refusal(tmp_path) and list(tmp_path.iterdir()) == []
    assert disk.refusal(Path("/proc/x"))


def test_an_evaluation_may_need_more_than_training() -> None:
    settings = config(eval_path="e.jsonl")
    chosen = costs(gradient_checkpointing=True, use_liger_kernel=True)
    trains = memory.estimate(chosen, settings, 2048)
    held = memory.estimate(chosen, settings, 2048, memory.eval_batch(settings, 2048))
    # A tile of scores, the hidden states of eight rows with their gradient, and what passes through one layer.
    tile, rows, layer = 4096 * 32_768 * 2, 8 * 2048 * 3584 * 6, 8 * 2048 * (3 * 18_944 + 2 * 3584) * 2
    assert held.logits + held.activations == tile + rows + layer and held.activations == trains.activations
    assert memory.eval_batch(config(), 2048) == 0 and memory.estimate(chosen, settings, 2048, 64) == trains
    room = memory.estimate(chosen, settings, 2048, 4 * 2048).total
    first = memory.fixes(chosen, settings, 2048, room, can_quantise=True)[0]
    assert first["settings"] == {"per_device_eval_batch_size": 4} and first["total"] == room
