"""A run as people really have them, in each of the situations that the live screen must show well."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from engine.events import encode
from engine.rundir import RunDir, write_json
from tests.support import make_run

TOTAL, STEP_SECONDS, EVAL_EVERY, SAVE_EVERY = 1170, 1.08, 130, 130
GIB = 1024**3
CARD = "NVIDIA H100 80GB HBM3"
SITUATIONS = ("starting", "running", "diverging", "stalled", "finished", "failed")
DONE = {"starting": 0, "running": 742, "diverging": 486, "stalled": 611, "finished": TOTAL, "failed": 323}
STATES = {"starting": "starting", "finished": "completed", "failed": "failed"}
REASON = (
    "out of GPU memory at step 324 (needed 2.3 GiB more); lower batch_size (4) or max_seq_length (4096), "
    "or set gradient_checkpointing true"
)
STARTING_LOG = """\
Loading Qwen/Qwen2.5-7B-Instruct in bfloat16
Loading checkpoint shards:  75%|███████▌  | 3/4 [00:03<00:01,  1.19s/it]\r"""
LOG = """\
Loading Qwen/Qwen2.5-7B-Instruct in bfloat16
Loading checkpoint shards: 100%|██████████| 4/4 [00:03<00:00,  1.21it/s]
trainable params: 40,370,176 || all params: 7,655,986,688 || trainable%: 0.5273
Tokenising 6,240 rows with 8 processes: 2,431,904 tokens, 12 rows cut at 4,096
Attention: flash_attention_2; batches without padding, 16 samples an update
"""


def showcase(folder: Path, situation: str, now: float, name: str = "support-chat-ko-r16") -> RunDir:
    """Write a run that stands at ``now`` (Unix seconds) in this situation."""
    done = DONE[situation]
    silent = 312.0 if situation == "stalled" else 0.4
    pauses = 21.0 * (done // EVAL_EVERY)
    created = now - 62.0 - done * STEP_SECONDS - pauses - silent
    if situation in ("finished", "failed"):
        created -= 1800
    config = {"num_train_epochs": 3, "learning_rate": 1e-4, "batch_size": 4, "gradient_accumulation_steps": 4, "lora_r": 16,
              "save_steps": SAVE_EVERY, "eval_steps": EVAL_EVERY}  # fmt: skip
    run = make_run(folder, steps=1, total=TOTAL, evals=0, state=STATES.get(situation, "running"), name=name, created=created,
                   run_id="20260921-143300-k3v9q", base_model="Qwen/Qwen2.5-7B-Instruct", config=config,
                   reason=REASON if situation == "failed" else "all steps done, adapter saved" if situation == "finished" else "")  # fmt: skip
    events, times = _events(situation, done, created)
    run.events.write_bytes(b"".join(map(encode, events)))
    last = times[-1] if times else created + 24
    run.supervisor_events.write_bytes(
        b"".join(encode(_hardware(created, when, situation)) for when in _beats(last, silent))
    )
    _status(run, situation, events, created, last, now)
    run.train_log.write_text(
        (STARTING_LOG if situation == "starting" else LOG) + _tail(situation, done), encoding="utf-8"
    )
    return run


def _events(situation: str, done: int, created: float) -> tuple[list[dict[str, Any]], list[float]]:
    rng = random.Random(7)
    when = created + 12.0
    events: list[dict[str, Any]] = [
        {"type": "phase", "time": when, "attempt": 1, "name": "loading", "done": 3, "total": 4}
    ]
    if situation == "starting":
        return events, []
    when = created + 61.0
    events.append({"type": "phase", "time": when, "attempt": 1, "name": "training", "done": None, "total": None})
    times: list[float] = []
    for step in range(1, done + 1):
        when += STEP_SECONDS + rng.uniform(-0.03, 0.03)
        times.append(when)
        events.append({"type": "step", "time": when, "attempt": 1, **_step(step, situation, rng)})
        if step % EVAL_EVERY == 0:
            when += 21.0
            evaluation = 0.83 + 0.75 * math.exp(-step / 260) + (0.9 if situation == "diverging" and step > 400 else 0.0)
            events.append({"type": "eval", "time": when - 4, "attempt": 1, "step": step, "epoch": 3 * step / TOTAL,
                           "eval_loss": evaluation, "eval_mean_token_accuracy": 0.62 + 0.12 * (1 - math.exp(-step / 300))})  # fmt: skip
            events.append({"type": "checkpoint", "time": when, "attempt": 1, "step": step, "bytes": 485_000_000, "seconds": 3.1,
                           "path": f"checkpoint-{step}"})  # fmt: skip
    if situation == "diverging":
        events.append({"type": "notice", "time": when - 20, "attempt": 1, "level": "warning", "kind": "divergence", "step": done - 18,
                       "text": f"Step {done - 18}: the loss is climbing: 2.31 over the last 20 steps, after 1.121 at step 402; "
                               "a lower learning_rate may help"})  # fmt: skip
    return events, times


def _step(step: int, situation: str, rng: random.Random) -> dict[str, Any]:
    loss = 0.86 + 1.35 * math.exp(-step / 190) + rng.gauss(0, 0.085)
    norm = 0.55 + 2.2 * math.exp(-step / 90) + abs(rng.gauss(0, 0.08))
    if situation == "diverging" and step > 402:
        loss += 0.016 * (step - 402) + rng.gauss(0, 0.05)
        norm += 0.09 * (step - 402)
    if step in (271, 540):
        loss += 1.1
    warm = min(1.0, step / 36)
    seconds = STEP_SECONDS + rng.gauss(0, 0.02)
    memory = 31.3 * GIB + rng.gauss(0, 0.25) * GIB
    return {
        "step": step, "total_steps": TOTAL, "epoch": 3 * step / TOTAL, "loss": loss,
        "learning_rate": 1e-4 * warm * 0.5 * (1 + math.cos(math.pi * step / (TOTAL + 1))), "grad_norm": norm,
        "samples_per_second": 16 / seconds, "tokens_per_second": 6240 / seconds, "num_tokens": 6240 * step,
        "step_seconds": seconds, "mean_token_accuracy": 0.78 - 0.3 * math.exp(-step / 150) + rng.gauss(0, 0.01),
        "entropy": 0.9 + 0.8 * math.exp(-step / 200), "gpu_memory_allocated": int(memory),
        "gpu_memory_reserved": int(36.5 * GIB), "gpu_memory_peak": int(35.2 * GIB), "host_memory": int(6.1 * GIB),
    }  # fmt: skip


def _beats(last: float, silent: float) -> list[float]:
    """When the hardware was read: every ten seconds up to now, whatever the worker does."""
    end = last + silent
    return [end - 10 * n for n in range(29, -1, -1)]


def _hardware(created: float, when: float, situation: str) -> dict[str, Any]:
    rng = random.Random(int(when - created))
    busy = situation in ("running", "diverging")
    card = {
        "index": 0, "name": CARD, "utilization": 96 + rng.randrange(4) if busy else 0, "memory_total": int(79.6 * GIB),
        "memory_used": int((38.2 if situation != "starting" else 9.4) * GIB), "temperature": 63 + rng.randrange(3) if busy else 41,
        "power": 580.0 + rng.randrange(60) if busy else 92.0, "power_limit": 700.0, "own": True,
    }  # fmt: skip
    host = {"cpu": 11.0 + rng.randrange(4), "memory_used": int(48.7 * GIB), "memory_total": int(503.5 * GIB)}
    return {"type": "hardware", "time": when, "attempt": 1, "gpus": [card], "host": host,
            "disk": {"free": int(812 * GIB), "next_checkpoint": 485_000_000}}  # fmt: skip


def _status(run: RunDir, situation: str, events: list[dict[str, Any]], created: float, last: float, now: float) -> None:
    steps = [event for event in events if event["type"] == "step"]
    evals = [event["eval_loss"] for event in events if event["type"] == "eval"]
    ended = last + 4 if situation in ("finished", "failed") else None
    status = {
        **(run.read_status() or {}), "step": len(steps) or None, "epoch": steps[-1]["epoch"] if steps else None,
        "started": created + 2, "ended": ended, "resumable": situation == "failed",
        "heartbeat": None if ended else now, "points": len(steps), "last_loss": steps[-1]["loss"] if steps else None,
        "best_loss": min((s["loss"] for s in steps), default=None), "last_eval_loss": evals[-1] if evals else None,
        "best_eval_loss": min(evals, default=None),
    }  # fmt: skip
    write_json(run.status_json, status)


def _tail(situation: str, done: int) -> str:
    if situation == "starting":
        return ""
    lines = [f"{{'eval_loss': {0.83 + 0.75 * math.exp(-step / 260):.4f}, 'epoch': {3 * step / TOTAL:.2f}}}\n"
             f"checkpoint-{step} saved in 3.1 s" for step in range(EVAL_EVERY, done + 1, EVAL_EVERY)]  # fmt: skip
    if situation == "running":
        lines.append("UserWarning: 12 rows are longer than max_seq_length (4096) and were cut")
    if situation == "failed":
        lines.append("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.32 GiB.")
    return "\n".join(lines) + ("\n" if lines else "")
