"""Tokens a second of the script that people use today, of the recipes, and of a bare TRL loop, on a 7 B-shaped model.

Random weights behind the sample tokenizer, chats of about 390 tokens; all of it in one call on one NVIDIA GPU, each run
alone on it. MFU counts four operations for each parameter and token (frozen weights need no gradient of their own).
Run: python -m tests.benchmarks.throughput [FOLDER] [NAME …] (a name of the table, or its first word)
"""

from __future__ import annotations

import itertools
import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine import hardware, paths
from engine.rundir import RunDir
from tests.support import read_events

GIB = 2**30
# Dense bfloat16 operations a second of the card, as its maker states them for SXM cards.
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
# What field measurements call the card's peak: large matrices at the clock that the card holds.
REACHED = 790e12
SHAPE = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
         "tie_word_embeddings": False}  # fmt: skip
PARAMETERS = 7.66e9
SEQUENCE, SKIPPED = 2048, 6
MODEL = """
import sys, json, torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
config = Qwen2Config(vocab_size=152064, max_position_embeddings=32768, eos_token_id=tokenizer.eos_token_id,
                     pad_token_id=tokenizer.pad_token_id, **json.loads(sys.argv[3]))
torch.set_default_dtype(torch.bfloat16)
with torch.device("cuda"):
    model = Qwen2ForCausalLM(config)
model.save_pretrained(sys.argv[2])
tokenizer.save_pretrained(sys.argv[2])
"""
# The script that people use today, with the changes that today's versions force on it, and nothing else.
CLASSIC = """
import importlib.util, json, sys, time, torch
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer
model_path, data, out, half, steps, batch, passes = sys.argv[1:8]
class Tell(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        torch.cuda.synchronize()
        self.now = time.perf_counter()
    def on_log(self, args, state, control, logs=None, **kwargs):
        if "num_tokens" in (logs or {}):
            print(json.dumps({"step": state.global_step, "at": self.now, "num_tokens": logs["num_tokens"], "loss": logs["loss"],
                              "peak": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}), flush=True)
tokenizer = AutoTokenizer.from_pretrained(model_path)
model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float16 if half == "fp16" else torch.bfloat16, device_map={"": 0})
model.config.use_cache = False
optim = "paged_adamw_32bit" if importlib.util.find_spec("bitsandbytes") else "adamw_torch"
args = SFTConfig(output_dir=out, max_steps=int(steps), per_device_train_batch_size=int(batch), gradient_accumulation_steps=int(passes),
                 learning_rate=1e-4, warmup_steps=0.03, lr_scheduler_type="cosine", optim=optim, fp16=half == "fp16", bf16=half != "fp16",
                 gradient_checkpointing=True, logging_steps=1, save_strategy="no", max_length=2048, report_to="none", disable_tqdm=True, seed=42)
lora = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, bias="none", task_type="CAUSAL_LM",
                  target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])
trainer = SFTTrainer(model=model, args=args, train_dataset=load_dataset("json", data_files=data, split="train"), processing_class=tokenizer,
                     peft_config=lora, callbacks=[Tell()])
trainer.train()
"""
COMMON = {"max_seq_length": SEQUENCE, "lora_alpha": 32, "save_steps": 10_000, "assistant_only_loss": "false"}
# Name: steps, and what is set.
OURS = {
    "plain 1×4": (14, {"recipe": "plain", "batch_size": 1, "gradient_accumulation_steps": 4}),
    "exact 1×4": (150, {"recipe": "exact", "batch_size": 1, "gradient_accumulation_steps": 4}),
    "exact 1×4, no dropout": (150, {"recipe": "exact", "batch_size": 1, "gradient_accumulation_steps": 4, "lora_dropout": 0}),
    "exact 1×16": (24, {"recipe": "exact", "batch_size": 1, "gradient_accumulation_steps": 16}),
    "exact 1×40": (16, {"recipe": "exact", "batch_size": 1, "gradient_accumulation_steps": 40}),
    "exact 1×40, no dropout": (16, {"recipe": "exact", "batch_size": 1, "gradient_accumulation_steps": 40, "lora_dropout": 0}),
    "fastest": (34, {"recipe": "fastest"}),
    "fastest, no dropout": (34, {"recipe": "fastest", "lora_dropout": 0}),
    "lean, 17 GiB": (30, {"recipe": "fastest", "max_gpu_memory": 17}),
    "lean, 17 GiB, no dropout": (30, {"recipe": "fastest", "max_gpu_memory": 17, "lora_dropout": 0}),
    "4 bit, 12 GiB": (20, {"recipe": "fastest", "max_gpu_memory": 12, "load_in_4bit": "true"}),
    "offloaded": (14, {"recipe": "fastest", "activation_offloading": "true"}),
}  # fmt: skip


