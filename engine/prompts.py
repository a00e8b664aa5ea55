"""The prompts that a model is asked at every evaluation: the setting ``sample_prompts``, or the file that it names."""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.data import ROLES
from engine.errors import InputError, Problem
from engine.paths import expand
from engine.text import clean

SETTING = "sample_prompts"
SUFFIXES = (".txt", ".jsonl")
# What answering may cost at most: more prompts than this are left out.
MAX_PROMPTS = 32
MAX_CHARACTERS = 20_000
MAX_FILE_BYTES = 4 * 1024 * 1024
_HINT = 'Each line must be {"prompt": "…"} or {"messages": [{"role": …, "content": …}]}'

Messages = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """``messages`` are what the model gets; ``text`` is what people read of them."""

    text: str
    messages: Messages


def file_of(values: Sequence[str] | None) -> Path | None:
    """The file that the setting names, ``None`` if it holds the prompts themselves."""
    if values is None or len(values) != 1 or "\n" in values[0] or not values[0].lower().endswith(SUFFIXES):
        return None
    return expand(values[0])


def load(values: Sequence[str] | None) -> list[Prompt]:
    """All prompts of the setting, not more than :data:`MAX_PROMPTS`; empty if it is not set.

    Raises :class:`InputError` that names file and line.
    """
    path = file_of(values)
    if path is None:
        found = [Prompt(_text(text), [{"role": "user", "content": text}]) for text in values or []]
    else:
        found = _from_file(path)
    return found[:MAX_PROMPTS]


def check(values: Sequence[str] | None) -> tuple[list[Problem], list[Problem]]:
    """What is wrong with the setting, as errors and warnings; reads the file if it names one."""
    path = file_of(values)
    try:
        count = len(_from_file(path)) if path is not None else len(values or [])
    except InputError as error:
        return error.problems, []
    if count <= MAX_PROMPTS:
        return [], []
    text = f"holds {count} prompts: only the first {MAX_PROMPTS} are answered, each at every evaluation"
    return [], [Problem("many-prompts", text, setting=SETTING, file=str(path) if path else None, severity="warning")]


def _from_file(path: Path) -> list[Prompt]:
    def bad(kind: str, message: str, hint: str, line: int | None = None) -> InputError:
        return InputError(Problem(kind, message, hint, setting=SETTING, file=str(path), line=line))

    try:
        if not path.exists():
            hint = f"Check {SETTING}; a prompt of its own must not end with {' or '.join(SUFFIXES)}"
            raise bad("missing-file", "does not exist", hint)
        if not path.is_file():
            raise bad("not-a-file", "is no regular file", f"{SETTING} must name one file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise bad("large-file", "is too large for a file of prompts", f"{MAX_PROMPTS} prompts are asked at most")
        data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise bad("unreadable-file", f"cannot be read: {error.strerror}", "Check its permissions") from None
    found = []
    for number, raw in enumerate(data.splitlines(), 1):
        if not raw.strip():
            continue
        try:
            line = raw.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise bad("invalid-utf8", f"is not UTF-8 (byte {error.start + 1} of the line)", "Convert the file to UTF-8",
                      number) from None  # fmt: skip
        if path.suffix.lower() == ".txt":
            found.append(Prompt(_text(line), [{"role": "user", "content": line}]))
            continue
        prompt, message = _from_row(line)
        if prompt is None:
            raise bad("bad-prompt", message, _HINT, number)
        found.append(prompt)
    if not found:
        hint = "Write one prompt a line" if path.suffix.lower() == ".txt" else _HINT
        raise bad("empty-file", "holds no prompts", hint, 1)
    return found


def _from_row(line: str) -> tuple[Prompt | None, str]:
    """The prompt of a JSONL line, or what is wrong with it. An answer at the end is left out: it is asked for."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return None, f"broken JSON: {clean(getattr(error, 'msg', ''), 120)} (column {getattr(error, 'colno', 1)})"
    if not isinstance(row, dict):
        return None, "is not an object"
    if isinstance(row.get("prompt"), str) and row["prompt"].strip():
        return Prompt(_text(row["prompt"]), [{"role": "user", "content": row["prompt"]}]), ""
    if "messages" not in row:
        return None, "prompt is not a text" if row.get("prompt") else "has neither a prompt nor messages"
    messages, message = _messages(row["messages"])
    return (Prompt(_as_text(messages), messages), "") if messages else (None, message)


def _messages(value: Any) -> tuple[Messages, str]:
    if not isinstance(value, list):
        return [], "messages is not a list"
    out: Messages = []
    for number, item in enumerate(value, 1):
        if not isinstance(item, dict) or item.get("role") not in ROLES or not isinstance(item.get("content"), str):
            return [], f"message {number} has no role that is known ({', '.join(ROLES)}) or no text"
        out.append({"role": item["role"], "content": item["content"]})
    while out and out[-1]["role"] == "assistant":
        out.pop()
    return out, "" if out else "has no message to answer"


def _as_text(messages: Messages) -> str:
    """One question as it is, a conversation with its roles."""
    if len(messages) == 1 and messages[0]["role"] == "user":
        return _text(messages[0]["content"])
    return _text("\n".join(f"{message['role']}: {message['content']}" for message in messages))


def _text(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
