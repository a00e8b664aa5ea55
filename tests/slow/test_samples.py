"""Real answers of the sample model while it trains: they are what the adapter says, and training notices nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.config import parse
from engine.rundir import RunDir, write_json
from tests import preloaded
from tests.support import read_events

pytestmark = pytest.mark.slow

SAMPLE = paths.sample_data_dir()
PROMPTS = ["How long do hard-boiled eggs take?", "파스타 삶는 물은,\n얼마나 짜야 하나요?"]
KINDS = ("plain", "asked", "no-eval", "fails", "stops", "late", "strange")

# All in one process.
WORKER = """
import sys, threading, time
from pathlib import Path
from engine.rundir import RunDir
from engine.worker import sampling
from engine.worker.recorder import Recorder
from engine.worker.train import Training

def stop_soon(run):
    while b'"type":"sample"' not in run.events.read_bytes():
        time.sleep(0.02)
    run.request("stop")

whole = sampling._complete
def fails(*rest):
    import torch
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

for folder in sys.argv[1:]:
    run = RunDir(folder)
    recorder = Recorder(run)
    recorder.phase("loading")
    sampling._complete = fails if run.path.name == "fails" else whole
    if run.path.name in ("stops", "late"):
        threading.Thread(target=stop_soon, args=(run,), daemon=True).start()
    state, reason = Training(run, recorder).run()
    recorder.write("state", state=state, reason=reason)
    recorder.close()

# What the adapter on the disk says, token by token, without any of our code.
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, base, prompt = sys.argv[2], RunDir(sys.argv[2]).read_run()["config"]["base_model"], "How long do hard-boiled eggs take?"
tokenizer = AutoTokenizer.from_pretrained(folder)
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), folder).eval()
text = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True)
ids = tokenizer(text, return_tensors="pt")["input_ids"]
new = []
with torch.no_grad():
    while len(new) < 12:
        token = model(input_ids=torch.cat([ids, torch.tensor([new], dtype=ids.dtype)], 1)).logits[0, -1].argmax().item()
        if token == tokenizer.eos_token_id:
            break
        new.append(token)
Path(folder, "said.txt").write_text(tokenizer.decode(new), encoding="utf-8")
"""


def _prepare(folder: Path, data: Path, base_model: Path = SAMPLE / "tiny-qwen2", **more: object) -> str:
    config = parse({"base_model": SAMPLE / "tiny-qwen2", "train_path": data, "output_dir": folder, "lora_r": 8,
                    "max_seq_length": 128, "batch_size": 2, "gradient_accumulation_steps": 1, "learning_rate": 5e-4,
                    "max_steps": 6, "save_steps": 3, "neftune_noise_alpha": 5, **more}
                   | {"base_model": str(base_model), "train_path": str(data), "output_dir": str(folder)})  # fmt: skip
    run = RunDir(folder)
    run.make()
    write_json(run.run_json, {"format": 1, "id": folder.name, "config": config.model_dump(mode="json")})
    return str(folder)


def _with_a_token_too_many(folder: Path) -> Path:
    """A model whose tokenizer is larger than its embedding."""
    shutil.copytree(SAMPLE / "tiny-qwen2", folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    token = {**tokenizer["added_tokens"][-1], "id": len(tokenizer["model"]["vocab"]), "content": "<strange>"}
    tokenizer["added_tokens"].append(token)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Short trainings of the same data; the events of each."""
    root = tmp_path_factory.mktemp("samples")
    data = root / "data.jsonl"
    lines = (SAMPLE / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    data.write_text("".join(lines[:24]), encoding="utf-8")
    evaluation = root / "eval.jsonl"
    evaluation.write_text("".join(lines[24:28]), encoding="utf-8")
    asked = {"sample_prompts": PROMPTS, "sample_max_new_tokens": 12}
    settings: dict[str, dict[str, object]] = {
        "plain": {"eval_path": str(evaluation)},
        "asked": {"eval_path": str(evaluation), **asked},
        "no-eval": asked,
        "fails": asked,
        "stops": {"sample_prompts": PROMPTS * 16, "sample_max_new_tokens": 400},
        "late": {"sample_prompts": PROMPTS * 16, "sample_max_new_tokens": 400, "max_steps": 3},
        "strange": {**asked, "sample_prompts": ["<strange>", PROMPTS[0]], "max_steps": 3},
    }
    models = {"strange": _with_a_token_too_many(root / "model")}
    folders = [_prepare(root / kind, data, models.get(kind, SAMPLE / "tiny-qwen2"), **settings[kind]) for kind in KINDS]
    python = preloaded.interpreter(root / "python")
    result = subprocess.run([python, "-c", WORKER, *folders], capture_output=True, text=True, check=False,
                            timeout=240, env={**os.environ, "HF_HUB_OFFLINE": "1"})  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    found = {kind: read_events(RunDir(root / kind)) for kind in KINDS}
    found["asked"].append({"type": "said", "text": (root / "asked/said.txt").read_text(encoding="utf-8")})
    return found


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == kind]


