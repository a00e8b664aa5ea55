"""Real training of the sample model: the recorded losses are the true ones, and the adapter is what PEFT expects."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.config import parse
from engine.rundir import RunDir, write_json
from tests import preloaded
from tests.support import ended, read_events, wait_for

pytestmark = pytest.mark.slow

SAMPLE = paths.sample_data_dir()
MODEL = SAMPLE / "tiny-qwen2"
ROWS, HELD_OUT = 48, 6
STEP_KEYS = {
    "type", "time", "attempt", "step", "total_steps", "epoch", "loss", "learning_rate", "grad_norm", "samples_per_second",
    "tokens_per_second", "num_tokens", "step_seconds", "gpu_memory_allocated", "gpu_memory_reserved", "gpu_memory_peak",
    "host_memory", "crc",
}  # fmt: skip
COMMAND = [sys.executable, "-m", "tui"]


def tunedeck(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=300, check=False, **options)  # fmt: skip


def rows(output: Path) -> tuple[Path, Path]:
    """The first rows of the sample's data, beside the output directory."""
    files = output.parent / "train.jsonl", output.parent / "eval.jsonl"
    for path, count in zip(files, (ROWS, HELD_OUT), strict=True):
        lines = (SAMPLE / path.name).read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[:count]), encoding="utf-8")
    return files


def values(output: Path) -> dict[str, Any]:
    train, held_out = map(str, rows(output))
    return {"base_model": str(MODEL), "train_path": train, "eval_path": held_out, "output_dir": str(output), "lora_r": 8,
            "max_seq_length": 128, "batch_size": 2, "gradient_accumulation_steps": 2, "learning_rate": 5e-4,
            "max_steps": 12, "save_steps": 5, "logging_steps": 5}  # fmt: skip


def flags(output: Path, **more: object) -> list[str]:
    return [word for name, value in {**values(output), **more}.items() for word in (f"--{name}", str(value))]