def rows(path: Path, count: int = 3000) -> None:
    """Chats whose lengths are spread as real ones are: log-normal, 390 tokens on average, at most 2,048."""
    source = random.Random(1)
    sample = paths.sample_data_dir()
    words = [word for row in map(json.loads, (sample / "train.jsonl").read_text().splitlines())
             for message in row["messages"] for word in message["content"].split()]  # fmt: skip
    with path.open("w") as file:
        for _ in range(count):
            # About 1.5 tokens a word with the sample's small vocabulary, and a few for the template.
            tokens = min(2000, max(24, int(390 * math.exp(source.gauss(0, 0.75) - 0.28))))
            many = max(6, int(tokens / 1.5))
            question = " ".join(source.choices(words, k=many // 4))
            answer = " ".join(source.choices(words, k=many - many // 4))
            file.write(json.dumps({"messages": [{"role": "user", "content": question},
                                                {"role": "assistant", "content": answer}]}) + "\n")  # fmt: skip


def classic(folder: Path, half: str, batch: int, passes: int, steps: int) -> dict[str, float]:
    """One run of the script."""
    words = [sys.executable, "-c", CLASSIC, str(folder / "model"), str(folder / "rows.jsonl"), str(folder / "classic"), half, str(steps),
             str(batch), str(passes)]  # fmt: skip
    ran = subprocess.run(words, capture_output=True, text=True)
    told = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith('{"step"')]
    if len(told) <= SKIPPED + 2:
        print(ran.stderr[-1500:], flush=True)
        return {}
    pairs = list(itertools.pairwise(told))[SKIPPED:]
    seconds = [b["at"] - a["at"] for a, b in pairs]
    tokens = [b["num_tokens"] - a["num_tokens"] for a, b in pairs]
    return _figures(tokens, seconds, told[-1]["peak"], told[-1]["reserved"], told[-1]["loss"])


def ours(folder: Path, name: str) -> dict[str, float]:
    """One run of this project's command."""
    steps, more = OURS[name]
    out = folder / f"run-{name.replace(' ', '-')}"
    settings = {**COMMON, **more, "base_model": folder / "model", "train_path": folder / "rows.jsonl", "output_dir": out, "max_steps": steps,
                "queue": "false"}  # fmt: skip
    words = [part for key, value in settings.items() for part in (f"--{key}", str(value))]
    ran = subprocess.run([sys.executable, "-m", "tui", "train", *words], capture_output=True, text=True)
    events = read_events(RunDir(out)) if RunDir(out).events.exists() else []
    told = [event for event in events if event["type"] == "step"]
    for event in events:
        if event["type"] == "notice" and event.get("level") != "info":
            print(f"   {event['text']}", flush=True)
    if len(told) <= SKIPPED + 2:
        log = RunDir(out).train_log
        print(ran.stdout[-600:], ran.stderr[-600:], log.read_text()[-1500:] if log.exists() else "", flush=True)
        return {}
    first = max(SKIPPED, len(told) // 3)
    late = told[first:]
    tokens = [b["num_tokens"] - a["num_tokens"] for a, b in zip(told[first - 1 :], late, strict=False)]
    seconds = [event["step_seconds"] for event in late]
    peak = max(event["gpu_memory_peak"] or 0 for event in told)
    reserved = max(event["gpu_memory_reserved"] or 0 for event in told)
    record = RunDir(out).read_run() or {}
    print("   " + "; ".join(f"{key} {value['value']}" for key, value in (record.get("auto") or {}).items()), flush=True)
    until = told[0]["time"] - (record.get("created") or 0)
    return {**_figures(tokens, seconds, peak, reserved, told[-1]["loss"]), "first_step": until}


def _figures(tokens: list[float], seconds: list[float], peak: float, reserved: float, loss: float) -> dict[str, float]:
    return {"rate": sum(tokens) / sum(seconds), "middle": statistics.median(t / s for t, s in zip(tokens, seconds, strict=True)),
            "tokens": statistics.fmean(tokens), "seconds": statistics.median(seconds), "peak": peak, "reserved": reserved, "loss": loss}  # fmt: skip


def main() -> None:
    """Print the table."""
    given = sys.argv[1:]
    folder = Path(given[0] if given else tempfile.mkdtemp())
    wanted = given[1:]
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    rows(folder / "rows.jsonl")
    if not (folder / "model" / "config.json").exists():
        words = [
            sys.executable,
            "-c",
            MODEL,
            str(paths.sample_data_dir() / "tiny-qwen2"),
            str(folder / "model"),
            json.dumps(SHAPE),
        ]
        subprocess.run(words, check=True, capture_output=True)
    card = hardware.gpus()[0].name
    stated = next((peak for name, peak in PEAK.items() if name in card), None)
    print(f"{card}; the model is written after {time.monotonic() - began:.0f} s", flush=True)
    base = None
    todo = [("classic fp16 1×4", lambda: classic(folder, "fp16", 1, 4, 16)), ("bare TRL bf16 4×1", lambda: classic(folder, "bf16", 4, 1, 16)),
            *((name, lambda name=name: ours(folder, name)) for name in OURS)]  # fmt: skip
    for name, run in todo:
        if wanted and name not in wanted and name.split()[0].rstrip(",") not in wanted:
            continue
        found = run()
        if not found:
            print(f"{name:26} no figure", flush=True)
            continue
        base = base or found["rate"]
        share = 4 * PARAMETERS * found["rate"]
        stated_share = f", {share / stated:.0%} of the stated peak" if stated else ""
        print(f"{name:26} {found['rate']:8,.0f} tokens/s  ×{found['rate'] / base:5.1f}  {share / REACHED:5.1%} of 790 TFLOP/s{stated_share}  "
              f"{found['seconds'] * 1000:7.0f} ms a step of {found['tokens']:,.0f} tokens  peak {found['peak'] / GIB:.1f}, reserved "
              f"{found['reserved'] / GIB:.1f} GiB  loss {found['loss']:.3f}"
              + (f"  first step after {found['first_step']:.0f} s" if "first_step" in found else ""), flush=True)  # fmt: skip
    print(f"{time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
