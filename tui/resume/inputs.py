"""From what is typed in the dialog to settings."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from engine.errors import Problem

# The settings one changes most when a run goes on, in small fields of their own.
FIELDS = {"num_train_epochs": "epochs", "learning_rate": "learning rate", "max_steps": "max steps"}
EMPTY = ("", "none")


def recorded_texts(config: Mapping[str, Any]) -> dict[str, str]:
    """What the fields hold at first: the run's own values, as one would type them; nothing for ``None``."""
    from engine.config import flags, settings

    values = {name: config.get(name, settings()[name].default) for name in FIELDS}
    return {name: "" if value is None else flags.format_value(value) for name, value in values.items()}


def overrides(
    typed: Mapping[str, str], recorded: Mapping[str, str], others: str
) -> tuple[dict[str, Any], list[Problem]]:
    """Settings that differ from the run's, and what of ``others`` (``name=value`` …) is not understood."""
    values: dict[str, Any] = {}
    for name, text in typed.items():
        if text.strip() != recorded.get(name, ""):
            values[name] = text.strip()
    try:
        words = shlex.split(others)
    except ValueError:
        return values, [Problem("bad-words", "a quotation mark is not closed", "Write name=value name='two words'")]
    problems = []
    for word in words:
        name, sign, value = word.lstrip("-").partition("=")
        if not sign or not name:
            problems.append(Problem("bad-words", f"{word!r} is no name=value", "For example: save_steps=50"))
            continue
        values[name.replace("-", "_")] = value
    return values, problems
