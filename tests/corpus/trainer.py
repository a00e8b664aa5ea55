"""What plain Transformers trainers leave, of every age."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.corpus.case import Case, layout
from tests.corpus.parts import (
    HYPERPARAMETERS,
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
    zipped,
)

_BERT = {"_name_or_path": "bert-base-uncased", "architectures": ["BertForSequenceClassification"], "model_type": "bert",
         "transformers_version": "4.6.1", "vocab_size": 30522}  # fmt: skip
_RESULTS = {"epoch": 3.0, "total_flos": 1.2e17, "train_loss": 0.987, "train_runtime": 4321.5, "train_samples": 1000,
            "train_samples_per_second": 0.7, "train_steps_per_second": 0.05}  # fmt: skip


@layout
def transformers_4_6_glue(here: Path) -> dict[str, Any]:
    """2021: a classifier, thirteen keys, no grad_norm, all result files."""
    losses, evals = [0.5123, 0.2981, 0.1502], [0.4101, 0.3899, 0.4511]
    rows: list[dict[str, Any]] = []
    for i, row in enumerate(train_rows(losses, every=500, grad_norm=False)):
        rows += [row, eval_row(row["step"], evals[i], eval_accuracy=0.85 + i / 100, eval_f1=0.9)]
    rows.append(end_row(1500))
    put_model(here, _BERT)
    put_tokenizer(here)
    put_state(here, state(rows, 1500, 1500, age="4.6"))
    put_checkpoint(here, 1000, state(rows[:4], 1000, 1500, age="4.6", epoch=2.0), _BERT, full=True)
    for name, more in (
        ("train_results", _RESULTS),
        ("eval_results", {"eval_loss": 0.4511}),
        ("all_results", _RESULTS | {"eval_loss": 0.4511}),
    ):
        write(here / f"{name}.json", more)
    zipped(here / "training_args.bin")
    return told(losses, evals, tool="transformers", state="completed", base_model="bert-base-uncased", step=1500, total_steps=1500,
                checkpoints=[1000], batch_size=None, lora_r=None, lora_alpha=None, seconds=4321.5, problem=None,
                curves=["loss", "learning_rate"])  # fmt: skip


@layout
def transformers_4_31_full(here: Path) -> dict[str, Any]:
    """Before ``train_batch_size`` was written down."""
    losses = falling(8)
    put_model(here, {"_name_or_path": "facebook/opt-350m", "model_type": "opt", "architectures": ["OPTForCausalLM"]})
    put_state(here, state([*train_rows(losses, grad_norm=False), end_row(80)], 80, 80, age="4.31"))
    return told(
        losses, tool="transformers", state="completed", base_model="facebook/opt-350m", step=80, batch_size=None
    )


@layout
def transformers_4_36_adapter(here: Path) -> dict[str, Any]:
    """An early adapter, checkpoints only."""
    losses = falling(6)
    put_checkpoint(
        here,
        60,
        state(train_rows(losses, grad_norm=False), 60, 60, age="4.36"),
        adapter(LLAMA, 8, 16, age="old", dropout=0.1),
    )
    return told(losses, tool="transformers", state="completed", base_model=LLAMA, lora_r=8, lora_alpha=16, batch_size=2,
                settings={"lora_dropout": 0.1, "lora_r": 8, "bias": "none"}, checkpoints=[60])  # fmt: skip


@layout
def transformers_4_46_seq2seq(here: Path) -> dict[str, Any]:
    """A summariser: rouge, generated lengths, prediction results."""
    losses, evals = [2.9812, 2.5111], [2.31, 2.28]
    rows: list[dict[str, Any]] = []
    for i, row in enumerate(train_rows(losses, every=500, epochs=2.0)):
        rows += [row, eval_row(row["step"], evals[i], eval_gen_len=18.9, eval_rouge1=33.1, eval_rougeLsum=30.2)]
    put_model(
        here,
        {"_name_or_path": "google/mt5-small", "architectures": ["MT5ForConditionalGeneration"], "model_type": "mt5"},
    )
    put_state(here, state([*rows, end_row(1000, 2.0)], 1000, 1000, age="4.46", epoch=2.0, epochs=2))
    write(here / "generated_predictions.txt", "a summary\n")
    write(here / "predict_results.json", {"predict_loss": 2.2, "predict_rouge1": 33.3})
    return told(
        losses,
        evals,
        tool="transformers",
        state="completed",
        base_model="google/mt5-small",
        step=1000,
        num_train_epochs=2,
    )


@layout
def transformers_5_3_whisper(here: Path) -> dict[str, Any]:
    """Speech, by steps: ``max_steps`` set, many epochs, word error rate."""
    losses, evals = falling(40, 1.2, 0.02), [0.31, 0.29, 0.33, 0.35]
    rows: list[dict[str, Any]] = []
    for i, row in enumerate(train_rows(losses, every=25, epochs=33.0)):
        rows.append(row)
        if i % 10 == 9:
            rows.append(eval_row(row["step"], evals[i // 10], eval_wer=22.5 - i / 10))
    put_checkpoint(here, 1000, state(rows, 1000, 1000, epoch=33.0, epochs=9223372036854775807, best_metric=19.0),
                   {"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper"}, full=True)  # fmt: skip
    write(
        here / "README.md",
        card(
            "openai/whisper-tiny", ["whisper-event", "generated_from_trainer"], HYPERPARAMETERS, library="transformers"
        ),
    )
    return told(
        losses,
        evals,
        tool="transformers",
        state="completed",
        base_model="openai/whisper-tiny",
        step=1000,
        total_steps=1000,
    )


@layout
def transformers_card_with_hyperparameters(here: Path) -> dict[str, Any]:
    """The card is the only place that tells the settings."""
    losses = falling(4)
    put_state(here, state([*train_rows(losses), end_row(40)], 40, 40))
    put_adapter(here, adapter(LLAMA))
    write(here / "README.md", card(LLAMA, ["generated_from_trainer"], HYPERPARAMETERS, license="llama3.1"))
    return told(losses, tool="transformers", state="completed", base_model=LLAMA, learning_rate=5e-05,
                settings={"learning_rate": 5e-05, "seed": 1234, "gradient_accumulation_steps": 8, "lr_scheduler_type": "cosine",
                          "num_train_epochs": 3})  # fmt: skip


@layout
def transformers_results_only(here: Path) -> dict[str, Any]:
    """The state was deleted; the result files tell that training ended."""
    put_model(here, _BERT)
    write(here / "train_results.json", _RESULTS)
    write(here / "all_results.json", _RESULTS)
    return {"tool": "transformers", "state": "completed", "base_model": "bert-base-uncased", "points": None, "step": None,
            "last_loss": None, "seconds": 4321.5, "problem": None}  # fmt: skip


@layout
def transformers_results_by_hand(here: Path) -> dict[str, Any]:
    """Results with words and a step among the numbers, and a copy of them in a folder."""
    results = {"eval_exact_match_rate": 0.52, "epoch": 3.0, "global_step": 169, "train_loss": 0.056, "train_runtime": 976.0,
               "note": "two cards, LoRA rank=8"}  # fmt: skip
    write(here / "all_results.json", results)
    write(here / "train_config.yaml", "lr: 5e-4\n")
    return {
        "tool": "transformers",
        "state": "completed",
        "points": None,
        "last_loss": None,
        "seconds": 976.0,
        "problem": None,
    }


@layout
def unknown_mlx(here: Path) -> dict[str, Any]:
    """Another framework's adapter: a run of a tool that is not known."""
    write(here / "adapter_config.json", {"adapter_path": "adapters", "batch_size": 4, "fine_tune_type": "lora", "iters": 600, "learning_rate": 1e-05,
          "lora_parameters": {"rank": 8, "dropout": 0.0, "scale": 20.0}, "model": "mlx-community/Mistral-7B-v0.3-4bit", "train": True})  # fmt: skip
    write(here / "adapters.safetensors", b"")
    write(here / "0000100_adapters.safetensors", b"")
    return {"tool": "unknown", "state": "unknown", "points": None, "last_loss": None}


