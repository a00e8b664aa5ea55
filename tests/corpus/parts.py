"""Files as the trainers write them: states, rows, adapters, checkpoints, model cards."""

from __future__ import annotations

import json
import math
import struct
import zipfile
from pathlib import Path
from typing import Any

Row = dict[str, Any]
QWEN = "Qwen/Qwen2.5-7B-Instruct"
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


def write(file: Path, content: Any) -> Path:
    """Bytes and text as they are, anything else as JSON; parents are made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif isinstance(content, str):
        file.write_bytes(content.encode("utf-8"))
    else:
        file.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return file


def falling(count: int, start: float = 2.4, end: float = 0.6) -> list[float]:
    """Losses that fall with some noise; the smallest is not the last."""
    span = start - end
    losses = [round(end + span * 0.9**i + 0.05 * ((i * 7919) % 13 - 6) / 6, 4) for i in range(count)]
    if count > 3:
        losses[-2] = round(min(losses) - 0.01, 4)
    return losses


def train_rows(
    losses: list[Any], every: int = 10, epochs: float = 3.0, *, start: int = 0, grad_norm: bool = True, **more: Any
) -> list[Row]:
    """Rows of training, one for each loss."""
    total = len(losses)
    rows = []
    for i, loss in enumerate(losses, 1):
        row: Row = {"epoch": round(epochs * i / total, 4), "learning_rate": 1e-4 * (1 - i / (total + 1)), "loss": loss,
                    "step": start + i * every, **more}  # fmt: skip
        if grad_norm:
            row["grad_norm"] = round(0.5 + 0.1 * (i % 7), 4)
        rows.append(row)
    return rows


def eval_row(step: int, loss: Any, epoch: float = 1.0, **more: Any) -> Row:
    """A row of evaluation."""
    return {"epoch": epoch, "eval_loss": loss, "eval_runtime": 12.3456, "eval_samples_per_second": 8.1,
            "eval_steps_per_second": 1.053, "step": step, **more}  # fmt: skip


def end_row(step: int, epoch: float = 3.0, **more: Any) -> Row:
    """The row that is written when training has ended."""
    return {"epoch": epoch, "step": step, "total_flos": 1.234567890123e17, "train_loss": 0.987, "train_runtime": 1234.5678,
            "train_samples_per_second": 2.43, "train_steps_per_second": 0.304, **more}  # fmt: skip


_AGES: dict[str, tuple[str, ...]] = {
    "4.6": (),
    "4.31": ("eval_steps", "logging_steps", "num_input_tokens_seen", "save_steps"),
    "4.36": ("eval_steps", "logging_steps", "num_input_tokens_seen", "save_steps", "train_batch_size"),
    "4.46": ("eval_steps", "logging_steps", "num_input_tokens_seen", "save_steps", "train_batch_size", "stateful_callbacks"),
    "5.3": ("eval_steps", "logging_steps", "num_input_tokens_seen", "save_steps", "train_batch_size", "stateful_callbacks", "best_global_step"),
}  # fmt: skip
_CONTROL = {"TrainerControl": {"args": {"should_epoch_stop": False, "should_evaluate": False, "should_log": False,
                                        "should_save": True, "should_training_stop": True}, "attributes": {}}}  # fmt: skip


def state(
    rows: list[Any], step: Any, total: Any, *, age: str = "5.3", epoch: Any = 3.0, epochs: Any = 3, **more: Any
) -> Row:
    """A trainer's state with the keys that its version had."""
    newer = {"eval_steps": 500, "logging_steps": 10, "num_input_tokens_seen": 0, "save_steps": 500, "train_batch_size": 2,
             "stateful_callbacks": _CONTROL, "best_global_step": None}  # fmt: skip
    found: Row = {"best_metric": None, "best_model_checkpoint": None, "epoch": epoch, "global_step": step,
                  "is_hyper_param_search": False, "is_local_process_zero": True, "is_world_process_zero": True,
                  "log_history": rows, "max_steps": total, "num_train_epochs": epochs, "total_flos": 1.234567890123e17,
                  "trial_name": None, "trial_params": None}  # fmt: skip
    return found | {key: newer[key] for key in _AGES[age]} | more


def put_state(folder: Path, content: Row) -> Path:
    """``trainer_state.json`` as the trainer writes it: sorted, two spaces, bare NaN."""
    return write(folder / "trainer_state.json", json.dumps(content, indent=2, sort_keys=True) + "\n")


def told(losses: list[float], evals: list[float] = [], **more: Any) -> dict[str, Any]:
    """What is expected of these losses and evaluations."""
    best = [x for x in losses if math.isfinite(x)]
    best_eval = [x for x in evals if math.isfinite(x)]
    return {"points": len(losses), "last_loss": losses[-1] if losses else None, "best_loss": min(best, default=None),
            "last_eval_loss": evals[-1] if evals else None, "best_eval_loss": min(best_eval, default=None), **more}  # fmt: skip


