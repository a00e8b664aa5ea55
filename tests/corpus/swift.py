"""What ms-swift leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.corpus.case import Case, layout
from tests.corpus.parts import (
    QWEN,
    adapter,
    card,
    eval_row,
    falling,
    lines,
    put_checkpoint,
    put_model,
    put_state,
    state,
    told,
    train_rows,
    write,
)


def _arguments(place: Path, **more: Any) -> dict[str, Any]:
    return {"output_dir": str(place), "overwrite_output_dir": False, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 16,
            "learning_rate": 0.0001, "weight_decay": 0.1, "num_train_epochs": 1.0, "max_steps": -1, "lr_scheduler_type": "cosine",
            "warmup_ratio": 0.05, "logging_steps": 10, "save_steps": 100.0, "seed": 42, "bf16": True, "hub_token": "hf_SECRETxSECRETxSECRET",
            "optim": "adamw_torch_fused", "tuner_backend": "peft", "model": QWEN, "model_type": "qwen2_5", "template": "qwen2_5",
            "torch_dtype": "bfloat16", "max_length": 1024, "dataset": ["/data/微调/train.jsonl"], "val_dataset": [], "packing": False,
            "train_type": "lora", "target_modules": ["all-linear"], "lora_rank": 8, "lora_alpha": 32, "lora_dropout": 0.05,
            "use_rslora": False, "max_new_tokens": 64, "new_special_tokens": ["<a>"], "swanlab_token": None, "swift_version": "3.8.0", "model_info": "ModelInfo(model_type='qwen2_5')",
            "args_class": "TrainArguments"} | more  # fmt: skip


def log_rows(
    losses: list[Any], total: int, every: int = 10, *, evals: dict[int, float] | None = None
) -> list[dict[str, Any]]:
    """``logging.jsonl`` of versions 3 and 4."""
    found: list[dict[str, Any]] = []
    for i, loss in enumerate(losses, 1):
        step = i * every
        rest = {"epoch": round(step / total, 8), "global_step/max_steps": f"{step}/{total}", "percentage": f"{100 * step / total:.2f}%",
                "elapsed_time": f"{i}m 42s", "remaining_time": "35m 36s", "memory(GiB)": 16.48, "train_speed(iter/s)": 0.195626}  # fmt: skip
        found.append(
            {
                "loss": loss,
                "grad_norm": 3.91881275,
                "learning_rate": round(1e-4 * (1 - i / (len(losses) + 1)), 10),
                "token_acc": 0.88,
                **rest,
            }
        )
        if evals and step in evals:
            found.append({"eval_loss": evals[step], "eval_runtime": 148.4461, "eval_token_acc": 0.93, **rest})
    return found


def _closing(losses: list[Any], total: int, place: Path) -> list[dict[str, Any]]:
    history = [{"loss": loss, "step": 10 * i} for i, loss in enumerate(losses, 1)]
    return [{"train_runtime": 2959.8245, "train_samples_per_second": 2.363, "total_flos": 9.1e16, "train_loss": 0.28, "epoch": 1.0,
             "global_step/max_steps": f"{total}/{total}", "percentage": "100.00%"},
            {"train_dataset": "287.5±102.3, min=63, max=1005, size=6994", "model_parameter_info": "PeftModelForCausalLM: 8212.5588M Params",
             "last_model_checkpoint": f"{place}/checkpoint-{total}", "best_metric": 0.129, "global_step": total, "log_history": history,
             "memory": 16.56}]  # fmt: skip


@layout
def ms_swift_versions(here: Path) -> list[Case]:
    """``output/MODEL/vN-DATE``, with a link to the last checkpoint and a merged copy beside it."""
    found = []
    for version, total in ((0, 200), (1, 100)):
        place = here / "output" / "Qwen2.5-7B-Instruct" / f"v{version}-20250{version + 1}12-101010"
        losses, evals = falling(total // 10), {total // 2: 0.158, total: 0.147}
        rows = train_rows(losses, epochs=1.0)
        rows.insert(len(rows) // 2, eval_row(total // 2, evals[total // 2]))
        rows.append(eval_row(total, evals[total]))
        newest = put_checkpoint(place, total, state(rows, total, total, epoch=1.0, epochs=1), adapter(QWEN, 8, 32))
        write(newest / "args.json", _arguments(place))
        write(newest / "README.md", card(QWEN, ["base_model:adapter:" + QWEN, "lora", "transformers"]))
        write(newest / "additional_config.json", {"lora_dtype": None, "lorap_lr_ratio": None, "lorap_emb_lr": 1e-06})
        write(place / "args.json", _arguments(place))
        write(place / "logging.jsonl", lines([*log_rows(losses, total, evals=evals), *_closing(losses, total, place)]))
        write(place / "val_dataset.jsonl", lines([{"messages": []}]))
        write(place / "images" / "train_loss.png", b"\x89PNG")
        (place / "runs").mkdir()
        put_model(place / f"checkpoint-{total}-merged")
        write(place / f"checkpoint-{total}-merged" / "args.json", _arguments(place))
        (place / "last").symlink_to(f"checkpoint-{total}")
        found.append(Case(f"ms-swift-v{version}", place, told(
            losses, list(evals.values()), tool="ms-swift", state="completed", base_model=QWEN, step=total, total_steps=total, checkpoints=[total],
            learning_rate=1e-4, lora_r=8, lora_alpha=32, max_seq_length=1024, batch_size=1, num_train_epochs=1, hidden="SECRETxSECRET",
            seconds=2959.8245, problem=None, other={"max_new_tokens": 64, "template": "qwen2_5"},
            settings={"learning_rate": 1e-4, "batch_size": 1, "gradient_accumulation_steps": 16, "max_seq_length": 1024, "lora_r": 8,
                      "lora_alpha": 32, "lora_dropout": 0.05, "warmup_ratio": 0.05, "weight_decay": 0.1, "seed": 42})))  # fmt: skip
    return found


@layout
def ms_swift_killed(here: Path) -> dict[str, Any]:
    """The log goes beyond the checkpoint."""
    losses = falling(17)
    put_checkpoint(here, 100, state(train_rows(losses[:10], epochs=0.2), 100, 500, epoch=0.2), adapter(QWEN))
    write(here / "args.json", _arguments(here))
    write(here / "logging.jsonl", lines(log_rows(losses, 500)))
    return told(losses, tool="ms-swift", state="unknown", step=170, total_steps=500, checkpoints=[100])


@layout
def ms_swift_log_alone(here: Path) -> dict[str, Any]:
    """Only the log."""
    losses = falling(5)
    write(here / "logging.jsonl", lines(log_rows(losses, 50)))
    return told(losses, tool="ms-swift", state="completed", base_model=None, step=50, total_steps=50)


@layout
def ms_swift_state_alone(here: Path) -> dict[str, Any]:
    """Only a trainer's state: its rows name the memory and the speed as ms-swift does."""
    losses = falling(4)
    rows = train_rows(losses, **{"token_acc": 0.9, "memory(GiB)": 16.5, "train_speed(iter/s)": 0.2})
    put_state(here, state(rows, 40, 40, last_model_checkpoint="/x/v0-20250112/checkpoint-40"))
    return told(losses, tool="ms-swift", state="completed", step=40, curves=["token_acc"])


