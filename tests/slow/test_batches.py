"""What is previewed is what is trained on: tokens and labels of rows against the trainer's own batches.

Three judges: the marking that the preview shows, the batches of this project's trainer, and a plain TRL trainer that was
given the messages and told to learn from the assistant only. Where TRL cannot mark a family's template, the plain trainer
gets the same template with marks written in by hand.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from engine.config import parse
from engine.data import Chat
from engine.rundir import RunDir, write_json
from tests.families import chats, tokenizer
from tests.families.templates import SMOLLM_MARKED
from tests.support import write_rows

pytestmark = pytest.mark.slow
ROWS, LIMIT = 1000, 320
KINDS: dict[str, dict[str, Any]] = {
    "qwen2.5": {},
    "llama3": {},
    "gemma": {"system": False, "tools": False, "strict": True},
    "smollm2": {},
}


def tiny_model(size: int) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(Qwen2Config(vocab_size=size, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                                        num_attention_heads=2, num_key_value_heads=2))  # fmt: skip


def batches(trainer: Any) -> Counter[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Ids and labels of every row of every batch, without the padding."""
    out: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()
    for batch in trainer.get_train_dataloader():
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
            length = int(mask.sum())
            assert set(labels[length:].tolist()) <= {-100}, "padding is never learned"
            out[tuple(ids[:length].tolist()), tuple(labels[:length].tolist())] += 1
    return out


def ours(folder: Path, made: Any, rows: list[Any]) -> Any:
    """This project's trainer over the rows, as a run builds it."""
    from engine.worker.dataset import Row, tokenised
    from engine.worker.marking import Marker
    from engine.worker.recipe import Machine, resolve
    from engine.worker.recorder import Recorder
    from engine.worker.train import Training

    run = RunDir(folder / "out")
    run.make()
    config = parse({"base_model": "/model", "train_path": str(write_rows(folder / "rows.jsonl", 1)), "output_dir": str(run.path),
                    "max_seq_length": LIMIT, "batch_size": 4}).model_dump(mode="json")  # fmt: skip
    write_json(run.run_json, {"format": 1, "id": "x", "config": config})
    recorder = Recorder(run)
    training = Training(run, recorder)
    marker = Marker(made, limit=LIMIT)
    recipe = resolve(config, Machine(cuda=False), marking=training.how_it_is_marked(marker))
    assert recipe.auto["assistant_only_loss"]["value"] is True
    given = [Row(folder / "rows.jsonl", number, Chat(*row)) for number, row in enumerate(rows, 1)]
    trainer = training.build_trainer(recipe, tiny_model(len(made)), made, tokenised(given, marker).dataset, None)
    recorder.close()
    return trainer


def plain(folder: Path, made: Any, rows: list[Any]) -> Any:
    """TRL's trainer over the messages."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    dataset = Dataset.from_dict({"messages": [row[0] for row in rows],
                                 "tools": [json.dumps(row[1]) if row[1] else None for row in rows]})  # fmt: skip
    return SFTTrainer(
        model=tiny_model(len(made)), train_dataset=dataset, processing_class=made,
        args=SFTConfig(output_dir=str(folder / "plain"), max_length=LIMIT, assistant_only_loss=True, use_cpu=True, bf16=False,
                       per_device_train_batch_size=4, report_to="none", gradient_checkpointing=False, disable_tqdm=True),
    )  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_preview_and_batches_are_the_same(name: str, tmp_path: Path) -> None:
    from engine.worker.marking import Marker

    made = tokenizer(name)
    rows = chats(ROWS, **KINDS[name])
    assert len(rows) == ROWS
    marker = Marker(made, limit=LIMIT)
    shown: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()
    for row in rows:
        chat = Chat(*row)
        marked = marker.mark(chat)
        pieces = marker.pieces(marked, chat)
        assert [piece.id for piece in pieces] == marked.ids and not marked.unproven
        assert "".join(piece.text for piece in pieces) == made.apply_chat_template(
            row[0], tools=row[1], tokenize=False, chat_template=marker.way(row[1]).template
        )
        labels = [piece.id if piece.trained else -100 for piece in pieces[: marked.kept]]
        if marked.learned:
            shown[tuple(marked.ids[: marked.kept]), tuple(labels)] += 1
    assert sum(shown.values()) > ROWS * 0.8 and any(len(ids) == LIMIT for ids, _ in shown), (
        "some rows are cut, few are lost"
    )
    assert batches(ours(tmp_path, made, rows)) == shown
    judge = tokenizer(name, SMOLLM_MARKED) if name == "smollm2" else made
    assert batches(plain(tmp_path, judge, rows)) == shown
