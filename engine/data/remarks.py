"""What is odd about a chat that can be read: the kinds of warnings, and the row's fingerprint."""

from __future__ import annotations

import re

import orjson

from engine.data.chat import Chat
from engine.data.messages import FOREIGN

NO_ANSWER = "no-answer"
EMPTY_ANSWER, EMPTY_TURN = "empty-answer", "empty-turn"
EMPTY_TEXT = "empty-text"
ROLES_ORDER, LAST_TURN = "roles-order", "last-turn"
CONTROL, DAMAGED, MARKS = "control-characters", "damaged-text", "template-marks"
LONG, DUPLICATE = "long-row", "duplicate"
ACROSS_FILES, EVAL_IN_TRAIN = "duplicate-across-files", "eval-in-train"
MUTED = "muted-answer"
# Far beyond what any model reads at once: about a quarter of a million tokens.
LONG_CHARACTERS = 1_000_000

# What is said of each kind after the number of rows, for one row and for several, and what to do.
WORDS = {
    NO_ANSWER: ("has no assistant's answer", "have no assistant's answer",
                "They are left out where only the assistant's turns are learned"),
    EMPTY_TEXT: ("holds no text", "hold no text", "They teach nothing: take them out"),
    EMPTY_ANSWER: ("has an empty answer among others", "have an empty answer among others",
                   "The model learns to say nothing there"),
    EMPTY_TURN: ("has an empty turn of the user", "have an empty turn of the user", "Check where the text was lost"),
    ROLES_ORDER: ("has roles out of order", "have roles out of order",
                  "Some chat templates refuse all but user and assistant in turn, after at most one system text"),
    LAST_TURN: ("does not end with the assistant", "do not end with the assistant",
                "The last turn is not learned where only the assistant's turns are"),
    CONTROL: ("holds control characters or text that hides its direction",
              "hold control characters or text that hides its direction", "The model may learn to write them"),
    DAMAGED: ("holds replacement characters (U+FFFD)", "hold replacement characters (U+FFFD)",
              "The text was once decoded wrongly: make it anew from its source"),
    MARKS: ("holds marks of a chat template in its text", "hold marks of a chat template in their text",
            "The template adds its own: such text may end a turn early"),
    LONG: (f"is longer than {LONG_CHARACTERS:,} characters", f"are longer than {LONG_CHARACTERS:,} characters",
           "They will be cut off at max_seq_length"),
    DUPLICATE: ("repeats an earlier row", "repeat an earlier row", "They count more than once in training"),
    MUTED: ("says of an answer that it is not to be learned (weight 0)", "say of an answer that it is not to be learned (weight 0)",
            "It is learned all the same: end such a chat before that answer, or take the row out"),
    ACROSS_FILES: ("also stands in an earlier file", "also stand in an earlier file", "They count more than once in training"),
    EVAL_IN_TRAIN: ("also stands in the training data", "also stand in the training data",
                    "The eval loss will look better than it is: take them out of one of the two"),
}  # fmt: skip

_ANSWERING = frozenset({"assistant", *(word for word, role in FOREIGN.items() if role == "assistant")})
_LETTERS = {"system": "s", "user": "u", "assistant": "a", "tool": "t"}
_ORDER = re.compile(r"s?(?:ua(?:t+a)*+)*+(?:u|ua(?:t+a)*+t+)?")
_SUSPICIOUS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ufffd\ufffe\uffff]")
_MARKS = re.compile(
    r"<\|(?:im_start|im_end|eot_id|start_header_id|end_header_id|endoftext|end|user|assistant|system)\|>"
)
# Marks by which other tools leave a message out of what is learned.
_MUTES = re.compile(rb'"(?:(?:loss_)?weight"\s*:\s*0(?:\.0*)?|(?:train(?:ing)?|loss)"\s*:\s*false)\s*[,}]')
_known_orders: dict[str, tuple[str, ...]] = {}
_NOTHING: tuple[str, ...] = ()


def remarks(chat: Chat, raw: bytes | None) -> tuple[tuple[str, ...] | list[str], int]:
    """Kinds of warnings about a row, and the hash of what it says. ``raw`` is its JSON text, if it has one."""
    pattern, texts = "", []
    for message in chat.messages:
        pattern += _LETTERS[message["role"]]
        texts.append(message["content"])
    found: list[str] = []
    if chat.text is None:
        order = _known_orders.get(pattern)
        if order is None:
            order = _orders(pattern)
        found += order
    _empty(chat, pattern, texts, found)
    # JSON text without escapes and other scripts cannot hold anything suspicious.
    if raw is None or not raw.isascii() or b"\\u" in raw or b"\\b" in raw or b"\\f" in raw or b"\x7f" in raw:
        _suspicious(texts, found)
    if (
        (raw is None or b"<|" in raw)
        and chat.text is None
        and any("<|" in text and _MARKS.search(text) for text in texts)
    ):
        found.append(MARKS)
    if (
        raw is not None
        and (b'weight"' in raw or b'"train' in raw or b'"loss"' in raw)
        and _MUTES.search(raw)
        and _muted(raw)
    ):
        found.append(MUTED)
    if (raw is None or len(raw) > LONG_CHARACTERS) and sum(map(len, texts)) > LONG_CHARACTERS:
        found.append(LONG)
    return found, hash((pattern, *texts)) if chat.plain else _rich_hash(chat)


def _empty(chat: Chat, pattern: str, texts: list[str], found: list[str]) -> None:
    answers = empty = 0
    for letter, text, message in zip(pattern, texts, chat.messages, strict=True):
        if letter == "a":
            answers += 1
            if (not text or text.isspace()) and "tool_calls" not in message:
                empty += 1
        elif letter == "u" and (not text or text.isspace()) and EMPTY_TURN not in found:
            found.append(EMPTY_TURN)
    if empty == answers:
        found.append(NO_ANSWER if chat.text is None else EMPTY_TEXT)
    elif empty:
        found.append(EMPTY_ANSWER)


def _orders(pattern: str) -> tuple[str, ...]:
    found = _NOTHING if _ORDER.fullmatch(pattern) else (ROLES_ORDER,)
    if not pattern.endswith("a") and "a" in pattern:
        found = (*found, LAST_TURN)
    if len(_known_orders) < 4096 and len(pattern) < 256:
        _known_orders[pattern] = found
    return found


def _suspicious(texts: list[str], found: list[str]) -> None:
    for text in texts:
        if text.isascii() and text.isprintable():
            continue
        for match in _SUSPICIOUS.finditer(text):
            kind = CONTROL if match.group() < "\ufff0" else DAMAGED
            if kind not in found:
                found.append(kind)
            if CONTROL in found and DAMAGED in found:
                return


def _muted(raw: bytes) -> bool:
    """Whether an answer carries one of those marks; a user's turn may well."""
    row = orjson.loads(raw)
    lists = [row, *row.values()] if isinstance(row, dict) else [row]
    messages = [m for part in lists if isinstance(part, list) for m in part if isinstance(m, dict)]
    return any(
        str(m.get("role") or m.get("from")).lower() in _ANSWERING
        and (
            any(m.get(key) == 0 for key in ("weight", "loss_weight"))
            or any(m.get(key) is False for key in ("train", "training", "loss"))
        )
        for m in messages
    )


def _rich_hash(chat: Chat) -> int:
    """Of a row with more than roles and contents."""
    return hash(orjson.dumps([chat.messages, chat.tools], option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS))
