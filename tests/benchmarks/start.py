"""From launch to the first step, beside a bare script: ``python -m tests.benchmarks.start [--model DIRECTORY] [--rows 400] [--times 3]``.

The bare script imports torch, transformers and PEFT, loads the same model, puts the same adapter on it and does one step over one row:
no trainer, no checks, no data set. Both run in turns, each alone. Without ``--model`` there are two: the sample's, and one of 0.5 billion
random parameters that is made first. The first run has no tokens in the cache, the others have.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine import paths
from engine.config import parse
from engine.launchers import launch
from engine.preflight import check
from engine.rundir import RunDir
from tests.support import read_events

# Every row is longer and is cut here, so that both do their step over so many tokens.
LIMIT = 64
BARE = """
import sys, time
begun = time.time()
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
imported = time.time()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
cuda = torch.cuda.is_available()
where = {"device_map": {"": 0}} if cuda else {}
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16 if cuda else torch.float32, **where)
loaded = time.time()
modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=modules, task_type="CAUSAL_LM"))
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
ids = tokenizer("word " * 400, return_tensors="pt", truncation=True, max_length=int(sys.argv[2]))["input_ids"].to(model.device)
loss = model(input_ids=ids, labels=ids).loss
loss.backward()
optimizer.step()
float(loss)
print("marks", imported, loaded, time.time())
"""
MODEL = """
import sys, torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
config = Qwen2Config(vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
                     num_key_value_heads=2, tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id)
torch.set_default_dtype(torch.bfloat16)
Qwen2ForCausalLM(config).save_pretrained(sys.argv[2])
tokenizer.save_pretrained(sys.argv[2])
"""


def bare(model: Path) -> dict[str, float]:
    """Seconds of each part of the script, from before Python starts."""
    begun = time.time()
    ran = subprocess.run(
        [sys.executable, "-c", BARE, str(model), str(LIMIT)], capture_output=True, text=True, check=True
    )
    marks = [float(word) for word in ran.stdout.split("marks", 1)[1].split()]
    names = ("Python and libraries", "model", "adapter and first step")
    return dict(zip(names, (b - a for a, b in itertools.pairwise([begun, *marks])), strict=True))


def ours(model: Path, data: Path, folder: Path) -> dict[str, float]:
    """Seconds of each part of a run, from the call of ``launch`` to the event of its first step."""
    config = parse({"base_model": str(model), "train_path": str(data), "output_dir": str(folder), "max_steps": 1, "save_steps": 1000,
                    "batch_size": 1, "gradient_accumulation_steps": 1, "max_seq_length": LIMIT, "lora_alpha": 32, "assistant_only_loss": "false"})  # fmt: skip
    checked = check(config)
    begun = time.time()
    run = launch(config, checked=checked)
    launched = time.time()
    events = _until_the_end(run)
    phases = [(event["name"], event["time"]) for event in events if event["type"] == "phase"]
    loading = [at for name, at in phases if name == "loading"]
    marks = {
        "launch()": launched, "supervisor and Python": loading[0], "libraries": loading[1],
        "tokenizer and choices": next(at for name, at in phases if name == "tokenising"), "rows and tokens": loading[2],
        "model (from there on)": next(at for name, at in phases if name == "training"),
        "first step": next(event["time"] for event in events if event["type"] == "step"),
    }  # fmt: skip
    return {name: at - before for (name, at), before in zip(marks.items(), [begun, *marks.values()], strict=False)}


def _until_the_end(run: RunDir) -> list[dict[str, object]]:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        status = run.read_status() or {}
        if status.get("ended") and run.events.exists():
            events = list(read_events(run))
            if not any(event["type"] == "step" for event in events):
                raise SystemExit(run.train_log.read_text()[-2000:])
            return events
        time.sleep(0.1)
    raise SystemExit("the run does not end")


def compare(model: Path, data: Path, times: int, folder: Path) -> None:
    """Print both and the ratio."""
    theirs, mine = [], []
    for number in range(times + 1):
        theirs.append(bare(model))
        mine.append(ours(model, data, folder / f"run-{model.name}-{number}"))
    first, *cached = mine
    print(f"\n{model}")
    for title, rows in (("bare script", theirs[1:]), ("tunedeck, nothing cached", [first]), ("tunedeck", cached)):
        parts = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
        print(f"  {title:<28}{statistics.median(sum(row.values()) for row in rows):7.2f} s   "
              + ", ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items()))  # fmt: skip
    floor = statistics.median(sum(row.values()) for row in theirs[1:])
    print(f"  ratio {statistics.median(sum(row.values()) for row in cached) / floor:.2f}, with nothing cached "
          f"{sum(first.values()) / floor:.2f}")  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, action="append")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("STATE", "CACHE"):
            os.environ[f"XDG_{part}_HOME"] = str(folder / part.lower())
        sample = paths.sample_data_dir()
        if options.model is None:
            options.model = [sample / "tiny-qwen2", folder / "half-a-billion"]
            subprocess.run([sys.executable, "-c", MODEL, *map(str, options.model)], check=True, capture_output=True)
        if options.data is None:
            options.data = folder / "rows.jsonl"
            rows = [json.loads(line) for line in (sample / "train.jsonl").read_text(encoding="utf-8").splitlines()]
            with options.data.open("w", encoding="utf-8") as file:
                for number, row in zip(range(options.rows), itertools.cycle(rows), strict=False):
                    row["messages"][-1]["content"] = f"{number} {row['messages'][-1]['content']}" + " and so on" * 40
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
        for model in options.model:
            compare(model, options.data, options.times, folder)


if __name__ == "__main__":
    main()
