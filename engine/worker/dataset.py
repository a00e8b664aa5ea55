"""From checked JSONL files to the datasets the trainer takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.data import read_rows
from engine.preflight import held_out
from engine.worker.failure import CannotTrain


def load(config: dict[str, Any], *, assistant_only: bool) -> tuple[Any, Any, str]:
    """Train and eval dataset with a ``messages`` column (eval ``None`` without), and a notice on rows left out."""
    from datasets import Dataset

    train_rows = list(read_rows(Path(config["train_path"])))
    eval_rows = list(read_rows(Path(config["eval_path"]))) if config["eval_path"] else []
    notice = ""
    if assistant_only:
        kept = [rows for rows in train_rows if _has_answer(rows)]
        if len(kept) < len(train_rows):
            notice = f"{len(train_rows) - len(kept)} rows without an assistant's answer were left out"
        train_rows, eval_rows = kept, [rows for rows in eval_rows if _has_answer(rows)]
        if config["eval_path"] and not eval_rows:
            raise CannotTrain(f"no row of {config['eval_path']} has an assistant's answer to measure")
    train = Dataset.from_dict({"messages": train_rows})
    if config["eval_fraction"]:
        count = held_out(len(train), config["eval_fraction"])
        seed = config["seed"] if config["data_seed"] is None else config["data_seed"]
        parts = train.train_test_split(test_size=count, seed=seed)
        return parts["train"], parts["test"], notice
    return train, Dataset.from_dict({"messages": eval_rows}) if eval_rows else None, notice


def tokenised(dataset: Any, tokenizer: Any, *, template: str | None, assistant_only: bool, max_length: int) -> Any:
    """Token ids and labels cut at ``max_length``, as TRL would make them.

    Needed for padding-free batches, for which TRL does not truncate by itself.
    """

    def convert(row: dict[str, Any]) -> dict[str, Any]:
        out = tokenizer.apply_chat_template(
            row["messages"], chat_template=template, tokenize=True, return_dict=True,
            return_assistant_tokens_mask=assistant_only,
        )  # fmt: skip
        ids = out["input_ids"]
        mask = out["assistant_masks"] if assistant_only else [1] * len(ids)
        labels = [token if bit else -100 for token, bit in zip(ids, mask, strict=True)]
        return {"input_ids": ids[:max_length], "labels": labels[:max_length]}

    ready = dataset.map(convert, remove_columns=dataset.column_names)
    return ready.filter(lambda row: any(label != -100 for label in row["labels"]))


def _has_answer(messages: list[dict[str, str]]) -> bool:
    return any(message["role"] == "assistant" and message["content"].strip() for message in messages)