def adapter(
    base: Any = QWEN, r: Any = 16, alpha: Any = 32, *, age: str = "new", dropout: Any = 0.05, **more: Any
) -> Row:
    """``adapter_config.json`` of PEFT's early, middle and late versions."""
    found: Row = {"base_model_name_or_path": base, "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
                  "lora_alpha": alpha, "lora_dropout": dropout, "modules_to_save": None, "peft_type": "LORA", "r": r,
                  "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}  # fmt: skip
    if age == "old":
        return found | {"enable_lora": None, "merge_weights": False} | more
    found |= {"alpha_pattern": {}, "auto_mapping": None, "init_lora_weights": True, "layers_pattern": None,
              "layers_to_transform": None, "rank_pattern": {}, "revision": None}  # fmt: skip
    if age == "new":
        found |= {"alora_invocation_tokens": None, "arrow_config": None, "corda_config": None, "ensure_weight_tying": False,
                  "eva_config": None, "exclude_modules": None, "layer_replication": None, "loftq_config": {}, "lora_bias": False,
                  "megatron_config": None, "megatron_core": "megatron.core", "peft_version": "0.18.0", "qalora_group_size": 16,
                  "target_parameters": None, "trainable_token_indices": None, "use_dora": False, "use_qalora": False,
                  "use_rslora": False}  # fmt: skip
    return dict(sorted((found | more).items()))


def safetensors(count: int = 2) -> bytes:
    """A small, whole file of weights."""
    names = [f"base_model.model.model.layers.{i}.self_attn.q_proj.lora_A.weight" for i in range(count)]
    header = {name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]} for i, name in enumerate(names)}
    body = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return struct.pack("<Q", len(body)) + body + bytes(4 * count)


def zipped(file: Path, pickled: bytes = b"\x80\x02}q\x00.") -> Path:
    """What ``torch.save`` writes: a zip with one pickle."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{file.stem}/data.pkl", pickled)
        archive.writestr(f"{file.stem}/version", "3\n")
    return file


def put_adapter(folder: Path, config: Any | None = None, *, tokenizer: bool = True) -> None:
    """An adapter as ``save_model`` leaves it."""
    write(folder / "adapter_config.json", adapter() if config is None else config)
    write(folder / "adapter_model.safetensors", safetensors())
    if tokenizer:
        put_tokenizer(folder)


def put_tokenizer(folder: Path) -> None:
    """A tokenizer's files, short."""
    write(folder / "tokenizer.json", {"version": "1.0", "added_tokens": []})
    write(folder / "tokenizer_config.json", {"model_max_length": 32768, "tokenizer_class": "Qwen2Tokenizer"})
    write(folder / "special_tokens_map.json", {"eos_token": "<|im_end|>"})
    write(folder / "chat_template.jinja", "{{ messages }}")


def put_model(folder: Path, config: Any | None = None) -> None:
    """A whole model's files: base models and full fine-tunes look alike."""
    plain = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "torch_dtype": "bfloat16",
        "vocab_size": 152064,
    }
    write(folder / "config.json", plain if config is None else config)
    write(folder / "generation_config.json", {"eos_token_id": 2, "transformers_version": "4.46.0"})
    write(folder / "model.safetensors", safetensors())


def put_checkpoint(
    folder: Path, step: int, content: Row | None, config: Any | None = None, *, full: bool = False
) -> Path:
    """``checkpoint-N`` with everything that a resume needs; ``content`` is its state, ``None`` leaves it out."""
    here = folder / f"checkpoint-{step}"
    if full:
        put_model(here, config)
    else:
        put_adapter(here, config)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        zipped(here / name)
    if content is not None:
        put_state(here, content)
    return here


def card(base: Any, tags: list[str], body: str = "", *, library: str = "peft", name: str = "out", **more: Any) -> str:
    """A model card with a head in YAML."""
    head = [f"library_name: {library}", *([f"base_model: {base}"] if base is not None else []), "tags:",
            *(f"- {tag}" for tag in tags), *(f"{key}: {value}" for key, value in more.items()),
            "model-index:", f"- name: {name}", "  results: []"]  # fmt: skip
    return "---\n" + "\n".join(head) + "\n---\n\n" + body


HYPERPARAMETERS = """## Training procedure

### Training hyperparameters

The following hyperparameters were used during training:
- learning_rate: 5e-05
- train_batch_size: 4
- eval_batch_size: 8
- seed: 1234
- gradient_accumulation_steps: 8
- total_train_batch_size: 32
- optimizer: Use adamw_torch with betas=(0.9,0.999) and epsilon=1e-08 and optimizer_args=No additional optimizer arguments
- lr_scheduler_type: cosine
- lr_scheduler_warmup_ratio: 0.1
- num_epochs: 3.0

### Framework versions

- PEFT 0.15.1
- Transformers 4.51.3
- Pytorch 2.7.0+cu126
- Datasets 3.5.0
- Tokenizers 0.21.1
"""


def lines(rows: list[Any]) -> str:
    """JSON, one a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
