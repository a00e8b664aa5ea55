"""Shapes met in public repositories, with invented values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.corpus.axolotl import _BADGE, _YAML
from tests.corpus.case import Case, layout
from tests.corpus.factory import log_rows
from tests.corpus.parts import (
    HYPERPARAMETERS,
    LLAMA,
    QWEN,
    adapter,
    card,
    falling,
    lines,
    put_adapter,
    put_model,
    put_state,
    state,
    told,
    train_rows,
    write,
)
from tests.corpus.trl import _SFT

_UNSLOTH_QWEN = "unsloth/Qwen2.5-3B-Instruct-bnb-4bit"


@layout
def public_results_of_others(here: Path) -> list[Case]:
    """Names with ``train_`` and ``test_`` that count examples: no trainer wrote them."""
    write(here / "eval_results.json", {"train_size": 800, "test_size": 200, "accuracy": 0.91, "f1": 0.9, "coefs": {"length": 0.3}})  # fmt: skip
    return [Case("public-results-of-others", here, listed=False)]


@layout
def public_axolotl_card_without_head(here: Path) -> dict[str, Any]:
    """A card written by hand around Axolotl's config: no head in YAML."""
    put_model(here)
    write(here / "README.md", "# Gull 1.0\n\nCurated by us.\n\n" + _BADGE.replace("{yaml}", _YAML))
    return {"tool": "axolotl", "state": "unknown", "base_model": LLAMA, "points": None, "learning_rate": 2e-4, "lora_r": 32}  # fmt: skip


@layout
def public_unsloth_base_elsewhere(here: Path) -> dict[str, Any]:
    """TRL alone trained a quantised model of Unsloth's: its card would say if Unsloth had taken part."""
    put_adapter(here, adapter(_UNSLOTH_QWEN, 8, 16))
    write(here / "README.md", _SFT.replace(QWEN, _UNSLOTH_QWEN))
    return {"tool": "trl", "state": "unknown", "base_model": _UNSLOTH_QWEN, "points": None, "lora_r": 8}


@layout
def public_arguments_alone(here: Path) -> list[Case]:
    """The trainer's arguments as a person wrote them out: their names tell the tool."""
    plain = {"output_dir": "out", "learning_rate": 2e-5, "per_device_train_batch_size": 6, "gradient_accumulation_steps": 2,
             "num_train_epochs": 3.0, "max_steps": 100, "lr_scheduler_type": "cosine", "seed": 3407}  # fmt: skip
    group = {"max_prompt_length": 128, "num_generations": 6, "max_completion_length": 96, "beta": 0.04}
    kinds = {"transformers": plain, "trl": plain | group, "unsloth": plain | group | {"unsloth_num_chunks": -1}}
    found = []
    for tool, arguments in kinds.items():
        write(here / tool / "training_args.json", arguments)
        expected = {"tool": tool, "state": "unknown", "points": None, "learning_rate": 2e-5}
        found.append(Case(f"public-arguments-{tool}", here / tool, expected))
    return found


@layout
def public_adapters(here: Path) -> list[Case]:
    """An adapter's configuration as Python prints it, and MLX's."""
    text = json.dumps(adapter(QWEN, 4, 8, age="old"), indent=2)
    write(here / "none" / "adapter_config.json", text.replace('"peft_type": "LORA"', '"peft_type": None'))
    write(here / "mlx" / "adapter_config.json", {"batch_size": 2, "iters": 400, "learning_rate": 6e-5, "model": "mlx_model", "seed": 0,
          "lora_parameters": {"rank": 8, "alpha": 16, "dropout": 0.1, "scale": 10.0}, "max_seq_length": 512, "fine_tune_type": "lora"})  # fmt: skip
    damaged = {"base_model": QWEN, "lora_r": 4, "lora_alpha": 8, "problem": "adapter_config.json"}
    plain = {"lora_r": 8, "lora_alpha": 16, "settings": {"lora_dropout": 0.1}, "learning_rate": 6e-5, "problem": None}
    return [
        Case("public-adapter-none", here / "none", {"state": "unknown", "points": None, **damaged}),
        Case("public-adapter-mlx", here / "mlx", {"state": "unknown", "points": None, **plain}),
    ]


