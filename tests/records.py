"""Records of runs, made by hand: of our own and of another tool, for the pages that show them."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from engine.checkpoints import Checkpoint
from engine.history.record import Curves, RunRecord
from engine.history.summary import RunSummary

NOW = 1_790_003_600.0  # 2026-09-21 15:13:20 UTC
TRAIN = {"learning_rate": 2e-4, "lora_r": 32, "lora_alpha": 64.0, "num_train_epochs": 3, "batch_size": 4, "gradient_accumulation_steps": 4,
         "max_seq_length": 4096, "lora_dropout": 0.05, "seed": 42, "warmup_ratio": 0.03, "packing": "auto",
         "train_path": "/data/고객지원/train.jsonl", "base_model": "Qwen/Qwen2.5-7B-Instruct"}  # fmt: skip


def curves(
    rows: int, *, every: int = 1, seed: int = 7, start: float = NOW - 9000, low: float = 0.8, spoilt: int = 0
) -> tuple[Curves, Curves]:
    """Training and evaluation of a falling loss."""
    steps, evals, rng = Curves(), Curves(), random.Random(seed)
    for row in range(1, rows + 1):
        step = row * every
        loss = low + 1.4 * math.exp(-4.2 * row / rows) + rng.uniform(-0.12, 0.12)
        loss = math.nan if row == spoilt else loss
        axes = {"step": step, "epoch": 3 * row / rows, "tokens": 6500.0 * step, "time": start + 2.1 * step}
        steps.add(axes, [("loss", loss), ("learning_rate", 2e-4 * (1 - row / rows)), ("grad_norm", 0.6 + rng.uniform(0, 0.4)),
                         ("mean_token_accuracy", 0.6 + 0.2 * row / rows), ("entropy", 1.1 - 0.3 * row / rows)])  # fmt: skip
        if row % max(1, rows // 9) == 0:
            value = low + 0.09 + 1.3 * math.exp(-4.4 * row / rows) + (0.05 if row > 0.8 * rows else 0.0)
            evals.add(axes, [("eval_loss", value), ("eval_runtime", 21.4), ("eval_samples_per_second", 14.2),
                             ("eval_mean_token_accuracy", 0.71)])  # fmt: skip
    return steps, evals


def record(path: Path, tool: str = "trl", rows: int = 117, **more: Any) -> RunRecord:
    """A run of 1,170 steps that logged every tenth; ``more`` goes to :func:`curves`, or names fields of the summary."""
    made = {name: more.pop(name) for name in ("seed", "low", "spoilt", "start") if name in more}
    steps, evals = curves(rows, every=max(1, 1170 // rows), **made)
    saved = [row["step"] for row in evals.rows()]
    losses, checks = steps.values("loss"), evals.values("eval_loss")
    finite = [loss for loss in losses if math.isfinite(loss)]
    own = tool == "tunedeck"
    summary = RunSummary(
        "20260921-143300-k3v9q" if own else path.name, str(path), "고객 지원 한국어 r32" if own else path.name, tool, "completed",
        base_model="Qwen/Qwen2.5-7B-Instruct", step=1170, total_steps=1170, last_loss=losses[-1], best_loss=min(finite),
        last_eval_loss=checks[-1], best_eval_loss=min(checks), points=rows, created=NOW - 9100, started=NOW - 9000,
        ended=NOW - 6400, bytes=3_412_000_000, reason="all steps done, adapter saved" if own else "",
        host="gpu1" if own else None, learning_rate=2e-4, lora_r=32, lora_alpha=64.0, epoch=3.0, num_train_epochs=3.0, batch_size=4,
        max_seq_length=4096, dataset="/data/고객지원/train.jsonl", seconds=2457.0, checkpoints=len(saved), tags=["keep", "한국어"],
        modified=NOW - 6400,
    )  # fmt: skip
    for name, value in more.items():
        setattr(summary, name, value)
    found = RunRecord(summary, dict(TRAIN), steps=steps, evals=evals)
    found.other = {"bf16": True, "fsdp": [], "lr_scheduler_type": "cosine", "report_to": ["tensorboard"], "dataloader_num_workers": 4,
                   "model_adapter_name": "기본", "push_to_hub": False}  # fmt: skip
    found.sources = dict.fromkeys(found.settings, "training_args.yaml")
    found.results = {"train_runtime": 2457.31, "train_loss": 1.0342, "train_samples_per_second": 7.6}
    found.versions = {"trl": "0.24.0", "transformers": "4.57.1", "torch": "2.9.0", "peft": "0.18.0"}
    found.checkpoints = [
        Checkpoint(int(step), path / f"checkpoint-{int(step)}", 356_000_000 + int(step)) for step in saved
    ]
    if found.checkpoints:
        last = found.checkpoints[-1]
        found.checkpoints[-1] = Checkpoint(last.step, last.path, 120_000_000, "optimizer.pt is missing")
    if own:
        found.data = {
            "train": {"path": "/data/고객지원/train.jsonl", "rows": 6240, "bytes": 18_400_211, "sha256": "9f2c" * 16}
        }
        found.auto = {"packing": {"value": False, "why": "the chats are short"}}
        found.samples = [{"step": step, "prompt": "파스타 삶는 물은 얼마나 짜야 하나요?", "completion": f"물 1리터에 소금 {step // 100}그램쯤이 좋습니다."}
                         for step in (130, 520, 1170)]  # fmt: skip
    return found


def with_files(made: RunRecord) -> RunRecord:
    """The files of such a run on the disk, of little size."""
    path = Path(made.summary.path)
    for checkpoint in made.checkpoints:
        checkpoint.path.mkdir(parents=True, exist_ok=True)
        for name, size in (("adapter_model.safetensors", 900), ("optimizer.pt", 1700), ("trainer_state.json", 300)):
            (checkpoint.path / name).write_bytes(b"x" * size)
    (path / "adapter_model.safetensors").write_bytes(b"x" * 900)
    (path / "adapter_config.json").write_text("{}")
    (path / "학습 기록.log").write_text(
        "".join(f"step {n}: loss {1 / n:.4f}\n" for n in range(1, 400)) + "WARNING: low disk\n"
    )
    made.log = path / "학습 기록.log"
    return made