@layout
def transformers_full_finetune_of_a_folder(here: Path) -> dict[str, Any]:
    """Weights and ``training_args.bin``: someone trained this, though no record is left."""
    put_model(here, {"_name_or_path": "/data/models/해마-7b", "model_type": "llama"})
    put_tokenizer(here)
    zipped(here / "training_args.bin")
    return {
        "tool": "transformers",
        "state": "unknown",
        "base_model": "/data/models/해마-7b",
        "points": None,
        "step": None,
    }


@layout
def transformers_hyper_parameter_search(here: Path) -> list[Case]:
    """``run-0/``, ``run-1/``: one run each, with checkpoints only."""
    found = []
    for trial in range(3):
        losses = falling(5, 2.0 + trial)
        content = state(
            train_rows(losses),
            50,
            50,
            is_hyper_param_search=True,
            trial_name="trial",
            trial_params={"learning_rate": 1e-4 * (trial + 1)},
        )
        put_checkpoint(here / f"run-{trial}", 50, content, _BERT, full=True)
        found.append(Case(f"transformers-trial-{trial}", here / f"run-{trial}",
                          told(losses, tool="transformers", state="completed", step=50, checkpoints=[50])))  # fmt: skip
    return found


@layout
def transformers_deepspeed(here: Path) -> dict[str, Any]:
    """Sharded optimizer states and ``latest`` in a checkpoint; rng states of eight ranks."""
    losses = falling(7)
    place = put_checkpoint(here, 70, state(train_rows(losses), 70, 140, epoch=1.5), adapter(QWEN))
    (place / "optimizer.pt").unlink()
    write(place / "latest", "global_step70")
    write(place / "zero_to_fp32.py", "raise SystemExit('not to be run')\n")
    zipped(place / "global_step70" / "zero_pp_rank_0_mp_rank_00_optim_states.pt")
    for rank in range(8):
        zipped(place / f"rng_state_{rank}.pth")
    return told(
        losses, tool="transformers", state="unknown", base_model=QWEN, step=70, total_steps=140, checkpoints=[70]
    )


