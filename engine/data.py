"""Chat data on disk: one ``{"messages": [{"role": …, "content": …}]}`` a line, checked before anything is started."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from engine.errors import Problem
from engine.text import clean

ROLES = ("system", "user", "assistant", "tool")
# Roles of other chat formats and what they are called here, for the hint.
_FOREIGN_ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant"}
_FOREIGN_ROWS = {
    "conversations": "This looks like ShareGPT data",
    "instruction": "This looks like Alpaca data",
    "prompt": "This looks like prompt and completion data",
    "text": "This looks like plain text",
    "chosen": "This looks like preference pairs, which cannot be trained on here",
}
_ROW_HINT = 'Each line must be {"messages": [{"role": …, "content": …}]}'


@dataclass(slots=True)
class DataReport:
    """What a data file holds.

    ``rows`` are the non-empty lines, ``usable`` those that parsed and have an assistant's answer; ``errors`` are the
    first ones found, ``error_count`` is the number of all rows that cannot be used.
    """

    path: Path
    bytes: int = 0
    rows: int = 0
    usable: int = 0
    sha256: str = ""
    errors: list[Problem] = field(default_factory=list)
    error_count: int = 0
    unanswered: int = 0

    def record(self) -> dict[str, Any]:
        """What ``run.json`` keeps of it."""
        return {"path": str(self.path), "bytes": self.bytes, "rows": self.rows, "sha256": self.sha256}


def check_file(path: Path, *, max_errors: int = 10, setting: str = "train_path") -> DataReport:
    """Read a whole file and check every row; about a second for 100 MB. Never raises for bad input."""
    report = DataReport(path)

    def refuse(kind: str, message: str, hint: str) -> DataReport:
        report.errors.append(Problem(kind, message, hint, setting=setting, file=str(path)))
        report.error_count += 1
        return report

    if not path.exists():
        return refuse("missing-file", "does not exist", f"Check {setting}")
    if path.is_dir():
        return refuse("not-a-file", "is a directory", f"{setting} must name one JSONL file")
    if not path.is_file():
        return refuse("not-a-file", "is no regular file", f"{setting} must name one JSONL file")
    try:
        _read(path, report, max_errors)
    except OSError as error:
        return refuse("unreadable-file", f"cannot be read: {error.strerror}", "Check its permissions")
    if report.rows == 0:
        return refuse("empty-file", "holds no rows", _ROW_HINT)
    return report


def read_rows(path: Path) -> Iterator[list[dict[str, str]]]:
    """The messages of every row of a checked file, role and content only."""
    with path.open("rb") as file:
        for line in _lines(file):
            if line:
                row = orjson.loads(line)
                yield [{"role": m["role"], "content": m["content"]} for m in row["messages"]]


def _lines(file: Any) -> Iterator[bytes]:
    for number, raw in enumerate(file):
        yield (raw.removeprefix(codecs.BOM_UTF8) if number == 0 else raw).strip()


def _read(path: Path, report: DataReport, max_errors: int) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            digest.update(raw)
            report.bytes += len(raw)
            line = (raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw).strip()
            if not line:
                continue
            report.rows += 1
            fault = check_row(line)
            if fault is None:
                report.usable += 1
            elif fault[0] == "no-answer":
                report.unanswered += 1
            else:
                report.error_count += 1
                if len(report.errors) < max_errors:
                    kind, message, hint = fault
                    report.errors.append(Problem(kind, message, hint, file=str(path), line=number))
    report.sha256 = digest.hexdigest()


def check_row(line: bytes) -> tuple[str, str, str] | None:
    """What is wrong with one row as (kind, message, hint), or ``None``. ``no-answer`` rows are legal but teach nothing."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as bad:
            return "invalid-utf8", f"is not UTF-8 (byte {bad.start + 1} of the line)", "Convert the file to UTF-8"
        return "broken-json", f"broken JSON: {clean(error.msg, 120)} (column {error.colno})", _ROW_HINT
    if not isinstance(row, dict):
        return "not-a-chat", f"is {_kind(row)}, not an object", _ROW_HINT
    if "messages" not in row:
        hint = next((text for key, text in _FOREIGN_ROWS.items() if key in row), _ROW_HINT)
        return "no-messages", "has no messages", hint
    return _check_messages(row["messages"])


def _check_messages(messages: Any) -> tuple[str, str, str] | None:
    if not isinstance(messages, list):
        return "no-messages", f"messages is {_kind(messages)}, not a list", _ROW_HINT
    if not messages:
        return (
            "no-messages",
            "messages is empty",
            "Remove the line, or give it at least a user's and an assistant's turn",
        )
    answered = False
    for number, message in enumerate(messages, 1):
        if not isinstance(message, dict):
            return "bad-message", f"message {number} is {_kind(message)}, not an object", _ROW_HINT
        role = message.get("role")
        if role not in ROLES:
            return _bad_role(number, role, "role" in message)
        content = message.get("content")
        if not isinstance(content, str):
            what = f"is {_kind(content)}, not text" if "content" in message else "is missing"
            return "bad-content", f"message {number}: content {what}", "content must be a string"
        answered |= role == "assistant" and bool(content.strip())
    return (
        None if answered else ("no-answer", "has no assistant's answer", "It teaches nothing with assistant-only loss")
    )


def _bad_role(number: int, role: Any, present: bool) -> tuple[str, str, str]:
    if not present:
        return "unknown-role", f"message {number} has no role", f"Roles are {', '.join(ROLES)}"
    known = _FOREIGN_ROLES.get(role) if isinstance(role, str) else None
    hint = f"Call it {known!r}" if known else f"Roles are {', '.join(ROLES)}"
    shown = repr(clean(role, 40)) if isinstance(role, str) else _kind(role)
    return "unknown-role", f"message {number} has the unknown role {shown}", hint


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
