"""What readers must get right beside the corpus: odd places of checkpoints, folders of runs, and files that would cost too much."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from engine.history import readers, walk
from engine.history.readers import card, yamltext
from engine.history.readers.textfiles import Found
from engine.history.record import Curves


def put(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(
        content
        if isinstance(content, bytes)
        else (content if isinstance(content, str) else json.dumps(content)).encode()
    )


def state(steps: int, total: int = 100, **more: Any) -> dict[str, Any]:
    rows = [{"loss": 1.0 / step, "step": step, "epoch": step / 50} for step in range(1, steps + 1)]
    return {"global_step": steps, "max_steps": total, "log_history": rows, **more}


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def event(wall: float, step: int, tag: str, value: float) -> bytes:
    inner = b"\x0a" + varint(len(tag)) + tag.encode() + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + varint(len(inner)) + inner
    data = b"\x09" + struct.pack("<d", wall) + b"\x10" + varint(step) + b"\x2a" + varint(len(summary)) + summary
    return struct.pack("<Q", len(data)) + b"\xaa\xbb\xcc\xdd" + data + b"\x11\x22\x33\x44"


def found(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in walk.find([folder]))


def test_checkpoints_in_a_folder_of_their_own_belong_to_the_run_around_it(tmp_path: Path) -> None:
    put(tmp_path / "a" / "adapter_config.json", {"r": 8, "peft_type": "LORA", "base_model_name_or_path": "m"})
    for step in (10, 20):
        put(tmp_path / "a" / "checkpoints" / f"checkpoint-{step}" / "trainer_state.json", state(step))
    put(tmp_path / "b" / "checkpoints" / "checkpoint-10" / "trainer_state.json", state(10))
    assert found(tmp_path) == ["a", "b/checkpoints"]
    row, record = readers.read_summary(tmp_path / "a"), readers.read_record(tmp_path / "a")
    assert row is not None and record is not None
    assert (row.step, row.points, row.checkpoints, row.base_model) == (20, 20, 2, "m")
    assert [c.step for c in record.checkpoints] == [10, 20]
    alone = readers.read_summary(tmp_path / "b" / "checkpoints")
    assert alone is not None and (alone.name, alone.step) == ("b/checkpoints", 10)


def test_the_hubs_last_checkpoint_is_a_checkpoint(tmp_path: Path) -> None:
    put(tmp_path / "run" / "last-checkpoint" / "trainer_state.json", state(7))
    assert found(tmp_path) == ["run"]
    row = readers.read_summary(tmp_path / "run")
    assert row is not None and row.step == 7


def test_a_project_with_a_folder_of_runs_is_none_itself(tmp_path: Path) -> None:
    board = event(1.7e9, 1, "train/loss", 0.5)
    for name in ("one", "two"):
        put(tmp_path / "project" / "runs" / name / "trainer_state.json", state(3))
        put(tmp_path / "project" / "runs" / name / "events.out.tfevents.1700000000.host.1.0", board)
    put(tmp_path / "output" / "runs" / "Nov30_host" / "events.out.tfevents.1700000000.host.1.0", board)
    put(tmp_path / "script" / "train.py", "")
    put(tmp_path / "script" / "runs" / "a" / "events.out.tfevents.1700000000.host.1.0", board)
    assert found(tmp_path) == ["output", "project/runs/one", "project/runs/two", "script/runs/a"]


def test_a_product_within_a_run_is_no_run_but_a_history_there_is(tmp_path: Path) -> None:
    put(tmp_path / "run" / "trainer_state.json", state(5))
    put(tmp_path / "run" / "final" / "adapter_config.json", {"r": 4, "peft_type": "LORA"})
    put(tmp_path / "run" / "merged" / "trainer_state.json", state(5))
    put(tmp_path / "run" / "second" / "trainer_state.json", state(6))
    assert found(tmp_path) == ["run", "run/second"]
    row = readers.read_summary(tmp_path / "run")
    assert row is not None and row.lora_r == 4


def test_the_end_of_a_large_event_file_tells_where_a_run_stands(tmp_path: Path) -> None:
    file = tmp_path / "events.out.tfevents.1700000000.host.1.0"
    file.write_bytes(b"".join(event(1.7e9 + i, i, "train/loss", 5 - i / 50_000) for i in range(1, 200_001)))
    assert file.stat().st_size > 9_000_000
    row = readers.read_summary(tmp_path)
    assert row is not None and (row.step, row.last_loss) == (200_000, 1.0)
    assert row.points is None and row.best_loss is None and any("too large" in line for line in row.problems)
    assert row.started == 1_700_000_000.0 or row.started == 1_700_000_001.0


def test_a_stream_of_data_has_no_epochs(tmp_path: Path) -> None:
    put(tmp_path / "trainer_state.json", state(5, num_train_epochs=9223372036854775807))
    row, record = readers.read_summary(tmp_path), readers.read_record(tmp_path)
    assert row is not None and record is not None
    assert row.num_train_epochs is None and "num_train_epochs" not in record.settings


def test_a_run_that_goes_on_after_its_end_has_not_ended(tmp_path: Path) -> None:
    rows = [{"loss": 1.0, "global_step": 1}, {"train_runtime": 9.0, "global_step": 1}, {"loss": 0.5, "global_step": 2}]
    put(tmp_path / "logging.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    row = readers.read_summary(tmp_path)
    assert row is not None and (row.state, row.points, row.last_loss) == ("unknown", 2, 0.5)
    put(tmp_path / "logging.jsonl", "".join(json.dumps(row) + "\n" for row in rows[:2]))
    row = readers.read_summary(tmp_path)
    assert row is not None and row.state == "completed"


def test_a_full_fine_tune_has_no_rank(tmp_path: Path) -> None:
    put(
        tmp_path / "args.json",
        {"swift_version": "3.1", "model": "Qwen/Q", "train_type": "full", "lora_rank": 8, "learning_rate": 1e-5},
    )
    row = readers.read_summary(tmp_path)
    assert row is not None and (row.tool, row.lora_r, row.learning_rate) == ("ms-swift", None, 1e-5)


def test_a_link_to_a_record_elsewhere_makes_no_run_of_ours(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    put(tmp_path / "run" / "trainer_state.json", state(5))
    (tmp_path / "run" / ".tunedeck").symlink_to(tmp_path / "elsewhere")
    row = readers.read_summary(tmp_path / "run")
    assert row is not None and row.tool == "transformers"


@pytest.mark.parametrize("text", ["a: " + "[" * 200_000, "{a: " * 60_000, "".join(" " * i + "a:\n" for i in range(700)),
                                  "a: &a [1, 2]\nb: [*a, *a]\nlearning_rate: 1e-4\n"])  # fmt: skip
def test_yaml_that_goes_deep_or_multiplies_costs_nothing(text: str) -> None:
    began = time.process_time()
    told = yamltext.loads(text)
    assert time.process_time() - began < 1
    assert told.get("learning_rate", "1e-4") == "1e-4" and not any(isinstance(value, list) for value in told.values())


@pytest.mark.parametrize("text", [b"axolotl version: `0.1`\n```yaml\n" * 15_000, b"---\n" + b"\r\n" * 200_000, b"## a\n" * 100_000,
                                  b"### Training hyperparameters\n- " + b"a" * 500_000])  # fmt: skip
def test_cards_that_match_everywhere_cost_nothing(text: bytes) -> None:
    began = time.process_time()
    card.read(Found(data=text))
    assert time.process_time() - began < 1.5


def test_a_card_alone_tells_what_it_knows_and_no_more(tmp_path: Path) -> None:
    put(tmp_path / "README.md", "---\ntags:\n- generated_from_trainer\n---\nThis model is a fine-tuned version of [openai/whisper-small](https://x) on x.\n"
        "It achieves the following results on the evaluation set:\n- Loss: 0.4613\n- Wer: 0.4357\n\n### Training hyperparameters\n\n"
        "- learning_rate: 0.0001\n- train_batch_size: 32\n- num_epochs: 30\n\n### Training results\n\n"
        "| Training Loss | Epoch | Step | Validation Loss |\n|:---:|:---:|:---:|:---:|\n| No log | 4.0 | 500 | 1.1711 |\n| 0.5691 | 8.0 | 1000 | 0.4613 |\n")  # fmt: skip
    row = readers.read_summary(tmp_path)
    assert row is not None and found(tmp_path) == ["."]
    assert (row.tool, row.base_model, row.learning_rate, row.batch_size) == (
        "transformers",
        "openai/whisper-small",
        1e-4,
        32,
    )
    assert (row.step, row.points, row.last_loss, row.best_loss, row.last_eval_loss) == (
        1000,
        None,
        0.5691,
        None,
        0.4613,
    )


def test_curves_of_columns_tell_gaps_from_numbers_that_were_none() -> None:
    nan = float("nan")
    curves = Curves.of_columns(
        {"step": [1, 2, 3]}, {"loss": [1.0, nan, nan], "grad_norm": [nan, nan, nan]}, {"loss": {2}}
    )
    steps, losses = curves.pair("loss")
    assert list(steps) == [1.0, 2.0] and losses[0] == 1.0 and losses[1] != losses[1]
    assert curves.names == ("loss",) and len(curves) == 3
