"""What TRL's trainers leave."""

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
    put_state,
    state,
    told,
    train_rows,
    write,
    zipped,
)

_SFT = card(f"{QWEN}", ["base_model:adapter:Qwen/Qwen2.5-7B-Instruct", "lora", "sft", "transformers", "trl"], """# Model Card for out

This model is a fine-tuned version of [Qwen/Qwen2.5-7B-Instruct](https://huggingface.co/Qwen/Qwen2.5-7B-Instruct).
It has been trained using [TRL](https://github.com/huggingface/trl).

## Training procedure

This model was trained with SFT.

### Framework versions

- PEFT 0.18.0
- TRL: 0.25.1
- Transformers: 4.57.1
- Pytorch: 2.9.0
- Datasets: 4.4.1
- Tokenizers: 0.22.1
""", model_name="out", licence="license")  # fmt: skip


def _tokens(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for i, row in enumerate(rows, 1):
        row |= {"entropy": round(1.2 - i / 100, 4), "mean_token_accuracy": 0.6 + i / 200, "num_tokens": 1000.0 * i}
    return rows


@layout
def trl_sft_whole(here: Path) -> dict[str, Any]:
    """A finished run of today: checkpoints, adapter and card at the root, no state there."""
    losses, evals = falling(30), [1.21, 1.02, 0.98]
    rows = _tokens(train_rows(losses))
    rows[10:10] = [eval_row(100, evals[0], 1.0, eval_mean_token_accuracy=0.71, eval_num_tokens=10000.0)]
    rows[21:21] = [eval_row(200, evals[1], 2.0, eval_entropy=0.9)]
    rows.append(eval_row(300, evals[2], 3.0))
    for step in (100, 200):
        put_checkpoint(here, step, state([r for r in rows if r["step"] <= step], step, 300, epoch=step / 100))
    put_checkpoint(here, 300, state(rows, 300, 300))
    put_adapter(here)
    zipped(here / "training_args.bin", b"\x80\x02ctrl.trainer.sft_config\nSFTConfig\nq\x00)\x81q\x01.")
    write(here / "README.md", _SFT)
    return told(losses, evals, tool="trl", state="completed", base_model=QWEN, step=300, total_steps=300, checkpoints=[100, 200, 300],
                valid=[100, 200, 300], lora_r=16, lora_alpha=32, batch_size=2, epoch=3.0, num_train_epochs=3, problem=None,
                settings={"lora_r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "target_modules": ["q_proj", "v_proj"]},
                curves=["loss", "grad_norm", "learning_rate", "mean_token_accuracy", "entropy"])  # fmt: skip


@layout
def trl_sft_saved_state(here: Path) -> dict[str, Any]:
    """With ``save_state`` and ``save_metrics``, as TRL's own scripts do."""
    losses = falling(12)
    rows = [*_tokens(train_rows(losses, epochs=1.0)), end_row(120, 1.0)]
    put_checkpoint(here, 120, state(rows[:-1], 120, 120, epoch=1.0, epochs=1))
    put_adapter(here)
    put_state(here, state(rows, 120, 120, epoch=1.0, epochs=1))
    results = {"epoch": 1.0, "total_flos": 1e17, "train_loss": 0.987, "train_runtime": 1234.5678,
               "train_samples_per_second": 2.43, "train_steps_per_second": 0.304}  # fmt: skip
    write(here / "train_results.json", results)
    write(here / "all_results.json", results)
    write(here / "README.md", _SFT)
    return told(losses, tool="trl", state="completed", base_model=QWEN, step=120, total_steps=120, seconds=1234.5678,
                checkpoints=[120], num_train_epochs=1, problem=None)  # fmt: skip


@layout
def trl_sft_no_card(here: Path) -> dict[str, Any]:
    """Killed before the end: no card, no root; only its rows say that TRL wrote it."""
    losses = falling(10)
    put_checkpoint(here, 100, state(_tokens(train_rows(losses, epochs=1.0)), 100, 300, epoch=1.0))
    return told(
        losses, tool="trl", state="unknown", base_model=QWEN, step=100, total_steps=300, checkpoints=[100], epoch=1.0
    )


@layout
def trl_dpo(here: Path) -> dict[str, Any]:
    """Preference training: rewards beside the loss."""
    losses, evals = [0.6931, 0.61, 0.55, 0.52, 0.57], [0.59]
    rows = train_rows(losses, epochs=1.0)
    for row in rows:
        row |= {"logits/chosen": -1.9, "logits/rejected": -2.0, "logps/chosen": -270.1, "logps/rejected": -290.2,
                "rewards/accuracies": 0.75, "rewards/chosen": 0.1, "rewards/margins": 0.4, "rewards/rejected": -0.3}  # fmt: skip
    rows.append(eval_row(50, evals[0], **{"eval_rewards/accuracies": 0.7}))
    put_state(here, state([*rows, end_row(50, 1.0)], 50, 50, epoch=1.0, epochs=1))
    put_adapter(here, adapter(LLAMA, 64, 128))
    write(
        here / "README.md",
        card(LLAMA, ["trl", "dpo"], "This model was trained with DPO.\n\n- TRL: 0.12.0\n- Transformers: 4.46.3\n"),
    )
    return told(losses, evals, tool="trl", state="completed", base_model=LLAMA, step=50, total_steps=50, lora_r=64, lora_alpha=128,
                curves=["rewards/margins", "loss"])  # fmt: skip


@layout
def trl_grpo(here: Path) -> dict[str, Any]:
    """Reinforcement: losses near and at zero, below it too."""
    losses = [0.0, 0.0, 0.0003, -0.0012, 0.0001]
    rows = train_rows(losses, every=1, epochs=0.05)
    for i, row in enumerate(rows):
        row |= {"clip_ratio/high_max": 0.0, "completions/mean_length": 210.5, "completions/clipped_ratio": 0.1, "kl": 0.001 * i,
                "num_tokens": 4000.0 * (i + 1), "reward": 0.25 + i / 10, "reward_std": 0.4, "frac_reward_zero_std": 0.0,
                "rewards/accuracy_reward/mean": 0.2, "rewards/accuracy_reward/std": 0.4}  # fmt: skip
    put_checkpoint(here, 5, state(rows, 5, 500, epoch=0.05, epochs=5), adapter(QWEN))
    write(here / "README.md", card(QWEN, ["generated_from_trainer", "grpo", "trl"]))
    return told(losses, tool="trl", state="unknown", base_model=QWEN, step=5, total_steps=500, curves=["reward", "kl"])


@layout
def trl_ppo_no_loss(here: Path) -> dict[str, Any]:
    """PPO logs no ``loss`` at all."""
    rows = [{"episode": 64 * i, "epoch": i / 10, "eps": 1, "loss/policy_avg": 0.01, "loss/value_avg": 0.2, "objective/kl": 0.5 * i,
             "objective/scores": 0.1 * i, "step": i} for i in range(1, 7)]  # fmt: skip
    put_checkpoint(
        here,
        6,
        state(rows, 6, 60, epoch=0.6),
        {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]},
        full=True,
    )
    write(here / "README.md", card(QWEN, ["ppo", "trl"], library="transformers"))
    return told([], tool="trl", state="unknown", base_model=QWEN, step=6, total_steps=60, curves=["objective/kl"])


@layout
def trl_reward_model(here: Path) -> dict[str, Any]:
    """A classifier's head on an adapter."""
    losses = falling(6)
    put_state(here, state([*train_rows(losses, accuracy=0.8, max_reward=2.1, min_reward=-1.5), end_row(60)], 60, 60))
    put_adapter(here, adapter(LLAMA, 32, 16, task_type="SEQ_CLS", modules_to_save=["score"]))
    write(here / "README.md", card(LLAMA, ["reward-trainer", "trl"]))
    return told(losses, tool="trl", state="completed", base_model=LLAMA, lora_r=32, lora_alpha=16)


@layout
def trl_max_steps_early_stop(here: Path) -> dict[str, Any]:
    """Stopped early and said so: its last row tells that training ended."""
    losses, evals = falling(8), [1.0, 0.9, 0.91, 0.93]
    rows = _tokens(train_rows(losses, every=25))
    for i, loss in enumerate(evals):
        rows.insert(2 * (i + 1) + i, eval_row(50 * (i + 1), loss))
    rows.append(end_row(200, 0.8))
    put_state(
        here, state(rows, 200, 1000, best_metric=0.9, best_global_step=100, best_model_checkpoint="out/checkpoint-100")
    )
    put_adapter(here)
    return told(losses, evals, tool="trl", state="completed", step=200, total_steps=1000)


@layout
def trl_resumed(here: Path) -> dict[str, Any]:
    """The root's state is from before the resume; the newest checkpoint knows more."""
    losses = falling(20)
    rows = _tokens(train_rows(losses))
    put_state(here, state(rows[:10], 100, 200, epoch=1.5))
    put_checkpoint(here, 100, state(rows[:10], 100, 200, epoch=1.5))
    put_checkpoint(here, 150, state(rows[:15], 150, 200, epoch=2.25))
    put_checkpoint(here, 200, state(rows, 200, 200))
    put_adapter(here)
    return told(losses, tool="trl", state="completed", step=200, total_steps=200, checkpoints=[100, 150, 200])


@layout
def trl_root_and_checkpoint_agree(here: Path) -> dict[str, Any]:
    """The same rows twice are not counted twice."""
    losses, evals = falling(10), [1.5, 1.25]
    rows = _tokens(train_rows(losses))
    rows[5:5] = [eval_row(50, evals[0])]
    rows.append(eval_row(100, evals[1]))
    put_checkpoint(here, 50, state(rows[:6], 50, 100, epoch=1.5))
    put_checkpoint(here, 100, state(rows, 100, 100))
    put_state(here, state([*rows, end_row(100)], 100, 100))
    put_adapter(here)
    return told(losses, evals, tool="trl", state="completed", step=100, total_steps=100, checkpoints=[50, 100])


@layout
def trl_checkpoints_by_number(here: Path) -> dict[str, Any]:
    """Ninety-five before a hundred: the newest is the largest number, not the last name."""
    losses = falling(10)
    rows = _tokens(train_rows(losses))
    for step in (90, 100):
        put_checkpoint(here, step, state(rows[: step // 10], step, 100, epoch=step * 0.03))
    return told(losses, tool="trl", state="completed", step=100, checkpoints=[90, 100])


@layout
def trl_card_only_with_adapter(here: Path) -> dict[str, Any]:
    """As it is uploaded: adapter and card, no state."""
    put_adapter(here, adapter(QWEN, 8, 16))
    write(here / "README.md", _SFT)
    return {"tool": "trl", "state": "unknown", "base_model": QWEN, "step": None, "total_steps": None, "points": None,
            "last_loss": None, "best_loss": None, "lora_r": 8, "checkpoints": [], "problem": None}  # fmt: skip


@layout
def trl_steps_by_hub_strategy(here: Path) -> dict[str, Any]:
    """``hub_strategy="checkpoint"`` leaves a folder ``last-checkpoint``; it is no run of its own."""
    losses = falling(5)
    rows = _tokens(train_rows(losses))
    put_state(here, state([*rows, end_row(50)], 50, 50))
    put_adapter(here)
    put_checkpoint(here, 50, state(rows, 50, 50)).rename(here / "last-checkpoint")
    return told(losses, tool="trl", state="completed", step=50, total_steps=50)


@layout
def trl_two_in_a_row(here: Path) -> list[Case]:
    """First SFT, then DPO below it: a run nested in a run."""
    first, second = falling(5), [0.69, 0.6, 0.5]
    put_checkpoint(here / "sft", 50, state(_tokens(train_rows(first)), 50, 50))
    put_adapter(here / "sft", adapter(QWEN, 16, 32))
    put_checkpoint(here / "sft" / "dpo", 30, state(train_rows(second, **{"rewards/margins": 0.2}), 30, 30))
    put_adapter(here / "sft" / "dpo", adapter(QWEN, 4, 8))
    return [Case("trl-outer-of-two", here / "sft", told(first, tool="trl", state="completed", lora_r=16, checkpoints=[50])),
            Case("trl-inner-of-two", here / "sft" / "dpo", told(second, tool="trl", state="completed", lora_r=4, checkpoints=[30]))]  # fmt: skip