@layout
def ms_swift_arguments_alone(here: Path) -> dict[str, Any]:
    """It died while loading."""
    write(here / "args.json", _arguments(here))
    return {"tool": "ms-swift", "state": "unknown", "base_model": QWEN, "points": None, "step": None, "learning_rate": 1e-4, "max_seq_length": 1024,
            "hidden": "SECRETxSECRET"}  # fmt: skip


@layout
def ms_swift_2_old(here: Path) -> dict[str, Any]:
    """Version 2: ``sft_args.json``, ``model_id_or_path``, a plain ``global_step``."""
    losses = falling(6)
    arguments = {"model_type": "qwen1half-7b-chat", "model_id_or_path": "qwen/Qwen1.5-7B-Chat", "sft_type": "lora", "dataset": ["blossom-math-zh"],
                 "output_dir": str(here), "lora_rank": 8, "lora_alpha": 32, "learning_rate": 0.0001, "batch_size": 1, "max_length": 2048}  # fmt: skip
    write(here / "sft_args.json", arguments)
    rows = [{"loss": loss, "acc": 0.7, "grad_norm": 484.0, "learning_rate": 1.1e-07, "train_speed(iter/s)": 0.118, "epoch": 0.1 * i, "global_step": 5 * i}
            for i, loss in enumerate(losses, 1)]  # fmt: skip
    write(here / "logging.jsonl", lines(rows))
    put_checkpoint(
        here,
        30,
        state(train_rows(losses, every=5), 30, 60, epoch=0.6),
        adapter("/root/.cache/modelscope/qwen/Qwen1.5-7B-Chat", 8, 32),
    )
    return told(
        losses,
        tool="ms-swift",
        state="unknown",
        step=30,
        total_steps=60,
        lora_r=8,
        lora_alpha=32,
        max_seq_length=2048,
        learning_rate=1e-4,
        batch_size=1,
    )


@layout
def ms_swift_grpo(here: Path) -> dict[str, Any]:
    """Its reinforcement rows, with ``completions.jsonl`` beside the log."""
    losses = [0.0, 0.0001, -0.0002]
    rows = [row | {"completions/mean_length": 300.1, "reward": 0.3, "kl": 0.01} for row in log_rows(losses, 30)]
    write(here / "logging.jsonl", lines(rows))
    write(here / "completions.jsonl", lines([{"gen_step": 1, "loss": [9, 9], "completion": ["a", "b"]}]))
    write(here / "args.json", _arguments(here, rlhf_type="grpo", args_class="RLHFArguments"))
    return told(losses, tool="ms-swift", state="completed", base_model=QWEN, step=30, curves=["reward"])


@layout
def ms_swift_odd_log(here: Path) -> dict[str, Any]:
    """Steps that no one can read, NaN, torn and doubled lines."""
    rows = log_rows([2.0, float("inf"), 1.5, float("nan")], 400)
    rows[1]["global_step/max_steps"] = "twenty/400"
    write(here / "args.json", _arguments(here))
    write(
        here / "logging.jsonl",
        "\ufeff" + lines(rows).replace("\n", "\r\n") + '{"loss": 1.0, "global_step/max_steps": "50/4',
    )
    return {
        "tool": "ms-swift",
        "state": "unknown",
        "step": 40,
        "total_steps": 400,
        "points": 4,
        "last_loss": float("nan"),
        "best_loss": 1.5,
    }
