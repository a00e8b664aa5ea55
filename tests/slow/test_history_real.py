"""What today's TRL and Transformers really write, read back: the trainer's own log says what is right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine import paths
from engine.history import readers, walk

pytestmark = pytest.mark.slow
SAMPLE = paths.sample_data_dir()
SCRIPT = """
import json, sys
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForLanguageModeling, Trainer, TrainingArguments
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

out, model, rows = sys.argv[1:]
common = dict(use_cpu=True, bf16=False, per_device_train_batch_size=2, logging_steps=1, report_to="none")
lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
chats = Dataset.from_list([{"messages": json.loads(line)["messages"]} for line in open(rows, encoding="utf-8")][:24])
truth = {}

def done(name, trainer):
    truth[name] = {"log": trainer.state.log_history, "step": trainer.state.global_step, "total": trainer.state.max_steps}

args = SFTConfig(f"{out}/sft", max_steps=6, save_steps=3, eval_strategy="steps", eval_steps=3, learning_rate=3e-4, max_length=128, **common)
trainer = SFTTrainer(model, args=args, train_dataset=chats, eval_dataset=chats.select(range(4)), peft_config=lora)
result = trainer.train()
trainer.save_model(), trainer.save_state(), trainer.save_metrics("train", result.metrics), trainer.create_model_card()
done("sft", trainer)

pairs = Dataset.from_list([{"prompt": [{"role": "user", "content": "hi"}], "chosen": [{"role": "assistant", "content": f"hello {i}"}],
                            "rejected": [{"role": "assistant", "content": "no"}]} for i in range(12)])
trainer = DPOTrainer(model, args=DPOConfig(f"{out}/dpo", max_steps=4, save_steps=2, **common), train_dataset=pairs, peft_config=lora)
trainer.train()
done("dpo", trainer)

tokenizer = AutoTokenizer.from_pretrained(model)
tokens = Dataset.from_list([{"input_ids": tokenizer(f"hello world {i} again")["input_ids"]} for i in range(16)])
trainer = Trainer(AutoModelForCausalLM.from_pretrained(model), TrainingArguments(f"{out}/full", num_train_epochs=2, save_steps=5, **common),
                  data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False), train_dataset=tokens, processing_class=tokenizer)
trainer.train()
trainer.save_model(), trainer.create_model_card()
done("full", trainer)
json.dump(truth, open(f"{out}/truth.json", "w"))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("real")
    subprocess.run([sys.executable, "-P", "-c", SCRIPT, str(out), str(SAMPLE / "tiny-qwen2"), str(SAMPLE / "train.jsonl")], check=True,
                   env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}, cwd=out, timeout=300)  # fmt: skip
    return out


def test_they_are_found(trained: Path) -> None:
    assert {path.name for path in walk.find([trained])} == {"sft", "dpo", "full"}


@pytest.mark.parametrize(
    ("name", "tool", "checkpoints", "rate", "rank"),
    [
        ("sft", "trl", [3, 6], 3e-4, 4),
        ("dpo", "trl", [2, 4], None, 4),
        ("full", "transformers", [5, 10, 15, 16], 5e-5, None),
    ],
)
def test_they_are_read_as_the_trainer_logged(
    trained: Path, name: str, tool: str, checkpoints: list[int], rate: float | None, rank: int | None
) -> None:
    truth = json.loads((trained / "truth.json").read_text())[name]
    losses = [row["loss"] for row in truth["log"] if "loss" in row]
    evals = [row["eval_loss"] for row in truth["log"] if "eval_loss" in row]
    row, record = readers.read_summary(trained / name), readers.read_record(trained / name)
    assert row is not None and record is not None
    assert (row.tool, row.state, row.step, row.total_steps) == (tool, "completed", truth["step"], truth["total"])
    assert (row.points, row.last_loss, row.best_loss) == (len(losses), losses[-1], min(losses))
    assert (row.last_eval_loss, row.best_eval_loss) == ((evals[-1], min(evals)) if evals else (None, None))
    assert (row.lora_r, row.batch_size, row.problems) == (rank, 2, [])
    assert rate is None or row.learning_rate == rate
    assert rank is None or row.base_model == str(SAMPLE / "tiny-qwen2")
    assert [checkpoint.step for checkpoint in record.checkpoints] == checkpoints
    assert list(record.steps.values("loss")) == losses
