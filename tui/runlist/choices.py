"""How people want the list: columns, order, groups; kept from one start of the app to the next."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tui.runlist.catalogue import COLUMNS
from tui.runlist.columns import DEFAULT

GROUPS = ("", "model", "root", "tool", "state")


@dataclass(frozen=True, slots=True)
class Choices:
    """``sort`` is a column, ``group`` one of :data:`GROUPS`; no ``columns`` are the usual ones."""

    columns: tuple[str, ...] = ()
    sort: str = "started"
    falling: bool = True
    group: str = ""

    def shown(self, tools: int, group: str = "") -> Sequence[str]:
        """The columns to show of runs of so many tools; what a group's row says need not stand in its runs' rows."""
        if self.columns:
            return self.columns
        return [
            key
            for key in DEFAULT
            if not ((key == "tool" and (tools < 2 or group == "tool")) or key == group == "model")
        ]


def load() -> Choices:
    """What was chosen last; whatever of it means nothing any more is left out."""
    try:
        kept = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return Choices()
    if not isinstance(kept, dict):
        return Choices()
    columns = kept.get("columns")
    known = [key for key in columns if isinstance(key, str) and key in COLUMNS] if isinstance(columns, list) else []
    sort, group = kept.get("sort"), kept.get("group")
    plain = Choices()
    ordered = isinstance(sort, str) and sort in COLUMNS
    return Choices(
        tuple(dict.fromkeys(known)),
        str(sort) if ordered else plain.sort,
        bool(kept.get("falling")) if ordered else plain.falling,
        group if group in GROUPS else "",
    )


def save(choices: Choices) -> None:
    """Keep them. Raises ``OSError`` if that cannot be."""
    from engine.rundir import write_json

    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Any] = {"columns": list(choices.columns), "sort": choices.sort, "falling": choices.falling,
                            "group": choices.group}  # fmt: skip
    write_json(path, kept)


def _file() -> Path:
    from engine import paths

    return paths.state_dir() / "list.json"
