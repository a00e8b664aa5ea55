"""Every directory of the corpus can be described, cloned, compared and exported; what comes out is strict and valid."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from engine.config import check
from engine.errors import RunNotFoundError
from engine.events import finite
from engine.history import export, notes, readers, walk
from engine.history.clone import clone
from engine.history.compare import BY, compare
from engine.history.describe import describe
from engine.history.record import RunRecord
from engine.notes import Notes
from tests.corpus import build
from tests.support import make_run


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    """What is read of the whole corpus."""
    cases = build(tmp_path_factory.mktemp("corpus"))
    found = [readers.read_record(Path(case.path)) for case in cases if walk.is_run(Path(case.path))]
    assert len(found) >= 90
    return [record for record in found if record is not None]


def strict(value: Any) -> Any:
    return json.loads(json.dumps(finite(value), allow_nan=False, default=str))


def test_every_run_is_described_as_it_is_listed(records: list[RunRecord]) -> None:
    for record in records:
        told = strict(describe(Path(record.summary.path)))
        listed = strict(record.summary.as_dict())
        for name in (
            "id",
            "name",
            "tool",
            "state",
            "base_model",
            "step",
            "total_steps",
            "last_loss",
            "best_eval_loss",
            "points",
        ):
            assert told[name] == listed[name], (record.summary.path, name)
        assert isinstance(told["bytes"], int) and isinstance(told["checkpoints"], list)


def test_every_clone_is_valid_and_says_what_it_is_not(records: list[RunRecord]) -> None:
    for record in records:
        made = clone(record)
        config, problems = check({"train_path": "x.jsonl", "output_dir": "x", **made.values})
        assert config is not None and not problems, (record.summary.path, problems)
        assert not set(made.values) & set(made.unknown)
        if record.summary.tool != "tunedeck":
            assert "learning_rate" in {*made.values, *made.unknown} and "train_path" in {*made.values, *made.unknown}


def test_every_export_has_every_row_and_no_formula(records: list[RunRecord]) -> None:
    for record in records:
        file = io.StringIO(newline="")
        count = export.write_csv(record, file)
        file.seek(0)
        table = list(csv.reader(file, strict=True))
        assert count == len(record.steps) + len(record.evals) == len(table) - 1
        assert len({len(row) for row in table}) == 1 and len(set(table[0])) == len(table[0])
        assert not [cell for row in table[1:] for cell in row[1:] if cell and not _is_number(cell)], record.summary.path


def _is_number(cell: str) -> bool:
    try:
        float(export.plain(cell))
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("by", BY)
def test_any_runs_can_be_compared(records: list[RunRecord], by: str) -> None:
    for place in range(0, len(records), 7):
        chosen = records[place : place + 8]
        if len(chosen) > 1:
            made = strict(compare(chosen, "loss", by).as_dict())
            assert sorted(row["path"] for row in made["ranking"]) == sorted(record.summary.path for record in chosen)
            values = [row["value"] for row in made["ranking"]]
            numbers = [value for value in values if isinstance(value, float | int)]
            assert numbers == sorted(numbers) and values[: len(numbers)] == numbers, "what is no number comes last"


def test_words_on_a_foreign_run_are_told(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / "trainer_state.json").write_text('{"global_step": 1, "log_history": [{"step": 1, "loss": 1.0}]}')
    notes.save_foreign(path, Notes(), Notes(notes="hot", tags=("keep",)))
    told = describe(path)
    assert told["tags"] == ["keep"] and told["notes"] == "hot"


def test_what_is_no_run_is_none(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError):
        describe(tmp_path)
    run = make_run(tmp_path / "own", steps=3)
    (run.run_json).unlink()
    assert describe(run.path)["config"] is None and describe(run.path)["problems"]