PLAIN_SCRIPT = """
import gc, json, sys
gc.disable()  # loads faster
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

model, train, evaluation, out = sys.argv[1:5]
def chats(path):
    rows = [json.loads(line) for line in open(path, encoding="utf-8") if line.strip()]
    return Dataset.from_dict({"messages": [row["messages"] for row in rows]})
trainer = SFTTrainer(
    model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
    args=SFTConfig(output_dir=out, max_steps=12, per_device_train_batch_size=2, gradient_accumulation_steps=2,
                   learning_rate=5e-4, lr_scheduler_type="cosine", warmup_steps=0.03, max_length=128, logging_steps=1,
                   seed=42, save_strategy="no", eval_strategy="steps", eval_steps=5, report_to="none", use_cpu=True, bf16=False, gradient_checkpointing=False,
                   optim="adamw_torch", assistant_only_loss=True, max_grad_norm=1.0, weight_decay=0.0, disable_tqdm=True),
    train_dataset=chats(train),
    eval_dataset=chats(evaluation),
    processing_class=AutoTokenizer.from_pretrained(model),
    peft_config=LoraConfig(r=8, lora_alpha=16, lora_dropout=0.05, bias="none", task_type="CAUSAL_LM",
                           target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
)
trainer.train()
print("LOSSES", json.dumps([row["loss"] for row in trainer.state.log_history if "loss" in row]))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run through the real command, shared by the tests below."""
    output = tmp_path_factory.mktemp("trained") / "out"
    home = tmp_path_factory.mktemp("xdg")
    result = tunedeck(
        "train", *flags(output), env={**os.environ, "XDG_STATE_HOME": str(home), "XDG_CACHE_HOME": str(home)}
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return output


def test_one_step_event_per_step_with_all_keys(trained: Path) -> None:
    events = read_events(RunDir(trained))
    steps = [event for event in events if event["type"] == "step"]
    assert [event["step"] for event in steps] == list(range(1, 13))
    for event in steps:
        assert STEP_KEYS <= set(event) and event["total_steps"] == 12 and event["attempt"] == 1
        assert math.isfinite(event["loss"]) and event["grad_norm"] > 0 and event["step_seconds"] > 0
        assert event["samples_per_second"] > 0 and event["tokens_per_second"] > 0 and event["host_memory"] > 1e8
        assert event["gpu_memory_peak"] is None or event["gpu_memory_peak"] > 0
    assert [e["num_tokens"] for e in steps] == sorted(e["num_tokens"] for e in steps)
    assert [e["step"] for e in events if e["type"] == "eval"] == [5, 10, 12]
    assert [e["step"] for e in events if e["type"] == "checkpoint"] == [5, 10, 12]


def test_losses_equal_those_of_a_plain_script(trained: Path, tmp_path: Path) -> None:
    script = tmp_path / "plain.py"
    script.write_text(PLAIN_SCRIPT)
    result = subprocess.run([sys.executable, str(script), str(MODEL), *map(str, rows(trained)), str(tmp_path / "plain")],
                            capture_output=True, text=True, check=False, timeout=300,
                            env={**os.environ, "HF_HUB_OFFLINE": "1"})  # fmt: skip
    assert "LOSSES" in result.stdout, result.stderr
    expected = json.loads(result.stdout.split("LOSSES", 1)[1].splitlines()[0])
    found = [event["loss"] for event in read_events(RunDir(trained)) if event["type"] == "step"]
    assert found == pytest.approx(expected, abs=1e-5)


def test_the_hosts_log_keeps_its_rhythm(trained: Path) -> None:
    state = json.loads((trained / "trainer_state.json").read_text())
    rows = [row for row in state["log_history"] if "loss" in row]
    losses = {e["step"]: e["loss"] for e in read_events(RunDir(trained)) if e["type"] == "step"}
    assert [row["step"] for row in rows] == [5, 10]
    assert rows[1]["loss"] == pytest.approx(sum(losses[n] for n in range(6, 11)) / 5)


def test_show_tells_the_truth(trained: Path) -> None:
    result = tunedeck("show", trained, "--json")
    record = json.loads(result.stdout)
    assert record["state"] == "completed" and record["step"] == record["total_steps"] == record["points"] == 12
    assert record["auto"]["dtype"]["value"] in ("float32", "bfloat16", "float16") and record["auto"]["dtype"]["why"]
    assert (
        record["versions"]["trl"]
        and record["data"]["train"]["rows"] == ROWS
        and len(record["data"]["eval"]["sha256"]) == 64
    )
    assert [(c["step"], c["valid"]) for c in record["checkpoints"]] == [(5, True), (10, True), (12, True)]
    assert record["config"]["lora_r"] == 8 and record["bytes"] > 100_000 and record["last_eval_loss"] > 0
    human = tunedeck("show", trained)
    assert human.returncode == 0 and "completed" in human.stdout


def test_the_adapter_loads_with_plain_peft_and_changes_the_output(trained: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(trained)
    assert tokenizer.chat_template and tokenizer.pad_token_id != tokenizer.eos_token_id
    base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    chat = [{"role": "user", "content": "What does the learning rate do?"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        before = base(**ids).logits
        model = PeftModel.from_pretrained(base, trained)
        after = model(**ids).logits
    assert (after - before).abs().max() > 0.01


def test_a_stop_from_the_command_line_saves_and_reads_as_stopped(tmp_path: Path) -> None:
    output = tmp_path / "out"
    python = preloaded.interpreter(tmp_path / "python")
    started = tunedeck(
        "train", *flags(output, max_steps=2000, save_steps=1000, worker_python=python), "--detach", "--json"
    )
    assert started.returncode == 0, started.stderr
    run = RunDir(output)
    wait_for(lambda: (run.read_status() or {}).get("step"), 90)
    result = tunedeck("stop", output, "--json")
    answer = json.loads(result.stdout)
    assert result.returncode == 0 and answer["state"] == "stopped" and "stopped on request" in answer["reason"]
    status = ended(run)
    assert status["resumable"] and (output / f"checkpoint-{status['step']}").is_dir()
    assert (output / "adapter_model.safetensors").is_file()


def test_checkpoint_and_evaluate_on_request(tmp_path: Path) -> None:
    output = tmp_path / "out"
    python = preloaded.interpreter(tmp_path / "python")
    tunedeck("train", *flags(output, max_steps=2000, save_steps=1000, worker_python=python), "--detach")
    run = RunDir(output)
    wait_for(lambda: (run.read_status() or {}).get("step"), 90)
    saved = tunedeck("checkpoint", output)
    assert saved.returncode == 0 and "saved checkpoint-" in saved.stdout
    evaluated = tunedeck("evaluate", output)
    assert evaluated.returncode == 0 and "eval loss" in evaluated.stdout
    begun = time.monotonic()
    stopped = tunedeck("stop", "--now", output)
    assert stopped.returncode == 0 and "stopped" in stopped.stdout and time.monotonic() - begun < 8


def test_ctrl_c(tmp_path: Path) -> None:
    interrupted = tmp_path / "interrupted"
    words = flags(interrupted, max_steps=2000, worker_python=preloaded.interpreter(tmp_path / "python"))
    process = subprocess.Popen([*COMMAND, "train", *words], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)  # fmt: skip
    wait_for(lambda: (RunDir(interrupted).read_status() or {}).get("step"), 90)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped" in output and "Traceback" not in output


# All in one process.
ONE_AFTER_ANOTHER = """
import sys
from engine.rundir import RunDir
from engine.worker.recorder import Recorder
from engine.worker.train import Training
for folder in sys.argv[1:]:
    run = RunDir(folder)
    recorder = Recorder(run)
    recorder.phase("loading")
    state, reason = Training(run, recorder).run()
    recorder.write("state", state=state, reason=reason)
    recorder.close()
"""


def test_padding_free_packing_and_held_out_rows_train(tmp_path: Path) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "padding_free": {"padding_free": True, "eval_path": None, "eval_fraction": 0.1},
        "packing": {"packing": True, "max_seq_length": 256},
        "options": {"use_dora": True, "use_rslora": True, "target_modules": "all-linear", "neftune_noise_alpha": 5,
                    "load_best_model_at_end": True, "early_stopping_patience": 3, "save_total_limit": 1,
                    "assistant_only_loss": False, "lr_scheduler_type": "linear", "data_seed": 7,
                    "gradient_checkpointing": True},
    }  # fmt: skip
    runs = []
    for name, more in kinds.items():
        run = RunDir(tmp_path / name)
        run.make()
        config = parse({**values(run.path), "max_steps": 4, "save_steps": 2, **more}).model_dump(mode="json")
        write_json(run.run_json, {"format": 1, "id": name, "config": config})
        runs.append(run)
    python = preloaded.interpreter(tmp_path / "python")
    result = subprocess.run([python, "-c", ONE_AFTER_ANOTHER, *(str(run.path) for run in runs)], text=True,
                            capture_output=True, check=False, timeout=300, env={**os.environ, "HF_HUB_OFFLINE": "1"})  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    for run in runs:
        events = read_events(run)
        assert events[-1]["type"] == "state" and events[-1]["state"] == "completed", run
        assert [event["step"] for event in events if event["type"] == "step"] == [1, 2, 3, 4], run
        losses = [event["eval_loss"] for event in events if event["type"] == "eval"]
        assert len(losses) == 2 and all(0 < loss < 20 for loss in losses), run
        assert (run.path / "adapter_model.safetensors").is_file()


def test_a_failure_in_training_is_said_in_words(tmp_path: Path) -> None:
    fault = "import engine.worker.train as train\ndef load_model(*args):\n    raise RuntimeError('sizes (3) and (4)\\nmore')\n"
    python = preloaded.interpreter(tmp_path / "python", fault + "train.load_model = load_model")
    result = tunedeck("train", *flags(tmp_path / "out", worker_python=python))
    assert result.returncode == 1
    assert "failed to start: sizes (3) and (4)" in result.stdout and "Traceback" not in result.stdout + result.stderr


def test_what_the_sheet_refuses_is_not_started(tmp_path: Path) -> None:
    broken = tmp_path / "model"
    import shutil

    shutil.copytree(MODEL, broken)
    (broken / "config.json").write_text(
        (broken / "config.json").read_text().replace('"hidden_size": 192', '"hidden_size": 96')
    )
    python = preloaded.interpreter(tmp_path / "python")
    result = tunedeck("train", *flags(tmp_path / "out", base_model=broken, worker_python=python))
    assert result.returncode == 2 and result.stdout == "" and not (tmp_path / "out").exists()
    assert "error: base_model: the weights do not fit config.json" in result.stderr
