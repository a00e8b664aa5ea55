"""What a chat template makes of a few simple chats: whether it can be used at all, and what of them it loses or changes."""

from __future__ import annotations

import time

from engine.worker import bounds
from engine.worker.prefixes import ANSWER, USER, Message, Render, tried
from engine.worker.refusing import reason

SYSTEM: Message = {"role": "system", "content": "Be kind"}
_MORE: list[Message] = [{"role": "user", "content": "Which one"}, {"role": "assistant", "content": "Either will do"}]
CHATS: tuple[list[Message], ...] = (
    [USER, ANSWER],
    [SYSTEM, USER, ANSWER],
    [USER, ANSWER, *_MORE],
    [SYSTEM, USER, ANSWER, *_MORE],
)
"""Chats in which nobody says what another says too."""
_CALL = {"type": "function", "function": {"name": "look", "arguments": {}}}
WITH_TOOL: list[Message] = [
    USER,
    {"role": "assistant", "content": "", "tool_calls": [_CALL]},
    {"role": "tool", "name": "look", "content": "It is sunny"},
    ANSWER,
]
# Long, and with all that is easily escaped, folded or cut off.
_ODD = 'Zwölf <b>"Größen"</b> & it\'s {fine} [now]: 안녕 ' + " ".join(f"No{number}" for number in range(400))
_LONGEST = 100_000
SLOW_SECONDS = 0.5
"""Usual templates take a thousandth of it."""
_THOUGHT = "Let me see"
_OF_ROLE = {"system": "what the system message says", "user": "what users say", "assistant": "what the assistant says"}


def unfit(render: Render) -> str:
    """Why a template cannot be used, whatever is learned; empty if it can."""
    said = ""
    for chat in CHATS:
        try:
            text = render(chat, False)
        except Exception as error:
            said = said or reason(error)
            if isinstance(error, MemoryError | bounds.TooMuch):
                break  # each try takes long
        else:
            return _unwritten(render, chat, text)
    return said


def _unwritten(render: Render, chat: list[Message], text: str) -> str:
    """Of a template that renders a chat with an answer: whether it writes that, and the same each time."""
    if len(text) > _LONGEST:
        return f"it writes {len(text):,} characters for a chat of two short messages"
    begun = time.monotonic()
    if render(chat, False) != text:
        return "it writes the same chat differently each time"
    taken = time.monotonic() - begun  # the first time it was made ready, too
    if taken > SLOW_SECONDS:
        return f"it takes {taken:.1f} s for a chat of two short messages"
    place = chat.index(ANSWER)
    other = tried(render, [*chat[:place], {**ANSWER, "content": "Quite another thing"}, *chat[place + 1 :]])
    if other != text:
        return ""  # it writes what is said, be it in its own way
    silent = tried(render, [*chat[: place - 1], {**USER, "content": "Quite another thing"}, *chat[place:]])
    if text.strip() and silent not in (None, text):
        return "it does not write what the assistant says"
    return "it does not write what the assistant says, nor anything else of a chat"


def losses(render: Render) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What of a chat a template leaves out, and what it changes, in words."""
    lost = dict.fromkeys(_lost(render))
    changed = [] if _in_order(render) else ["the order of a chat"]
    for role in ("user", "assistant"):
        chat = [dict(message) for message in (USER, ANSWER)]
        chat[role == "assistant"]["content"] = _ODD
        text = tried(render, chat)
        if text is not None and _OF_ROLE[role] not in lost and "".join(text.split()).count("".join(_ODD.split())) != 1:
            changed.append(_OF_ROLE[role])
    return tuple(lost), tuple(changed)


def _in_order(render: Render) -> bool:
    """Whether what is written of a chat stands in its order."""
    text = tried(render, CHATS[2]) or ""
    places = [place for message in CHATS[2] if (place := text.find(message["content"])) >= 0]
    return places == sorted(places)


def _lost(render: Render) -> list[str]:
    """Of the longest chat that it renders, who says what is not written; and thoughts before an answer."""
    lost = []
    for chat in reversed(CHATS):
        text = tried(render, chat)
        if text is None:
            continue
        folded = text.casefold()
        gone = [message for message in chat if message["content"].casefold() not in folded]
        some = [message for message in chat if message not in gone]
        for message in gone:
            others = any(other["role"] == message["role"] for other in some)
            lost.append("some turns of a chat" if others else _OF_ROLE[message["role"]])
        break
    as_user = tried(render, [USER, {**ANSWER, "role": "user"}])
    if as_user is not None and as_user == tried(render, [USER, ANSWER]):
        lost.append("who is speaking")
    thinking = {"role": "assistant", "content": f"<think>\n{_THOUGHT}\n</think>\n\n{ANSWER['content']}"}
    text = tried(render, [USER, thinking])
    if text is not None and ANSWER["content"] in text and _THOUGHT not in text:
        lost.append("what stands between <think> and </think>")
    return lost
