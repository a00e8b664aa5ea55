"""What Axolotl and Unsloth leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.corpus.case import Case, layout
from tests.corpus.parts import (
    LLAMA,
    QWEN,
    adapter,
    card,
    end_row,
    eval_row,
    falling,
    put_adapter,
    put_checkpoint,
    put_model,
    put_state,
    put_tokenizer,
    state,
    told,
    train_rows,
    write,
)

_BADGE = """<!-- This model card has been generated automatically according to the information the Trainer had access to. You
should probably proofread and complete it, then remove this comment. -->

[<img src="https://raw.githubusercontent.com/axolotl-ai-cloud/axolotl/main/image/axolotl-badge-web.png" alt="Built with Axolotl" width="200" height="32"/>](https://github.com/axolotl-ai-cloud/axolotl)
<details><summary>See axolotl config</summary>

axolotl version: `0.11.0.dev0`
```yaml
{yaml}
```

</details><br>

# outputs/lora-out

This model is a fine-tuned version of a model on the /workspace/data/alpaca.jsonl dataset.
"""
_YAML = """base_model: meta-llama/Llama-3.1-8B-Instruct  # gated
# optionally might have model_type or tokenizer_type
model_type: AutoModelForCausalLM
load_in_8bit: false
load_in_4bit: true
datasets:
  - path: /workspace/data/alpaca.jsonl
    type: alpaca
val_set_size: 0.05
output_dir: ./outputs/lora-out
adapter: qlora
lora_r: 32
lora_alpha: 16
lora_dropout: 0.1
lora_target_linear: true
sequence_len: 2048 #reduced
sample_packing: true
wandb_project:
wandb_api_key: SECRETxSECRETxSECRET
gradient_accumulation_steps: 4
micro_batch_size: 2
num_epochs: 6
optimizer: adamw_bnb_8bit
lr_scheduler: cosine
learning_rate: 2e-4
warmup_ratio: 0.1
seed: 99
special_tokens:
   pad_token: <|end_of_text|>"""
_SETTINGS = {"learning_rate": 2e-4, "batch_size": 2, "gradient_accumulation_steps": 4, "num_train_epochs": 6, "max_seq_length": 2048,
             "lora_r": 32, "lora_alpha": 16, "lora_dropout": 0.1, "lr_scheduler_type": "cosine", "warmup_ratio": 0.1, "seed": 99,
             "load_in_4bit": True}  # fmt: skip


def _card(yaml: str = _YAML, base: Any = LLAMA) -> str:
    return card(base, ["generated_from_trainer"], _BADGE.replace("{yaml}", yaml))


@layout
def axolotl_whole(here: Path) -> dict[str, Any]:
    """A finished run with a merged copy of the model below it."""
    losses, evals = falling(15), [1.1, 1.05]
    rows = train_rows(losses, every=1, **{"memory/max_mem_active(gib)": 12.1})
    rows.insert(8, eval_row(8, evals[0]))
    rows.append(eval_row(15, evals[1]))
    put_adapter(here, adapter(LLAMA, 32, 16, dropout=0.1))
    put_checkpoint(here, 15, state(rows, 15, 15, epoch=6.0, epochs=6), adapter(LLAMA, 32, 16, dropout=0.1))
    write(here / "README.md", _card())
    write(here / "debug.log", "[2025-08-01 10:00:00,000] [INFO] [axolotl.train] Starting trainer...\n")
    put_model(here / "merged")
    put_tokenizer(here / "merged")
    write(here / "merged" / "README.md", _card())
    (here / "runs").mkdir()
    return told(losses, evals, tool="axolotl", state="completed", base_model=LLAMA, step=15, total_steps=15, lora_r=32, lora_alpha=16, learning_rate=2e-4,
                batch_size=2, max_seq_length=2048, num_train_epochs=6, checkpoints=[15], hidden="SECRETxSECRET", problem=None, settings=_SETTINGS)  # fmt: skip


@layout
def axolotl_just_begun(here: Path) -> dict[str, Any]:
    """It saves the adapter's config and the tokenizer first, then trains."""
    write(here / "adapter_config.json", adapter(LLAMA, 32, 16))
    put_tokenizer(here)
    write(
        here / "debug.log",
        "[2025-08-01 10:00:00,000] [INFO] [axolotl.train.train:108] [PID:4711] Pre-saving adapter config to ./outputs/lora-out...\n",
    )
    return {
        "tool": "axolotl",
        "state": "unknown",
        "base_model": LLAMA,
        "points": None,
        "step": None,
        "lora_r": 32,
        "checkpoints": [],
    }


@layout
def axolotl_card_alone(here: Path) -> dict[str, Any]:
    """Only the card."""
    write(here / "README.md", _card())
    return {
        "tool": "axolotl",
        "state": "unknown",
        "base_model": LLAMA,
        "points": None,
        "lora_r": 32,
        "learning_rate": 2e-4,
        "max_seq_length": 2048,
    }


@layout
def axolotl_badge_only(here: Path) -> dict[str, Any]:
    """An early card: the badge is there, the config is not."""
    put_adapter(here, adapter(LLAMA, 8, 16, age="old"))
    badge = '[<img src="https://raw.githubusercontent.com/OpenAccess-AI-Collective/axolotl/main/image/axolotl-badge-web.png" alt="Built with Axolotl"'
    write(
        here / "README.md",
        card(
            LLAMA,
            ["generated_from_trainer"],
            badge + "/>](https://github.com/OpenAccess-AI-Collective/axolotl)\n# lora-out\n",
        ),
    )
    return {"tool": "axolotl", "state": "unknown", "base_model": LLAMA, "points": None, "lora_r": 8}


@layout
def axolotl_unsloth_base(here: Path) -> dict[str, Any]:
    """A base model of Unsloth's does not make it Unsloth's run."""
    losses = falling(5)
    put_checkpoint(here, 50, state(train_rows(losses), 50, 50), adapter("unsloth/Llama-3.2-1B"))
    put_adapter(here, adapter("unsloth/Llama-3.2-1B"))
    write(
        here / "README.md",
        _card(_YAML.replace(LLAMA, "unsloth/Llama-3.2-1B"), "unsloth/Llama-3.2-1B").replace(
            "- generated", "- axolotl\n- generated"
        ),
    )
    return told(losses, tool="axolotl", state="completed", base_model="unsloth/Llama-3.2-1B")


@layout
def axolotl_odd_yaml(here: Path) -> dict[str, Any]:
    """A config that YAML cannot read, or would build objects from: nothing is built, the rest is told."""
    put_adapter(here, adapter(QWEN))
    put_state(here, state([*train_rows(falling(3)), end_row(30)], 30, 30))
    write(
        here / "README.md",
        _card(
            f"base_model: x\n\t- tab: [unclosed\nrun: !!python/object/apply:os.system ['touch {here}/SPRUNG']\n", None
        ),
    )
    return {"tool": "axolotl", "state": "completed", "base_model": QWEN, "step": 30, "points": 3}


@layout
def axolotl_full_finetune(here: Path) -> dict[str, Any]:
    """No adapter: the base model stands in the card only."""
    losses = falling(4)
    put_model(here)
    put_checkpoint(here, 40, state(train_rows(losses), 40, 40), full=True)
    write(here / "README.md", _card(_YAML.replace("adapter: qlora", "adapter:"), LLAMA))
    return told(losses, tool="axolotl", state="completed", base_model=LLAMA, step=40)


@layout
def unsloth_outputs(here: Path) -> list[Case]:
    """The notebooks' layout: ``outputs/`` holds checkpoints, ``lora_model/`` the adapter."""
    losses = falling(6)
    base = "unsloth/meta-llama-3.1-8b-bnb-4bit"
    config = adapter(
        base, 16, 16, dropout=0, auto_mapping={"base_model_class": "LlamaForCausalLM", "unsloth_fixed": True}
    )
    put_checkpoint(here / "outputs", 60, state(train_rows(losses), 60, 60, epochs=1, epoch=0.2), config)
    put_adapter(here / "lora_model", config)
    write(
        here / "lora_model" / "README.md",
        "---\nbase_model: unsloth/meta-llama-3.1-8b-bnb-4bit\nlibrary_name: peft\n---\n\n# Model Card for Model ID\n",
    )
    return [Case("unsloth-outputs", here / "outputs", told(losses, tool="unsloth", state="completed", base_model=base, step=60, total_steps=60,
                                                          lora_r=16, lora_alpha=16, checkpoints=[60], problem=None)),
            Case("unsloth-lora-model", here / "lora_model", {"tool": "unsloth", "state": "unknown", "base_model": base, "points": None, "lora_r": 16})]  # fmt: skip


@layout
def unsloth_with_trl_card(here: Path) -> dict[str, Any]:
    """Uploaded with a card that names TRL as well."""
    losses = falling(6)
    put_adapter(here, adapter("unsloth/qwen2.5-7b-instruct-unsloth-bnb-4bit", 32, 64, dropout=0.0))
    rows = train_rows(losses, mean_token_accuracy=0.7, num_tokens=100.0)
    put_state(here, state([*rows, end_row(60)], 60, 60))
    write(
        here / "README.md",
        card(
            "unsloth/qwen2.5-7b-instruct-unsloth-bnb-4bit",
            ["text-generation-inference", "transformers", "unsloth", "qwen2", "trl", "sft"],
        ),
    )
    return told(
        losses, tool="unsloth", state="completed", base_model="unsloth/qwen2.5-7b-instruct-unsloth-bnb-4bit", lora_r=32
    )


@layout
def unsloth_local_base(here: Path) -> dict[str, Any]:
    """The base model was a local folder; the adapter says that Unsloth patched it."""
    losses = falling(4)
    config = adapter(
        "/models/llama-3-8b", 16, 16, auto_mapping={"base_model_class": "LlamaForCausalLM", "unsloth_fixed": True}
    )
    put_checkpoint(here, 40, state(train_rows(losses), 40, 40), config)
    return told(losses, tool="unsloth", state="completed", base_model="/models/llama-3-8b", step=40)


@layout
def unsloth_merged_by_config(here: Path) -> dict[str, Any]:
    """A full fine-tune: the model's config carries the version of Unsloth."""
    losses = falling(4)
    config = {
        "_name_or_path": "unsloth/Qwen2.5-0.5B",
        "model_type": "qwen2",
        "unsloth_version": "2025.10.1",
        "unsloth_fixed": True,
    }
    put_checkpoint(here, 40, state(train_rows(losses), 40, 80, epoch=1.5), config, full=True)
    return told(losses, tool="unsloth", state="unknown", base_model="unsloth/Qwen2.5-0.5B", step=40, total_steps=80)
