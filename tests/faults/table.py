"""The results: one JSON line a trial, appended; and the table that sums them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from engine import paths
from tests.faults.trial import Trial


def default_results() -> Path:
    """Where results are appended unless another file is named."""
    return paths.cache_dir() / "faults" / "results.jsonl"


def append(path: Path, trials: Iterable[Trial]) -> None:
    """Append a line a trial, each in one write, so that portions may run side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        for trial in trials:
            os.write(fd, json.dumps(trial.as_dict(), ensure_ascii=False).encode() + b"\n")
    finally:
        os.close(fd)


def read(path: Path) -> list[dict[str, Any]]:
    """The newest line of every trial, in order; a trial that was run again counts once."""
    newest: dict[tuple[str, int], dict[str, Any]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        newest[row["fault"], row["number"]] = row
    return [newest[key] for key in sorted(newest)]


def summed(rows: Sequence[dict[str, Any]], totals: dict[str, int]) -> str:
    """The table as text: fault, where, trials, good, bad, slowest detection in seconds; then what was bad or skipped."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["fault"], row["where"]), []).append(row)
    lines = [["fault", "where", "trials", "good", "bad", "skipped", "slowest s", "figures"]]
    faults = list(dict.fromkeys(fault for fault, _ in groups))
    for fault in faults:
        mine = [row for row in rows if row["fault"] == fault]
        for (name, where), found in sorted(groups.items()):
            if name == fault and len({r["where"] for r in mine}) > 1:
                lines.append([fault, where, *_figures(found)])
        lines.append([fault, f"ALL (of {totals.get(fault, '?')})", *_figures(mine)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    right = range(2, 7)
    text = [
        "  ".join(
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    text.insert(1, "-" * max(len(line) for line in text))
    for row in rows:
        if not row["ok"]:
            word = "skipped" if row["skipped"] else "BAD"
            text.append(f"{word}: {row['fault']} {row['number']} ({row['where']}): {row['outcome'][:400]}")
    return "\n".join(text)


def _figures(rows: Sequence[dict[str, Any]]) -> list[str]:
    good = sum(row["ok"] for row in rows)
    skipped = sum(bool(row["skipped"]) for row in rows)
    detects = [row["detect"] for row in rows if row["detect"] is not None]
    counts: dict[str, float] = {}
    for row in rows:
        for name, value in row["counts"].items():
            counts[name] = counts.get(name, 0) + value
    figures = ", ".join(f"{name} {value:g}" for name, value in counts.items())
    return [
        str(len(rows)),
        str(good),
        str(len(rows) - good - skipped),
        str(skipped),
        f"{max(detects):.2f}" if detects else "-",
        figures,
    ]
