"""The preflight sheet's memory estimate beside the peak of real steps, on a machine with an NVIDIA GPU.

Random weights behind the sample tokenizer, rows longer than ``max_seq_length``; all runs side by side, each alone in what
its own process allocates. Target: within 10% in the median, never more than 10% too low.
Run: python -m tests.benchmarks.memory_estimate [FOLDER [NAME …]] (a name is a shape or a part of what is set)
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine import paths
from tests.support import read_events

GIB = 2**30
SHAPES = {
    "0.5B": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
             "num_key_value_heads": 2, "tie_word_embeddings": True},
    "1.5B": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
             "num_key_value_heads": 2, "tie_word_embeddings": True},
    "3B": {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
           "num_key_value_heads": 2, "tie_word_embeddings": True},
    "7B": {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
           "num_key_value_heads": 4, "tie_word_embeddings": False},
}  # fmt: skip
PLAIN = {"recipe": "plain", "use_liger_kernel": "false"}
LIGER = {"recipe": "plain", "use_liger_kernel": "true"}
# Samples end to end; without fused kernels of its own, with them, and with recorded passes.
LAID = {"recipe": "exact", "use_liger_kernel": "false", "fused_lora": "false", "cuda_graphs": "false"}
FUSED = {"recipe": "exact", "cuda_graphs": "false"}
RECORDED = {"recipe": "exact"}
# Shape, max_seq_length, batch_size, gradient_checkpointing, what else is set. Those of one group run side by side.
LARGE = (
    ("7B", 1024, 1, True, PLAIN), ("7B", 2048, 1, True, LIGER), ("7B", 2048, 1, True, {**PLAIN, "load_in_4bit": "true"}),
    ("7B", 2048, 1, True, {**PLAIN, "load_in_8bit": "true"}), ("7B", 2048, 1, True, RECORDED), ("7B", 1024, 2, False, FUSED),
)  # fmt: skip
OTHERS = (
    ("0.5B", 1024, 4, True, PLAIN), ("0.5B", 2048, 1, False, PLAIN), ("0.5B", 2048, 4, True, {**PLAIN, "padding_free": "true"}),
    ("0.5B", 2048, 4, True, RECORDED), ("1.5B", 2048, 1, False, {**PLAIN, "lora_dropout": "0"}),
    ("1.5B", 2048, 1, True, {**PLAIN, "packing": "true"}), ("1.5B", 4096, 1, True, {**PLAIN, "lora_r": "64"}),
    ("1.5B", 2048, 1, True, {**PLAIN, "attn_implementation": "eager"}), ("1.5B", 2048, 2, False, LIGER),
    ("1.5B", 2048, 2, False, LAID), ("1.5B", 2048, 2, False, RECORDED), ("3B", 2048, 1, False, PLAIN),
    ("3B", 2048, 1, True, {**LIGER, "load_in_4bit": "true"}), ("3B", 1024, 2, False, {**FUSED, "lora_r": "8", "lora_dropout": "0"}),
)  # fmt: skip
GROUPS = tuple(tuple(case for case in group if not sys.argv[2:] or any(name in f"{case[0]} {case[4]}" for name in sys.argv[2:]))
               for group in (LARGE, OTHERS))  # fmt: skip
CASES = tuple(case for group in GROUPS for case in group)
MODEL = """
import sys, json, torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
config = Qwen2Config(vocab_size=151936, max_position_embeddings=8192, eos_token_id=tokenizer.eos_token_id,
                     pad_token_id=tokenizer.pad_token_id, **json.loads(sys.argv[3]))
torch.set_default_dtype(torch.bfloat16)
with torch.device("cuda"):
    model = Qwen2ForCausalLM(config)
