"""Cuts the text of a filter into words, comparisons, signs and brackets."""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.history.query.errors import QueryError

WORD, TERM, SAVED, OPEN, CLOSE, AND, OR, NOT = "word", "term", "saved", "(", ")", "and", "or", "not"
# A field and what compares it; before a colon there is no space, or prose with colons would compare.
_FIELD = re.compile(r"([A-Za-z_][\w-]*)(?:(:)(?!//)|\s*(<=|>=|!=|==|[=<>≤≥≠]))")
_OPERATOR = re.compile(r"\s*(<=|>=|!=|==|[=<>≤≥≠])?\s*")
_SIGNS = {"==": "=", "≤": "<=", "≥": ">=", "≠": "!="}
_KEYWORDS = {"and": AND, "or": OR, "not": NOT, "&": AND, "&&": AND, "|": OR, "||": OR}
MAX_TEXT = 10_000


@dataclass(frozen=True, slots=True)
class Value:
    """One of the values after an operator; ``quoted`` ones mean themselves."""

    text: str
    start: int
    end: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a filter; ``text`` is the word, or the field of a comparison."""

    kind: str
    text: str
    start: int
    end: int
    operator: str = ""
    values: tuple[Value, ...] = ()


def split(text: str) -> list[Token]:
    """All tokens. Raises :class:`QueryError` for a quote that is not closed."""
    if len(text) > MAX_TEXT:
        raise QueryError("the filter is too long", MAX_TEXT)
    tokens: list[Token] = []
    place, depth = 0, 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        token = _next(text, place, depth)
        depth += {OPEN: 1, CLOSE: -1}.get(token.kind, 0)
        tokens.append(token)
        place = token.end
    return tokens


def _next(text: str, place: int, depth: int) -> Token:
    sign, following = text[place], text[place + 1 : place + 2]
    if sign in "()":
        return Token(sign, sign, place, place + 1)
    if sign in "-!" and following and not following.isspace():
        return Token(NOT, sign, place, place + 1)
    if sign in "\"'":
        word, end = _quoted(text, place)
        return Token(WORD, word, place, end, operator='"')
    compared = _FIELD.match(text, place)
    if compared:
        operator, value = compared.group(2) or compared.group(3), compared.end()
        more = _OPERATOR.match(text, value)
        if more is not None:
            operator = (more.group(1) or operator) if operator == ":" else operator
            value = more.end() if more.group(1) is None or compared.group(2) else value
        values, end = _values(text, value, depth)
        return Token(TERM, compared.group(1), place, end, _SIGNS.get(operator, operator), values)
    end = _word_end(text, place, depth)
    word = text[place:end]
    if word.casefold() in _KEYWORDS:
        return Token(_KEYWORDS[word.casefold()], word, place, end)
    if sign == "@" and len(word) > 1:
        return Token(SAVED, word[1:], place, end)
    return Token(WORD, word, place, end)


def _values(text: str, place: int, depth: int) -> tuple[tuple[Value, ...], int]:
    """What stands after an operator: words with commas between."""
    values: list[Value] = []
    while True:
        if place < len(text) and text[place] in "\"'":
            word, end = _quoted(text, place)
            values.append(Value(word, place, end, quoted=True))
        else:
            end = _word_end(text, place, depth, commas=True)
            values.append(Value(text[place:end], place, end))
        if end >= len(text) or text[end] != ",":
            return tuple(values), end
        place = end + 1


def _quoted(text: str, place: int) -> tuple[str, int]:
    end = text.find(text[place], place + 1)
    if end < 0:
        raise QueryError(f"the quote {text[place]} is not closed", place, incomplete=True)
    return text[place + 1 : end], end + 1


def _word_end(text: str, place: int, depth: int, *, commas: bool = False) -> int:
    """Where a word ends: at a space, or at the bracket that closes a group; brackets of its own are part of it."""
    inner = 0
    while place < len(text):
        sign = text[place]
        if sign.isspace() or (commas and sign == ","):
            return place
        if sign == "(":
            inner += 1
        elif sign == ")":
            if inner == 0:
                return place
            inner -= 1
        place += 1
    return place
