"""Trees with many runs, links and things that are no runs, and names that hurt."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.corpus.case import Case, layout
from tests.corpus.parts import (
    LLAMA,
    QWEN,
    adapter,
    card,
    end_row,
    falling,
    lines,
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


def _small(place: Path, loss: float = 0.5, **more: Any) -> dict[str, Any]:
    """A small whole run, and what is expected of it."""
    losses = [1.0, loss]
    put_checkpoint(place, 20, state(train_rows(losses), 20, 20), adapter(QWEN))
    put_state(place, state([*train_rows(losses), end_row(20)], 20, 20))
    put_adapter(place, adapter(QWEN))
    return (
        told(losses, tool="transformers", state="completed", base_model=QWEN, step=20, checkpoints=[20], problem=None)
        | more
    )


@layout
def tree_several_below_one(here: Path) -> list[Case]:
    """Several runs below one folder, which is no run itself."""
    return [
        Case(f"tree-sibling-{i}", here / "outputs" / f"exp{i}", _small(here / "outputs" / f"exp{i}", 0.5 + i / 8))
        for i in range(4)
    ]


@layout
def tree_folder_called_runs(here: Path) -> list[Case]:
    """``runs/`` and ``merged/`` are TensorBoard's and Axolotl's only within a run."""
    return [Case("tree-in-runs", here / "runs" / "2025-01-01-qwen-1", _small(here / "runs" / "2025-01-01-qwen-1")),
            Case("tree-in-merged", here / "merged" / "one", _small(here / "merged" / "one")),
            Case("tree-in-models", here / "models" / "runs" / "one", _small(here / "models" / "runs" / "one"))]  # fmt: skip


@layout
def tree_in_a_repository(here: Path) -> dict[str, Any]:
    """A run that was committed at the root of a repository, with code around it."""
    (here / ".git" / "objects").mkdir(parents=True)
    write(here / ".git" / "HEAD", "ref: refs/heads/main\n")
    _small(here / ".git" / "modules" / "hidden")
    write(here / "src" / "train.py", "print('hello')\n")
    _small(here / "node_modules" / "package" / "run")
    return _small(here)


@layout
def tree_nested_three_deep(here: Path) -> list[Case]:
    """Runs within runs."""
    places = [here / "a", here / "a" / "b", here / "a" / "b" / "c"]
    return [Case(f"tree-depth-{i}", place, _small(place, 0.5 + i / 8)) for i, place in enumerate(places)]


@layout
def tree_checkpoint_in_checkpoint(here: Path) -> dict[str, Any]:
    """A checkpoint that was copied into another is no run."""
    expected = _small(here)
    put_checkpoint(here / "checkpoint-20", 10, state(train_rows([1.0]), 10, 20), adapter(QWEN))
    _small(here / "checkpoint-20" / "copied")
    return expected


@layout
def tree_links(here: Path) -> Case:
    """Links to folders are not followed: no run twice, no loop, nothing outside."""
    expected = _small(here / "real")
    (here / "again").symlink_to("real")
    (here / "up").symlink_to("..")
    (here / "loop").symlink_to("loop")
    (here / "real" / "self").symlink_to(".")
    (here / "real" / "checkpoint-99").symlink_to("../real")
    (here / "root").symlink_to("/")
    (here / "proc").symlink_to("/proc/self/root")
    return Case("tree-links", here / "real", expected)


@layout
def tree_repository_with_models(here: Path) -> list[Case]:
    """A repository whose root is a run, with code, and two more models in folders of it."""
    write(here / "app.py", "import gradio\n")
    write(here / "requirements.txt", "transformers\n")
    write(here / "MODEL_CARD.md", "# A card by hand\n")
    found = []
    for name, place in (
        ("root", here),
        ("language", here / "language_model"),
        ("translation", here / "translation_model"),
    ):
        losses = falling(21)
        put_state(
            place,
            state(
                train_rows(losses, every=1, epochs=1.0), 21, 21, epoch=1.0, epochs=1, logging_steps=1.0, save_steps=0
            ),
        )
        put_adapter(place, adapter("togethercomputer/gpt-oss-20b-bf16", 4, 8, exclude_modules=[]))
        write(place / "config.json", {"model_type": "gpt_oss"})
        found.append(Case(f"tree-repository-{name}", place, told(losses, tool="transformers", state="completed", step=21, lora_r=4,
                                                                base_model="togethercomputer/gpt-oss-20b-bf16", problem=None)))  # fmt: skip
    return found


@layout
def tree_hub_cache(here: Path) -> Case:
    """A snapshot in the hub's cache: files are links to blobs. The base model beside it is no run."""
    losses = falling(3)
    source = here / "hub" / "models--someone--my-lora"
    made = here / "hub" / "models--someone--my-lora" / "blobs"
    snapshot = source / "snapshots" / ("a1" * 20)
    put_adapter(made, adapter(LLAMA, 8, 16))
    put_state(made, state([*train_rows(losses), end_row(30)], 30, 30))
    write(made / "README.md", card(LLAMA, ["trl", "sft"]))
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(made.iterdir())):
        blob = made / f"{number:040x}"
        file.rename(blob)
        (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
    base = here / "hub" / "models--Qwen--Qwen2.5-7B-Instruct" / "snapshots" / ("b2" * 20)
    put_model(base)
    put_tokenizer(base)
    return Case(
        "tree-hub-snapshot",
        snapshot,
        told(losses, tool="trl", state="completed", base_model=LLAMA, lora_r=8, problem=None),
    )


@layout
def tree_nothing(here: Path) -> list[Case]:
    """Folders that hold no run, though something in them looks like one."""
    made: dict[str, Callable[[Path], Any]] = {
        "empty": lambda place: place.mkdir(),
        "base-model": lambda place: (put_model(place), put_tokenizer(place)),
        "base-model-with-card": lambda place: (put_model(place), put_tokenizer(place), write(place / "README.md", card(
            "Qwen/Qwen2.5-7B", ["chat"], "# Qwen2.5-7B-Instruct\n", library="transformers", pipeline_tag="text-generation"))),
        "base-model-old": lambda place: (write(place / "config.json", {"model_type": "gpt2"}), write(place / "pytorch_model.bin", b"PK\x03\x04"),
                                         write(place / "vocab.json", {}), write(place / "merges.txt", "")),
        "base-model-sharded": lambda place: (put_tokenizer(place), write(place / "config.json", {"_name_or_path": QWEN, "model_type": "qwen2"}),
                                             write(place / "model.safetensors.index.json", {"weight_map": {}}), write(place / "model-00001-of-00002.safetensors", b"")),
        "tokenizer": put_tokenizer,
        "gguf": lambda place: write(place / "model-q4_k_m.gguf", b"GGUF"),
        "chat-log": lambda place: write(place / "logging.jsonl", lines([{"timestamp": "2025-07-17T11:27:05", "user": "hello", "assistant": None}])),
        "arguments-of-others": lambda place: write(place / "args.json", {"lr": 0.1, "epochs": 3, "arch": "resnet18"}),
        "results-of-others": lambda place: write(place / "all_results.json", {"accuracy": 0.9, "model": "resnet18"}),
        "training-results-of-others": lambda place: write(
            place / "train_results.json", {"config": {"lr": 0.004, "num_steps": 500}, "n_params": 356066, "history": [{"train_time": 3.78}]}
        ),
        "arguments-that-are-a-list": lambda place: write(place / "args.json", ["--verbose", "--port", "80"]),
        "wandb": lambda place: (write(place / "wandb" / "run-20241106-4y85rnpl" / "files" / "config.yaml", "lr: 1\n"),
                                write(place / "wandb" / "run-20241106-4y85rnpl" / "files" / "wandb-summary.json", {"loss": 1.0})),
        "plain-readme": lambda place: write(place / "README.md", "# How to fine-tune\n\nUse TRL or Axolotl with `base_model`.\n"),
        "dataset": lambda place: write(place / "train.jsonl", lines([{"messages": []}])),
        "checkpoint-name-only": lambda place: (place / "checkpoint-100").mkdir(parents=True),
        "python": lambda place: (write(place / "engine" / "trainer.py", ""), write(place / "config.json", {"debug": True})),
    }  # fmt: skip
    found = []
    for name, make in made.items():
        make(here / name)
        found.append(Case(f"nothing-{name}", here / name, listed=False))
    return found


_NAMES = {
    "korean": "실험-해마-7b-최종".encode(), "spaces": b"  my run  (2) ", "dash": b"-rf", "newline": b"two\nlines", "escape": b"evil\x1b[31mred\x1b]0;title\x07",
    "bytes": b"latin-caf\xe9-\xff\xfe", "bidi": "abc\u202egpj.exe".encode(), "long": b"n" * 255, "hidden-looking": b"..run", "quotes": b"it's a \"run\"; $(touch x)",
    "percent": b"%s%n%d{0}[bold]\\n", "checkpoint-like": b"checkpoint-12-final", "emoji": "🐴🌊".encode(), "decomposed": b"e\xcc\x81", "comma": b"a,b;c\td",
    "number": b"42", "meta": b"tunedeck",
}  # fmt: skip


@layout
def names(here: Path) -> list[Case]:
    """Names in every script and none."""
    found = []
    for name, raw in _NAMES.items():
        place = here / os.fsdecode(raw)
        found.append(Case(f"name-{name}", place, _small(place, name=os.fsdecode(raw))))
    return found


@layout
def tree_booby_trap(here: Path) -> dict[str, Any]:
    """Pickles that act when they are loaded, modules that act when they are imported."""
    trap = f"cposix\nsystem\n(S'touch {here}/SPRUNG'\ntR.".encode()
    expected = _small(here)
    for place in (here, here / "checkpoint-20"):
        write(place / "training_args.bin", trap)
        write(place / "pytorch_model.bin", trap)
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt"):
            zipped(place / name, trap)
    write(here / "sitecustomize.py", f"open({str(here / 'SPRUNG')!r}, 'w')\n")
    write(here / "engine" / "__init__.py", f"open({str(here / 'SPRUNG')!r}, 'w')\n")
    return expected


@layout
def tree_many_files(here: Path) -> dict[str, Any]:
    """Thousands of files and three hundred checkpoints in one run."""
    for number in range(2000):
        (here / f"sample-{number}.txt").touch()
    for step in range(1, 301):
        place = here / f"checkpoint-{step}"
        place.mkdir()
        (place / "adapter_config.json").write_text("{}")
    expected = _small(here)
    return expected | {"checkpoints": list(range(1, 301))}
