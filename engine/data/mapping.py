"""From a row of any shape to a chat."""

from __future__ import annotations

import ast
from typing import Any

import orjson

from engine.data.chat import Chat, Message
from engine.data.faults import Bad, kind_of
from engine.data.messages import IMAGES_HINT, NAMES, SHAREGPT_NAMES, convert, tools_of
from engine.data.shapes import ALPACA, MESSAGES, SHAREGPT, TEXT, UNKNOWN, Shape, pair_of, unknown

_ROW_HINT = 'Each line must be {"messages": [{"role": …, "content": …}]}'
_FOREIGN_ROWS = {
    "conversations": "This looks like ShareGPT data",
    "instruction": "This looks like Alpaca data",
    "prompt": "This looks like prompt and completion data",
    "query": "This looks like query and response data",
    "text": "This looks like plain text",
}
_SPLIT = ": give each shape a file of its own"
_MEDIA = ("images", "image", "videos", "video", "audios", "audio")
_PREFERENCE = (("chosen", "rejected"), ("chosen", "reject"), ("messages", "rejected_response"),
               ("messages", "rejected_messages"), ("response", "rejected_response"), ("chosen_messages", "rejected_messages"),
               ("chosen_response", "rejected_response"))  # fmt: skip
_PREFERENCE_HINT = "They are for DPO and its like. To learn from the better answers only, keep those as messages"
_JUDGED = ("completion", "messages", "conversations")  # what a true or false beside it is a judgement of
_JUDGED_HINT = (
    "They are for KTO and its like. To learn from the better answers only, keep those; if it means something else, "
    "take it out"
)
_MAX_LITERAL = 1_000_000


def to_chat(row: Any, shape: Shape) -> Chat:
    """The chat of one row. Raises :class:`Bad`."""
    if type(row) is not dict:
        raise Bad("not-a-chat", f"is {kind_of(row)}, not an object", _ROW_HINT)
    if len(row) > 1:
        _refuse_by_name(row)
    if shape.name == MESSAGES or shape.name == SHAREGPT:
        return _conversation(row, shape)
    if shape.name == UNKNOWN:
        raise unknown(row)
    if shape.name == TEXT:
        text = _field(row, shape.key)
        return Chat([{"role": "assistant", "content": text}], text=text)
    if shape.name == ALPACA:
        return _alpaca(row, shape)
    return _pair(row, shape)


def _refuse_by_name(row: dict[str, Any]) -> None:
    """What cannot be trained on here, whatever shape it is in."""
    for good, bad in _PREFERENCE:
        if row.get(bad) and row.get(good) and isinstance(row[bad], str | list | dict):
            raise Bad(
                "preference-pairs",
                f"holds preference pairs ({good} and {bad}): these cannot be trained on here",
                _PREFERENCE_HINT,
            )
    for key in _MEDIA:
        if row.get(key) and isinstance(row[key], str | list | dict):
            raise Bad("images", f"comes with {key}, which cannot be trained on here", IMAGES_HINT)
    for key in ("label", "kto_tag"):
        if type(row.get(key)) is bool and (key == "kto_tag" or any(name in row for name in _JUDGED)):
            raise Bad(
                "preference-pairs", f"is judged by {key} (true or false), which cannot be trained on here", _JUDGED_HINT
            )


def _conversation(row: dict[str, Any], shape: Shape) -> Chat:
    key = shape.key
    raw = row.get(key)
    if type(raw) is str:
        raw = listed(raw)
    if type(raw) is not list:
        if key in row:
            raise Bad("no-messages", f"{key} is {kind_of(raw)}, not a list", _ROW_HINT if key == "messages" else "")
        other = next((text for name, text in _FOREIGN_ROWS.items() if name in row), "")
        raise Bad("no-messages", f"has no {key}", other + _SPLIT if other else _ROW_HINT)
    if not raw:
        raise Bad(
            "no-messages", f"{key} is empty", "Remove the row, or give it at least a user's and an assistant's turn"
        )
    if pair_of(raw[0]) is not None:
        return Chat(_with_system({**row, **_first_system(raw[0])}, _turns(raw)), tools_of(row.get("tools")))
    names = NAMES if shape.name == MESSAGES else SHAREGPT_NAMES
    messages = convert(raw, names, shape.role, shape.content, _ROW_HINT)
    if len(row) == 1:
        return Chat(messages)
    return Chat(_with_system(row, messages), tools_of(row.get("tools") or row.get("functions")))


