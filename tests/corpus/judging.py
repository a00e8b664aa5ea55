"""Whether what was read of a directory is what should be."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

from engine.history.record import RunRecord
from engine.history.summary import RunSummary
from tests.corpus.board import Single
from tests.corpus.case import Case

_ROW = {f.name for f in fields(RunSummary)}
_COUNTS = (
    "step",
    "total_steps",
    "points",
    "bytes",
    "lora_r",
    "batch_size",
    "max_seq_length",
    "checkpoints",
    "attempts",
)
_NUMBERS = ("last_loss", "best_loss", "last_eval_loss", "best_eval_loss", "created", "started", "ended", "learning_rate",
            "lora_alpha", "epoch", "num_train_epochs", "seconds", "modified")  # fmt: skip
TOOLS = {"tunedeck", "trl", "transformers", "llama-factory", "ms-swift", "axolotl", "unsloth", "unknown"}


def same(told: Any, expected: Any) -> bool:
    """Equal; NaN equals NaN; a number may come through four bytes."""
    if isinstance(expected, float) and isinstance(told, int | float) and not isinstance(told, bool):
        near = 3e-7 if type(expected) is Single else 1e-12
        return (
            math.isnan(told) if math.isnan(expected) else told == expected or math.isclose(told, expected, rel_tol=near)
        )
    if isinstance(expected, list) and isinstance(told, list):
        return sorted(map(str, told)) == sorted(map(str, expected))
    return bool(told == expected) and isinstance(told, bool) == isinstance(expected, bool)


def differences(case: Case, row: RunSummary | None, record: RunRecord | None) -> list[str]:
    """What was read otherwise than expected."""
    if row is None or record is None:
        return [f"{case.name}: no run was read"]
    found: list[tuple[str, Any, Any]] = []
    for name, expected in case.expected.items():
        if name == "checkpoints":
            found.append((name, [c.step for c in record.checkpoints], expected))
            found += [("checkpoints of the row", r.checkpoints, len(expected)) for r in (row, record.summary)]
        elif name == "valid":
            found.append((name, [c.step for c in record.checkpoints if c.valid], expected))
        elif name == "settings":
            found += [(f"settings[{key}]", record.settings.get(key), value) for key, value in expected.items()]
        elif name == "other":
            found += [(f"other[{key}]", record.other.get(key), value) for key, value in expected.items()]
        elif name == "curves":
            found += [
                ("curve", metric if metric in (*record.steps.names, *record.evals.names) else None, metric)
                for metric in expected
            ]
        elif name == "eval_rows":
            found.append((name, len(record.evals), expected))
        elif name == "hidden":
            found.append((name, expected in repr(record) or expected in repr(row), False))
        elif name == "remark":
            found.append(
                (f"problem: {record.summary.problems}", any(expected in p for p in record.summary.problems), True)
            )
        elif name == "problem":
            for kind, problems in (("row", row.problems), ("record", record.summary.problems)):
                fine = not problems if expected is None else any(expected in line for line in problems)
                found.append((f"problem of the {kind}: {problems}", fine, True))
        else:
            assert name in _ROW, f"{case.name}: no such field: {name}"
            found += [
                (name, getattr(row, name), expected),
                (f"{name} of the record", getattr(record.summary, name), expected),
            ]
    return [
        f"{case.name}: {name}: {told!r}, not {expected!r}" for name, told, expected in found if not same(told, expected)
    ]


def sound(row: RunSummary, path: Path) -> None:
    """What holds of every row, whatever stands in the files."""
    values = row.as_dict()
    json.dumps(values)
    assert row.path == str(path) and row.id and row.tool in TOOLS
    if row.tool != "tunedeck":
        assert row.state in ("completed", "unknown") and not row.resumable and not row.stalled
    least = -(2**63) if row.tool == "tunedeck" else 0  # ours are what the record says
    for name in _COUNTS:
        value = values[name]
        assert value is None or (type(value) is int and least <= value < 2**63), f"{name}: {value!r}"
    for name in _NUMBERS:
        assert values[name] is None or type(values[name]) in (int, float), f"{name}: {values[name]!r}"
        assert type(values[name]) is not int or abs(values[name]) < 2**63, name
    for name in ("name", "base_model", "dataset", "reason", "host", "id"):
        assert values[name] is None or isinstance(values[name], str), f"{name}: {values[name]!r}"
    assert all(isinstance(line, str) and "\n" not in line and 0 < len(line) <= 600 for line in row.problems), (
        row.problems
    )
    assert len(row.problems) <= 30
    assert len(row.sparkline) <= 32 and all(type(value) is float for value in row.sparkline)
    if row.tool != "tunedeck":  # ours are what the supervisor wrote
        assert all(best is None or math.isfinite(best) for best in (row.best_loss, row.best_eval_loss))
