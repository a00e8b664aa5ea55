"""The shapes that rows have: which one a file's rows have, and what their fields become."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.data.faults import Bad
from engine.data.messages import FOREIGN
from engine.text import clean

MESSAGES, SHAREGPT, ALPACA = "messages", "sharegpt", "alpaca"
PROMPT, QUERY, TEXT, UNKNOWN = "prompt_completion", "query_response", "text", "unknown"
SHAPES = (MESSAGES, SHAREGPT, ALPACA, PROMPT, QUERY, TEXT)
TITLES = {
    MESSAGES: "chats", SHAREGPT: "ShareGPT conversations", ALPACA: "Alpaca instructions",
    PROMPT: "prompt and completion", QUERY: "query and response", TEXT: "plain text", UNKNOWN: "no known shape",
}  # fmt: skip
LIST_KEYS = ("messages", "conversations", "conversation", "dialog", "dialogue", "chat", "turns")
ANSWERS = ("output", "response", "completion", "answer")
# Pairs of fields with a question and its answer, and the shape that each is called.
PAIRS = (("prompt", "completion", PROMPT), ("prompt", "response", PROMPT), ("prompt", "output", PROMPT), ("prompt", "answer", PROMPT),
         ("input", "completion", PROMPT),
         ("query", "response", QUERY), ("question", "answer", QUERY), ("question", "response", QUERY), ("query", "answer", QUERY),
         ("input", "output", QUERY), ("inputs", "targets", QUERY), ("problem", "solution", QUERY), ("user", "assistant", QUERY),
         ("human", "assistant", QUERY), ("input", "target", QUERY), ("q", "a", QUERY))  # fmt: skip
# Fields of a message that say who speaks, with that of what is said.
SPEAKERS = {"role": "content", "from": "value", "speaker": "text", "author": "text", "sender": "text"}
_SAID = ("content", "value", "parts", "text", "message", "utterance")
_QUESTIONS = tuple((question, answer) for question, answer, _ in PAIRS)
_DOCUMENTS = ("content", "contents")
_TEXTS = (*_DOCUMENTS, "body", "document", "article", "story")
_SPEAKING = frozenset((*SPEAKERS, *LIST_KEYS, *ANSWERS, *dict(_QUESTIONS), "instruction", "history", "chosen", "rejected",
                       "input_ids", "label", "tools", "images"))  # fmt: skip
# Keys by which a JSON object is a row itself, and no object that holds rows.
ROW_KEYS = frozenset((*LIST_KEYS, "instruction", "prompt", "query", "question", "text", "history", "tools", "images",
                      "chosen", "rejected"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shape:
    """How the rows of one file are read. ``key`` is the field with the messages or the text."""

    name: str
    key: str = "messages"
    role: str = "role"
    content: str = "content"
    question: str = ""
    more: str = "input"
    answer: str = ""
    guessed: bool = True

    @property
    def words(self) -> str:
        """What becomes of the fields, for people."""
        if self.name == MESSAGES:
            return f"{self.key} with {self.role} and {self.content}"
        if self.name == SHAREGPT:
            if self.role not in SPEAKERS:
                return f"{self.key} with {self.role} (the user's) and {self.content} (the assistant's)"
            return f"{self.key} with {self.role} and {self.content}; human is the user, gpt the assistant"
        if self.name == ALPACA:
            return f"{self.question} and {self.more} are the user's turn, {self.answer} is the assistant's"
        if self.name == TEXT:
            return f"{self.key} is learned as it stands, without a chat template"
        if self.name == UNKNOWN:
            return "no field that is known"
        return f"{self.question} is the user's turn, {self.answer} the assistant's"


def detect(rows: Sequence[dict[str, Any]]) -> Shape:
    """The shape of the first row that has one."""
    for row in rows:
        shape = _of_row(row)
        if shape is not None:
            return shape
    return Shape(UNKNOWN)


def chosen(name: str, rows: Sequence[dict[str, Any]]) -> Shape:
    """The shape that a person asked for, with those of its fields that the rows have."""
    keys: set[str] = set().union(*rows[:50]) if rows else set()

    def first(names: Iterable[str]) -> str:
        names = list(names)
        return next((key for key in names if key in keys), names[0])

    if name in (MESSAGES, SHAREGPT):
        usual = LIST_KEYS if name == MESSAGES else ("conversations", *LIST_KEYS)
        key = next((key for key in usual if key in keys), "") or _list_key(rows) or usual[0]
        message = next(
            (m for row in rows if isinstance(row.get(key), list) for m in row[key] if isinstance(m, dict)), {}
        )
        role, content = _message_keys(message) or (("role", "content") if name == MESSAGES else ("from", "value"))
        return Shape(name, key, role, content, guessed=False)
    if name == ALPACA:
        return Shape(
            name, question="instruction", more=first(("input", "context")), answer=first(ANSWERS), guessed=False
        )
    if name == TEXT:
        return Shape(name, first(("text", *_DOCUMENTS)), guessed=False)
    for question, answer, shape in PAIRS:
        if shape == name and question in keys and answer in keys:
            return Shape(name, question=question, answer=answer, guessed=False)
    question, answer = next((q, a) for q, a, shape in PAIRS if shape == name)
    return Shape(name, question=question, answer=answer, guessed=False)


def _of_row(row: dict[str, Any]) -> Shape | None:
    for key in LIST_KEYS:
        if isinstance(row.get(key), list) or (key == "messages" and row.get(key) is not None):
            return _of_list(key, row[key])
    own = {key.lower(): key for key in reversed(list(row))}  # Question and Answer are a question and an answer, too
    if "instruction" in own:
        answer = next((own[key] for key in ANSWERS if key in own), "")
        if answer:
            more = "context" if "context" in own and "input" not in own else "input"
            return Shape(ALPACA, question=own["instruction"], more=own.get(more, more), answer=answer)
    for question, answer, name in PAIRS:
        if question in own and answer in own:
            return Shape(name, question=own[question], answer=own[answer])
    key = _list_key([row])
    if key:
        return _of_list(key, row[key])
    text = own.get("text")
    if text is not None and isinstance(row[text], str):
        return Shape(TEXT, text)
    # A corpus of documents: nobody speaks in it, and nothing is asked.
    for name in _DOCUMENTS if _SPEAKING.isdisjoint(own) else ():
        if name in own and isinstance(row[own[name]], str):
            return Shape(TEXT, own[name])
    return None


def _of_list(key: str, value: Any) -> Shape:
    messages = value if isinstance(value, list) else []
    first = next((message for message in messages if isinstance(message, dict)), {})
    pair = pair_of(first)
    if pair is not None:
        return Shape(SHAREGPT, key, *pair)
    role, content = _message_keys(first) or (("role", "content") if key == "messages" else ("from", "value"))
    words = {str(m.get(role)).lower() for m in messages if isinstance(m, dict)}
    foreign = role == "from" or key.startswith("conversation") or not words.isdisjoint(FOREIGN)
    return Shape(SHAREGPT if foreign else MESSAGES, key, role, content)


def pair_of(turn: Any) -> tuple[str, str] | None:
    """The fields of an entry that holds a question and its answer at once, as some conversations have them."""
    if not isinstance(turn, dict) or "role" in turn or "from" in turn:
        return None
    return next(((q, a) for q, a, _ in PAIRS if q in turn and a in turn), None)


def _message_keys(message: dict[str, Any]) -> tuple[str, str] | None:
    """Who speaks and what is said."""
    who = next((key for key in SPEAKERS if key in message), None)
    if who is None:
        return None
    return who, next((key for key in (SPEAKERS[who], *_SAID) if key in message), SPEAKERS[who])


def _list_key(rows: Sequence[dict[str, Any]]) -> str:
    """A field of another name that holds messages."""
    for row in rows[:50]:
        for key, value in row.items():
            if (
                isinstance(value, list)
                and value
                and isinstance(value[0], dict)
                and not {"role", "from"}.isdisjoint(value[0])
            ):
                return key
    return ""


def renamed(row: dict[str, Any], fields: dict[str, str]) -> dict[str, Any]:
    """The row with fields of a person's own naming under the names that are known."""
    found = {known: row[own] for known, own in fields.items() if own in row}
    own_names = set(fields.values()) - set(fields)
    return {**{key: value for key, value in row.items() if key not in own_names}, **found}


