"""Thousands of runs, quickly: a person's years of output directories, for measuring scans.

``python -m tests.corpus.many FOLDER [COUNT] [BYTES_EACH]``
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.corpus.case import Case

MODELS = ("Qwen/Qwen2.5-7B-Instruct", "meta-llama/Llama-3.1-8B-Instruct", "mistralai/Mistral-7B-v0.3", "google/gemma-2-9b-it",
          "HuggingFaceTB/SmolLM2-135M-Instruct", "/data/models/해마-7b", "microsoft/Phi-3-mini-4k-instruct")  # fmt: skip
_TOOLS = ("trl", "transformers", "llama-factory", "ms-swift", "axolotl", "unsloth")
_RUNS_A_FOLDER = 40
_BODIES = 48
_FIRST = 1_700_000_000.0


def many(folder: Path, count: int, bytes_each: int = 200_000, *, seed: int = 7) -> list[Case]:
    """``count`` runs below ``folder``, of all tools in turn; each holds about ``bytes_each`` bytes of logged rows.

    Expected are tool, base_model, step, total_steps, points, last_loss, best_loss and modified.
    """
    dice = random.Random(seed)
    bodies = [_Body(dice, bytes_each) for _ in range(min(_BODIES, max(1, count)))]
    cases = []
    for number in range(count):
        tool = _TOOLS[number % len(_TOOLS)]
        group = folder / f"project-{number // _RUNS_A_FOLDER:04d}"
        path = group / f"{tool}-{number:05d}"
        run = _Run(number, path, bodies[dice.randrange(len(bodies))], dice)
        path.mkdir(parents=True)
        _WRITERS[tool](run)
        run.date()
        cases.append(Case(path.name, path, run.expected(tool)))
    return cases


class _Body:
    """The rows that many runs share: all but their last, as the state, the log of LLaMA-Factory and that of ms-swift have them."""

    def __init__(self, dice: random.Random, bytes_each: int) -> None:
        self.rows = max(2, int(bytes_each / 172 * dice.uniform(0.6, 1.4)))
        self.every = dice.choice((1, 5, 10))
        self.step = self.rows * self.every
        losses = [2.4 * 0.998**i + 0.5 + dice.uniform(-0.1, 0.1) for i in range(self.rows - 1)]
        self.best = min(round(loss, 4) for loss in losses)
        state, factory, swift = [], [], []
        for i, loss in enumerate(losses, 1):
            step, epoch, rate = i * self.every, 3 * i / self.rows, 1e-4 * (1 - i / self.rows)
            state.append(f'    {{\n      "epoch": {epoch:.6f},\n      "grad_norm": {dice.uniform(0.2, 2):.16f},\n'
                         f'      "learning_rate": {rate:.12g},\n      "loss": {loss:.4f},\n      "step": {step}\n    }},\n')  # fmt: skip
            factory.append(f'{{"current_steps": {step}, "total_steps": {self.step}, "loss": {loss:.4f}, "lr": {rate:.12g}, '
                           f'"epoch": {epoch:.6f}, "percentage": {100 * i / self.rows:.2f}, "elapsed_time": "0:10:00", '
                           f'"remaining_time": "0:20:00"}}\n')  # fmt: skip
            swift.append(f'{{"loss": {loss:.4f}, "grad_norm": {dice.uniform(0.2, 2):.8f}, "learning_rate": {rate:.12g}, '
                         f'"epoch": {epoch:.6f}, "global_step/max_steps": "{step}/{self.step}", "percentage": '
                         f'"{100 * i / self.rows:.2f}%", "elapsed_time": "10m 3s", "remaining_time": "20m 1s"}}\n')  # fmt: skip
        self.state, self.factory, self.swift = ("".join(rows).encode() for rows in (state, factory, swift))


class _Run:
    """One run while it is written."""

    def __init__(self, number: int, path: Path, body: _Body, dice: random.Random) -> None:
        self.number, self.path, self.body = number, path, body
        self.model = MODELS[dice.randrange(len(MODELS))]
        self.last = round(dice.uniform(0.2, 1.9), 4)
        self.rank = dice.choice((8, 16, 32, 64))
        self.rate = dice.choice((1e-5, 5e-5, 1e-4, 2e-4))
        self.time = _FIRST + number * 3000 + dice.randrange(2000)
        self.checkpoint = path / f"checkpoint-{body.step}"

    def expected(self, tool: str) -> dict[str, Any]:
        """What a reader should tell."""
        return {"tool": tool, "base_model": self.model, "step": self.body.step, "total_steps": self.body.step,
                "points": self.body.rows, "last_loss": self.last, "modified": float(self.time), "best_loss": min(self.last, self.body.best)}  # fmt: skip

    def state(self, folder: Path) -> None:
        """``trainer_state.json``, its last row this run's own."""
        step = self.body.step
        head = (f'{{\n  "best_global_step": null,\n  "best_metric": null,\n  "best_model_checkpoint": null,\n  "epoch": 3.0,\n'
                f'  "eval_steps": 500,\n  "global_step": {step},\n  "is_hyper_param_search": false,\n'
                f'  "is_local_process_zero": true,\n  "is_world_process_zero": true,\n  "log_history": [\n')  # fmt: skip
        tail = (f'    {{\n      "epoch": 3.0,\n      "grad_norm": 0.5,\n      "learning_rate": {self.rate / 1000:.6g},\n'
                f'      "loss": {self.last},\n      "step": {step}\n    }}\n  ],\n'
                f'  "logging_steps": {self.body.every},\n  "max_steps": {step},\n  "num_input_tokens_seen": 0,\n'
                f'  "num_train_epochs": 3,\n  "save_steps": 500,\n  "total_flos": 1.0e+17,\n  "train_batch_size": 2,\n'
                f'  "trial_name": null,\n  "trial_params": null\n}}\n')  # fmt: skip
        self.write(folder / "trainer_state.json", head.encode() + self.body.state + tail.encode())

    def adapter(self, folder: Path, *, dropout: float = 0.05) -> None:
        """``adapter_config.json`` and weights."""
        config = {"alpha_pattern": {}, "auto_mapping": None, "base_model_name_or_path": self.model, "bias": "none",
                  "fan_in_fan_out": False, "inference_mode": True, "init_lora_weights": True, "lora_alpha": 2 * self.rank,
                  "lora_dropout": dropout, "modules_to_save": None, "peft_type": "LORA", "r": self.rank, "rank_pattern": {},
                  "revision": None, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM", "use_dora": False}  # fmt: skip
        self.write(folder / "adapter_config.json", json.dumps(config, indent=2).encode())
        self.write(folder / "adapter_model.safetensors", b"\x08\0\0\0\0\0\0\0{}      ")

    def card(self, text: str) -> None:
        """``README.md``."""
        self.write(self.path / "README.md", f"---\nbase_model: {json.dumps(self.model)}\n{text}".encode())

    def write(self, file: Path, content: bytes) -> None:
        """A file, with its folder."""
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileNotFoundError:
            file.parent.mkdir(parents=True)
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.write(handle, content)
        finally:
            os.close(handle)

    def date(self) -> None:
        """Give everything the time at which it was made."""
        for folder, _, files in os.walk(self.path):
            for name in (*files, ""):
                os.utime(os.path.join(folder, name), (self.time, self.time))


def _trl(run: _Run) -> None:
    run.state(run.checkpoint)
    run.adapter(run.checkpoint)
    run.adapter(run.path)
    run.write(run.path / "training_args.bin", b"PK\x03\x04")
    run.card("library_name: peft\ntags:\n- base_model:adapter\n- sft\n- trl\n- lora\n---\n\n"
             "This model was trained with SFT.\n\n### Framework versions\n\n- PEFT 0.17.1\n- TRL: 0.23.0\n")  # fmt: skip


def _transformers(run: _Run) -> None:
    run.state(run.path)
    run.adapter(run.path)
    run.write(run.path / "training_args.bin", b"PK\x03\x04")
    results = {
        "epoch": 3.0,
        "total_flos": 1e17,
        "train_loss": 0.9,
        "train_runtime": 1234.5,
        "train_samples_per_second": 2.0,
    }
    for name in ("all_results.json", "train_results.json"):
        run.write(run.path / name, json.dumps(results, indent=4).encode())


def _factory(run: _Run) -> None:
    step = run.body.step
    last = {"current_steps": step, "total_steps": step, "loss": run.last, "lr": 1e-8, "epoch": 3.0, "percentage": 100.0,
            "elapsed_time": "0:30:00", "remaining_time": "0:00:00"}  # fmt: skip
    run.write(run.path / "trainer_log.jsonl", run.body.factory + json.dumps(last).encode() + b"\n")
    run.adapter(run.path)
    run.write(run.path / "training_args.yaml", f"finetuning_type: lora\nlearning_rate: {run.rate}\nlora_rank: {run.rank}\n"
              f"model_name_or_path: {run.model}\nnum_train_epochs: 3.0\ncutoff_len: 2048\nstage: sft\n".encode())  # fmt: skip
    run.card(
        "library_name: peft\nlicense: other\ntags:\n- llama-factory\n- lora\n- generated_from_trainer\n---\n\n# train\n"
    )


def _swift(run: _Run) -> None:
    step = run.body.step
    last = {"loss": run.last, "grad_norm": 0.5, "learning_rate": 1e-8, "epoch": 3.0, "global_step/max_steps": f"{step}/{step}",
            "percentage": "100.00%", "elapsed_time": "30m 0s", "remaining_time": "0s"}  # fmt: skip
    run.write(run.path / "logging.jsonl", run.body.swift + json.dumps(last).encode() + b"\n")
    run.adapter(run.checkpoint)
    arguments = {"output_dir": str(run.path), "model": run.model, "model_type": "qwen2_5", "tuner_type": "lora", "train_type": "lora",
                 "learning_rate": run.rate, "lora_rank": run.rank, "max_length": 2048, "num_train_epochs": 3.0, "swift_version": "3.5.0"}  # fmt: skip
    run.write(run.path / "args.json", json.dumps(arguments, indent=2).encode())


def _axolotl(run: _Run) -> None:
    run.adapter(run.path)
    run.state(run.checkpoint)
    run.adapter(run.checkpoint)
    run.write(run.path / "debug.log", b"[INFO] starting trainer\n")
    run.write(run.path / "config.json", b'{"model_type": "qwen2"}')
    run.card("library_name: peft\ntags:\n- axolotl\n- generated_from_trainer\n---\n\n<details><summary>See axolotl config</summary>\n\n"
             f"axolotl version: `0.12.0`\n```yaml\nbase_model: {run.model}\nadapter: lora\nlora_r: {run.rank}\n"
             f"learning_rate: {run.rate}\nsequence_len: 2048\n```\n\n</details><br>\n")  # fmt: skip


def _unsloth(run: _Run) -> None:
    if not run.model.startswith("unsloth/"):
        run.model = "unsloth/" + run.model.split("/")[-1]
    run.state(run.checkpoint)
    run.adapter(run.checkpoint, dropout=0)
    run.card("tags:\n- unsloth\n---\n")


_WRITERS: dict[str, Callable[[_Run], None]] = {"trl": _trl, "transformers": _transformers, "llama-factory": _factory,
                                               "ms-swift": _swift, "axolotl": _axolotl, "unsloth": _unsloth}  # fmt: skip


def main(arguments: list[str]) -> int:
    """The command."""
    folder, numbers = Path(arguments[0]), [int(text) for text in arguments[1:]]
    began = time.monotonic()
    cases = many(folder, *(numbers or [10_000]))
    print(f"{len(cases)} runs in {time.monotonic() - began:.1f} s below {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
