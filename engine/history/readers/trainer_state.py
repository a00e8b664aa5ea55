"""``trainer_state.json`` of any age of Transformers' Trainer."""

from __future__ import annotations

import re
from typing import Any

from engine.history.readers import jsontext
from engine.history.readers.log import Log
from engine.history.readers.numbers import count, number, positive
from engine.history.readers.textfiles import Found

NAME = "trainer_state.json"
_TOP = ("best_metric", "best_model_checkpoint", "epoch", "eval_steps", "global_step", "logging_steps", "max_steps",
        "num_train_epochs", "save_steps", "train_batch_size", "total_flos", "num_input_tokens_seen")  # fmt: skip
_HISTORY = re.compile(rb'"log_history"\s*:\s*\[')
_BETWEEN = re.compile(rb"\}\s*,\s*\{")
# A stream of data has no epochs: the trainer writes the largest number there is.
_NO_EPOCHS = 1e9
# From this size on the history is read in pieces: a file of objects takes ten times its size in memory.
_IN_PIECES = 8 * 1024 * 1024
_PIECE = 1024 * 1024


def read(found: Found, source: str = NAME) -> tuple[Log | None, dict[str, Any], str]:
    """The log of a state, its other values, and what is wrong with it (empty if nothing)."""
    if not found.data:
        return None, {}, found.problem
    if found.partial:
        return _ends(found, source)
    try:
        state = _whole(found.data)
    except ValueError:
        return _damaged(found.data, source)
    if not isinstance(state, dict):
        return None, {}, "holds no JSON object"
    rows = state.pop("log_history", None)
    problem = ""
    if rows is not None and not isinstance(rows, list):
        rows, problem = [], "its log_history is no list"
    if rows is None and "global_step" not in state and "epoch" not in state:
        return None, state, "is no state of a trainer"
    kept = [row for row in rows or () if type(row) is dict]
    if rows and len(kept) < len(rows):
        problem = f"{len(rows) - len(kept)} of its rows are no objects"
    return _log(source, kept, state), state, problem


def _whole(data: bytes) -> Any:
    if len(data) < _IN_PIECES:
        return jsontext.loads(data)
    match = _HISTORY.search(data)
    end = data.rfind(b"]")
    if not match or end < match.end():
        return jsontext.loads(data)
    state = jsontext.loads(data[: match.end()] + data[end:])
    rows: list[Any] = []
    place = match.end()
    try:
        while place < end:
            cut = _BETWEEN.search(data, min(place + _PIECE, end), end)
            stop = cut.start() + 1 if cut else end
            rows += jsontext.loads(b"[" + data[place:stop] + b"]")
            place = cut.end() - 1 if cut else end
    except ValueError:  # cut within a row that holds others
        return jsontext.loads(data)
    if isinstance(state, dict):
        state["log_history"] = rows
    return state


def _log(source: str, rows: list[dict[str, Any]], state: dict[str, Any]) -> Log:
    total = count(state.get("max_steps"))
    epochs = positive(state.get("num_train_epochs"))
    return Log(
        source,
        rows,
        step=count(state.get("global_step")),
        total=total or None,
        epoch=number(state.get("epoch")),
        epochs=epochs if epochs is not None and epochs < _NO_EPOCHS else None,
        merges=False,
    )


def _damaged(data: bytes, source: str) -> tuple[Log | None, dict[str, Any], str]:
    """What can still be read of a text that was cut off or spoilt."""
    if not data.lstrip().startswith(b"{"):  # two versions with the marks of a merge, another kind of file
        return None, {}, "is damaged"
    match = _HISTORY.search(data)
    rows = jsontext.salvage(data[match.end() :]) if match else []
    head, tail = (data[: match.start()], data[max(match.end(), data.rfind(b"]")) :]) if match else (data, b"")
    state = jsontext.keys(head + b"\n" + tail, _TOP)
    if not rows and not state:
        return None, {}, "is damaged"
    log = _log(source, rows, state)
    log.damaged = True
    return log, state, f"is damaged: {len(rows)} rows of it could be read"


def _ends(found: Found, source: str) -> tuple[Log | None, dict[str, Any], str]:
    match = _HISTORY.search(found.data)
    head = found.data[: match.start()] if match else found.data
    end = found.tail.rfind(b"]")
    state = jsontext.keys(head + b"\n" + (found.tail[end:] if end >= 0 else b""), _TOP)
    first = jsontext.salvage(found.data[match.end() :]) if match else []
    rows = first + jsontext.salvage(found.tail)
    if not rows and not state:
        return None, {}, found.problem
    log = _log(source, rows, state)
    log.whole = False
    return log, state, found.problem