model.save_pretrained(sys.argv[2])
tokenizer.save_pretrained(sys.argv[2])
"""


def words(folder: Path, number: int) -> list[str]:
    """The flags of a case."""
    shape, length, batch, checkpointing, more = CASES[number]
    settings = {"base_model": folder / shape, "train_path": folder / "rows.jsonl", "output_dir": folder / f"run-{number}",
                "max_seq_length": length, "batch_size": batch, "gradient_accumulation_steps": 1, "max_steps": 4, "dtype": "bfloat16",
                "max_tokens_per_pass": length * batch,
                "gradient_checkpointing": checkpointing, "gpus": 0, **more}  # fmt: skip
    return [
        part
        for name, value in settings.items()
        for part in (f"--{name}", str(value).lower() if isinstance(value, bool) else str(value))
    ]


def main() -> None:
    """Print the table."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    sample, began = paths.sample_data_dir(), time.monotonic()
    text = " ".join(
        row["messages"][-1]["content"] for row in map(json.loads, (sample / "train.jsonl").read_text().splitlines())
    )
    row = {
        "messages": [{"role": "user", "content": "Tell me all."}, {"role": "assistant", "content": (text * 3)[:60_000]}]
    }
    lines = [json.dumps({**row, "n": n, "messages": [{"role": "user", "content": f"Tell me all, {n}."}, row["messages"][1]]})
             for n in range(40)]  # fmt: skip
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    for name, shape in SHAPES.items():
        if not any(case[0] == name for case in CASES):
            continue
        code = [sys.executable, "-c", MODEL, str(sample / "tiny-qwen2"), str(folder / name), json.dumps(shape)]
        subprocess.run(code, check=True, capture_output=True)
    print(f"models written after {time.monotonic() - began:.0f} s", flush=True)
    tool = [sys.executable, "-m", "tui"]
    runs: list[str] = []
    sheets: list[str] = []
    for group in GROUPS:
        numbers = range(len(runs), len(runs) + len(group))
        # The sheets come first: what is free on the card must not depend on the runs.
        asked = []
        for number in numbers:
            flags = words(folder, number)
            flags[flags.index("--output_dir") + 1] += "-sheet"
            asked.append(subprocess.Popen([*tool, "preflight", *flags, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                          text=True))  # fmt: skip
        sheets += [one.communicate()[0] for one in asked]
        started = [subprocess.Popen([*tool, "train", *words(folder, number), "--queue", "false"], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.PIPE, text=True) for number in numbers]  # fmt: skip
        runs += [one.communicate()[1] for one in started]
        print(f"{len(runs)} runs after {time.monotonic() - began:.0f} s", flush=True)
    print(f"{'':34} {'estimate':>9} {'peak':>7} {'reserved':>9}  GiB {'error':>7}")
    errors = []
    for number, (shape, length, batch, checkpointing, more) in enumerate(CASES):
        label = f"{shape} {length}×{batch} {'ckpt' if checkpointing else '-'} {' '.join(f'{n}={v}' for n, v in more.items())}"
        said, trouble = json.loads(sheets[number] or "{}"), runs[number]
        memory = said.get("memory") or {}
        directory = folder / f"run-{number}"
        steps = [e for e in read_events_of(directory) if e["type"] == "step"]
        if not steps or not memory.get("total"):
            print(f"{label:34} no figure: {trouble[-300:]!r} {said.get('errors')}")
            continue
        peak = max(step["gpu_memory_peak"] for step in steps)
        reserved = max(step["gpu_memory_reserved"] for step in steps)
        estimate = memory["total"] - memory["overhead"]
        if more is RECORDED:  # what is recorded is reserved for good, and torch does not count it as allocated
            peak = reserved
        errors.append(estimate / peak - 1)
        print(f"{label:34} {estimate / GIB:9.2f} {peak / GIB:7.2f} {reserved / GIB:9.2f}      {errors[-1]:7.1%}  "
              f"{ {name: round(value / GIB, 2) for name, value in memory.items() if isinstance(value, int)} }", flush=True)  # fmt: skip
    if errors:
        print(f"median of the absolute error {statistics.median(map(abs, errors)):.1%}, lowest {min(errors):.1%}; "
              f"{time.monotonic() - began:.0f} s")  # fmt: skip


def read_events_of(directory: Path) -> list[dict]:
    """All events of a run, none if it has no record."""
    from engine.rundir import RunDir

    return read_events(RunDir(directory)) if RunDir(directory).events.exists() else []


if __name__ == "__main__":
    main()
