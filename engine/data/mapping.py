"""From a row of any shape to a chat."""

from __future__ import annotations

import ast
from typing import Any

import orjson

from engine.data.chat import Chat, Message
from engine.data.faults import Bad, kind_of
from engine.data.messages import IMAGES_HINT, NAMES, SHAREGPT_NAMES, convert, text_of, tools_of
from engine.data.shapes import ALPACA, ANSWERS, MESSAGES, SHAREGPT, SPEAKERS, TEXT, UNKNOWN, Shape, pair_of, unknown

_ROW_HINT = 'Each line must be {"messages": [{"role": …, "content": …}]}'
_FOREIGN_ROWS = {
    "messages": "This looks like chats",
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
               ("chosen_response", "rejected_response"), ("preferred_output", "non_preferred_output"),
               ("conversation_a", "conversation_b"), ("response_a", "response_b"), ("response_0", "response_1"))  # fmt: skip
_PREFERENCE_HINT = "They are for DPO and its like. To learn from the better answers only, keep those as messages"
_JUDGED = ("completion", "messages", "conversations")  # what a true or false beside it is a judgement of
_JUDGED_HINT = (
    "They are for KTO and its like. To learn from the better answers only, keep those; if it means something else, "
    "take it out or rename it"
)
_JUDGEMENTS = (True, False, "true", "false", "True", "False", "TRUE", "FALSE")  # 1 and 0 are equal to the first two
_SYSTEMS = ("system", "system_prompt", "systemInstruction", "system_instruction")
_MAX_LITERAL = 1_000_000


def to_chat(row: Any, shape: Shape) -> Chat:
    """The chat of one row. Raises :class:`Bad`."""
    if type(row) is not dict:
        raise Bad("not-a-chat", f"is {kind_of(row)}, not an object", _ROW_HINT)
    if len(row) > 1:
        _refuse_by_name(row, shape)
    if shape.name == MESSAGES or shape.name == SHAREGPT:
        return _conversation(row, shape)
    if shape.name == UNKNOWN:
        raise unknown(row)
    if shape.name == TEXT:
        text = _field(row, shape.key, lists=False)
        return Chat([{"role": "assistant", "content": text}], text=text)
    if shape.name == ALPACA:
        return _alpaca(row, shape)
    return _pair(row, shape)


def _refuse_by_name(row: dict[str, Any], shape: Shape) -> None:
    """What cannot be trained on here, whatever shape it is in."""
    for good, bad in _PREFERENCE:
        if bad in row and row.get(good) and isinstance(row[bad], str | list | dict):
            raise Bad(
                "preference-pairs",
                f"holds preference pairs ({good} and {bad}): these cannot be trained on here",
                _PREFERENCE_HINT,
            )
    for key in _MEDIA:
        if row.get(key) and isinstance(row[key], str | list | dict):
            raise Bad("images", f"comes with {key}, which cannot be trained on here", IMAGES_HINT)
    for key in ("label", "kto_tag"):
        if key in row and _judges(row, key, shape):
            raise Bad(
                "preference-pairs", f"is judged by {key} (true or false), which cannot be trained on here", _JUDGED_HINT
            )


def _judges(row: dict[str, Any], key: str, shape: Shape) -> bool:
    """Whether a field judges the answer. 1 and 0 may mean anything: beside a prompt and completion whose shape was guessed they do."""
    value = row[key]
    if type(value) is bool:
        return key == "kto_tag" or any(name in row for name in _JUDGED)
    pair = key == "kto_tag" or ("prompt" in row and "completion" in row)
    return shape.guessed and pair and isinstance(value, str | int) and value in (*_JUDGEMENTS, "0", "1")


def _conversation(row: dict[str, Any], shape: Shape) -> Chat:
    key = shape.key
    raw = row.get(key)
    if type(raw) is str:
        raw = listed(raw)
        if type(raw) is str and raw.lstrip()[:1] == "[":
            raise Bad("no-messages", f"{key} is text, not a list: it begins as one, but is no JSON", _ROW_HINT)
    elif type(raw) is dict:
        raw = unzipped(raw)
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
    key = next((key for key in _SYSTEMS if row.get(key) is not None), None)
    if key is None or messages[0]["role"] == "system":
        return messages
    system = row[key]
    if isinstance(system, dict):  # Gemini's
        system = system.get("parts", system.get("content", system))
    system = text_of(system, key)
    return [{"role": "system", "content": system}, *messages] if system.strip() else messages


def _alpaca(row: dict[str, Any], shape: Shape) -> Chat:
    question = _field(row, shape.question)
    more = row.get(shape.more)
    if more is not None and not isinstance(more, str):
        raise Bad("bad-content", f"{shape.more} is {kind_of(more)}, not text", "")
    if more and more.strip():
        question = f"{question}\n{more}" if question.strip() else more
    messages = [*_history(row), {"role": "user", "content": question},
                {"role": "assistant", "content": _field(row, shape.answer)}]  # fmt: skip
    return Chat(_with_system(row, messages), tools_of(row.get("tools")))


def _pair(row: dict[str, Any], shape: Shape) -> Chat:
    messages = [*_history(row), *_side(row, shape.question, "user"), *_side(row, shape.answer, "assistant")]
    return Chat(_with_system(row, messages), tools_of(row.get("tools")))


def _side(row: dict[str, Any], key: str, role: str) -> list[Message]:
    """One half of a pair: a text, or messages."""
    value = row.get(key)
    if type(value) is str and value[:2] == "[{":  # messages that a table keeps as text
        inner = listed(value)
        value = inner if isinstance(inner, list) and all(isinstance(m, dict) and "role" in m for m in inner) else value
    if isinstance(value, dict) and "role" in value:
        value = [value]
    if isinstance(value, list) and value and not all(type(part) is str for part in value):
        if all(isinstance(part, dict) and "type" in part and "role" not in part for part in value):
            return [{"role": role, "content": text_of(value, key)}]
        return convert(value, SHAREGPT_NAMES, "role", "content", _ROW_HINT)
    return [{"role": role, "content": _field(row, key)}]


def _field(row: dict[str, Any], key: str, *, lists: bool = True) -> str:
    """A text, or with ``lists`` the only one of a list of texts."""
    value = row.get(key)
    if type(value) is str:
        return value
    if lists and type(value) is list and value and all(type(part) is str for part in value):
        if len(value) == 1:
            return str(value[0])
        why = f"has several texts in {key} ({len(value)}), of which it cannot be told which to learn"
        kind = "preference-pairs" if key in ANSWERS else "bad-content"
        raise Bad(kind, why, "Keep the one that is to be learned, or give each a row of its own")
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
    if isinstance(history[0], dict):
        return convert(history, SHAREGPT_NAMES, "role", "content", "history is a list of [question, answer]")
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


def unzipped(value: dict[str, Any]) -> Any:
    """Messages that a table keeps as a list of roles beside a list of texts, as messages; anything else as it is."""
    lists = {key: part for key, part in value.items() if isinstance(part, list)}
    if len(lists) != len(value) or len(lists) < 2 or not any(key in lists for key in SPEAKERS):
        return value
    if len(set(map(len, lists.values()))) != 1:
        return value
    return [dict(zip(lists, parts, strict=True)) for parts in zip(*lists.values(), strict=True)]


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