def _first_system(turn: dict[str, Any]) -> dict[str, Any]:
    return {"system": turn["system"]} if turn.get("system") else {}


def _turns(raw: list[Any]) -> list[Message]:
    """Entries that hold a question and its answer at once."""
    out: list[Message] = []
    for number, turn in enumerate(raw, 1):
        pair = pair_of(turn)
        if pair is None:
            raise Bad(
                "bad-message",
                f"turn {number} is no question with its answer",
                "All turns of a conversation must be alike",
            )
        for key, role in zip(pair, ("user", "assistant"), strict=True):
            if not isinstance(turn[key], str):
                raise Bad(
                    "bad-content", f"turn {number}: {key} is {kind_of(turn[key])}, not text", f"{key} must be text"
                )
            out.append({"role": role, "content": turn[key]})
    return out


def _with_system(row: dict[str, Any], messages: list[Message]) -> list[Message]:
    system = row.get("system") or row.get("system_prompt")
    if isinstance(system, str) and system.strip() and messages[0]["role"] != "system":
        return [{"role": "system", "content": system}, *messages]
    return messages


def _alpaca(row: dict[str, Any], shape: Shape) -> Chat:
    question = _field(row, shape.question)
    more = row.get(shape.more)
    if more is not None and not isinstance(more, str):
        raise Bad("bad-content", f"{shape.more} is {kind_of(more)}, not text", "")
    if more and more.strip():
        question = f"{question}\n{more}" if question.strip() else more
    if isinstance(row.get(shape.answer), list) and len(row[shape.answer]) > 1:
        raise Bad(
            "preference-pairs",
            f"has several answers in {shape.answer}, which cannot be trained on here",
            _PREFERENCE_HINT,
        )
    messages = [*_history(row), {"role": "user", "content": question},
                {"role": "assistant", "content": _field(row, shape.answer)}]  # fmt: skip
    return Chat(_with_system(row, messages), tools_of(row.get("tools")))


def _pair(row: dict[str, Any], shape: Shape) -> Chat:
    messages = [*_history(row), *_side(row, shape.question, "user"), *_side(row, shape.answer, "assistant")]
    return Chat(_with_system(row, messages), tools_of(row.get("tools")))


def _side(row: dict[str, Any], key: str, role: str) -> list[Message]:
    """One half of a pair: a text, or messages."""
    value = row.get(key)
    if isinstance(value, dict) and "role" in value:
        value = [value]
    if isinstance(value, list) and value:
        return convert(value, SHAREGPT_NAMES, "role", "content", _ROW_HINT)
    return [{"role": role, "content": _field(row, key)}]


def _field(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if type(value) is str:
        return value
    if key not in row:
        other = next((text for name, text in _FOREIGN_ROWS.items() if name in row and name != key), "")
        raise Bad("missing-field", f"has no {key}", other + _SPLIT if other else "Each row must have it")
    raise Bad("bad-content", f"{key} is {kind_of(value)}, not text", f"{key} must be text")


def _history(row: dict[str, Any]) -> list[Message]:
    """Earlier turns: pairs of a question and its answer."""
    history = row.get("history")
    if isinstance(history, str) and history.strip():
        history = listed(history)
    if not history:
        return []
    if not isinstance(history, list):
        raise Bad(
            "bad-history", f"history is {kind_of(history)}, not a list", "history is a list of [question, answer]"
        )
    out: list[Message] = []
    for number, pair in enumerate(history, 1):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise Bad(
                "bad-history",
                f"entry {number} of history is no pair of texts",
                "history is a list of [question, answer]",
            )
        out += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return out


def listed(text: str) -> Any:
    """A list that a table keeps as text: as JSON, or as Python would print it."""
    stripped = text.strip()
    if not stripped.startswith("["):
        return text
    try:
        return orjson.loads(stripped)
    except orjson.JSONDecodeError:
        pass
    if len(stripped) <= _MAX_LITERAL:
        try:
            return orjson.loads(orjson.dumps(ast.literal_eval(stripped)))  # nothing but what JSON knows
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            pass
    return text