def unknown(row: dict[str, Any]) -> Bad:
    """That a row has no shape that is known; its fields are named."""
    if not row:
        return Bad("no-messages", "has no messages", 'A row is {"messages": [{"role": …, "content": …}]}')
    names = ", ".join(clean(key, 30) for key in list(row)[:8])
    hint = "Name its fields, for example --data_format query_response --data_fields query=COLUMN,response=COLUMN"
    nothing = next((key for key in (*LIST_KEYS, "text") if key in row and row[key] is None), None)
    if nothing is not None:
        return Bad(
            "no-messages" if nothing in LIST_KEYS else "bad-content", f"{nothing} is null", "Each row must have it"
        )
    broken = next((key for key in LIST_KEYS if isinstance(row.get(key), str) and row[key].lstrip()[:1] == "["), None)
    if broken is not None:
        return Bad("no-messages", f"{broken} is text, not a list: it begins as one, but is no JSON", "Write it as JSON")
    if "rejected" in row or "chosen" in row:
        only = "To learn from the better answers only: --data_format prompt_completion --data_fields completion=chosen"
        return Bad(
            "preference-pairs", f"holds preferences, which cannot be trained on here; its fields are {names}", only
        )
    if "input_ids" in row:
        return Bad(
            "unknown-shape",
            f"holds token ids, not text; its fields are {names}",
            "Give the text that they were made from",
        )
    if _message_keys(row) is not None and any(key in row for key in _SAID):
        return Bad("unknown-shape", f"is a message by itself, not a row; its fields are {names}",
                   'Put all messages of a chat into one row: {"messages": [{"role": …, "content": …}]}')  # fmt: skip
    asked = next((question for question in ("instruction", *dict(_QUESTIONS)) if question in row), None)
    if asked is not None:
        answers = ", ".join(dict.fromkeys((*ANSWERS, *(a for q, a, _ in PAIRS if q == asked))))
        return Bad("unknown-shape", f"has {asked} and no answer to it ({answers}); its fields are {names}", hint)
    if any(isinstance(row.get(key), str) for key in _TEXTS):
        hint = "To learn a field as plain text: --data_format text --data_fields text=COLUMN"
    return Bad("unknown-shape", f"has none of the fields that are known; it has {names}", hint)
