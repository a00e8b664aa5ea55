"""Cloning: every value that is taken over is valid and means the same; all others are named with the reason."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from engine.checkpoints import Checkpoint
from engine.config import check, settings
from engine.history import readers
from engine.history.clone import OURS_ALONE, Clone, clone
from engine.history.record import RunRecord
from engine.history.summary import RunSummary
from engine.history.theirs import RULES
from tests.support import make_run, write_rows


def made(*, tool: str = "llama-factory", total: int | None = None, dataset: str | None = None, sources: dict[str, str] | None = None,
         ours: dict[str, Any] | None = None, **theirs: Any) -> RunRecord:  # fmt: skip
    summary = RunSummary("r", "/runs/r", "r", tool, "completed", total_steps=total, dataset=dataset)
    return RunRecord(summary, settings=ours or {}, other=theirs, sources=sources or {})


def one(name: str, **theirs: Any) -> Any:
    """The value of one setting; a text with the reason if it is not taken over, ``None`` if it is not told."""
    found = clone(made(**theirs))
    check_valid(found)
    if name in found.values:
        return found.values[name]
    reasons = [remark for remark in found.remarks if remark.startswith(f"{name}: ")]
    return reasons[0] if reasons else None


def check_valid(found: Clone) -> None:
    config, problems = check({"train_path": "x.jsonl", "output_dir": "x", **found.values})
    assert config is not None and not problems
    assert not set(found.values) & set(found.unknown) and not set(found.unknown) & OURS_ALONE


def test_every_setting_has_a_rule_or_is_ours_alone() -> None:
    assert set(RULES) | OURS_ALONE == set(settings()) and not set(RULES) & OURS_ALONE


@pytest.mark.parametrize(
    ("name", "theirs", "expected"),
    [
        ("batch_size", {"per_device_train_batch_size": 4}, 4),
        ("batch_size", {"micro_batch_size": "2"}, 2),
        ("max_seq_length", {"cutoff_len": 1024}, 1024),
        ("max_seq_length", {"sequence_len": 4096}, 4096),
        ("max_seq_length", {"max_length": 512}, 512),
        ("lora_r", {"lora_rank": 8}, 8),
        ("lora_r", {"r": 64}, 64),
        ("lora_dropout", {"lora_dropout_p": 0.05}, 0.05),
        ("learning_rate", {"learning_rate": "2e-4"}, 2e-4),
        ("lr_scheduler_type", {"lr_scheduler_type": "SchedulerType.LINEAR"}, "linear"),
        ("lr_scheduler_type", {"lr_scheduler": "cosine"}, "cosine"),
        ("optim", {"optim": "OptimizerNames.ADAMW_TORCH"}, "adamw_torch"),
        ("optim", {"optimizer": "adamw_bnb_8bit"}, "adamw_8bit"),
        ("dtype", {"bf16": True, "fp16": False}, "bfloat16"),
        ("dtype", {"torch_dtype": "torch.float16"}, "float16"),
        ("dtype", {"bf16": "auto"}, "auto"),
        ("load_in_4bit", {"quantization_bit": 4}, True),
        ("load_in_4bit", {"adapter": "qlora"}, True),
        ("load_in_4bit", {"quantization_config.load_in_4bit": True}, True),
        ("load_in_8bit", {"quant_bits": 8}, True),
        ("attn_implementation", {"flash_attn": "fa2"}, "flash_attention_2"),
        ("attn_implementation", {"flash_attention": True}, "flash_attention_2"),
        ("attn_implementation", {"attn_impl": "sdpa"}, "sdpa"),
        ("assistant_only_loss", {"train_on_inputs": False}, True),
        ("assistant_only_loss", {"train_on_prompt": True}, False),
        ("assistant_only_loss", {"loss_scale": "default"}, True),
        ("packing", {"neat_packing": True}, True),
        ("gradient_checkpointing", {"gradient_checkpointing": "unsloth"}, True),
        ("gradient_checkpointing", {"disable_gradient_checkpointing": True}, False),
        ("target_modules", {"lora_target": "all"}, "all-linear"),
        ("target_modules", {"lora_target_linear": True}, "all-linear"),
        ("target_modules", {"target_modules": ["all-linear"]}, "all-linear"),
        ("target_modules", {"lora_target": "q_proj, v_proj"}, ["q_proj", "v_proj"]),
        ("target_modules", {"target_modules": ["layers.0.q_proj"]}, ["layers.0.q_proj"]),
        ("modules_to_save", {"additional_target": "embed_tokens,lm_head"}, ["embed_tokens", "lm_head"]),
        ("init_lora_weights", {"pissa_init": True}, "pissa"),
        ("init_lora_weights", {"init_lora_weights": True}, "default"),
        ("task_type", {"task_type": "TaskType.CAUSAL_LM"}, "CAUSAL_LM"),
        ("warmup_ratio", {"warmup_steps": 0, "warmup_ratio": 0.1}, 0.1),
        ("warmup_ratio", {"warmup_steps": 10, "warmup_ratio": 0.1, "total": 100}, 0.1),
        ("warmup_ratio", {"warmup_steps": 0.05}, 0.05),
        ("warmup_ratio", {"warmup_steps": 0}, 0),
        ("save_steps", {"save_steps": 0.1, "total": 55}, 6),
        ("save_steps", {"save_strategy": "epoch", "save_steps": 500, "num_train_epochs": 3, "total": 90}, 30),
        ("max_steps", {"max_steps": 60}, 60),
        ("max_steps", {"max_steps": -1}, None),
        ("eval_fraction", {"val_size": 0.1}, 0.1),
        ("neftune_noise_alpha", {"neftune_noise_alpha": 5}, 5),
        ("neftune_noise_alpha", {"neftune_noise_alpha": 0}, None),
        ("save_total_limit", {"save_total_limit": -1}, None),
        ("base_model", {"model_name_or_path": None}, None),
    ],
)  # fmt: skip
def test_their_settings_mean_ours(name: str, theirs: dict[str, Any], expected: Any) -> None:
    assert one(name, **theirs) == expected


@pytest.mark.parametrize(
    ("name", "theirs", "reason"),
    [
        ("optim", {"optim": "adamw_hf"}, "adamw_hf is not taken over"),
        ("lr_scheduler_type", {"lr_scheduler_type": "cosine_with_restarts"}, "cosine_with_restarts is not"),
        ("lora_r", {"lora_rank": 100_000}, "100000 is not taken over: it must be a whole number, 1 to 8192"),
        ("lora_r", {"lora_rank": 0}, "0 is not"),
        ("learning_rate", {"learning_rate": math.nan}, "is not taken over"),
        ("learning_rate", {"learning_rate": "fast"}, "fast is not"),
        ("target_modules", {"target_modules": r".*\.(q|v)_proj"}, "is a pattern"),
        ("target_modules", {"target_modules": ["q_proj", "all-linear"]}, "more than names"),
        ("target_modules", {"target_modules": {"q_proj": 1}}, "is no list of layers"),
        ("init_lora_weights", {"init_lora_weights": False}, "at random"),
        ("init_lora_weights", {"init_lora_weights": "pissa_niter_16"}, "pissa_niter_16 is not"),
        ("task_type", {"task_type": "SEQ_CLS"}, "SEQ_CLS is not"),
        ("load_in_4bit", {"quantization_bit": 4, "quantization_method": "hqq"}, "hqq is another way"),
        ("warmup_ratio", {"warmup_steps": 10}, "10 steps is no share"),
        ("save_steps", {"save_strategy": "epoch"}, "once an epoch is no number"),
        ("eval_steps", {"eval_steps": 50}, "needs evaluation data"),
        ("eval_fraction", {"val_set_size": 500}, "500 is a number of rows"),
        ("train_path", {"dataset": "alpaca_zh"}, "alpaca_zh is no file of chats on this machine"),
        ("train_path", {"dataset": ["a", "b"]}, "a, b is no file"),
        ("assistant_only_loss", {"loss_scale": "last_round"}, "last_round is"),
        ("batch_size", {"per_device_train_batch_size": True}, "true is not"),
        ("seed", {"seed": -1}, "-1 is not"),
        ("gradient_checkpointing", {"gradient_checkpointing": "selective"}, "selective is not"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_over_is_named_with_its_value(name: str, theirs: dict[str, Any], reason: str) -> None:
    found = clone(made(**theirs))
    check_valid(found)
    assert name not in found.values and name in found.unknown
    assert any(remark.startswith(f"{name}: ") and reason in remark for remark in found.remarks), found.remarks


def test_warm_up_steps_come_back_as_the_same_steps() -> None:
    for total in (7, 30, 100, 333, 1001, 24_000):
        for steps in {1, 2, 3, 10, total // 3, total}:
            if steps <= total:
                ratio = one("warmup_ratio", warmup_steps=steps, total=total)
                assert (math.ceil(total * ratio) if ratio < 1 else total) == steps, (steps, total, ratio)


def test_the_data_are_taken_over_if_they_are_a_file_here(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "chats.jsonl")
    assert clone(made(dataset=str(data))).values["train_path"] == str(data)
    assert clone(made(dataset=str(data), eval_path=str(data))).values["eval_path"] == str(data)
    assert "train_path" not in clone(made(dataset=str(tmp_path / "gone.jsonl"))).values


def test_one_kind_of_evaluation_data_is_enough(tmp_path: Path) -> None:
    found = clone(made(val_size=0.1, eval_steps=20))
    assert (
        found.values["eval_fraction"] == 0.1 and found.values["eval_steps"] == 20 and "eval_path" not in found.unknown
    )
    assert {"eval_path", "eval_fraction"} <= set(clone(made()).unknown)
    assert not {"eval_path", "eval_fraction", "eval_steps"} & set(clone(made(eval_strategy="no")).unknown)


def test_models_keep_their_names(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert one("base_model", ours={"base_model": str(tmp_path / "model")}) == str(tmp_path / "model")
    cached = "/home/x/.cache/huggingface/hub/models--Qwen--Qwen2.5-7B/snapshots/0a1b2c"
    assert one("base_model", ours={"base_model": cached}) == "Qwen/Qwen2.5-7B"
    found = clone(made(ours={"base_model": "/gone/llama"}))
    assert (
        found.values["base_model"] == "/gone/llama"
        and "base_model: /gone/llama is not on this machine" in found.remarks
    )
    found = clone(made(ours={"base_model": "unsloth/llama-3-8b-bnb-4bit"}))
    assert any("quantised to 4 bits already" in remark for remark in found.remarks)


def test_a_trainer_state_names_defaults_as_if_they_had_been_in_force() -> None:
    record = made(ours={"save_steps": 500, "eval_steps": 500, "logging_steps": 10}, total=60,
                  sources=dict.fromkeys(("save_steps", "eval_steps", "logging_steps"), "checkpoint-60/trainer_state.json"))  # fmt: skip
    record.checkpoints = [Checkpoint(step, Path(f"/x/checkpoint-{step}"), 1) for step in (20, 40, 60)]
    for step in (10, 20, 30):
        record.steps.add({"step": step}, [("loss", 1.0)])
    found = clone(record)
    assert found.values["logging_steps"] == 10 and "save_steps" in found.unknown
    assert any("save_steps: 500 is not what was done: it did so at step 20" in remark for remark in found.remarks)


def test_a_full_fine_tuning_has_no_lora_to_clone() -> None:
    found = clone(made(finetuning_type="full", lora_rank=8, learning_rate=1e-5))
    assert "lora_r" not in found.values and {"lora_r", "lora_alpha", "target_modules"} <= set(found.unknown)
    assert any("trained no LoRA adapter (full)" in remark for remark in found.remarks)


def test_an_adapter_without_them_had_no_later_kinds_of_lora() -> None:
    told = clone(made(ours={"lora_r": 8}, sources={"lora_r": "adapter_config.json"}))
    assert not {"use_dora", "use_rslora", "modules_to_save"} & set(told.unknown)
    assert {"use_dora", "use_rslora"} <= set(clone(made(ours={"lora_r": 8})).unknown)


def test_several_cards_are_said() -> None:
    found = clone(made(world_size=8, per_device_train_batch_size=2, gradient_accumulation_steps=4))
    assert "gpus: it trained on 8, 64 samples an update" in found.remarks


def test_another_kind_of_training_is_said() -> None:
    assert any("no supervised training (dpo)" in remark for remark in clone(made(stage="dpo")).remarks)
    assert not clone(made(stage="sft", rlhf_type=None)).remarks


def test_the_highest_logged_rate_is_said_but_not_taken() -> None:
    record = made()
    for rate in (1e-5, 2e-4, 1e-4, math.nan):
        record.steps.add({"step": 1}, [("learning_rate", rate)])
    found = clone(record)
    assert "learning_rate" in found.unknown and any(
        "highest that was logged is 0.0002" in remark for remark in found.remarks
    )


def test_contradictions_take_the_later_setting_out() -> None:
    found = clone(made(load_in_4bit=True, load_in_8bit=True))
    check_valid(found)
    assert found.values["load_in_4bit"] is True and "load_in_8bit" in found.unknown


ODD = [None, math.nan, math.inf, -1, 0, 10**400, True, "", " ", "x" * 10_000, "\x1b[0m", "\ud800", [], [None], [[1]], {}, {"a": 1}, b"x",
       object(), "auto", "None", "1,2", ["q", 3], 1e308]  # fmt: skip


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:20])
def test_odd_values_are_never_taken_over_wrongly(value: Any) -> None:
    keys = [
        *RULES,
        "warmup_steps",
        "quantization_bit",
        "lora_target",
        "val_size",
        "dataset",
        "flash_attn",
        "world_size",
        "adapter",
    ]
    for tool in ("tunedeck", "unknown"):
        for ours in (True, False):
            given = dict.fromkeys(keys, value)
            found = clone(made(tool=tool, ours=given) if ours else made(tool=tool, **given))
            check_valid(found)
            assert all("\x1b" not in remark for remark in found.remarks)


def test_our_own_runs_are_cloned_whole(tmp_path: Path) -> None:
    path = make_run(tmp_path / "own", steps=2, config={"lora_r": 8, "save_total_limit": None, "gone_setting": 1}).path
    record = readers.read_record(path)
    assert record is not None
    found = clone(record)
    assert found.values["lora_r"] == 8 and "output_dir" not in found.values and found.unknown == []
    assert found.values["train_path"] == "train.jsonl"
    assert found.remarks in ([], ["gone_setting: is no setting of this version, and is left out"])


def test_a_directory_of_llama_factory_is_cloned(tmp_path: Path) -> None:
    run = tmp_path / "lf"
    run.mkdir()
    (run / "training_args.yaml").write_text(
        "bf16: true\ncutoff_len: 2048\ndataset: identity,alpaca_en\nfinetuning_type: lora\nflash_attn: fa2\n"
        "gradient_accumulation_steps: 8\nlearning_rate: 5.0e-05\nlogging_steps: 5\nlora_alpha: 16\nlora_dropout: 0\n"
        "lora_rank: 8\nlora_target: all\nlr_scheduler_type: cosine\nmax_grad_norm: 1.0\n"
        "model_name_or_path: meta-llama/Llama-3.1-8B\nnum_train_epochs: 3.0\noptim: adamw_torch\noutput_dir: saves/x\n"
        "per_device_train_batch_size: 2\nsave_steps: 100\nstage: sft\nwarmup_steps: 20\n"
    )
    rows = [
        {"current_steps": n, "total_steps": 300, "loss": 2 - n / 300, "lr": 5e-5, "epoch": n / 100}
        for n in (5, 10, 300)
    ]
    (run / "trainer_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = readers.read_record(run)
    assert record is not None
    found = clone(record)
    check_valid(found)
    expected = {
        "base_model": "meta-llama/Llama-3.1-8B", "dtype": "bfloat16", "attn_implementation": "flash_attention_2",
        "max_seq_length": 2048, "lora_r": 8, "lora_alpha": 16, "lora_dropout": 0, "target_modules": "all-linear",
        "num_train_epochs": 3, "batch_size": 2, "gradient_accumulation_steps": 8, "learning_rate": 5e-5, "lr_scheduler_type": "cosine",
        "max_grad_norm": 1, "optim": "adamw_torch", "save_steps": 100, "logging_steps": 5,
    }  # fmt: skip
    assert {name: found.values.get(name) for name in expected} == expected
    assert math.ceil(300 * found.values["warmup_ratio"]) == 20
    assert "train_path" in found.unknown and any("identity" in remark for remark in found.remarks)


def test_a_directory_of_ms_swift_is_cloned(tmp_path: Path) -> None:
    run = tmp_path / "v0-20250926-114832"
    run.mkdir()
    told = {
        "model": "Qwen/Qwen2.5-7B-Instruct", "model_type": "qwen2_5", "train_type": "lora", "template": "qwen2_5", "max_length": 2048,
        "torch_dtype": "bfloat16", "target_modules": ["all-linear"], "modules_to_save": [], "lora_rank": 8, "lora_alpha": 32,
        "lora_bias": "none", "init_weights": True, "loss_scale": "default", "per_device_train_batch_size": 1, "learning_rate": 0.0001,
        "gradient_accumulation_steps": 16, "adam_beta2": 0.95, "num_train_epochs": 1.0, "max_steps": -1, "warmup_ratio": 0.05,
        "warmup_steps": 0, "eval_strategy": "no", "eval_steps": 50.0, "save_strategy": "steps", "save_steps": 50.0, "logging_steps": 5,
        "split_dataset_ratio": 0.0, "dataset": ["swift/self-cognition#500"], "quant_bits": None, "rank": -1, "global_world_size": 1,
    }  # fmt: skip
    (run / "args.json").write_text(json.dumps(told))
    (run / "logging.jsonl").write_text(
        '{"loss": 2.0, "learning_rate": 2e-05, "epoch": 0.01, "global_step/max_steps": "1/94"}\n'
    )
    record = readers.read_record(run)
    assert record is not None
    found = clone(record)
    check_valid(found)
    expected = {
        "base_model": "Qwen/Qwen2.5-7B-Instruct", "dtype": "bfloat16", "max_seq_length": 2048, "lora_r": 8, "lora_alpha": 32,
        "target_modules": "all-linear", "bias": "none", "init_lora_weights": "default", "assistant_only_loss": True, "batch_size": 1,
        "gradient_accumulation_steps": 16, "adam_beta2": 0.95, "warmup_ratio": 0.05, "save_steps": 50, "logging_steps": 5,
    }  # fmt: skip
    assert {name: found.values.get(name) for name in expected} == expected
    assert "train_path" in found.unknown and not {"max_steps", "eval_steps", "eval_path", "task_type"} & set(
        found.unknown
    )


def test_an_adapter_alone_is_cloned_as_far_as_it_goes(tmp_path: Path) -> None:
    run = tmp_path / "adapter" / "checkpoint-10"
    run.mkdir(parents=True)
    (run / "adapter_config.json").write_text(json.dumps({
        "base_model_name_or_path": None, "bias": "none", "init_lora_weights": True, "lora_alpha": 32, "lora_dropout": 0.1,
        "modules_to_save": None, "peft_type": "LORA", "r": 16, "target_modules": ["v_proj", "q_proj"], "task_type": "CAUSAL_LM"}))  # fmt: skip
    (run / "trainer_state.json").write_text(json.dumps({
        "global_step": 10, "max_steps": 30, "num_train_epochs": 3, "logging_steps": 5, "save_steps": 10, "eval_steps": 500,
        "log_history": [{"step": 5, "loss": 1.0, "learning_rate": 1e-4}, {"step": 10, "loss": 0.5, "learning_rate": 5e-5}]}))  # fmt: skip
    record = readers.read_record(run.parent)
    assert record is not None
    found = clone(record)
    check_valid(found)
    assert {n: found.values.get(n) for n in ("lora_r", "lora_alpha", "lora_dropout", "bias", "task_type", "num_train_epochs")} == {
        "lora_r": 16, "lora_alpha": 32, "lora_dropout": 0.1, "bias": "none", "task_type": "CAUSAL_LM", "num_train_epochs": 3
    }  # fmt: skip
    assert sorted(found.values["target_modules"]) == ["q_proj", "v_proj"]
    assert {"base_model", "train_path", "learning_rate", "max_steps", "batch_size", "max_seq_length"} <= set(
        found.unknown
    )
