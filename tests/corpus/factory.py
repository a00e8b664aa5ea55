"""What LLaMA-Factory leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.corpus.case import Case, layout
from tests.corpus.parts import (
    HYPERPARAMETERS,
    LLAMA,
    QWEN,
    adapter,
    card,
    end_row,
    eval_row,
    falling,
    lines,
    put_adapter,
    put_checkpoint,
    put_model,
    put_state,
    state,
    told,
    train_rows,
    write,
    zipped,
)

_ARGUMENTS = f"""bf16: true
cutoff_len: 4096
dataset: alpaca_zh,identity
dataset_dir: data
ddp_timeout: 180000000
do_train: true
finetuning_type: lora
flash_attn: auto
gradient_accumulation_steps: 8
hub_token: hf_SECRETxSECRETxSECRET
learning_rate: 5.0e-05
logging_steps: 5
lora_alpha: 16
lora_dropout: 0
lora_rank: 8
lora_target: all
lr_scheduler_type: cosine
max_grad_norm: 1.0
model_name_or_path: {LLAMA}
num_train_epochs: 3.0
optim: adamw_torch
output_dir: saves/Llama-3.1-8B-Instruct/lora/train_2025-04-29-14-28-08
packing: false
per_device_train_batch_size: 2
plot_loss: true
report_to: none
save_steps: 100
seed: 7
stage: sft
template: llama3
trust_remote_code: true
warmup_steps: 0
"""
_BOARD = """top.booster: auto
top.checkpoint_path: []
top.finetuning_type: lora
top.model_name: Llama-3.1-8B-Instruct
train.batch_size: 2
train.cutoff_len: 4096
train.dataset:
- alpaca_zh
- identity
train.extra_args: '{"optim": "adamw_torch"}'
train.learning_rate: 5e-5
train.num_train_epochs: '3.0'
train.swanlab_api_key: 'swan_SECRETxSECRET'
train.training_stage: Supervised Fine-Tuning
"""


def log_rows(
    losses: list[Any], total: int, every: int = 5, *, rate: str = "lr", evals: dict[int, float] | None = None
) -> list[dict[str, Any]]:
    """``trainer_log.jsonl``: ``evals`` by step."""
    found: list[dict[str, Any]] = []
    for i, loss in enumerate(losses, 1):
        step = i * every
        times = {
            "percentage": round(100 * step / total, 2),
            "elapsed_time": f"0:{i % 60:02d}:32",
            "remaining_time": "0:10:00",
        }
        found.append({"current_steps": step, "total_steps": total, "loss": loss, rate: 5e-5 * (1 - i / (len(losses) + 1)),
                      "epoch": round(3 * step / total, 4), **times, "throughput": 4129.18, "total_tokens": 1000 * i})  # fmt: skip
        if evals and step in evals:
            found.append(
                {
                    "current_steps": step,
                    "total_steps": total,
                    "eval_loss": evals[step],
                    "epoch": round(3 * step / total, 4),
                    **times,
                }
            )
    return found


def _ended(here: Path) -> None:
    results = {"epoch": 3.0, "num_input_tokens_seen": 24689312, "total_flos": 2e18, "train_loss": 0.97, "train_runtime": 5980.6912,
               "train_samples_per_second": 14.427, "train_steps_per_second": 0.128}  # fmt: skip
    write(here / "train_results.json", results)
    write(here / "all_results.json", results)


@layout
def llama_factory_saves(here: Path) -> list[Case]:
    """From its board: ``saves/MODEL/lora/train_DATE`` with everything."""
    place = here / "saves" / "Llama-3.1-8B-Instruct" / "lora" / "train_2025-04-29-14-28-08"
    losses, evals = falling(20), {50: 1.1234, 100: 1.0123}
    rows = train_rows(losses, every=5)
    rows[10:10] = [eval_row(50, evals[50])]
    rows.append(eval_row(100, evals[100]))
    put_checkpoint(place, 100, state(rows, 100, 100), adapter(LLAMA, 8, 16, dropout=0))
    put_adapter(place, adapter(LLAMA, 8, 16, dropout=0))
    put_state(place, state([*rows, end_row(100, num_input_tokens_seen=24689312)], 100, 100))
    _ended(place)
    write(place / "trainer_log.jsonl", lines([*log_rows(losses, 100, evals=evals),
          {"current_steps": 100, "total_steps": 100, "epoch": 3.0, "percentage": 100.0, "elapsed_time": "1:39:39",
           "remaining_time": "0:00:00", "throughput": 4129.18, "total_tokens": 24689312}]))  # fmt: skip
    write(place / "training_args.yaml", _ARGUMENTS)
    write(place / "llamaboard_config.yaml", _BOARD)
    write(place / "running_log.txt", "[INFO|2025-04-29 14:28:10] llamafactory.hparams.parser:384 >> Process rank: 0\n")
    write(
        place / "README.md",
        card(LLAMA, ["llama-factory", "lora", "generated_from_trainer"], HYPERPARAMETERS, license="other"),
    )
    zipped(place / "training_args.bin")
    write(place / "training_loss.png", b"\x89PNG\r\n")
    expected = told(losses, list(evals.values()), tool="llama-factory", state="completed", base_model=LLAMA, step=100, total_steps=100,
                    learning_rate=5e-5, lora_r=8, lora_alpha=16, batch_size=2, max_seq_length=4096, num_train_epochs=3, seconds=5980.6912,
                    checkpoints=[100], hidden="SECRETxSECRET", problem=None,
                    settings={"learning_rate": 5e-5, "max_seq_length": 4096, "batch_size": 2, "gradient_accumulation_steps": 8, "lora_r": 8,
                              "lora_alpha": 16, "lora_dropout": 0, "num_train_epochs": 3, "seed": 7, "lr_scheduler_type": "cosine",
                              "logging_steps": 5, "save_steps": 100, "trust_remote_code": True})  # fmt: skip
    tried = here / "saves" / "Llama-3.1-8B-Instruct" / "lora" / "eval_2025-04-30-09-00-00"
    write(
        tried / "all_results.json",
        {"predict_bleu-4": 92.2, "predict_runtime": 674.38, "predict_samples_per_second": 1.518},
    )
    write(tried / "generated_predictions.jsonl", lines([{"prompt": "a", "predict": "b", "label": "c"}]))
    write(tried / "trainer_log.jsonl", lines([{"current_steps": 5 * i, "total_steps": 512, "percentage": 1.0, "elapsed_time": "0:00:05",
                                                "remaining_time": "0:08:29"} for i in range(1, 20)]))  # fmt: skip
    write(tried / "training_args.yaml", _ARGUMENTS.replace("do_train", "do_predict"))
    write(tried / "llamaboard_config.yaml", _BOARD.replace("train.", "eval."))
    return [Case("llama-factory-saves", place, expected),
            Case("llama-factory-predictions", tried, {"tool": "llama-factory", "state": "unknown", "points": 0, "last_loss": None,
                                                      "base_model": LLAMA, "hidden": "SECRETxSECRET"})]  # fmt: skip


@layout
def llama_factory_killed(here: Path) -> dict[str, Any]:
    """The log goes on beyond the newest checkpoint: it knows most."""
    losses = falling(47)
    put_checkpoint(here, 200, state(train_rows(losses[:40], every=5), 200, 500, epoch=1.2), adapter(QWEN, 8, 16))
    write(here / "trainer_log.jsonl", lines(log_rows(losses, 500)))
    return told(
        losses, tool="llama-factory", state="unknown", base_model=QWEN, step=235, total_steps=500, checkpoints=[200]
    )


@layout
def llama_factory_no_loss_logged(here: Path) -> dict[str, Any]:
    """``logging_steps`` above the number of steps: one line, without a loss."""
    put_adapter(here, adapter("/dev/shm/Qwen/Qwen3-14B", 8, 16))
    put_state(here, state([end_row(768, 2.9966, num_input_tokens_seen=24689312)], 768, 768, epoch=2.9966))
    _ended(here)
    write(here / "trainer_log.jsonl", lines([{"current_steps": 768, "total_steps": 768, "epoch": 2.9966, "percentage": 100.0,
                                              "elapsed_time": "1:39:39", "remaining_time": "0:00:00"}]))  # fmt: skip
    return told(
        [], tool="llama-factory", state="completed", base_model="/dev/shm/Qwen/Qwen3-14B", step=768, total_steps=768
    )


@layout
def llama_factory_log_alone(here: Path) -> dict[str, Any]:
    """Only the log, with the newer name of the rate; its last line is torn."""
    losses = falling(9)
    text = lines(log_rows(losses, 200, rate="learning_rate", evals={40: 1.5}))
    write(here / "trainer_log.jsonl", text + text[: len(text) // 12])
    return told(
        losses, [1.5], tool="llama-factory", state="unknown", base_model=None, step=45, total_steps=200, checkpoints=[]
    )


@layout
def llama_factory_card_and_adapter(here: Path) -> dict[str, Any]:
    """As it is uploaded."""
    put_adapter(here, adapter(LLAMA, 8, 16))
    write(
        here / "README.md",
        card(LLAMA, ["llama-factory", "lora", "generated_from_trainer"], HYPERPARAMETERS, license="other"),
    )
    return {"tool": "llama-factory", "state": "unknown", "base_model": LLAMA, "points": None, "lora_r": 8, "learning_rate": 5e-05,
            "settings": {"seed": 1234, "gradient_accumulation_steps": 8, "batch_size": 4, "num_train_epochs": 3}}  # fmt: skip


@layout
def llama_factory_2023(here: Path) -> dict[str, Any]:
    """Its early log: every row has every key, null where there is nothing."""
    losses, evals = falling(10), {50: 1.5, 100: 1.25}
    rows = []
    for row in log_rows(losses, 100, every=10, rate="learning_rate", evals=evals):
        nothing = dict.fromkeys(("loss", "eval_loss", "predict_loss", "reward", "learning_rate"))
        rows.append({key: value for key, value in (nothing | row).items() if key not in ("throughput", "total_tokens")})
    write(here / "trainer_log.jsonl", lines(rows))
    put_adapter(here, adapter(QWEN, 8, 16, age="old"))
    return told(
        losses, list(evals.values()), tool="llama-factory", state="completed", base_model=QWEN, step=100, problem=None
    )


@layout
def llama_factory_log_completed(here: Path) -> dict[str, Any]:
    """Only the log, up to its end."""
    losses = falling(10)
    write(here / "trainer_log.jsonl", lines(log_rows(losses, 50)))
    return told(losses, tool="llama-factory", state="completed", step=50, total_steps=50)


@layout
def llama_factory_resumed_log(here: Path) -> dict[str, Any]:
    """The log of a resumed run begins anew below the old one, at the checkpoint's step."""
    first, second = log_rows(falling(8), 60), log_rows(falling(12, 2.0, 0.5), 60)
    write(here / "trainer_log.jsonl", lines([*first, *[row for row in second if row["current_steps"] > 30]]))
    put_adapter(here)
    return {
        "tool": "llama-factory",
        "state": "completed",
        "step": 60,
        "total_steps": 60,
        "last_loss": second[-1]["loss"],
    }