@layout
def transformers_best_is_not_newest(here: Path) -> dict[str, Any]:
    """``load_best_model_at_end`` with the two checkpoints that it keeps."""
    losses, evals = falling(9), [0.9, 0.8, 0.85]
    rows = train_rows(losses)
    for i, loss in enumerate(evals):
        rows.insert(3 * (i + 1) + i, eval_row(30 * (i + 1), loss))
    best = {"best_metric": 0.8, "best_model_checkpoint": f"{here}/checkpoint-60"}
    put_checkpoint(here, 60, state(rows[:8], 60, 90, epoch=2.0, **best))
    put_checkpoint(here, 90, state(rows, 90, 90, **best))
    return told(losses, evals, tool="transformers", state="completed", step=90, checkpoints=[60, 90])


@layout
def transformers_evals_only(here: Path) -> dict[str, Any]:
    """``logging_steps`` above the number of steps: only evaluations and the end are in the log."""
    evals = [1.4, 1.3]
    rows = [eval_row(20, evals[0]), eval_row(40, evals[1], 2.0), end_row(40, 2.0)]
    put_state(here, state(rows, 40, 40, epoch=2.0, epochs=2))
    return told([], evals, tool="transformers", state="completed", step=40, total_steps=40, num_train_epochs=2)


@layout
def transformers_lone_files(here: Path) -> list[Case]:
    """Single files that people keep or upload, each alone in a folder."""
    losses = falling(5)
    put_state(here / "state", state(train_rows(losses), 50, 100))
    write(here / "adapter" / "adapter_config.json", adapter(QWEN, 16, 32))
    write(here / "results" / "all_results.json", _RESULTS)
    return [Case("lone-state", here / "state", told(losses, tool="transformers", state="unknown", base_model=None, step=50, total_steps=100, problem=None)),
            Case("lone-adapter", here / "adapter", {"tool": "unknown", "state": "unknown", "base_model": QWEN, "lora_r": 16, "points": None, "step": None}),
            Case("lone-results", here / "results", {"tool": "transformers", "state": "completed", "points": None, "base_model": None})]  # fmt: skip


@layout
def transformers_a_lone_checkpoint(here: Path) -> Case:
    """A folder that holds one checkpoint and nothing else is the run."""
    losses = falling(5)
    put_checkpoint(
        here / "exp" / "checkpoints", 500, state(train_rows(losses, every=100), 500, 1000, epoch=1.5), adapter(LLAMA)
    )
    write(here / "exp" / "logs" / "slurm.out", "hello\n")
    return Case("checkpoints-in-a-folder", here / "exp" / "checkpoints",
                told(losses, tool="transformers", state="unknown", base_model=LLAMA, step=500, total_steps=1000, checkpoints=[500]))  # fmt: skip


@layout
def transformers_peft_without_lora(here: Path) -> list[Case]:
    """Other adapters have no rank."""
    kinds = {"prefix": {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 30, "num_layers": 28, "task_type": "CAUSAL_LM"},
             "ia3": {"peft_type": "IA3", "target_modules": ["k_proj", "v_proj"], "feedforward_modules": ["down_proj"]}}  # fmt: skip
    found = []
    for name, config in kinds.items():
        losses = falling(4)
        put_state(here / name, state(train_rows(losses), 40, 40))
        put_adapter(here / name, {"base_model_name_or_path": QWEN, "inference_mode": True, **config})
        found.append(
            Case(
                f"peft-{name}",
                here / name,
                told(losses, tool="transformers", base_model=QWEN, lora_r=None, lora_alpha=None, problem=None),
            )
        )
    return found