def test_training_is_bit_equal_with_and_without_prompts(runs: dict[str, list[dict[str, Any]]]) -> None:
    def numbers(kind: str) -> list[tuple[float, float]]:
        return [(event["loss"], event["grad_norm"]) for event in of(runs[kind], "step")]

    assert len(numbers("plain")) == 6
    assert numbers("asked") == numbers("plain")
    assert numbers("no-eval") == numbers("fails")  # an evaluation draws random numbers of its own
    assert [e["eval_loss"] for e in of(runs["asked"], "eval")] == [e["eval_loss"] for e in of(runs["plain"], "eval")]


def test_every_prompt_is_answered_at_each_evaluation(runs: dict[str, list[dict[str, Any]]]) -> None:
    samples = of(runs["asked"], "sample")
    assert [(event["step"], event["prompt"]) for event in samples] == [(s, p) for s in (3, 6) for p in PROMPTS]
    for event in samples:
        assert 0 < event["tokens"] <= 12 and event["seconds"] > 0 and event["completion"]
        assert event["ended"] in ("end", "length")
    assert [event["step"] for event in of(runs["asked"], "eval")] == [3, 6]
    phases = [event["name"] for event in of(runs["asked"], "phase")]
    assert "evaluating" in phases and phases.count("training") >= 3  # it is said that training goes on


def test_the_last_answer_is_what_the_saved_adapter_says(runs: dict[str, list[dict[str, Any]]]) -> None:
    last = [event for event in of(runs["asked"], "sample") if event["prompt"] == PROMPTS[0]][-1]
    assert last["completion"] == of(runs["asked"], "said")[0]["text"]


def test_without_evaluation_data_it_answers_at_every_save(runs: dict[str, list[dict[str, Any]]]) -> None:
    samples = of(runs["no-eval"], "sample")
    assert [event["step"] for event in samples] == [3, 3, 6, 6]
    first = [(event["prompt"], event["completion"]) for event in of(runs["asked"], "sample")[:2]]
    assert [(event["prompt"], event["completion"]) for event in samples[:2]] == first  # not yet another course


def test_a_failure_is_one_notice_and_no_end(runs: dict[str, list[dict[str, Any]]]) -> None:
    assert not of(runs["fails"], "sample")
    said = [event["text"] for event in of(runs["fails"], "notice") if "asked" in event["text"]]
    assert said == ["The model could not be asked after step 3: out of GPU memory; training goes on"]
    assert of(runs["fails"], "state")[-1]["state"] == "completed"


def test_a_stop_ends_the_answers_soon(runs: dict[str, list[dict[str, Any]]]) -> None:
    assert 0 < len(of(runs["stops"], "sample")) < 32
    assert {event["step"] for event in of(runs["stops"], "sample")} == {3}
    assert of(runs["stops"], "state")[-1]["state"] == "stopped"
    assert [event["step"] for event in of(runs["stops"], "step")] == [1, 2, 3]
    control = of(runs["stops"], "control")[0]
    assert json.dumps([control["request"], control["outcome"]]) == '["stop", "stopping after step 3"]'
    asked = of(runs["stops"], "state")[-1]["time"] - control["time"]
    assert asked < 10


def test_a_stop_in_the_answers_of_the_last_step_comes_too_late(runs: dict[str, list[dict[str, Any]]]) -> None:
    assert 0 < len(of(runs["late"], "sample")) < 32
    end = of(runs["late"], "state")[-1]
    assert (end["state"], end["reason"]) == ("completed", "all steps done, adapter saved")
    assert [(e["request"], e["outcome"]) for e in of(runs["late"], "control")] == [
        ("stop", "too late: step 3 is the last one")
    ]


def test_a_prompt_that_the_model_cannot_read_is_left_out(runs: dict[str, list[dict[str, Any]]]) -> None:
    assert [event["prompt"] for event in of(runs["strange"], "sample")] == [PROMPTS[0]]
    said = [event["text"] for event in of(runs["strange"], "notice") if "asked" in event["text"]]
    assert said == ["Prompt 1 is not asked: its token <strange> (2560) is not among the 2560 that the model knows"]
    assert of(runs["strange"], "state")[-1]["state"] == "completed"