@layout
def public_log_of_two_nodes(here: Path) -> dict[str, Any]:
    """Two nodes wrote into one shared log: every row stands there twice."""
    losses = falling(12)
    rows = [row for row in log_rows(losses, 60, evals={60: 1.25}) for _ in range(2)]
    write(here / "trainer_log.jsonl", lines(rows))
    return told(losses, [1.25], tool="llama-factory", state="completed", step=60, total_steps=60, problem=None)


@layout
def public_log_without_evaluations(here: Path) -> dict[str, Any]:
    """Every key in every row, and never a value for the evaluation."""
    losses = falling(10)
    nothing = dict.fromkeys(("eval_loss", "predict_loss", "reward"))
    write(here / "trainer_log.jsonl", lines([nothing | row for row in log_rows(losses, 100, every=10)]))
    return told(losses, tool="llama-factory", state="completed", step=100, eval_rows=0)


@layout
def public_card_and_results(here: Path) -> dict[str, Any]:
    """Uploaded without its logs: the card's table ends with the last evaluation, the results say where the run ended."""
    put_adapter(here, adapter(LLAMA, 8, 16))
    table = "".join(f"| {2 - i / 10:.4f} | {i * 0.9:.4f} | {i * 50} | {1.9 - i / 20:.4f} |\n" for i in range(1, 6))
    head = "\n### Training results\n\n| Training Loss | Epoch | Step | Validation Loss |\n|:---:|:---:|:---:|:---:|\n"
    write(here / "README.md", card(LLAMA, ["llama-factory", "lora"], HYPERPARAMETERS + head + table, license="other"))
    ended = {"epoch": 5.0, "total_flos": 8e16, "train_loss": 1.62, "train_runtime": 1459.9, "train_samples_per_second": 6.4,
             "train_steps_per_second": 0.4}  # fmt: skip
    for name in ("all_results.json", "train_results.json"):
        write(here / name, ended)
    return {"tool": "llama-factory", "state": "completed", "base_model": LLAMA, "points": None, "step": 250, "epoch": 5.0,
            "last_loss": 1.5, "last_eval_loss": 1.65, "seconds": 1459.9, "learning_rate": 5e-05}  # fmt: skip


@layout
def public_odds_ratio_state(here: Path) -> dict[str, Any]:
    """Only the state was kept, of LLaMA-Factory's ORPO: its rows have names that TRL's have not."""
    losses = falling(8)
    more: dict[str, Any] = {
        "logps/chosen": -0.9,
        "rewards/chosen": -0.01,
        "rewards/margins": 0.002,
        "odds_ratio_loss": 1.1,
        "sft_loss": 0.03,
    }
    put_state(here, state(train_rows(losses, **more), 80, 80))
    return told(losses, tool="llama-factory", state="completed", step=80, curves=["odds_ratio_loss"])


@layout
def public_long_logs(here: Path) -> list[Case]:
    """ms-swift's log alone, above a megabyte, every step twice as old versions wrote it; a chat of that length beside it."""
    losses = falling(4000)
    rows = [
        {"loss": loss, "learning_rate": 1e-4, "token_acc": 0.8, "epoch": i / 4000, "memory(GiB)": 20.1,
         "global_step/max_steps": f"{i}/4000", "elapsed_time": "1m 2s", "remaining_time": "3h 2m 1s"}
        for i, loss in enumerate(losses, 1)
    ]  # fmt: skip
    write(here / "log" / "logging.jsonl", lines([row for row in rows for _ in range(2)]))
    write(here / "chat" / "logging.jsonl", lines([{"timestamp": "2025-07-17", "user": "hello " * 50}] * 4000))
    return [
        Case("public-long-log", here / "log", told(losses, tool="ms-swift", state="completed", step=4000)),
        Case("public-long-chat", here / "chat", listed=False),
    ]
