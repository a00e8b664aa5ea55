"""What was written down at the end: ``all_results.json``, ``train_results.json``, ``eval_results.json``."""

from __future__ import annotations

from typing import Any

from engine.history.readers import jsontext
from engine.history.readers.numbers import number
from engine.history.readers.textfiles import Found

NAMES = ("all_results.json", "train_results.json", "eval_results.json", "test_results.json", "predict_results.json")
# Any of these says that the training came to its end.
_TRAINED = ("train_runtime", "train_loss", "train_samples_per_second", "train_steps_per_second")
# What a trainer measures of anything it does, by the ends of the names.
_MEASURED = ("_loss", "_runtime", "_samples_per_second", "_steps_per_second")
_PARTS = ("train_", "eval_", "test_", "predict_")


def read(found: Found) -> tuple[dict[str, float], str]:
    """The numbers of such a file, and what is wrong with it (empty if nothing)."""
    if not found.data or found.partial:
        return {}, found.problem
    try:
        values = jsontext.loads(found.data)
    except ValueError:
        return {}, "is damaged"
    if not isinstance(values, dict):
        return {}, "holds no JSON object"
    return numbers(values), found.problem


def numbers(values: dict[str, Any]) -> dict[str, float]:
    """All numbers, those of nested groups by dotted names."""
    found: dict[str, float] = {}
    for name, value in list(values.items())[:1000]:
        if isinstance(value, dict):
            for key, inner in list(value.items())[:200]:
                plain = number(inner)
                if plain is not None:
                    found[f"{name}.{key}"] = plain
            continue
        plain = number(value)
        if plain is not None:
            found[str(name)] = plain
    return found


def is_training(values: dict[str, float]) -> bool:
    """Whether these numbers are those of a trainer and not somebody's own, who may count a ``test_size`` too."""
    if "epoch" in values or any(name.startswith(_PARTS) and name.endswith(_MEASURED) for name in values):
        return True
    return bool(values) and all(name.startswith(("eval_", "predict_")) for name in values)


def ended(values: dict[str, float]) -> bool:
    """Whether these results say that the training came to its end."""
    return any(name in values for name in _TRAINED)
