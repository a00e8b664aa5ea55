"""From the messages of any chat format to ``role`` and ``content``, tool calls and their results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from engine.data.chat import Message
from engine.data.faults import Bad, kind_of
from engine.text import clean

ROLES = ("system", "user", "assistant", "tool")
_CALL = "call"
# Names that other tools have for the four roles; a call is an assistant's turn whose content is the call.
_NAMES = {
    **{role: role for role in ROLES}, "developer": "system", "observation": "tool", "function": "tool",
    "function_response": "tool", "tool_response": "tool", "tool_result": "tool", "ipython": "tool",
    "function_call": _CALL, "tool_call": _CALL,
}  # fmt: skip
# Roles of other chat formats and what they are called here.
FOREIGN = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant",
           "bing": "assistant", "bard": "assistant", "chatbot": "assistant", "ai": "assistant"}  # fmt: skip
NAMES: Mapping[str, str] = _NAMES
SHAREGPT_NAMES: Mapping[str, str] = {**_NAMES, **FOREIGN}
_PLAIN = frozenset(("system", "user", "assistant"))
_TEXT_PARTS = ("text", "input_text", "output_text", None)
_THOUGHT_KEYS = ("reasoning_content", "reasoning", "thinking")
_THOUGHTS = ("reasoning", "thinking")
_CALLS = ("tool_call", "tool_use", "function_call")
_MEDIA = ("image", "video", "audio", "file")
IMAGES_HINT = "Only text can be trained on here: take these rows out, or take their pictures and sounds out"
_CALL_HINT = 'A call is {"name": …, "arguments": {…}}, as an object or as JSON text'


def convert(raw: list[Any], names: Mapping[str, str], role_key: str, content_key: str, hint: str) -> list[Message]:
    """The messages of one row. Raises :class:`Bad` naming the first that cannot be used."""
    out: list[Message] = []
    usual = role_key == "role" and content_key == "content"
    for number, message in enumerate(raw, 1):
        if type(message) is not dict:
            raise Bad("bad-message", f"message {number} is {kind_of(message)}, not an object", hint)
        role = message.get(role_key)
        content = message.get(content_key)
        if type(content) is str and type(role) is str and role in _PLAIN and len(message) == 2 and usual:
            out.append(message)  # as nearly all of them are
        else:
            out += _results(message, number) or [_converted(message, number, names, role_key, content_key)]
    return out


def _results(message: Message, number: int) -> list[Message]:
    """A user's turn in which tools answer, as Anthropic's: a turn of each tool, then what the user says besides."""
    parts = message.get("content")
    if type(parts) is not list or message.get("role") != "user":
        return []
    results = [part for part in parts if isinstance(part, dict) and part.get("type") == "tool_result"]
    out: list[Message] = []
    for part in results:
        content = part.get("content")
        turn: Message = {
            "role": "tool",
            "content": "" if content is None else _result(content, number, "content", True),
        }
        if isinstance(part.get("tool_use_id"), str):
            turn["tool_call_id"] = part["tool_use_id"]
        out.append(turn)
    rest = [part for part in parts if part not in results]
    if results and rest:
        out.append({"role": "user", "content": _text(rest, number, "content", True)})
    return out


def _converted(message: Message, number: int, names: Mapping[str, str], role_key: str, content_key: str) -> Message:
    if role_key not in message and "role" in message and role_key != "role":
        role_key, content_key = "role", "content"
    elif role_key not in message and "from" in message and names is SHAREGPT_NAMES:
        role_key, content_key = "from", "value"
    role = _role(message, number, names, role_key)
    present, content = content_key in message, message.get(content_key)
    if role == _CALL:
        called = content if content is not None else message.get("tool_calls")
        return {"role": "assistant", "content": "", "tool_calls": calls_of(called, number)}
    out: Message = {"role": role}
    if role == "assistant":
        calls = message.get("tool_calls") or message.get("function_call")
        thought = next(
            (message[key] for key in _THOUGHT_KEYS if isinstance(message.get(key), str) and message[key]), None
        )
        if type(content) is list:
            content, inner, thoughts = _sorted(content)
            calls, thought = calls or inner, thought or thoughts
        out["content"] = "" if calls and content is None else _text(content, number, content_key, present)
        if calls:
            out["tool_calls"] = calls_of(calls, number)
        if isinstance(thought, str) and thought:
            out["reasoning_content"] = thought
        return out
    if role == "tool":
        out["content"] = _result(content, number, content_key, present)
        for key in ("name", "tool_call_id"):
            if isinstance(message.get(key), str) and message[key]:
                out[key] = message[key]
        return out
    out["content"] = _text(content, number, content_key, present)
    return out


def _sorted(content: list[Any]) -> tuple[Any, list[Any], str]:
    """Parts of an answer by what they are: the text of it, calls of tools, and what was thought before."""
    rest, calls, thoughts = [], [], []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in _THOUGHTS:
            words = next(
                (part[key] for key in ("value", "text", "reasoning", "thinking") if isinstance(part.get(key), str)),
                None,
            )
            rest.append(part) if words is None else thoughts.append(words)
        elif kind in _CALLS:
            value = next((part[key] for key in ("value", "tool_call", "function") if part.get(key) is not None), part)
            calls += value if isinstance(value, list) else [value]
        else:
            rest.append(part)
    return rest or (None if calls else rest), calls, "\n".join(thoughts)


def _role(message: Message, number: int, names: Mapping[str, str], key: str) -> str:
    word = message.get(key)
    known = f"Roles are {', '.join(ROLES)}"
    if word is None:
        raise Bad("unknown-role", f"message {number} has no {key}", known)
    if not isinstance(word, str):
        raise Bad("unknown-role", f"message {number} has the unknown role {kind_of(word)}", known)
    role = names.get(word) or names.get(word.strip().lower())
    if role is None:
        other = FOREIGN.get(word.strip().lower())
        hint = f"Call it {other!r}, or set data_format to sharegpt" if other else known
        raise Bad("unknown-role", f"message {number} has the unknown role {clean(word, 40)!r}", hint)
    return role


def text_of(content: Any, key: str) -> str:
    """A text that may be written in parts, of a field of a row. Raises :class:`Bad`."""
    if type(content) is str:
        return content
    if isinstance(content, list):
        return "".join(_part(part, place, key, key) for place, part in enumerate(content, 1))
    hint = f"{key} must be text; call it otherwise if it is something else"
    raise Bad("bad-content", f"{key} is {kind_of(content)}, not text", hint)


def _text(content: Any, number: int, key: str, present: bool) -> str:
    if type(content) is str:
        return content
    if isinstance(content, dict) and content.get("type") in _TEXT_PARTS[:-1]:  # one part without its list
        content = [content]
    if isinstance(content, list):
        where = f"message {number}"
        return "".join(_part(part, place, where, f"{where}: {key}") for place, part in enumerate(content, 1))
    what = f"is {kind_of(content)}, not text" if present else "is missing"
    raise Bad("bad-content", f"message {number}: {key} {what}", f"{key} must be a string, or a list of text parts")


def _part(part: Any, place: int, holder: str, field: str) -> str:
    """The text of the part at ``place`` of a ``field``; errors name that, or the message or field that holds it."""
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        kind = part.get("type")
        if kind in _TEXT_PARTS:
            text = next((part[name] for name in ("text", "value", "content") if isinstance(part.get(name), str)), None)
            if text is not None:
                return text
        elif isinstance(kind, str) and any(word in kind for word in _MEDIA):
            raise Bad("images", f"{holder} holds a part of the type {clean(kind, 40)!r}", IMAGES_HINT)
        elif isinstance(kind, str):
            raise Bad("bad-content", f"{field} is a list whose part {place} is of the type {clean(kind, 40)!r}",
                      "Only parts of text can be trained on")  # fmt: skip
    raise Bad("bad-content", f"{field} is a list whose part {place} has no text",
              'A part is {"type": "text", "text": …}')  # fmt: skip


def _result(content: Any, number: int, key: str, present: bool) -> str:
    """What a tool answered: text, parts of text, or any JSON value, which is written out."""
    if isinstance(content, dict) or (isinstance(content, list) and not all(map(_is_part, content))):
        return orjson.dumps(content).decode()
    return _text(content, number, key, present)


def _is_part(part: Any) -> bool:
    return isinstance(part, dict) and "type" in part


def calls_of(value: Any, number: int) -> list[Message]:
    """Tool calls in the one form that chat templates know, whatever form they were written in."""
    if isinstance(value, str):
        value = _json(value, f"message {number}: the tool call is not JSON")
    items = value if isinstance(value, list) else [value]
    if not items:
        raise Bad("bad-tool-call", f"message {number}: the tool call is empty", _CALL_HINT)
    return [_call(item, number) for item in items]


def _call(item: Any, number: int) -> Message:
    if isinstance(item, str):
        item = _json(item, f"message {number}: the tool call is not JSON")
    function = item.get("function", item) if isinstance(item, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise Bad("bad-tool-call", f"message {number}: a tool call has no name", _CALL_HINT)
    arguments = function.get("arguments", function.get("parameters", function.get("input")))
    if isinstance(arguments, str):
        arguments = _json(
            arguments or "{}", f"message {number}: the arguments of {clean(function['name'], 40)} are not JSON"
        )
    if arguments is not None and not isinstance(arguments, dict):
        raise Bad(
            "bad-tool-call",
            f"message {number}: the arguments of {clean(function['name'], 40)} are no object",
            _CALL_HINT,
        )
    call: Message = {"type": "function",
                     "function": {"name": function["name"], "arguments": {} if arguments is None else arguments}}  # fmt: skip
    if isinstance(item.get("id"), str) and item["id"]:
        call["id"] = item["id"]
    return call


def _json(text: str, otherwise: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Bad("bad-tool-call", otherwise, _CALL_HINT) from None


def tools_of(value: Any) -> list[Any] | None:
    """The tools that a row offers: a list, or a list as JSON text; ``None`` if there are none."""
    if isinstance(value, str):
        if not value.strip():
            return None
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise Bad(
                "bad-tools", "tools is text that is not JSON", "tools must be a list, or a list as JSON text"
            ) from None
    if isinstance(value, dict):
        value = [value]
    if value is None or value == []:
        return None
    if not isinstance(value, list):
        raise Bad("bad-tools", f"tools is {kind_of(value)}, not a list", "tools must be a list, or a list as JSON text")
    return [_tool(tool, number) for number, tool in enumerate(value, 1)]


def _tool(tool: Any, number: int) -> Any:
    if isinstance(tool, str):
        try:
            tool = orjson.loads(tool)
        except orjson.JSONDecodeError:
            pass
    if not isinstance(tool, dict) or not tool:
        what = "empty" if tool == {} else f"{kind_of(tool)}, not an object"
        raise Bad("bad-tools", f"tool {number} is {what}", "Describe each tool by a JSON schema")
    if "function" in tool or tool.get("type") == "function":
        function = tool.get("function", tool)
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
            raise Bad("bad-tools", f"tool {number} has no name", "Describe each tool by a JSON schema")
    if "function" not in tool and isinstance(tool.get("name"), str):
        return {"type": "function", "function": tool}  # the form that templates know
    return tool