@layout
def llama_factory_arguments_alone(here: Path) -> dict[str, Any]:
    """It died before the first step: the arguments are all there is."""
    write(here / "training_args.yaml", _ARGUMENTS)
    write(here / "llamaboard_config.yaml", _BOARD)
    write(here / "running_log.txt", "[INFO] Loading dataset\n")
    return {"tool": "llama-factory", "state": "unknown", "base_model": LLAMA, "points": None, "step": None, "learning_rate": 5e-5,
            "lora_r": 8, "max_seq_length": 4096, "hidden": "SECRETxSECRET"}  # fmt: skip


@layout
def llama_factory_freeze_full(here: Path) -> dict[str, Any]:
    """A full fine-tune: no adapter, the base model stands in the arguments."""
    losses = falling(6)
    put_model(here)
    put_state(here, state([*train_rows(losses, every=5), end_row(30)], 30, 30))
    write(here / "trainer_log.jsonl", lines(log_rows(losses, 30)))
    write(
        here / "training_args.yaml",
        _ARGUMENTS.replace("finetuning_type: lora", "finetuning_type: full").replace("lora_rank: 8\n", ""),
    )
    return told(losses, tool="llama-factory", state="completed", base_model=LLAMA, step=30)


@layout
def llama_factory_dpo(here: Path) -> dict[str, Any]:
    """Preference rows in its log."""
    losses = [0.69, 0.65, 0.66]
    rows = [row | {"accuracy": 0.6, "reward": 0.1} for row in log_rows(losses, 15)]
    write(here / "trainer_log.jsonl", lines(rows))
    put_adapter(here, adapter("unsloth/Meta-Llama-3.1-8B-bnb-4bit"))
    return told(
        losses,
        tool="llama-factory",
        state="completed",
        base_model="unsloth/Meta-Llama-3.1-8B-bnb-4bit",
        curves=["accuracy"],
    )


@layout
def llama_factory_odd_log(here: Path) -> dict[str, Any]:
    """NaN, strings, blank and foreign lines among good ones."""
    rows = lines(log_rows([1.5, float("nan"), "0.75"], 30))
    write(
        here / "trainer_log.jsonl",
        "\n"
        + rows.replace('"total_steps": 30', '"total_steps": "30"')
        + "Traceback (most recent call last):\n[1, 2]\nnull\n",
    )
    return {
        "tool": "llama-factory",
        "state": "unknown",
        "step": 15,
        "total_steps": 30,
        "points": 3,
        "last_loss": 0.75,
        "best_loss": 0.75,
        "problem": "trainer_log.jsonl",
    }
